"""Airflow's UI as a person uses it: signing in, connection forms, the Test button, the trigger form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.servers.airflow import Airflow


@dataclass(frozen=True)
class Tested:
    """What the Test button showed.

    :param colour: of the button's icon: green or red
    :param message: what the hook said
    :param notice: text of the notice that came up, empty where none did
    """

    colour: str
    message: str
    notice: str


class Form:
    """A dialog with fields in sections that open and close."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialog = page.get_by_role("dialog")
        expect(self.dialog).to_be_visible()

    def section(self, name: str) -> str:
        """Open a section of the form; its visible text."""
        button = self.dialog.get_by_role("button", name=name, exact=True)
        if button.get_attribute("aria-expanded") != "true":
            button.click()
            expect(button).to_have_attribute("aria-expanded", "true")
        panel = self.dialog.locator(f'[id="{button.get_attribute("aria-controls")}"]')
        expect(panel).to_be_visible()
        return panel.inner_text()

    def fill_in(self, section: str, **values: Any) -> None:
        """Fill fields of a section: text, numbers, and True or False for switches."""
        self.section(section)
        for name, value in values.items():
            field = self.field(name)
            if isinstance(value, bool):
                if field.is_checked() != value:
                    field.evaluate("box => box.click()")  # the box itself is hidden below the switch
            else:
                field.fill(str(value))
                field.blur()

    def field(self, name: str) -> Locator:
        """A field that Airflow makes from a description."""
        return self.dialog.locator(f'[name="element_{name}"]')


class ConnectionForm(Form):
    """The dialog of a new connection or of one that is edited."""

    def choose_type(self, conn_type: str, shown: str) -> None:
        """Choose the connection type by typing, as its list is long."""
        self.dialog.get_by_role("combobox").first.fill(conn_type)
        self.page.get_by_role("option", name=shown, exact=True).click()

    def fill(self, **values: Any) -> None:
        """Fill standard fields by their names."""
        self.section("Standard Fields")
        for name, value in values.items():
            self.dialog.locator(f'[name="{name}"]').fill(str(value))

    def fill_extra(self, **values: Any) -> None:
        """Fill the fields of the connection type."""
        self.fill_in("Extra Fields", **values)

    def choose(self, name: str, value: str) -> None:
        """Choose in a field of the connection type that has a list."""
        self.section("Extra Fields")
        self.field(name).locator("xpath=..").get_by_role("combobox").fill(value)
        self.page.get_by_role("option", name=value, exact=True).click()

    def standard(self, name: str) -> Locator:
        return self.dialog.locator(f'[name="{name}"]')

    def save(self) -> None:
        """Save, and wait until the dialog is gone."""
        self.dialog.get_by_role("button", name="Save").click()
        expect(self.dialog).to_be_hidden()


class TriggerForm(Form):
    """The dialog that starts a DAG."""

    def button(self) -> Locator:
        return self.dialog.get_by_role("button", name="Trigger", exact=True)

    def start(self) -> None:
        """Start the run, and wait until the dialog is gone."""
        self.button().click()
        expect(self.dialog).to_be_hidden()


class AirflowUI:
    """A page of Airflow, signed in as administrator."""

    def __init__(self, page: Page, server: Airflow) -> None:
        self.page = page
        self.server = server

    def sign_in(self) -> AirflowUI:
        self.page.goto(self.server.url)
        self.page.get_by_role("textbox").first.fill(self.server.login)
        self.page.locator("input[type=password]").fill(self.server.password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda url: "/auth/" not in url)
        return self

    # -- connections

    def new_connection(self, conn_id: str, conn_type: str, shown: str) -> ConnectionForm:
        """Open the form of a new connection.

        :param shown: what the list of types calls it
        """
        self.page.goto(f"{self.server.url}/connections")
        self.page.get_by_role("button", name="Add Connection").click()
        form = ConnectionForm(self.page)
        form.standard("connection_id").fill(conn_id)
        form.choose_type(conn_type, shown)
        return form

    def _row(self, conn_id: str) -> Locator:
        if not self.page.url.endswith("/connections"):
            self.page.goto(f"{self.server.url}/connections")
        return self.page.get_by_role("row").filter(has=self.page.get_by_text(conn_id, exact=True))

    def edit_connection(self, conn_id: str) -> ConnectionForm:
        """Open the form of a connection that is there."""
        self._row(conn_id).get_by_role("button", name="Edit Connection").click()
        return ConnectionForm(self.page)

    def test_connection(self, conn_id: str, seconds: float = 90) -> Tested:
        """Press the Test button of a connection, and wait for what it shows."""
        button = self._row(conn_id).get_by_role("button", name="Test Connection")
        with self.page.expect_response(re.compile("/connections/test$"), timeout=seconds * 1000) as answer:
            button.click()
        said = answer.value.json()
        assert answer.value.ok, f"{answer.value.request.post_data}: {answer.value.status} {said}"
        colour = "green" if said["status"] else "red"
        expect(button.locator("svg").first).to_have_attribute("color", colour)
        notice = self.page.get_by_text("Test Connection Failed").locator("xpath=ancestor::*[@data-scope='toast'][1]")
        if not said["status"]:
            expect(notice.first).to_be_visible()
        shown = notice.first.inner_text() if notice.count() else ""
        return Tested(colour, said["message"], shown)

    # -- DAGs

    def trigger_form(self, dag_id: str) -> TriggerForm:
        """Open the form that starts a DAG."""
        self.page.goto(f"{self.server.url}/dags/{dag_id}")
        self.page.get_by_role("button", name="Trigger").first.click()
        return TriggerForm(self.page)
