"""What runs where the rows are when a model's mean is a product of a factor of each party; see :mod:`.tasks`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.components.exact import exact_sums
from airflow_provider_fate.runtime.components.linear.tasks import Failed, Portion
from airflow_provider_fate.runtime.crypto.fixed_point import DIVERGED, to_integers
from airflow_provider_fate.runtime.crypto.scheme import Slots
from airflow_provider_fate.runtime.data import Block, Constant


@dataclass(frozen=True)
class Part:
    """One partition's part of a batch.

    :param offset: at the guest, what is added to each row's logarithm of the mean; of all rows of the partition
    """

    portion: Portion
    offset: np.ndarray | None = None

    def columns(self, block: Block) -> np.ndarray:
        """This party's columns, one a weight; float64, shape (rows, weights)."""
        x = self.portion.x(block)
        return np.column_stack([x, np.ones(len(x))]) if self.portion.intercept else x

    def sums(self, block: Block) -> np.ndarray:
        """This party's part of the logarithm of the mean; shape (rows,)."""
        wx = self.portion.wx(block)
        if self.offset is None:
            return wx
        return wx + (self.offset if self.portion.rows is None else self.offset[self.portion.rows])


@dataclass(frozen=True)
class FactorArgument:
    """For :func:`factor`.

    :param bits: fraction bits of what is encrypted
    :param bound: what it stays within, or training has diverged
    :param guest: whether this is the guest, which has the labels
    :param loss: whether the loss is computed
    :param constant: what the host adds to each row's loss
    """

    part: Part
    bits: int
    bound: int
    guest: bool
    loss: bool
    constant: float = 0.0


@dataclass(frozen=True)
class Factored:
    """What :func:`factor` gives.

    :param vectors: encrypted; of the guest: its factor, its labels; of the host: its factor and, for the loss, its
        part of the logarithm of the mean, and the constant
    :param sums: per encoded column the sum of absolute values: those of ``columns`` times the factor, then, at the
        guest, the factor and the labels, at the host its columns as they are
    :param largest: of the same columns, the largest absolute value
    :param known: at the guest, the inner products of its columns with the labels, then that of its part of the
        logarithm of the mean with them (see :mod:`..exact`)
    """

    vectors: list[Any]
    sums: np.ndarray
    largest: np.ndarray
    known: list[int]


@dataclass(frozen=True)
class WeightedArgument:
    """For :func:`weighted_products`.

    :param bits: scale of each column of the batch, the loss as the last at the guest with a loss
    :param vectors: the other party's encrypted vectors of these rows
    """

    part: Part
    guest: bool
    slots: Slots
    bits: np.ndarray
    vectors: Sequence[Any]


def factor(key: Constant, block: Block, argument: FactorArgument) -> Factored | Failed:
    """This party's factor of the mean and what else the other needs, encrypted."""
    part = argument.part
    columns, wx = part.columns(block), part.sums(block)
    with np.errstate(over="ignore"):  # what overflows is beyond the bound
        mean = np.exp(wx)
    y = part.portion.y(block) if argument.guest else np.empty(0)
    plain = [mean, y] if argument.guest else [mean]
    if argument.loss and not argument.guest:
        plain += [wx, np.full(len(wx), argument.constant)]
    try:
        integers = [to_integers(v, argument.bits, argument.bound, "a row's factor of the mean") for v in plain]
    except CryptoError as error:
        return Failed(str(error), peer=False)
    if not np.isfinite(wx).all():  # of which exp made 0
        return Failed(f"diverged: a row's logarithm of the mean is beyond all numbers; {DIVERGED}", peer=False)
    cipher = key.value.cipher
    beside = np.column_stack([mean, y]) if argument.guest else columns
    encoded = np.abs(np.hstack([columns * mean[:, None], beside]))
    known = exact_sums(np.column_stack([columns, wx]) * y[:, None]) if argument.guest else []
    return Factored(
        [cipher.combine([], v) for v in integers], encoded.sum(axis=0), encoded.max(axis=0, initial=0.0), known
    )


def weighted_products(key: Constant, block: Block, argument: WeightedArgument) -> list[list[Any]] | Failed:
    """Encrypted inner products with the other party's vectors, as lists of partial results that are added.

    Of the guest: its columns times its factor, with the host's factor; and, for the loss in the last slot, its factor
    with the host's, less the labels with the host's part of the logarithm of the mean, and the host's constants.
    Of the host: its columns times its factor, with the guest's, less its columns with the labels.
    """
    part, slots, cipher = argument.part, argument.slots, key.value.cipher
    columns, mean = part.columns(block), np.exp(part.sums(block))
    weighted = columns * mean[:, None]
    if not argument.guest:
        pairs = [(weighted, 0), (-columns, 0)]
    elif len(argument.vectors) == 1:
        pairs = [(weighted, 0)]
    else:
        last = slots.columns - 1
        ones = np.ones((len(mean), 1))
        pairs = [(np.column_stack([weighted, mean]), 0), (-part.portion.y(block)[:, None], last), (ones, last)]
    try:
        found = []
        for vector, (values, first) in zip(argument.vectors, pairs, strict=True):
            bits = argument.bits[first : first + values.shape[1]]
            integers = np.rint(np.ldexp(values, bits[None, :])).astype(np.int64)
            found.append(cipher.products(vector, cipher.encode(integers, slots, first), slots))
        return found
    except CryptoError as error:
        return Failed(str(error), peer=True)
