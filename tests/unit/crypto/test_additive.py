"""Encrypted sums by bin are exact, hide how they were made, and what is not a ciphertext or a key is refused."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_fate.errors import ConfigError, CryptoError
from airflow_provider_fate.runtime.crypto import histograms, numbers, okamoto_uchiyama, paillier
from airflow_provider_fate.runtime.crypto.additive import (
    METHODS,
    AdditiveScheme,
    AdditiveSecretKey,
    additive,
    generate,
    public_limits,
)
from airflow_provider_fate.runtime.crypto.fixed_base import FixedBase
from airflow_provider_fate.runtime.crypto.okamoto_uchiyama import OkamotoUchiyama, OkamotoUchiyamaKey, exponent_bits
from airflow_provider_fate.runtime.crypto.paillier_additive import AdditivePaillier

KEYS = [(method, bits) for method in METHODS for bits in (1024, 2048)]
SMALL = [(method, 1024) for method in METHODS]
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@lru_cache(maxsize=16)
def _key(method: str, bits: int, number: int) -> AdditiveSecretKey:
    return generate(method, bits)


def key(method: str, bits: int = 1024, number: int = 0) -> AdditiveSecretKey:
    return _key(method, bits, number)


def public(method: str, bits: int = 1024) -> AdditiveScheme:
    return additive(method, key(method, bits).public.public)


def counts(values: list[int], places: np.ndarray, bins: list[int]) -> list[int]:
    """The histogram in the clear."""
    return [
        int(total)
        for column, size in enumerate(bins)
        for total in np.bincount(places[:, column], np.array(values, float), size)
    ]


def shown(method: str, bits: int, sums: list[Any], width: int = 40) -> list[int]:
    """What sums hold, by way of packing."""
    secret, cipher = key(method, bits), public(method, bits)
    body = cipher.pack(sums, width)
    cipher.check(cipher.packs(len(sums), width))(body)
    return secret.unpack(body, len(sums), width)


def table(rows: int, bins: list[int], seed: int = 0) -> tuple[list[int], np.ndarray]:
    random = np.random.default_rng(seed)
    places = np.stack([random.integers(0, size, rows) for size in bins], axis=1).astype(np.uint16)
    return random.integers(0, 1 << 20, rows).tolist(), places


@pytest.mark.parametrize(("method", "bits"), KEYS)
@given(data=st.data())
@few
def test_owner_and_public_encryption_decrypt_to_the_same(method: str, bits: int, data: st.DataObject) -> None:
    secret, cipher = key(method, bits), public(method, bits)
    most = (1 << cipher.plain_bits) - 1
    values = data.draw(st.lists(st.sampled_from([0, 1, most]) | st.integers(0, most), max_size=4))
    for body in (secret.encrypt(values), cipher.encrypt(values)):
        cipher.check(len(values))(body)
        assert secret.decrypt(body) == values


@pytest.mark.parametrize(("method", "bits"), SMALL)
@given(
    rows=st.integers(0, 60) | st.just(600),
    bins=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
@few
def test_histograms_of_any_shape(method: str, bits: int, rows: int, bins: list[int], seed: int) -> None:
    values, places = table(rows, bins, seed)
    sums = public(method).histogram(key(method).encrypt(values), places, bins)
    # a bin without rows, and no other, is no number
    assert [one is None for one in sums] == [number == 0 for number in counts([1] * rows, places, bins)]
    assert shown(method, bits, sums) == counts(values, places, bins)


@pytest.mark.parametrize(("method", "bits"), KEYS)
def test_a_histogram_of_many_columns_and_a_bin_for_missing_values(method: str, bits: int) -> None:
    bins = [5, 33, 5, 2, 1, 9, 4, 33]
    values, places = table(300, bins)
    places[:250, 1] = 32  # nearly all are missing
    sums = public(method, bits).histogram(key(method, bits).encrypt(values), places, bins)
    assert shown(method, bits, sums) == counts(values, places, bins)


@pytest.mark.parametrize("method", METHODS)
def test_a_loaded_body_serves_selections_of_rows(method: str) -> None:
    cipher, bins = public(method), [4, 7, 3]
    values, places = table(90, bins)
    loaded = cipher.load(key(method).encrypt(values))
    rows = np.random.default_rng(1).permutation(90)[:40]
    part = cipher.histogram(loaded, places, bins, rows)
    chosen = np.array(values)[rows].tolist()
    assert shown(method, 1024, part) == counts(chosen, places[rows], bins)
    whole = cipher.histogram(loaded, places, bins)
    rest = np.setdiff1d(np.arange(90), rows)
    others = counts(np.array(values)[rest].tolist(), places[rest], bins)
    assert shown(method, 1024, cipher.subtract(whole, part)) == others
    added = cipher.add(part, cipher.histogram(loaded, places, bins, rest))
    assert shown(method, 1024, added) == counts(values, places, bins)
    assert cipher.histogram(loaded, places, bins, rows[:0]) == [None] * 14


class Counted(int):
    """A number that counts the products in which it takes part."""

    products = 0

    def __mul__(self, other: int) -> Counted:  # type: ignore[override]
        Counted.products += 1
        return Counted(int(self) * int(other))

    def __mod__(self, other: int) -> Counted:  # type: ignore[override]
        return Counted(int(self) % int(other))


def skewed(rows: int, bins: list[int], most: float) -> np.ndarray:
    """Columns with the share ``most`` of the rows in their last bin."""
    random = np.random.default_rng(0)
    places = np.stack([random.integers(0, size, rows) for size in bins], axis=1)
    return np.where(random.random(places.shape) < most, np.array(bins) - 1, places)


@pytest.mark.parametrize(
    ("bins", "most", "products"),
    [
        ([16] * 12, 0.0, 0.46),
        ([33] * 12, 0.0, 0.56),
        ([33] * 12, 0.9, 0.26),
        ([2, 3] * 6, 0.0, 0.2),
        ([1] * 12, 0.0, 0.2),
        ([40_000] * 12, 0.97, 0.7),
    ],
)
def test_joining_columns_saves_products(bins: list[int], most: float, products: float) -> None:
    """Counted, for 20,000 rows and 12 columns: far fewer than one a row and column."""
    places, modulus = skewed(20_000, bins, most), 1_000_003
    values = [Counted(2 + place % 1000) for place in range(20_000)]
    Counted.products = 0
    found = histograms.products_by_bin(values, places, bins, modulus)  # type: ignore[arg-type]
    assert Counted.products < products * 20_000 * 12
    direct = [1] * sum(bins)
    starts = np.cumsum([0, *bins])
    for column in range(12):
        for value, place in zip(values, (places[:, column] + starts[column]).tolist(), strict=True):
            direct[place] = direct[place] * int(value) % modulus
    assert [1 if one is None else int(one) for one in found] == direct


def test_few_rows_are_not_joined() -> None:
    places = skewed(100, [32] * 6, 0.0)
    assert histograms._groups(places, [32] * 6) == [[column] for column in range(6)]
    # and many rows with more cells than rows are not either
    wide = skewed(1500, [1000] * 4, 0.0)
    assert sorted(histograms._groups(wide, [1000] * 4)) == [[column] for column in range(4)]


@pytest.mark.parametrize(("method", "bits"), KEYS)
def test_packing_at_its_limits(method: str, bits: int) -> None:
    secret, cipher = key(method, bits), public(method, bits)
    for width in (1, 61, cipher.plain_bits // 3, cipher.plain_bits // 2 + 1, cipher.plain_bits):
        each = cipher.plain_bits // width
        for count in {1, min(each, 3), min(each, 8) + 1}:
            values = [(1 << width) - 1 - (place == 1) for place in range(count)]
            loaded = cipher.load(secret.encrypt(values))
            body = cipher.pack(loaded, width)
            assert len(body) == -(-count // each) * cipher.size == cipher.packs(count, width) * cipher.size
            assert secret.unpack(body, count, width) == values
    assert secret.unpack(cipher.pack([None] * 5, 60), 5, 60) == [0] * 5
    assert cipher.pack([], 60) == b""
    for width in (0, -1, cipher.plain_bits + 1):
        with pytest.raises(ValueError, match="bits"):
            cipher.pack([None], width)


@pytest.mark.parametrize("method", METHODS)
def test_sums_of_nothing_between_others(method: str) -> None:
    cipher = public(method)
    one, two = cipher.load(key(method).encrypt([5, 7]))
    assert shown(method, 1024, [None, one, None, None, two, None]) == [0, 5, 0, 0, 7, 0]
    assert cipher.add([None, one], [None, None]) == [None, one]
    assert cipher.subtract([None, one], [None, None]) == [None, one]
    assert shown(method, 1024, cipher.subtract([one, two], [one, None])) == [0, 7]
    with pytest.raises(CryptoError, match="sum of none"):
        cipher.subtract([None], [one])


@pytest.mark.parametrize("method", METHODS)
def test_pieces_travel_to_other_processes(method: str) -> None:
    secret, cipher = pickle.loads(pickle.dumps((key(method), public(method))))
    assert cipher is public(method)
    assert pickle.loads(pickle.dumps(secret)) is secret
    sums = pickle.loads(pickle.dumps(cipher.load(secret.encrypt([3, 4]))))
    assert key(method).decrypt(cipher.pack(sums, cipher.plain_bits)) == [3, 4]


# --- what must stay hidden ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "bits"), KEYS)
def test_nothing_is_encrypted_twice_alike(method: str, bits: int) -> None:
    secret, cipher = key(method, bits), public(method, bits)
    loaded = cipher.load(secret.encrypt([7] * 20) + cipher.encrypt([7] * 20) + cipher.encrypt([0] * 20))
    assert len(set(loaded)) == 60
    assert min(loaded).bit_length() > 8 * cipher.size - 64
    for sums in ([loaded[0]] * 4, [None] * 4):
        packed = cipher.load(cipher.pack(sums, cipher.plain_bits))
        assert len({*packed, loaded[0], 1}) == 6


def test_exponents_are_twice_the_strength() -> None:
    """Pollard's kangaroo takes the square root of their number: 112 bits of strength at 2048, 128 at 3072."""
    assert [exponent_bits(bits) for bits in (2048, 3072, 4096)] == [224, 256, 256]
    secret = key("OU", 2048)
    assert isinstance(secret, OkamotoUchiyamaKey)
    assert secret._t.bit_length() == secret.public.exponent_bits == 224


@pytest.mark.parametrize(("method", "bits"), [("OU", 2048), ("Paillier", 1024)])
def test_the_exponents_that_are_drawn(method: str, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of encryptions as long as t; of what goes back to the key's holder, longer than the group's order."""
    drawn: list[int] = []
    true = FixedBase._of_bytes

    def record(self: FixedBase, data: bytes, size: int, most: int) -> list[mpz]:
        drawn.append(max(int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)).bit_length())
        return true(self, data, size, most)

    monkeypatch.setattr(FixedBase, "_of_bytes", record)
    secret, cipher = key(method, bits), public(method, bits)
    short = {"OU": 224, "Paillier": bits // 2}[method]
    cipher.encrypt([0] * 40)
    assert short - 8 < max(drawn) <= short
    drawn.clear()
    secret.encrypt([0] * 40)
    assert short - 8 < max(drawn) <= short
    drawn.clear()
    cipher.pack([None] * 40, cipher.plain_bits)
    order = {"OU": 224 + bits // 3, "Paillier": bits}[method]
    assert max(drawn) > order + 50


@pytest.mark.parametrize("bits", [1024, 2048, 3072])
def test_an_ou_key_is_what_the_paper_asks_for(bits: int) -> None:
    secret = key("OU", bits)
    assert isinstance(secret, OkamotoUchiyamaKey)
    p, q, t, n = secret._p, secret._q, secret._t, secret.public.modulus
    assert n == p * p * q and n.bit_length() == bits and p != q
    assert all(gmpy2.is_prime(number) for number in (p, q, t))
    assert abs(p.bit_length() - q.bit_length()) <= 2
    assert (p - 1) % t == 0 and (p - 1) % (t * t)
    g, h = secret.public.g, secret.public.h
    assert gmpy2.powmod(h, t, p * p) == 1 != h % (p * p)
    assert gmpy2.powmod(g, p * t, p * p) == 1 != gmpy2.powmod(g, t, p * p)
    assert {gmpy2.powmod(h, (q - 1) // factor, q) != 1 for factor in (2, 3) if (q - 1) % factor == 0} == {True}
    # nothing that is public is 1 (or 0) modulo a factor
    for number in (g, h, g - 1, h - 1, g + 1, h + 1):
        assert gmpy2.gcd(number, n) == 1
    assert secret.public.plain_bits <= p.bit_length() - 65


def test_both_encryptions_are_powers_of_g_and_h() -> None:
    """c / G^m is a power of H: modulo p^2 its order divides t, and modulo q H generates all numbers."""
    secret, cipher = key("OU", 1024), public("OU", 1024)
    assert isinstance(secret, OkamotoUchiyamaKey) and isinstance(cipher, OkamotoUchiyama)
    n, p, t = cipher.modulus, secret._p, secret._t
    signs = set()
    for who, body in enumerate((secret.encrypt([12345] * 40), cipher.encrypt([12345] * 40))):
        inverse = gmpy2.invert(gmpy2.powmod(cipher.g, 12345, n), n)
        for number in cipher.load(body):
            rest = number * inverse % n
            assert gmpy2.powmod(rest, t, p * p) == 1 != rest % (p * p)
            signs.add((who, gmpy2.jacobi(number, n)))
        # whose sign everybody can see: it must not depend on the plaintext. 40 alike is a chance of 2^-39
    assert len(signs) == 4


def test_the_owner_draws_from_all_of_the_group() -> None:
    secret = key("OU", 1024)
    assert isinstance(secret, OkamotoUchiyamaKey)
    limit = mpz(3) << 62
    drawn = okamoto_uchiyama._below(limit, 4000)
    assert min(drawn) >= 0 and max(drawn) < limit
    # mean and the share above two thirds, within six standard errors
    assert abs(float(sum(drawn)) / 4000 / float(limit) - 0.5) < 6 / np.sqrt(12 * 4000)
    assert abs(sum(one >= mpz(1) << 63 for one in drawn) / 4000 - 1 / 3) < 6 * np.sqrt(2 / 9 / 4000)
    q = secret._q
    found = [number % q for number in secret.public.load(secret.encrypt([5] * 200))]
    assert abs(float(sum(found)) / 200 / float(q) - 0.5) < 6 / np.sqrt(12 * 200)
    powers = [number % secret._p2 for number in secret.public.load(secret.encrypt([0] * 200))]
    assert len(set(powers)) == 200


def test_a_number_beyond_p_is_not_given_away() -> None:
    """Decrypting G^m for m >= p would tell p: the error is the same for all such numbers, and names none."""
    secret, cipher = key("OU", 1024), public("OU", 1024)
    assert isinstance(secret, OkamotoUchiyamaKey) and isinstance(cipher, OkamotoUchiyama)
    messages = set()
    for most in (1 << cipher.plain_bits, secret._p - 1, secret._p * 2 - 1, secret._p * 3 + (1 << cipher.plain_bits)):
        body = numbers.write([gmpy2.powmod(cipher.g, most, cipher.modulus)], cipher.size)
        for decrypt in (secret.decrypt, lambda body: secret.unpack(body, 3, 40)):
            with pytest.raises(CryptoError) as caught:
                decrypt(body)
            messages.add(str(caught.value))
    with pytest.raises(CryptoError) as caught:  # not of the group
        secret.decrypt(numbers.write([mpz(3)], cipher.size))
    messages.add(str(caught.value))
    assert len(messages) == 1 and not any(letter.isdigit() for letter in messages.pop())


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_numbers_out_of_range(method: str) -> None:
    cipher, secret = public(method), key(method)
    for values in ([-1], [1 << cipher.plain_bits], [0, -5, 3]):
        for encrypt in (cipher.encrypt, secret.encrypt):
            with pytest.raises(CryptoError, match="not in"):
                encrypt(values)
    # a sum that left its bits, in the last place of a ciphertext
    body = cipher.pack(cipher.load(secret.encrypt([1, 1 << 20])), 20)
    with pytest.raises(CryptoError, match="larger than"):
        secret.unpack(body, 2, 20)
    with pytest.raises(CryptoError, match="not packed"):
        secret.unpack(body + body, 2, 20)


@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_are_no_ciphertexts(method: str) -> None:
    cipher, secret = public(method), key(method)
    good, places = secret.encrypt([1, 2]), np.zeros((2, 1), np.uint8)
    size = cipher.size
    bad = [b"", good[:-1], good + b"\0", good + good, b"\xff" * len(good), good[:size] + bytes(size)]
    for body in bad:
        with pytest.raises(CryptoError):
            cipher.histogram(body, places, [1])
    for body in bad[1:]:
        if body != good + good:
            with pytest.raises(CryptoError):
                secret.decrypt(body)
    for places, bins in ((np.zeros((2, 2), np.uint8), [1]), (np.full((2, 1), 3, np.uint8), [3])):
        with pytest.raises(CryptoError):
            cipher.histogram(good, places, bins)
    check = cipher.check(2)
    check(good)
    for value in (None, good[:-1], good + b"\0", list(good), "text"):
        with pytest.raises(ValueError, match="expected"):
            check(value)


@pytest.mark.parametrize("method", METHODS)
def test_numbers_that_are_no_units(method: str) -> None:
    """They can only come from the holder of the key, who knows the factors."""
    cipher, secret = public(method), key(method)
    p = secret._p if isinstance(secret, OkamotoUchiyamaKey) else secret._key.p  # type: ignore[attr-defined]
    body = numbers.write([p, mpz(5)], cipher.size)
    sums = cipher.histogram(body, np.array([[0], [1]], np.uint8), [2])
    with pytest.raises(CryptoError):
        cipher.pack(sums, 40)
    with pytest.raises(CryptoError):
        cipher.subtract(sums, sums)


def test_a_number_outside_the_group_is_refused_by_the_ou_key() -> None:
    secret, cipher = key("OU"), public("OU")
    with pytest.raises(CryptoError, match="not a ciphertext"):
        secret.decrypt(numbers.write([mpz(3)], cipher.size))
    with pytest.raises(CryptoError):
        secret.decrypt(key("OU", 1024, 1).encrypt([5]))


def test_ou_public_keys_are_checked() -> None:
    secret = key("OU")
    assert isinstance(secret, OkamotoUchiyamaKey)
    p, q, n, g = secret._p, secret._q, secret.public.modulus, secret.public.g
    length = 128

    def packed(n: int, g: int) -> bytes:
        return int(n).to_bytes(length, "little") + int(g).to_bytes(length, "little")

    of_q = gmpy2.invert(p, q) * p * g % (p * q)
    bad = {
        "empty": b"",
        "short": secret.public.public[:-1],
        "long": secret.public.public + b"\0",
        "other length": packed(n, g)[: 2 * 100],
        "even": packed(n - 1, g),
        "too small": packed(n >> 2 | 1, g),
        "prime": packed(gmpy2.next_prime(n), g),
        "small factor": packed((n // 3 | 1) * 3 | 1 << 1023, g),
        "zero": packed(n, 0),
        "one": packed(n, 1),
        "above n": packed(n, n + 5),
        "shares p": packed(n, p * 5),
        "one modulo p": packed(n, 1 + p),
        "zero modulo p": packed(n, of_q),
        "of order two": packed(n, n - 1),
    }
    for name, body in bad.items():
        with pytest.raises(CryptoError):
            additive("OU", body)
            pytest.fail(name)
    additive("OU", packed(n, g))


def test_paillier_public_keys_are_checked() -> None:
    good = key("Paillier").public.public
    n, h = int.from_bytes(good[:128], "little"), good[128:]
    prime = int(paillier._prime(1024)).to_bytes(128, "little")
    three = int((n // 3 | 1) * 3 | 1 << 1023).to_bytes(128, "little")
    for bad in (b"", good[:-1], (n - 1).to_bytes(128, "little") + h, prime + h, three + h, good[:128] + bytes(256)):
        with pytest.raises(CryptoError):
            AdditivePaillier(bad)


def test_methods_and_lengths() -> None:
    for method in METHODS:
        for bits in (None, 1024):
            secret = key(method) if bits else generate(method)
            assert secret.public.modulus.bit_length() in ((bits or 2048), 2 * (bits or 2048), 2 * (bits or 2048) - 1)
            assert public_limits(method, bits) == (len(secret.public.public),) * 2
        for bits in (512, 1000, 16384):
            with pytest.raises(ConfigError, match="key_length"):
                generate(method, bits)
    for unknown in (generate, public_limits, lambda name: additive(name, b"")):
        with pytest.raises(ConfigError, match="IterativeAffine"):
            unknown("IterativeAffine")  # type: ignore[operator]


# --- the tools below ------------------------------------------------------------------------------------------------


@given(
    bits=st.integers(1, 40),
    exponents=st.lists(st.integers(0, (1 << 40) - 1), max_size=30),
)
@few
def test_fixed_base_powers(bits: int, exponents: list[int]) -> None:
    modulus, base = mpz(10**9 + 7), mpz(123456)
    exponents = [exponent % (1 << bits) for exponent in exponents]
    one = FixedBase(base, modulus, bits)
    for _ in range(3):  # with a table that grows
        assert one.powers(exponents) == [gmpy2.powmod(base, exponent, modulus) for exponent in exponents]
        exponents = exponents * 40
    with pytest.raises(ValueError, match="bits"):
        one.powers([1 << bits])


def test_threads_share_a_table() -> None:
    """While it grows and is made anew."""
    modulus, base = (mpz(1) << 521) - 1, mpz(3)
    one, random = FixedBase(base, modulus, 160), np.random.default_rng(0)

    def work(seed: int) -> bool:
        for count in (3, 40, 900, 5):
            exponents = [int(number) << 130 | seed for number in random.integers(1, 1 << 29, count)]
            if one.powers(exponents) != [gmpy2.powmod(base, exponent, modulus) for exponent in exponents]:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_inverses_and_coprimality() -> None:
    modulus = mpz(101 * 103)
    some = [mpz(number) for number in (1, 2, 57, 10402)]
    assert numbers.coprime(some, modulus) and not numbers.coprime([*some, mpz(206)], modulus)
    assert [one * other % modulus for one, other in zip(some, numbers.inverted(some, modulus), strict=True)] == [1] * 4
    assert numbers.inverted([], modulus) == []
    with pytest.raises(CryptoError):
        numbers.inverted([*some, mpz(206)], modulus)
