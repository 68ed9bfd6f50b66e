"""Which rows and columns a tree is made of. All follows from the job's seed, so the same job gives the same trees."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.data import Block, Rows


def columns_of_tree(number: int, rate: float, seed: int, party: Party, round_: int, class_: int) -> list[int]:
    """A party's own columns that one tree may use, ascending; at least one of ``number``, where there is one."""
    if rate >= 1.0 or not number:
        return list(range(number))
    text = hashlib.sha256(str(party).encode()).digest()
    generator = np.random.default_rng([abs(seed), round_, class_, int.from_bytes(text[:8], "little")])
    return np.sort(generator.choice(number, max(1, int(rate * number)), replace=False)).tolist()


def private_seed(seed: int, y: np.ndarray, rows: Rows) -> list[int]:
    """A seed that the labels' owner alone knows, the same for the same job on the same data.

    Hosts learn which rows are in a tree. With a seed that they know as well they could tell the rows that were drawn
    from those that have the largest gradients; and with one that follows from the labels alone, whether labels that
    they guess are right. So all values of the owner's columns count, which nobody else can guess.

    :param rows: the owner's, however they are spread over partitions
    """
    values = sum(rows.map(_digests)) % (1 << 256)
    labels = np.ascontiguousarray(y, "<f8").tobytes()
    digest = hashlib.sha256(abs(seed).to_bytes(16, "little") + values.to_bytes(32, "little") + labels).digest()
    return [int.from_bytes(digest[start : start + 8], "little") for start in range(0, 32, 8)]


def _digests(block: Block, _: Any) -> int:
    """The sum of the digests of a block's rows."""
    values = np.ascontiguousarray(block.x, "<f8")
    return sum(int.from_bytes(hashlib.sha256(row.tobytes()).digest(), "little") for row in values)


def one_side(
    g: np.ndarray, top_rate: float, other_rate: float, seed: list[int], round_: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient-based one-side sampling (G. Ke et al., LightGBM, 2017, algorithm 2).

    :param g: first derivatives, shape (rows, columns)
    :param top_rate: share of rows with the largest absolute derivatives, which are all in
    :param other_rate: share of all rows, drawn from the others
    :return: whether each row is in, and what its derivatives are multiplied by
    :raises ConfigError: a share comes to no row
    """
    rows = len(g)
    top, other = int(rows * top_rate), int(rows * other_rate)
    if not top or not other:
        raise ConfigError("run_goss", f"top_rate and other_rate of {rows} rows are {top} and {other} rows; raise them")
    order = np.argsort(-np.abs(g).sum(axis=1), kind="stable")
    rest = np.sort(order[top:])
    drawn = np.random.default_rng([*seed, round_]).choice(rest, other, replace=False)
    sampled = np.zeros(rows, bool)
    sampled[order[:top]] = True
    sampled[drawn] = True
    factor = np.ones(rows)
    factor[drawn] = (1.0 - top_rate) / other_rate
    return sampled, factor
