"""Reader: the table that each party brings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import check_name
from airflow_provider_fate.job.parameters.base import Parameters


class TableParam(Parameters):
    """The name of a table."""

    namespace: str = Field(description="The table's namespace.")
    name: str = Field(description="The table's name within the namespace.")

    @field_validator("namespace", "name", mode="before")
    @classmethod
    def _safe(cls, value: object) -> str:
        try:
            return check_name(value, "")
        except ConfigError as error:
            raise ValueError(error.problem) from None


class ReaderParam(Parameters):
    """Which stored table the party brings into the job. A party sets its own and need not know the others'."""

    own: ClassVar[frozenset[str] | None] = None

    table: TableParam | None = Field(default=None, description="The table to read.")
