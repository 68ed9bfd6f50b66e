"""What runs where the rows are: on Spark's executors, or in the driver for few rows.

All state is in the arguments, and in the key, which travels once to each process. What is costly to make again (the
columns encoded for inner products) is kept in a small cache of the process; a miss makes it again, so no result depends
on it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.components.alignment import digest_of
from airflow_provider_fate.runtime.components.exact import exact_sums, inner_products
from airflow_provider_fate.runtime.components.linear.links import Link
from airflow_provider_fate.runtime.crypto.fixed_point import to_integers
from airflow_provider_fate.runtime.crypto.scheme import Slots, VectorScheme, scheme
from airflow_provider_fate.runtime.data import Block, Constant, Rows

#: bytes of encoded columns that one executor keeps; Spark gives a partition to any of its Python workers, so each of
#: them comes to keep its share of the bytes of all partitions
CACHE_BYTES = 256 << 20


class BodyError(CryptoError):
    """Encrypted bytes from a peer are not what they should be."""


@dataclass(frozen=True)
class Failed:
    """A :class:`CryptoError` in a task: given back as a value, so that it reaches the driver without Spark's retries
    and stack traces.

    :param peer: whether what a peer sent is the reason
    """

    problem: str
    peer: bool


@dataclass(frozen=True)
class Measured:
    """What the driver needs to know of a partition.

    :param largest: largest absolute value of each column; NaN or infinity where one is in it
    :param sums: sum of absolute values of each column
    :param ids: digest of the ids in their order
    :param labels: distinct labels, at most 1001 of them
    :param largest_label: largest absolute value of a label; NaN or infinity where one is among them
    """

    largest: np.ndarray
    sums: np.ndarray
    ids: bytes
    labels: np.ndarray
    largest_label: float


@dataclass(frozen=True)
class Portion:
    """One partition's part of a batch, for one weight vector.

    :param rows: places of the rows, ``None`` for all
    :param weights: one a feature, then the intercept where there is one
    :param intercept: whether there is one
    :param positive: the label that counts as 1 where all others count as -1; ``None`` takes labels as they are
    """

    link: type[Link] | None
    rows: np.ndarray | None
    weights: np.ndarray
    intercept: bool
    positive: float | None = None

    def x(self, block: Block) -> np.ndarray:
        return block.x if self.rows is None else block.x[self.rows]

    def y(self, block: Block) -> np.ndarray:
        labels = block.y if self.rows is None else block.y[self.rows]
        return labels if self.positive is None else np.where(labels == self.positive, 1.0, -1.0)

    def wx(self, block: Block) -> np.ndarray:
        if not self.intercept:
            return inner_products(self.x(block), self.weights)
        return inner_products(self.x(block), self.weights[:-1]) + self.weights[-1]


@dataclass(frozen=True)
class Key:
    """The public key of a training, as tasks get it: the first argument of each, a :class:`Constant`.

    :param cache_bytes: of encoded columns that each process keeps
    """

    method: str
    public: bytes
    cache_bytes: int

    @property
    def cipher(self) -> VectorScheme:
        return scheme(self.method, self.public)


@dataclass(frozen=True)
class ShareArgument:
    """For :func:`share` and :func:`host_loss`.

    :param bits: fraction bits of shares
    :param bound: what shares stay within, or training has diverged
    :param others: the hosts' encrypted shares, at the guest; ``None`` at a host
    :param slots: at the guest of one host, of all columns of the batch, the loss as the last; ``None`` without a loss
    :param loss_bits: scale of the loss vector
    """

    portion: Portion
    bits: int
    bound: int
    others: Sequence[Any] | None
    slots: Slots | None = None
    loss_bits: int = 0


@dataclass(frozen=True)
class Shared:
    """What :func:`share` gives.

    :param vector: the encrypted share (at the guest: the residuals)
    :param loss: this party's own part of the loss, summed over rows (see :mod:`..exact`)
    """

    vector: Any
    loss: int


@dataclass(frozen=True)
class ProductsArgument:
    """For :func:`products`.

    :param slots: of all columns of the batch
    :param bits: scale of each column (and of the intercept's)
    :param cache_key: under which the encoded columns are kept; ``None`` not to keep them
    :param residual: the encrypted residuals of these rows
    """

    portion: Portion
    slots: Slots
    bits: np.ndarray
    cache_key: tuple[Any, ...] | None
    residual: Any = None


def run(rows: Rows, function: Callable[[Block, Any], Any], arguments: Sequence[Any]) -> list[Any]:
    """``rows.map``, with the tasks' :class:`CryptoError` raised here."""
    results = rows.map(function, arguments)
    for result in results:
        if isinstance(result, Failed):
            raise (BodyError if result.peer else CryptoError)(result.problem)
    return results


def measure(block: Block, _: Any) -> Measured:
    """Extent of the columns, digest of the ids, labels."""
    size = np.abs(block.x)
    return Measured(
        size.max(axis=0, initial=0.0),
        size.sum(axis=0),
        digest_of(block),
        np.empty(0) if block.y is None else np.unique(block.y)[:1001],
        0.0 if block.y is None else float(np.abs(block.y).max(initial=0.0)),
    )


def share(key: Constant, block: Block, argument: ShareArgument) -> Shared | Failed:
    """This party's share of the residuals, encrypted (at the guest: added to the hosts'), and its own loss."""
    portion = argument.portion
    link, wx = portion.link, portion.wx(block)
    try:
        if argument.others is None:
            values, losses = link.host_share(wx), link.host_loss(wx)
        else:
            y = portion.y(block)
            values, losses = link.guest_share(wx, y), link.guest_loss(wx, y)
        integers = to_integers(values, argument.bits, argument.bound, "a row's part of the residual")
    except CryptoError as error:
        return Failed(str(error), peer=False)
    try:
        return Shared(key.value.cipher.combine(argument.others or [], integers), exact_sums(losses[:, None])[0])
    except CryptoError as error:
        return Failed(str(error), peer=True)


def host_loss(key: Constant, block: Block, argument: ShareArgument) -> list[Any] | Failed:
    """At the guest of one host: the product of the host's share and the loss vector, encrypted, in the last slot."""
    portion, slots, others = argument.portion, argument.slots, argument.others
    if slots is None or not others:
        raise ValueError("the loss needs one host's share and a slot")
    link, wx = portion.link, portion.wx(block)
    try:
        values, bound = link.loss_vector(wx, portion.y(block)), link.vector_bound(argument.bound)
        vector = to_integers(values, argument.loss_bits, bound, "a row's part of the loss")
    except CryptoError as error:
        return Failed(str(error), peer=False)
    cipher = key.value.cipher
    try:
        return cipher.products(others[0], cipher.encode(vector[:, None], slots, slots.columns - 1), slots)
    except CryptoError as error:
        return Failed(str(error), peer=True)


def products(key: Constant, block: Block, argument: ProductsArgument) -> list[Any] | Failed:
    """Encrypted inner products of this party's columns with the residuals."""
    cipher = key.value.cipher
    columns = None if argument.cache_key is None else _cache.get(argument.cache_key)
    if columns is None:
        columns = cipher.encode(_integer_columns(argument.portion, block, argument.bits), argument.slots)
        if argument.cache_key is not None:
            _cache.put(argument.cache_key, columns, cipher.encoded_size(columns), key.value.cache_bytes)
    try:
        return cipher.products(argument.residual, columns, argument.slots)
    except CryptoError as error:
        return Failed(str(error), peer=True)


def guest(
    key: Constant, block: Block, argument: tuple[ShareArgument, ProductsArgument | None]
) -> tuple[Shared, list[Any] | None, list[Any] | None] | Failed:
    """All that the guest does in a batch, for one round trip to the executors: :func:`share`, then :func:`host_loss`
    where there is a slot for it, and :func:`products` where there is an argument for them."""
    ours, theirs = argument
    shared = share(key, block, ours)
    if isinstance(shared, Failed):
        return shared
    loss = None if ours.slots is None else host_loss(key, block, ours)
    found = None if theirs is None else products(key, block, replace(theirs, residual=shared.vector))
    for part in (loss, found):
        if isinstance(part, Failed):
            return part
    return shared, loss, found


def blinds(key: Constant, count: int) -> list[Any]:
    """So many fresh blinds, by one of the engine's workers."""
    return key.value.cipher.blinds(count)


def finish(key: Constant, parts: Sequence[tuple[Sequence[Any], Any]]) -> list[bytes]:
    """Some of the parts, summed and masked, by one of the engine's workers."""
    cipher = key.value.cipher
    return [cipher.finish(partials, blind) for partials, blind in parts]


def _integer_columns(portion: Portion, block: Block, bits: np.ndarray) -> np.ndarray:
    x = portion.x(block)
    if portion.intercept:
        x = np.column_stack([x, np.ones(len(x))])
    return np.rint(np.ldexp(x, bits[None, :])).astype(np.int64)


class _Cache:
    """Least recently used first out, by bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> Any:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: tuple[Any, ...], value: Any, size: int, limit: int) -> None:
        with self._lock:
            if size > limit or key in self._kept:
                return
            self._kept[key] = (value, size)
            self._bytes += size
            while self._bytes > limit:
                self._bytes -= self._kept.popitem(last=False)[1][1]

    def drop(self, token: str) -> None:
        """Forget what one training kept."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == token]:
                self._bytes -= self._kept.pop(key)[1]


_cache = _Cache()


def forget(token: str) -> None:
    """Free what a training kept in this process."""
    _cache.drop(token)
