"""What a job asks for and a party's policy does not allow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel

from airflow_provider_fate.errors import PolicyError
from airflow_provider_fate.job.names import TableName
from airflow_provider_fate.job.parameters.linear import EncryptParam
from airflow_provider_fate.job.party import Party

if TYPE_CHECKING:
    from airflow_provider_fate.job.conf import Job
    from airflow_provider_fate.job.policy import Limits, Partner

READER = "Reader"
_ITERATIONS = ("max_iter", "epochs")
_TREES = ("num_trees",)
#: schemes whose strength follows from ``key_length``; BFV's is fixed, above that of a Paillier key of 2048 bits
_BY_KEY_LENGTH = ("Paillier", "OU")


class Table(Protocol):
    """What is known of a table without reading it, as ``TableMeta`` of the storage has it."""

    id_name: str
    columns: list[tuple[str, str]]
    count: int
    kind: str


#: The description of a table, ``None`` where there is no such table.
Tables = Callable[[TableName], Table | None]


@dataclass(frozen=True)
class Refusal:
    """One thing that a job asks for and the policy does not allow.

    :param path: where the job asks for it
    :param asked: what it asks for
    :param allowed: what would be allowed
    :param own: what only this party may know, for its log
    """

    path: str
    asked: str
    allowed: str
    own: str = ""

    def __str__(self) -> str:
        """One sentence, fit for the initiator."""
        return f"{self.path}: {self.asked}; {self.allowed}"

    @property
    def in_full(self) -> str:
        """The same for this party's log."""
        return f"{self} ({self.own})" if self.own else str(self)


def refused(refusals: Collection[Refusal]) -> PolicyError:
    """The error that these refusals are."""
    return PolicyError([str(one) for one in refusals], [one.in_full for one in refusals])


def tables_of(job: Job, me: Party) -> list[TableName]:
    """The tables that a job reads at a party."""
    readers = [name for name in job.readers if me.role in job.components[name].roles]
    named = [job.reader_table(name, me) for name in readers]
    return list(dict.fromkeys(table for table in named if table is not None))


def too_many(path: str, asked: int, what: str, most: int) -> Refusal:
    """More is asked for than is allowed."""
    return Refusal(path, f"{asked} {what} are asked for", f"at most {most} are allowed")


def of_parties(partner: Partner, job: Job, me: Party) -> Iterator[Refusal]:
    """Who is to take part, as what, and in which kind of job."""
    if me.role not in partner.roles:
        yield Refusal("party", f"{me.party_id} is to be {me.role}", f"allowed is {' or '.join(partner.roles)}")
    for party in job.parties:
        if party != job.initiator and party.party_id != me.party_id and not partner.other_allowed(party):
            allowed = ", ".join(partner.others.get(party.role, ())) or "none"
            yield Refusal(f"role.{party.role}", f"{party} is to take part", f"allowed beside you and us: {allowed}")
    if job.job_type == "train" and not partner.training:
        yield Refusal("kind", "a training is asked for", "trainings are not allowed")
    if job.job_type == "predict" and not partner.predictions:
        yield Refusal("kind", "a prediction is asked for", "predictions are not allowed")


def of_table(partner: Partner, job: Job, me: Party, reader: str, tables: Tables) -> Iterator[Refusal]:
    """The table that a Reader is to read. One that is not allowed is not looked at."""
    path = job.where(reader, me, ("table",))
    party_id = job.initiator.party_id
    table = job.reader_table(reader, me)
    if table is None:
        yield Refusal(path, f"no table is named for {me}", f"expected one that party {party_id} may use")
        return
    if not partner.table_allowed(table):
        yield Refusal(path, f"{table} is asked for", f"party {party_id} may not use a table of this name")
        return
    meta = tables(table)
    if meta is None:
        yield Refusal(path, f"{table} is asked for", "there is no such table")
        return
    fewest = partner.limits.min_rows
    if job.job_type == "predict" and partner.limits.min_rows_to_predict is not None:
        fewest = partner.limits.min_rows_to_predict
    if fewest is not None and meta.count < fewest:
        yield Refusal(
            path, f"{table} has too few rows", f"at least {fewest} are needed", f"there are {meta.count}"
        )  # fmt: skip
    if meta.kind == "lines":
        if partner.speaks_of_columns(table):
            yield Refusal(
                path, f"{table} holds lines, whose columns are not known before they are read",
                "only a table with columns of its own is allowed",
            )  # fmt: skip
        return
    wrong = partner.columns_refused(table, [name for name, _ in meta.columns if name != meta.id_name])
    if wrong:
        count = "1 column that party" if len(wrong) == 1 else f"{len(wrong)} columns that party"
        yield Refusal(
            path, f"{table} has {count} {party_id} may not use", "a job reads all columns of its table",
            f"they are {', '.join(wrong)}",
        )  # fmt: skip


def of_numbers(limits: Limits, job: Job, me: Party, name: str) -> Iterator[Refusal]:
    """The parameters of a component: keys, trees, iterations."""
    parameters = job.parameters(name, me)
    for loc, group in _groups(parameters):
        if isinstance(group, EncryptParam) and getattr(group, "method", None) in _BY_KEY_LENGTH:
            bits = group.key_length
            if bits < limits.min_key_bits:
                yield Refusal(
                    job.where(name, me, (*loc, "key_length")), f"keys of {bits} bits are asked for",
                    f"at least {limits.min_key_bits} bits are needed",
                )  # fmt: skip
    if job.components[name].mode == "predict":
        return
    cross = getattr(parameters, "cv_param", None)
    folds = cross.n_splits if cross is not None and cross.need_cv else 1
    for keys, what, most in ((_TREES, "trees", limits.max_trees), (_ITERATIONS, "iterations", limits.max_iterations)):
        for key in keys:
            asked = getattr(parameters, key, None)
            if most is not None and isinstance(asked, int) and asked * folds > most:
                yield too_many(job.where(name, me, (key,)), asked * folds, what, most)


def of_encryption(allowed: list[str] | None, job: Job, me: Party, name: str) -> Iterator[Refusal]:
    """The methods of encryption of a component."""
    if allowed is None or job.components[name].mode == "predict":  # in which nothing is computed with
        return
    for loc, group in _groups(job.parameters(name, me)):
        if isinstance(group, EncryptParam) and group.method not in allowed:
            yield Refusal(
                job.where(name, me, (*loc, "method")), f"encryption with {group.method} is asked for",
                f"allowed is {', '.join(allowed)}",
            )  # fmt: skip


def _groups(parameters: BaseModel, loc: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], BaseModel]]:
    """A component's parameters, and the groups in them, by their place."""
    yield loc, parameters
    for key in type(parameters).model_fields:
        value = getattr(parameters, key)
        if isinstance(value, BaseModel):
            yield from _groups(value, (*loc, key))
