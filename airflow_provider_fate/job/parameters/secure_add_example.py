"""SecureAddExample: guest and host add up their tables without showing them, to see that everything works."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from airflow_provider_fate.job.parameters.base import Int, Parameters


class SecureAddExampleParam(Parameters):
    """Guest and host each make a table of ones and learn the sum of both, and nothing else."""

    own: ClassVar[frozenset[str] | None] = frozenset({"seed"})

    seed: Int | None = Field(
        default=None,
        description="FATE's parameter, which FATE accepts and never uses. Shares that hide a value must not be "
        "predictable, so it does not seed them here either.",
    )
    partition: Annotated[Int, Field(ge=1, le=100_000)] = Field(
        default=1, description="Number of partitions of the table that each party makes."
    )
    data_num: Annotated[Int, Field(ge=1, le=1 << 29)] = Field(
        default=1000, description="Rows of the table that each party makes; the sum must be twice this number."
    )
