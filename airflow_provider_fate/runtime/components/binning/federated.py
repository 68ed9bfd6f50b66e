"""Guest and host count the classes in a host's bins: labels go out encrypted, and their sums by bin come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from airflow_provider_fate.errors import CryptoError, ProtocolError
from airflow_provider_fate.job.parameters.additive import AdditiveEncryptParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components import public_key
from airflow_provider_fate.runtime.components.alignment import ROWS, check_same_rows, rows_value
from airflow_provider_fate.runtime.components.base import Context
from airflow_provider_fate.runtime.components.binning import counting
from airflow_provider_fate.runtime.components.binning.own import Binned
from airflow_provider_fate.runtime.components.labels import MOST_CLASSES
from airflow_provider_fate.runtime.crypto.additive import AdditiveScheme, additive, generate, public_limits
from airflow_provider_fate.runtime.data import Rows
from airflow_provider_fate.runtime.federation.checks import Bytes, DictOf, Integer, ListOf, Number, Optional_, boolean

MOST_COLUMNS = 10_000_000
#: bins of a column, that of missing values among them
MOST_BINS = 1_000_000


def _metric(value: Any) -> None:
    if value not in ("iv", "gini", "chi_square", "ks"):
        raise ValueError("expected iv, gini, chi_square or ks")


OPTIMAL = DictOf(
    {"metric": _metric, "bins": Integer(1, MOST_BINS), "least": Number(0, 1), "most": Number(0, 1), "mixture": boolean}
)
COLUMN = DictOf(
    {"place": Integer(0, MOST_COLUMNS), "bins": Integer(1, MOST_BINS), "missing": boolean, "category": boolean}
)
BINS = DictOf({"columns": ListOf(COLUMN, max_length=MOST_COLUMNS), "optimal": Optional_(OPTIMAL)})


@dataclass(frozen=True)
class HostColumn:
    """What the guest knows of a host's column.

    :param place: among the host's columns
    :param missing: whether the last bin is of missing values
    :param category: whether each value is a bin
    :param counts: whole numbers, shape (bins, classes)
    """

    place: int
    missing: bool
    category: bool
    counts: np.ndarray


class GuestCounting:
    """The guest's part. Labels go out when it is made.

    :param classes: the labels; every row has one of them
    :param totals: how many rows have each
    """

    def __init__(
        self, ctx: Context, how: AdditiveEncryptParam, rows: Rows, classes: Sequence[float], totals: np.ndarray
    ) -> None:
        self.ctx = ctx
        self._totals = totals
        federation = ctx.federation
        own = rows_value(rows)
        for host in federation.hosts:
            check_same_rows(ctx.name, host, federation.receive(host, "rows", ROWS), own)
        self._key = generate(how.method, how.key_length)
        self._layout = counting.Layout.of(self._key.public, len(classes), rows.count)
        federation.send(federation.hosts, "key", self._key.public.public)
        federation.send(federation.hosts, "classes", len(classes))
        for part, bodies in enumerate(counting.encrypted_labels(rows, self._key, self._layout, classes)):
            federation.send(federation.hosts, f"labels/{part}", bodies)

    def receive(self, host: Party) -> tuple[list[HostColumn], dict[str, Any] | None]:
        """A host's columns, and how optimal binning goes on from them where it does.

        :raises ProtocolError: what the host sent are not the sums of these labels
        """
        federation, layout = self.ctx.federation, self._layout
        said = federation.receive(host, "bins", BINS)
        columns = said["columns"]
        places = [column["place"] for column in columns]
        if len(set(places)) != len(places):
            raise ProtocolError(str(host), f"{host} names a column twice")
        sums = sum(column["bins"] for column in columns)
        bodies = federation.receive(host, "sums", _Bodies(self._key.public, layout, sums))
        try:
            counts = counting.decrypted(self._key, layout, bodies, sums)
        except CryptoError as error:
            raise ProtocolError(str(host), f"the sums from {host} cannot be decrypted: {error}") from None
        found = []
        start = 0
        for column in columns:
            part = counts[start : start + column["bins"]]
            start += column["bins"]
            if (part.sum(axis=0) != self._totals).any():
                raise ProtocolError(str(host), f"the sums from {host} are not those of all rows")
            found.append(HostColumn(column["place"], column["missing"], column["category"], part))
        return found, said["optimal"]


def count_at_host(
    ctx: Context, how: AdditiveEncryptParam, rows: Rows, columns: Sequence[Binned], optimal: dict[str, Any] | None
) -> list[Binned]:
    """A host's part, after it has said which rows it has.

    :return: the columns, with the bins that the guest put together where the method is optimal
    :raises ProtocolError: what the guest sent cannot be used
    """
    federation, guest = ctx.federation, ctx.federation.guest
    limits = public_limits(how.method, how.key_length)
    scheme = public_key.received(federation, guest, "key", limits, partial(additive, how.method))
    classes = federation.receive(guest, "classes", Integer(2, MOST_CLASSES))
    layout = counting.Layout.of(scheme, classes, rows.count)
    groups = len(layout.groups)
    bodies = [
        federation.receive(guest, f"labels/{part}", ListOf(scheme.check(count), length=groups))
        for part, count in enumerate(rows.counts)
    ]
    try:
        sums = counting.encrypted_sums(rows, columns, scheme, layout, bodies)
    except CryptoError as error:
        raise ProtocolError(str(guest), f"the labels from {guest} cannot be used: {error}") from None
    said = [
        {"place": column.place, "bins": column.bins, "missing": column.missing, "category": column.category}
        for column in columns
    ]
    federation.send(guest, "bins", {"columns": said, "optimal": optimal})
    federation.send(guest, "sums", counting.packed(scheme, layout, sums))
    if optimal is None:
        return list(columns)
    check = ListOf(Optional_(ListOf(Integer(0, MOST_BINS), max_length=MOST_BINS)), length=len(columns))
    chosen = federation.receive(guest, "chosen", check)
    return [
        column if ends is None else column.joined(_checked(guest, column, ends))
        for column, ends in zip(columns, chosen, strict=True)
    ]


def _checked(guest: Party, column: Binned, ends: list[int]) -> list[int]:
    bins = len(column.points)
    if ends != sorted(set(ends)) or ends[-1:] != ([bins - 1] if bins else []):
        raise ProtocolError(str(guest), f"{guest} put bins together that are not those of a column of {bins}")
    return ends


@dataclass(frozen=True)
class _Bodies:
    """Packed sums, a body for each group of classes."""

    scheme: AdditiveScheme
    layout: counting.Layout
    sums: int

    def __call__(self, value: Any) -> None:
        groups = self.layout.groups
        ListOf(Bytes(), length=len(groups))(value)
        for group, body in zip(groups, value, strict=True):
            self.scheme.check(self.layout.bodies(group, self.sums))(body)
