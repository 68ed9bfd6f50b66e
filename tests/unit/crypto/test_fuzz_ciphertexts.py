"""Ciphertexts, keys and points that no honest party makes: a CryptoError, or a number; never a crash."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import gmpy2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto import additive, curve25519
from airflow_provider_fate.runtime.crypto import scheme as vectors
from airflow_provider_fate.runtime.crypto.scheme import Slots
from tests.fuzzing import cases, times
from tests.watching import printed, watched

ROOT = Path(__file__).parents[3]
SECONDS, MEBIBYTES = 5.0, 64.0
BITS = 1024


def test_bytes_for_native_code(seed: int = 1) -> None:
    """SEAL ends no process, and takes no more memory than a ciphertext needs, whatever it reads."""
    command = [sys.executable, "-m", "tests.unit.crypto.native_cases", str(seed), str(250 * times())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300 * times())
    last = "\n".join(done.stdout.splitlines()[-3:])
    assert done.returncode == 0, f"{done.returncode} after\n{last}\n{done.stderr[-2000:]}"
    print(last)
    for what in ("key", "part", "vector"):
        assert f"{what} refused" in last


@lru_cache(maxsize=2)
def additive_key(method: str) -> Any:
    return additive.generate(method, BITS)


@lru_cache(maxsize=1)
def paillier() -> Any:
    return vectors.generate("Paillier", BITS)


def numbers(modulus: int, square: int) -> st.SearchStrategy[int]:
    """Ciphertexts at the edges of what they can be, and beyond."""
    edges = [0, 1, 2, modulus - 1, modulus, modulus + 1, 2 * modulus, square - 1, square, square + 1, (1 << 4096) - 1]
    return st.sampled_from(edges) | st.integers(0, square + 10)


def body(drawn: list[int], size: int) -> bytes:
    return b"".join((number % (1 << (8 * size))).to_bytes(size, "little") for number in drawn)


@pytest.mark.parametrize("method", additive.METHODS)
def test_ciphertexts_that_are_added(method: str) -> None:
    key = additive_key(method)
    public = key.public
    modulus = int(getattr(public, "n", 0) or gmpy2.mpz(int.from_bytes(public.public[: BITS // 8], "little")))

    @cases(150)
    @given(st.lists(numbers(modulus, modulus * modulus), min_size=1, max_size=5), st.binary(max_size=3), st.data())
    def played(drawn: list[int], rest: bytes, draw: st.DataObject) -> None:
        mixed = body(drawn, public.size) + rest
        bins = np.array([[draw.draw(st.integers(0, 1))] for _ in drawn], np.uint8)
        with watched(SECONDS, MEBIBYTES):
            for use in (
                lambda: key.decrypt(mixed),
                lambda: key.unpack(mixed, len(drawn), public.plain_bits),
                lambda: public.pack(public.histogram(mixed, bins, [2]), public.plain_bits),
            ):
                try:
                    use()
                except CryptoError as error:
                    printed(error)

    played()


def test_ciphertexts_of_vectors() -> None:
    key = paillier()
    public = key.public
    n = int(public.n)

    @cases(150)
    @given(st.lists(numbers(n, n * n), min_size=1, max_size=4), st.binary(max_size=3))
    def played(drawn: list[int], rest: bytes) -> None:
        mixed = body(drawn, BITS // 4) + rest
        count = len(drawn)
        slots = Slots(2, count)
        columns = np.arange(2 * count, dtype=np.int64).reshape(count, 2) - 1
        with watched(SECONDS, MEBIBYTES):
            for use in (
                lambda: public.combine([public.read(mixed)], np.arange(count)),
                lambda: public.products(public.read(mixed), public.encode(columns, slots), slots),
                lambda: key.decrypt([mixed], Slots(1, count)),
                lambda: key.decrypt([mixed[at : at + BITS // 4] for at in range(0, len(mixed), BITS // 4)], slots),
            ):
                try:
                    use()
                except CryptoError as error:
                    printed(error)

    played()


@pytest.mark.parametrize("name", ["OU", "Paillier", "Paillier vectors", "BFV"])
def test_public_keys(name: str) -> None:
    """As they come, and made of numbers that are none: even, prime, square, small, of no length that is accepted."""
    if name in additive.METHODS:
        good, read = additive_key(name).public.public, lambda key: additive.additive(name, key)
    else:
        method = name.split()[0]
        good = vectors.generate(method, BITS if method == "Paillier" else None).public.public
        read = lambda key: vectors.scheme(method, key)  # noqa: E731
    prime = int(gmpy2.next_prime(1 << (BITS - 1)))
    small = int(gmpy2.next_prime(1 << (BITS // 2 - 1)))
    moduli = st.sampled_from(
        [0, 1, 2, 3, (1 << BITS) - 1, 1 << (BITS - 1), prime, small * small, small * small + 2, 3 * (prime // 3 | 1)]
    )
    size = BITS // 8
    parts = len(good) // size

    @cases(80)
    @given(
        st.tuples(moduli, moduli | st.integers(0, (1 << (2 * BITS)) - 1))
        | st.tuples(st.integers(0, 2 * len(good)), st.integers(0, 255))
    )
    def played(drawn: tuple[int, int]) -> None:
        first, second = drawn
        if first <= 2 * len(good) and second < 256:
            changed = bytearray(good[:first].ljust(min(first, len(good) + 3), b"\1"))
            if changed:
                changed[-1] ^= second
            key = bytes(changed)
        else:
            rest = (parts - 1) * size
            key = (first % (1 << BITS)).to_bytes(size, "little") + (second % (1 << (8 * rest))).to_bytes(rest, "little")
        with watched(SECONDS, MEBIBYTES):
            try:
                read(key)
            except CryptoError as error:
                printed(error)

    played()


@cases(200)
@given(
    st.lists(
        st.binary(min_size=32, max_size=32)
        | st.sampled_from([number.to_bytes(32, "little") for number in curve25519.LOW_ORDER])
        | st.sampled_from([number.to_bytes(32, "little") for number in (0, 2**255 - 19, 2**255 - 1, 2**256 - 1)]),
        max_size=6,
    )
)  # fmt: skip
def test_points(points: list[bytes]) -> None:
    """Any 32 bytes are a point of the curve or of its twist; what multiplies to zero is refused."""
    array = np.frombuffer(b"".join(points), np.uint8).reshape(-1, 32)
    with watched(SECONDS, MEBIBYTES):
        try:
            found = curve25519.multiply(array, curve25519.random_scalar())
        except (CryptoError, ValueError) as error:
            printed(error)
        else:
            assert found.shape == array.shape and (not len(found) or found.any(axis=1).all())
