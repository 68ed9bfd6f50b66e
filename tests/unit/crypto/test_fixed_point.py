from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto.fixed_point import column_bits, fraction_bits, from_integers, to_integers

T = 1 << 53


def test_half_of_the_room_is_the_vectors() -> None:
    # 52 bits, 17 for the rows, 7 for the bound: 28 left for both factors
    assert fraction_bits(T, 1 << 17, 128, 23) == 14
    assert fraction_bits(T, 2, 128, 20) == 20
    assert fraction_bits(1 << 2048, 1 << 17, 128, 23) == 23


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(CryptoError, match="batch_size"):
        fraction_bits(T, 1 << 27, 128, 23)
    with pytest.raises(CryptoError, match="too coarse"):
        fraction_bits(T, 100, 128, 4)


def test_values_out_of_bounds_are_refused() -> None:
    assert to_integers(np.array([-64.0, 0.3]), 4, 64, "w x").tolist() == [-1024, 5]
    for bad in (64.1, np.nan, np.inf):
        with pytest.raises(CryptoError, match="diverged: w x .* scale the features .* lower the learning rate"):
            to_integers(np.array([0.0, bad]), 4, 64, "w x")


@given(
    st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1, max_size=50),
    st.integers(1, 1000),
    st.integers(10, 20),
    st.sampled_from([1e-12, 1.0, 3e5]),
)
def test_no_column_can_wrap(values: list[float], repeats: int, fraction: int, unit: float) -> None:
    """With the worst vector there is, and with no more than two bits given away."""
    column = np.repeat(np.array(values) * unit, repeats)
    largest, total = np.abs(column).max(), np.abs(column).sum()
    limit = 128 << fraction
    (bits,) = column_bits(np.array([largest]), np.array([total]), len(column), limit, T, 20)
    integers = np.rint(np.ldexp(column, int(bits)))
    worst = sum(abs(int(number)) for number in integers) * limit
    assert worst < T // 2 and np.abs(integers).max() <= 1 << 20
    if largest > 0 and bits < 52:
        finer = np.rint(np.ldexp(column, int(bits) + 2))
        assert sum(abs(int(number)) for number in finer) * limit >= T // 2 or np.abs(finer).max() > 1 << 20


def test_there_and_back() -> None:
    numbers = from_integers([3, -(1 << 80)], np.array([1, 79]))
    assert numbers.tolist() == [1.5, -2.0]


def test_numbers_beyond_all_floats_are_refused() -> None:
    """As a Paillier number can be, of a party that does not keep to the protocol."""
    for number, scale in ((1 << 1022, 0), (-(1 << 1000), -22), (1 << 1022, 60)):
        assert np.isfinite(from_integers([number], np.array([scale]))).all()
    for number, scale in ((1 << 1024, 0), (-(1 << 2040), 1040), (1 << 1000, -30), (1 << 1023, 0)):
        with pytest.raises(CryptoError, match="far more than sums have"):
            from_integers([1, number], np.array([0, scale]))
