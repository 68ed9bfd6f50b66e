"""What a party allows the others to ask of it: a file that its owner writes, and how a job is held against it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.modules import MODULES, module
from airflow_provider_fate.job.names import TableName, did_you_mean, short
from airflow_provider_fate.job.parameters.base import Bool, Int, Parameters, Positive, choice, validate
from airflow_provider_fate.job.party import ROLES, Party
from airflow_provider_fate.job.plain import only_keys, plain
from airflow_provider_fate.job.plain_files import read_plain
from airflow_provider_fate.job.refusals import (
    READER,
    Refusal,
    Tables,
    of_encryption,
    of_numbers,
    of_parties,
    of_table,
    tables_of,
    too_many,
)
from airflow_provider_fate.job.sources import render

if TYPE_CHECKING:
    from airflow_provider_fate.job.conf import Job

MAX_BYTES = 256 * 1024
#: what ``approval`` can list beside modules
OCCASIONS = ("train", "predict", "new_table")

_PATTERN = re.compile(r"[A-Za-z0-9_.#~+@*?!\[\]-]+")
_PARTY_ID = re.compile(r"[A-Za-z0-9]{1,32}")


# -- the file


def _table_pattern(value: str) -> str:
    namespace, slash, name = value.partition("/")
    for part in (namespace, name):
        if not slash or not _PATTERN.fullmatch(part) or ".." in part or part.startswith("."):
            raise ValueError(
                f"{short(value)} is not a pattern of tables; expected namespace/name, in which * ? and [...] stand for "
                "other characters than the slash, such as bank/customers_*"
            )
    return value


def _module_name(value: str) -> str:
    try:
        return module(value, "").name
    except ConfigError as error:
        raise ValueError(error.problem) from None


def _occasion(value: str) -> str:
    if value in OCCASIONS:
        return value
    try:
        return module(value, "").name
    except ConfigError:
        hint = did_you_mean(value, [*OCCASIONS, *MODULES])
        raise ValueError(f"{short(value)} is neither a module nor one of {', '.join(OCCASIONS)}; {hint}") from None


TablePattern = Annotated[str, Field(max_length=400), AfterValidator(_table_pattern)]
ColumnPattern = Annotated[str, Field(min_length=1, max_length=1000)]
PartyIds = list[Annotated[str, Field(pattern=r"^([A-Za-z0-9]{1,32}|\*)$")]]
Columns = dict[TablePattern, list[ColumnPattern]]


class Limits(Parameters):
    """Numbers that a job must keep to. What is not set is not limited."""

    min_rows: Positive | None = Field(default=None, description="Rows that each table of ours which is read must have.")
    min_rows_to_predict: Positive | None = Field(
        default=None, description="The same for predictions; without it min_rows counts for them too."
    )
    min_key_bits: Annotated[Int, Field(ge=1024, le=8192)] = Field(
        default=2048, description="Bits that each Paillier or Okamoto-Uchiyama key must have."
    )
    max_trees: Positive | None = Field(
        default=None, description="Rounds of trees of a component; with cross validation those of all folds together."
    )
    max_iterations: Positive | None = Field(
        default=None, description="Iterations (max_iter) or epochs of a component; all folds together."
    )
    max_partitions: Positive | None = Field(default=None, description="What computing_partitions may be.")
    max_runs_a_day: Positive | None = Field(
        default=None, description="Jobs of this party that are accepted on one day (UTC), predictions among them."
    )


class Partner(Parameters):
    """What one other party may ask for."""

    account: Annotated[str, Field(min_length=1, max_length=250)] | None = Field(
        default=None, description="The account of this Airflow by which the party starts its runs; no other may."
    )
    roles: list[choice(*ROLES)] = Field(min_length=1, description="Roles that we play in its jobs.")
    others: dict[choice(*ROLES), PartyIds] = Field(
        default={},
        description="By role, the party ids that may take part beside the initiator in its role and us; * for any.",
    )
    tables: list[TablePattern] = Field(default=[], description="Our tables that it may use: patterns namespace/name.")
    columns: Columns = Field(
        default={},
        description="By pattern of tables, patterns of the columns that may be used; tables for which nothing stands "
        "here may be used with all columns.",
    )
    hidden: Columns = Field(
        default={}, description="By pattern of tables, patterns of columns that must never be used, over columns."
    )
    modules: list[Annotated[str, AfterValidator(_module_name)]] = Field(
        min_length=1, description="Modules in which we take part. Reader needs no mention."
    )
    encryption: list[choice("BFV", "OU", "Paillier")] | None = Field(
        default=None,
        min_length=1,
        description="Methods of encryption that its trainings may use, each where a module knows it; without it, all.",
    )
    training: Bool = Field(default=True, description="Whether it may train models with us.")
    predictions: Bool = Field(default=False, description="Whether it may predict with models that it has with us.")
    limits: Limits = Field(default_factory=Limits, description="Numbers that its jobs must keep to.")
    approval: choice("always", "never") | list[Annotated[str, AfterValidator(_occasion)]] = Field(
        default="always",
        description="Which jobs need a person's approval: always, never, or a list of train, predict, new_table (a "
        "table, or columns of one, that no job of this party has used) and modules.",
    )

    def other_allowed(self, party: Party) -> bool:
        """Whether a party may take part that is neither the initiator nor one of ours."""
        return bool({party.party_id, "*"} & set(self.others.get(party.role, ())))

    def table_allowed(self, table: TableName) -> bool:
        """Whether a table may be used."""
        return any(_matches(pattern, table) for pattern in self.tables)

    def columns_refused(self, table: TableName, columns: Collection[str]) -> list[str]:
        """Those of a table's columns that must not be used."""
        named = [patterns for pattern, patterns in self.columns.items() if _matches(pattern, table)]
        allowed = [one for patterns in named for one in patterns]
        hidden = [one for pattern, patterns in self.hidden.items() if _matches(pattern, table) for one in patterns]
        return [
            column
            for column in columns
            if (named and not any(fnmatchcase(column, one) for one in allowed))
            or any(fnmatchcase(column, one) for one in hidden)
        ]

    def speaks_of_columns(self, table: TableName) -> bool:
        """Whether not all of a table's columns may be used, whatever they are."""
        return any(_matches(pattern, table) for pattern in (*self.columns, *self.hidden))


class Policy(Parameters):
    """What other parties may ask of this one. Who is not named is refused."""

    format: Literal[1] = Field(description="Version of this file's form.")
    partners: dict[str, Partner] = Field(description="By party id of the initiator.")

    @field_validator("partners", mode="after")
    @classmethod
    def _ids(cls, value: dict[str, Partner]) -> dict[str, Partner]:
        for party_id in value:
            if not _PARTY_ID.fullmatch(party_id):
                raise ValueError(f"{short(party_id)} is not a party id; expected up to 32 ASCII letters and digits")
        return value

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a policy file.

        :param path: absolute; ``.yaml``, ``.yml`` or ``.json``
        :raises ConfigError: it cannot be read, is no such file, or anything in it is wrong
        """
        return cls.parse(read_plain(path, MAX_BYTES, "policy"))

    @classmethod
    def parse(cls, value: Any) -> Policy:
        """Check a policy.

        :param value: what the file holds
        :raises ConfigError: with the full path of the first thing that is wrong, and the nearest known key
        """
        given = plain(value, "policy")
        if not isinstance(given, dict):
            raise ConfigError("policy", f"expected format and partners, got {short(given)}")
        only_keys(given, cls.model_fields, "policy")
        partners = given.get("partners")
        for party_id, partner in partners.items() if isinstance(partners, dict) else ():
            path = render("policy", ("partners", party_id))
            if isinstance(partner, dict):
                only_keys(partner, Partner.model_fields, path)
                if isinstance(partner.get("limits"), dict):
                    only_keys(partner["limits"], Limits.model_fields, f"{path}.limits")
        return validate(cls, given, partial(render, "policy"))[0]

    # -- a job held against it

    def partner(self, party: Party) -> Partner | None:
        """What a party may ask for, ``None`` where it is not named."""
        return self.partners.get(party.party_id)

    def check_asker(self, initiator: Party, me: Party, account: str | None) -> list[Refusal]:
        """Whether somebody asks in its own name who may ask at all; empty where it does.

        To be looked at before anything that is kept here, as whoever is refused by it is told nothing else.

        :param account: the account that started the run
        """
        party_id = initiator.party_id
        partner = self.partner(initiator)
        if partner is None:
            return [Refusal("initiator", f"{initiator} asks", f"{me} has no agreement with party {party_id}")]
        if partner.account in (None, account):
            return []
        return [
            Refusal(
                "initiator", f"the run was not started by the account of party {party_id}", "no other may ask in its "
                "name", f"it was started by {short(account)}, the policy says {short(partner.account)}",
            )
        ]  # fmt: skip

    def check(self, job: Job, me: Party, tables: Tables, account: str | None = None) -> list[Refusal]:
        """What a job asks for that its initiator may not have; empty where all is allowed.

        A table that is not allowed is not looked at, so that a refusal does not tell whether there is one.

        :param job: the whole job
        :param me: the part that this party is to play
        :param tables: of this party
        :param account: the account that started the run
        """
        if strangers := self.check_asker(job.initiator, me, account):
            return strangers
        partner = self.partners[job.initiator.party_id]
        refusals = list(of_parties(partner, job, me))
        for name, component in job.components.items():
            if me.role not in component.roles:
                continue
            if component.module == READER:
                refusals += of_table(partner, job, me, name, tables)
                continue
            if component.module not in partner.modules:
                refusals.append(
                    Refusal(
                        f"dsl.components.{name}.module", f"{component.module} is asked for",
                        f"allowed are {', '.join(partner.modules)}",
                    )
                )  # fmt: skip
            refusals += of_numbers(partner.limits, job, me, name)
            refusals += of_encryption(partner.encryption, job, me, name)
        most = partner.limits.max_partitions
        if most is not None and (job.partitions or 0) > most:
            refusals.append(too_many("job_parameters.common.computing_partitions", job.partitions, "partitions", most))
        return refusals

    def approval_reasons(
        self, job: Job, me: Party, tables: Tables, used: Callable[[TableName, list[str]], bool]
    ) -> list[str]:
        """Why a person must approve a job that :meth:`check` allows; empty where nobody need.

        :param used: whether a job of this initiator has used a table with these columns
        """
        partner = self.partner(job.initiator)
        if partner is None or partner.approval == "always":
            return ["every job needs approval"]
        if partner.approval == "never":
            return []
        reasons: list[str] = []
        if job.job_type in partner.approval:
            reasons.append("every training needs approval" if job.job_type == "train" else "predictions need approval")
        mine = [component for component in job.components.values() if me.role in component.roles]
        modules = dict.fromkeys(component.module for component in mine)
        reasons += [f"{name} needs approval" for name in modules if name in partner.approval]
        if "new_table" in partner.approval:
            for table in tables_of(job, me):
                meta = tables(table)
                if meta is not None and not used(table, [name for name, _ in meta.columns]):
                    reasons.append(f"table {table}, or a column of it, is used for the first time")
        return reasons


def _matches(pattern: str, table: TableName) -> bool:
    namespace, _, name = pattern.partition("/")
    return fnmatchcase(table.namespace, namespace) and fnmatchcase(table.name, name)
