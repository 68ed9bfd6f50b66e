"""Counts of each class in each bin of a host, from labels that only the guest can decrypt.

A row's plaintext has a field for each class, ``width`` bits wide, with a 1 in that of the row's class; the sum over a
bin holds the bin's counts side by side. ``width`` is enough for the number of all rows, so nothing carries over.
Classes that do not fit into one plaintext take further ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.components.binning.own import Binned
from airflow_provider_fate.runtime.components.binning.quantiles import places
from airflow_provider_fate.runtime.crypto.additive import AdditiveScheme, AdditiveSecretKey, additive
from airflow_provider_fate.runtime.data import Block, Rows


@dataclass(frozen=True)
class Layout:
    """Where the count of a class stands.

    :param classes: how many there are
    :param width: bits of a field
    :param plain_bits: of a plaintext
    """

    classes: int
    width: int
    plain_bits: int

    @classmethod
    def of(cls, scheme: AdditiveScheme, classes: int, rows: int) -> Layout:
        return cls(classes, max(rows, 1).bit_length(), scheme.plain_bits)

    @property
    def groups(self) -> list[range]:
        """The classes that stand in one plaintext, for each that a row has."""
        fit = self.plain_bits // self.width
        return [range(start, min(start + fit, self.classes)) for start in range(0, self.classes, fit)]

    def values(self, group: range, classes: np.ndarray) -> list[int]:
        """Plaintexts of rows, from the number of each row's class."""
        known = [1 << (self.width * (number - group.start)) if number in group else 0 for number in range(self.classes)]
        return [known[number] for number in classes.tolist()]

    def bits(self, group: range) -> int:
        """Bits of a sum."""
        return self.width * len(group)

    def bodies(self, group: range, sums: int) -> int:
        """Ciphertexts of ``sums`` packed sums."""
        return -(-sums // (self.plain_bits // self.bits(group)))

    def counts(self, sums: Sequence[Sequence[int]]) -> np.ndarray:
        """Whole numbers of shape (sums, classes), from the sums of each group."""
        mask = (1 << self.width) - 1
        return np.array(
            [
                [value >> (self.width * place) & mask for group, value in zip(self.groups, row, strict=True)
                 for place in range(len(group))]
                for row in zip(*sums, strict=True)
            ],
            np.int64,
        ).reshape(-1, self.classes)  # fmt: skip


def encrypted_labels(rows: Rows, key: AdditiveSecretKey, layout: Layout, labels: Sequence[float]) -> list[list[bytes]]:
    """Of each partition a body for each group of classes.

    :param labels: by number of the class; every row has one of them
    """
    return rows.map(_Encrypt(key, layout, tuple(labels)))


def encrypted_sums(
    rows: Rows, columns: Sequence[Binned], scheme: AdditiveScheme, layout: Layout, bodies: Sequence[Sequence[bytes]]
) -> list[list[Any]]:
    """Encrypted counts of all bins, column by column, for each group of classes.

    :param bodies: what :func:`encrypted_labels` gave
    :raises CryptoError: a body is not as it must be
    """
    add = _Add(tuple(columns), scheme.name, scheme.public)
    parts = rows.map(add, [list(body) for body in bodies])
    for part in parts:
        if isinstance(part, str):
            raise CryptoError(part)
    return [reduce(scheme.add, [part[at] for part in parts]) for at in range(len(layout.groups))]


def packed(scheme: AdditiveScheme, layout: Layout, sums: Sequence[Sequence[Any]]) -> list[bytes]:
    """A body for each group of classes, under fresh randomness."""
    return [scheme.pack(values, layout.bits(group)) for group, values in zip(layout.groups, sums, strict=True)]


def decrypted(key: AdditiveSecretKey, layout: Layout, bodies: Sequence[bytes], sums: int) -> np.ndarray:
    """Whole numbers of shape (sums, classes).

    :raises CryptoError: a body holds no such numbers
    """
    groups = zip(layout.groups, bodies, strict=True)
    return layout.counts([key.unpack(body, sums, layout.bits(group)) for group, body in groups])


# -- what runs on the executors ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Encrypt:
    key: AdditiveSecretKey
    layout: Layout
    labels: tuple[float, ...]

    def __call__(self, block: Block, _: Any) -> list[bytes]:
        order = np.argsort(self.labels)
        classes = order[np.searchsorted(np.array(self.labels)[order], block.y)]
        return [self.key.encrypt(self.layout.values(group, classes)) for group in self.layout.groups]


@dataclass(frozen=True)
class _Add:
    columns: tuple[Binned, ...]
    method: str
    public: bytes

    def __call__(self, block: Block, bodies: list[bytes]) -> list[list[Any]] | str:
        scheme = additive(self.method, self.public)
        found = places(block.x[:, [column.place for column in self.columns]], [c.points for c in self.columns])
        bins = [column.bins for column in self.columns]
        try:
            return [scheme.histogram(body, found, bins) for body in bodies]
        except CryptoError as error:
            return str(error)
