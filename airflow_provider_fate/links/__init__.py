"""Links from a task in Airflow's UI to what it started elsewhere."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom


class FateLink(BaseOperatorLink):
    """A link that is known while the task runs.

    Airflow's UI reads it from an XCom. Airflow writes that when the task ends; :meth:`publish` does so earlier.
    """

    name = "FATE"
    #: attribute of the operator that keeps the address until the task ends
    attribute = "fate_link"

    def publish(self, operator: Any, ti: Any, url: str) -> bool:
        """Show the link from now on; gives whether it is one that can be shown.

        :param ti: the running task instance
        :param url: the address. Some come from another party, so only web addresses are taken
        """
        if not is_web_address(url):
            return False
        setattr(operator, self.attribute, url)
        ti.xcom_push(key=self.xcom_key, value=url)
        return True

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        url = getattr(operator, self.attribute, None)
        if url is None:  # this process did not publish it; an earlier one may have
            url = XCom.get_value(ti_key=ti_key, key=self.xcom_key)
        return url if isinstance(url, str) and is_web_address(url) else ""


class SparkUILink(FateLink):
    """To the UI of the Spark application."""

    name = "Spark UI"
    attribute = "spark_ui_url"


class GuestRunLink(FateLink):
    """To the guest's task of the same job, which another Airflow may have."""

    name = "Guest's run"
    attribute = "guest_run_url"


class HostRunLink(FateLink):
    """To the host's task of the same job; of several hosts, the first one's."""

    name = "Host's run"
    attribute = "host_run_url"


class ArbiterRunLink(FateLink):
    """To the arbiter's task of the same job."""

    name = "Arbiter's run"
    attribute = "arbiter_run_url"


#: what the application may say -> where it is shown, while the task runs
LINKS: dict[str, FateLink] = {
    "spark_ui": SparkUILink(), "guest_run": GuestRunLink(), "host_run": HostRunLink(), "arbiter_run": ArbiterRunLink(),
}  # fmt: skip


def is_web_address(url: str) -> bool:
    """Whether a browser may be sent there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
