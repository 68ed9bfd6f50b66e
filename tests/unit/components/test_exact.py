"""Sums that do not depend on the order or the partitions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_fate.runtime.components.exact import as_float, exact_sums, inner_products

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20), st.integers(0, 20))
def test_sums_are_those_of_the_numbers_themselves(pairs: list[tuple[float, float]], cut: int) -> None:
    values = np.array(pairs, float).reshape(len(pairs), 2)
    expected = [float(sum(map(Fraction, column), Fraction(0))) for column in values.T.tolist()]
    assert list(map(as_float, exact_sums(values))) == expected
    parts = [exact_sums(part) for part in (values[:cut], values[cut:])]
    assert [sum(pair) for pair in zip(*parts, strict=True)] == exact_sums(values)


def test_many_rows_and_the_smallest_numbers() -> None:
    values = np.full((100_001, 1), 5e-324)
    values[::2] = -1e16 / 3
    (total,) = exact_sums(values)
    assert as_float(total) == float(50_001 * Fraction(-1e16 / 3) + 50_000 * Fraction(5e-324))


@pytest.mark.parametrize("columns", [1, 5, 20, 37])
def test_a_row_s_inner_product_does_not_depend_on_the_other_rows(columns: int) -> None:
    random = np.random.default_rng(columns)
    x, weights = random.normal(size=(501, columns)), random.normal(size=columns)
    whole = inner_products(x, weights)
    assert np.allclose(whole, x @ weights)
    for parts in (7, 501):
        cut = [inner_products(part, weights) for part in np.array_split(np.asfortranarray(x), parts)]
        assert np.array_equal(np.concatenate(cut), whole)
