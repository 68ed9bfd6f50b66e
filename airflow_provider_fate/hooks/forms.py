"""The connections' forms as Airflow 3.1 asks hooks for them; from 3.2 on it reads the provider's info itself."""

from __future__ import annotations

from typing import Any

from airflow_provider_fate.get_provider_info import get_provider_info


def form_widgets(conn_type: str) -> dict[str, Any]:
    """The fields of a connection type's form beside Airflow's own, as wtforms has them.

    wtforms knows neither numbers with a point nor limits in a form of Airflow's; the hooks check values in any case.
    """
    # stands in for Airflow's own fields while it asks, so it must be looked up now
    from wtforms import BooleanField, IntegerField, PasswordField, StringField
    from wtforms.validators import Optional, any_of

    kinds = {"boolean": BooleanField, "integer": IntegerField}
    widgets = {}
    for name, field in _entry(conn_type)["conn-fields"].items():
        schema = field["schema"]
        kind = PasswordField if schema.get("format") == "password" else kinds.get(schema["type"][0], StringField)
        widgets[name] = kind(
            field["label"],
            validators=[any_of(schema["enum"]) if "enum" in schema else Optional()],
            description=field["description"],
            default=schema.get("default"),
        )
    return widgets


def field_behaviour(conn_type: str) -> dict[str, Any]:
    """What the form does with Airflow's own fields."""
    return {name.replace("-", "_"): value for name, value in _entry(conn_type)["ui-field-behaviour"].items()}


def _entry(conn_type: str) -> dict[str, Any]:
    return next(one for one in get_provider_info()["connection-types"] if one["connection-type"] == conn_type)
