"""Encrypted inner products are exact, hide what they must, and refuse what is not theirs."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
from functools import lru_cache

import gmpy2
import numpy as np
import pytest

from airflow_provider_fate.errors import ConfigError, CryptoError
from airflow_provider_fate.runtime.crypto import bfv, paillier
from airflow_provider_fate.runtime.crypto.fixed_base import FixedBase
from airflow_provider_fate.runtime.crypto.numbers import write
from airflow_provider_fate.runtime.crypto.scheme import SecretKey, Slots, VectorScheme, generate, public_limits, scheme

METHODS = ["BFV", "Paillier"]


@lru_cache(maxsize=4)
def key(method: str, number: int = 0) -> SecretKey:
    return generate(method, 1024 if method == "Paillier" else None)


def public(method: str) -> VectorScheme:
    return scheme(method, key(method).public.public)


def inner_products(method: str, parts: list[tuple[np.ndarray, np.ndarray]], ship: bool = False) -> list[int]:
    """Sums over partitions of columns.T @ vector, by way of the scheme."""
    cipher = public(method)
    slots = Slots(parts[0][1].shape[1], max(len(vector) for vector, _ in parts))
    partials = [
        cipher.products(cipher.encrypt(vector), cipher.encode(columns, slots), slots) for vector, columns in parts
    ]
    blinds = cipher.blinds(cipher.parts(slots))
    if ship:
        partials, blinds = pickle.loads(pickle.dumps((partials, blinds)))
    done = [cipher.finish(found, blind) for found, blind in zip(zip(*partials, strict=True), blinds, strict=True)]
    cipher.check_parts(cipher.parts(slots))(done)
    masked = key(method).decrypt(done, slots)
    assert all(0 <= number < cipher.modulus for number in masked)
    return cipher.unmask(masked, cipher.masks(blinds, slots))


def expected(parts: list[tuple[np.ndarray, np.ndarray]]) -> list[int]:
    return [int(number) for number in sum(columns.T @ vector for vector, columns in parts)]


def part(rows: int, columns: int, bits: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(-(1 << 20), 1 << 20, rows), random.integers(-(1 << bits), 1 << bits, (rows, columns))


@pytest.mark.parametrize("rows", [1, 2, 300, bfv.N // 2, bfv.N // 2 + 1, bfv.N, bfv.N + 1, 3 * bfv.N - 5])
def test_bfv_is_exact_for_any_number_of_rows(rows: int) -> None:
    parts = [part(rows, 3, 10)]
    assert inner_products("BFV", parts) == expected(parts)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ship", [False, True])
def test_partitions_of_different_length_add_up(method: str, ship: bool) -> None:
    parts = [part(40, 5, 12, 1), part(0, 5, 12, 2), part(17, 5, 12, 3), part(1, 5, 12, 4)]
    assert inner_products(method, parts, ship) == expected(parts)


def test_many_columns_share_polynomials() -> None:
    parts = [part(10, 2000, 12)]
    assert public("BFV").parts(Slots(2000, 10)) == -(-2000 // (bfv.N // 10))
    assert inner_products("BFV", parts) == expected(parts)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_that_fit(method: str, sign: int) -> None:
    cipher = public(method)
    rows = 64
    factor = (1 << min(cipher.factor_bits, 20)) - 1
    largest = min((cipher.modulus // 2 - 1) // (rows * factor), (1 << 40) - 1)
    parts = [(np.full(rows, sign * largest), np.full((rows, 2), factor))]
    assert inner_products(method, parts) == [sign * largest * rows * factor] * 2


@pytest.mark.parametrize("method", METHODS)
def test_columns_of_zeros(method: str) -> None:
    vector, columns = part(50, 3, 10)
    columns[:, 1] = 0
    assert inner_products(method, [(vector, columns)]) == expected([(vector, columns)])
    assert inner_products(method, [(vector, columns * 0)]) == [0, 0, 0]


@pytest.mark.parametrize("method", METHODS)
def test_vectors_with_slots_of_their_own(method: str) -> None:
    cipher, slots = public(method), Slots(4, 30)
    (first, columns), (second, more) = part(30, 3, 10, 1), part(30, 1, 10, 2)
    partials = [
        cipher.products(cipher.encrypt(first), cipher.encode(columns, slots), slots),
        cipher.products(cipher.encrypt(second), cipher.encode(more, slots, 3), slots),
    ]
    blinds = cipher.blinds(cipher.parts(slots))
    done = [cipher.finish(found, blind) for found, blind in zip(zip(*partials, strict=True), blinds, strict=True)]
    numbers = cipher.unmask(key(method).decrypt(done, slots), cipher.masks(blinds, slots))
    assert numbers == expected([(first, columns)]) + expected([(second, more)])


@pytest.mark.parametrize("method", METHODS)
def test_combining_adds_and_takes_fresh_randomness(method: str) -> None:
    cipher, slots = public(method), Slots(1, 20)
    (a, column), (b, _), (c, _) = (part(20, 1, 10, seed) for seed in range(3))
    bodies = [cipher.write(cipher.encrypt(a)), cipher.write(cipher.encrypt(b))]
    cipher.check_vectors([20, 20])(bodies)
    vectors = list(map(cipher.read, bodies))
    total = cipher.combine(vectors, c)
    assert cipher.write(total) != cipher.write(cipher.combine(vectors, c))
    assert [cipher.write(vector) for vector in vectors] == bodies
    total = pickle.loads(pickle.dumps(total))
    blinds = cipher.blinds(1)
    done = [cipher.finish(cipher.products(total, cipher.encode(column, slots), slots), blinds[0])]
    numbers = cipher.unmask(key(method).decrypt(done, slots), cipher.masks(blinds, slots))
    assert numbers == [int(column[:, 0] @ (a + b + c))]


def test_what_is_made_in_advance_is_used_once_and_by_its_maker() -> None:
    cipher, slots = bfv.Bfv(key("BFV").public.public), Slots(1, 20)
    vector, column = part(20, 1, 10)
    cipher.prepare([20, bfv.N + 1])
    assert len(cipher._zeros) == 3
    kept = [bfv._save(zero) for zero in cipher._zeros]
    assert len(set(kept)) == 3
    blinds = cipher.blinds(1)
    vectors = [cipher.encrypt(vector) for _ in range(3)]  # the last one when nothing is left
    assert not cipher._zeros and len({cipher.write(one) for one in vectors}) == 3
    partials = [cipher.products(one, cipher.encode(column, slots), slots)[0] for one in vectors]
    done = [cipher.finish(partials, blinds[0])]
    numbers = cipher.unmask(key("BFV").decrypt(done, slots), cipher.masks(blinds, slots))
    assert numbers == [3 * int(column[:, 0] @ vector)]
    cipher.prepare([20])
    cipher._maker += 1  # as in a process that was forked from the maker
    before = cipher._zeros
    cipher.encrypt(vector)
    assert len(before) == 1
    cipher.prepare([20])
    assert cipher._zeros is not before and len(cipher._zeros) == 1
    cipher.prepare([])
    assert not cipher._zeros


@pytest.mark.parametrize("method", METHODS)
def test_what_is_decrypted_is_masked(method: str) -> None:
    cipher, slots = public(method), Slots(1, 20)
    vector, column = part(20, 1, 10)
    partial = [cipher.products(cipher.encrypt(vector), cipher.encode(column, slots), slots) for _ in range(40)]
    seen = [
        key(method).decrypt([cipher.finish(one, blind)], slots)[0]
        for one, blind in zip(partial, cipher.blinds(40), strict=True)
    ]
    # uniform numbers: all differ, and 40 of them all in one half is a chance of 2^-39
    assert len(set(seen)) == 40
    assert min(seen) < cipher.modulus // 2 < max(seen)


def test_bfv_masks_every_coefficient_and_floods_the_noise() -> None:
    cipher, slots = public("BFV"), Slots(1, bfv.N)
    vector, column = part(bfv.N, 1, 10)
    encoded = cipher.encode(column, slots)
    (clean,) = cipher.products(cipher.encrypt(vector), encoded, slots)
    secret = key("BFV")._decryptor  # type: ignore[attr-defined]
    evaluator = bfv._seal().evaluator
    evaluator.transform_from_ntt_inplace(clean.ciphertext)
    before = secret.invariant_noise_budget(clean.ciphertext)
    (partial,) = cipher.products(cipher.encrypt(vector), encoded, slots)
    body = cipher.finish([partial], cipher.blinds(1)[0])
    sent = bfv._ciphertext(body, bfv._seal().sent)
    # the flood is at least 2^64 times what the computation left here, and two bits are left whatever it left
    assert before - secret.invariant_noise_budget(sent) > 64
    assert secret.invariant_noise_budget(sent) >= 2
    plaintext = bfv.seal.Plaintext()
    secret.decrypt(sent, plaintext)
    numbers = np.array([plaintext[place] for place in range(plaintext.coeff_count())], float) / cipher.modulus
    assert len(numbers) > bfv.N - 3
    # mean and deviation of uniform numbers, within six standard errors
    assert abs(numbers.mean() - 0.5) < 6 / np.sqrt(12 * bfv.N)
    assert abs(numbers.std() - np.sqrt(1 / 12)) < 0.02


def test_the_flood_is_uniform_over_its_range() -> None:
    """By its residues modulo the first two primes, from which e follows exactly."""
    ciphertext = bfv._flood()
    first, second, third = bfv._seal().primes
    residues = np.array([ciphertext[place] for place in range(3 * bfv.N)], dtype=object).reshape(3, bfv.N)
    high = (residues[1] - residues[0]) * pow(first, -1, second) % second
    values = residues[0] + first * high
    assert max(high) < 1 << bfv.FLOOD_BITS
    assert (values % third == residues[2]).all()
    assert abs(float(high.mean()) / (1 << bfv.FLOOD_BITS) - 0.5) < 6 / np.sqrt(12 * bfv.N)
    assert all(ciphertext[place] == 0 for place in range(3 * bfv.N, 6 * bfv.N, 97))


def test_noise_within_its_worst_bounds_decrypts_and_is_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest flood there is, and a vector and columns as large as noise bounds allow, of several partitions."""
    low = bfv._seal().primes[0] - 1
    monkeypatch.setattr(bfv, "_below", lambda limit: np.full(bfv.N, low, np.uint64))
    uniform = bfv._uniform
    monkeypatch.setattr(
        bfv,
        "_uniform",
        lambda bits: np.full(bfv.N, (1 << bits) - 1, np.uint64) if bits == bfv.FLOOD_BITS else uniform(bits),
    )
    cipher, slots = public("BFV"), Slots(bfv.N, 1)
    factor = (1 << cipher.factor_bits) - 1
    random = np.random.default_rng(0)
    blind, partials = cipher.blinds(1)[0], []
    for _ in range(16):
        others = [cipher.encrypt(np.array([1 << 20])) for _ in range(7)]
        vector = cipher.combine(others, np.array([1 << 20]))
        columns = random.choice([-factor, factor], (1, bfv.N))
        partials += cipher.products(vector, cipher.encode(columns, slots), slots)
    secret = key("BFV")._decryptor  # type: ignore[attr-defined]
    plain = bfv._part(bfv._save(partials[0].ciphertext), None).ciphertext
    bfv._seal().evaluator.transform_from_ntt_inplace(plain)
    # noise of 2^49 at most, of the 2^108 that decryption has room for
    assert secret.invariant_noise_budget(plain) >= 108 - 49
    sent = bfv._ciphertext(cipher.finish(partials, blind), bfv._seal().sent)
    assert secret.invariant_noise_budget(sent) == 2


def test_bfv_refuses_more_than_its_noise_bounds_cover() -> None:
    public("BFV").check_size(bfv.MOST_PARTIES, bfv.MOST_PARTITIONS)
    with pytest.raises(CryptoError, match="up to 32 parties, not 33"):
        public("BFV").check_size(33, 1)
    with pytest.raises(CryptoError, match="up to 4096 partitions .computing_partitions., not 5000"):
        public("BFV").check_size(2, 5000)
    public("Paillier").check_size(1000, 10**6)


@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_are_no_ciphertext(method: str) -> None:
    cipher, slots = public(method), Slots(1, 20)
    vector, column = part(20, 1, 10)
    good = cipher.write(cipher.encrypt(vector))
    encoded = cipher.encode(column, slots)
    middle = len(good) // 2
    bad = [
        b"",
        good[:-1],
        good + b"\0",
        good + good,
        b"\xff" * len(good),
        bytes(len(good)),
    ]
    if method == "BFV":  # almost any number is a Paillier ciphertext
        bad += [os.urandom(len(good)), good[:4] + os.urandom(40) + good[44:]]
    for body in bad:
        with pytest.raises(CryptoError):
            cipher.combine([cipher.read(body)], vector)
    for body in (bad[1], *bad[4:]):
        with pytest.raises(CryptoError):
            cipher.products(cipher.read(body), encoded, slots)
    blind = cipher.blinds(1)[0]
    part_body = cipher.finish(cipher.products(cipher.read(good), encoded, slots), blind)
    for body in (b"", part_body[:-1], part_body + b"\0", b"\xff" * len(part_body), part_body[:20] + os.urandom(middle)):
        with pytest.raises(CryptoError):
            key(method).decrypt([body], slots)
    with pytest.raises(CryptoError):
        key(method).decrypt([part_body, part_body], slots)


@pytest.mark.parametrize("method", METHODS)
def test_limits_of_what_is_received(method: str) -> None:
    cipher = public(method)
    good = cipher.write(cipher.encrypt(np.arange(20)))
    check = cipher.check_vectors([20, 0])
    check([good, b""])
    for bad in ([good], [b"", good + bytes(1 << 20)], [good, "text"], good, None):
        with pytest.raises(ValueError, match="expected"):
            check(bad)


def test_bfv_refuses_ciphertexts_of_another_kind() -> None:
    """Valid for SEAL, but not what the protocol sends: another level, NTT form, without encryption."""
    cipher, state = public("BFV"), bfv._seal()
    body = bfv._pieces(cipher.write(cipher.encrypt(np.arange(20))))[0]
    lower, transformed = bfv.seal.Ciphertext(), bfv._ciphertext(body, state.top)
    state.evaluator.mod_switch_to_next(bfv._ciphertext(body, state.top), lower)
    state.evaluator.transform_to_ntt_inplace(transformed)
    for ciphertext in (lower, transformed, bfv._flood()):
        saved = bfv._save(ciphertext)
        with pytest.raises(CryptoError, match="not a BFV ciphertext"):
            cipher.combine([cipher.read(bfv.LENGTH.pack(len(saved)) + saved)], np.arange(20))


def test_bfv_refuses_a_ciphertext_that_is_the_key() -> None:
    """(0, q / t) decrypts to the secret key, and (c, 0) needs none."""
    state = bfv._seal()
    q = state.primes[0] * state.primes[1]
    version = bfv.HEADER.unpack_from(bfv._save(bfv.seal.Plaintext("1")))[2:4]
    start = struct.pack("<4QBQQQdQ", *state.sent, 0, 2, bfv.N, 2, 1.0, 1)
    for part in (0, 1):
        residues = np.zeros((2, 2, bfv.N), "<u8")
        residues[part, :, 0] = [((q + (1 << 52)) >> bfv.PLAIN_BITS) % prime for prime in state.primes[:2]]
        with pytest.raises(CryptoError, match="not a BFV ciphertext"):
            key("BFV").decrypt([bfv._head(version, start, 4 * bfv.N) + residues.tobytes()], Slots(20, 1))


def test_bfv_refuses_an_overflow() -> None:
    cipher, slots = public("BFV"), Slots(1, 4)
    state = bfv._seal()
    noisy = cipher.encrypt(np.arange(4)).ciphertexts[0]
    large = bfv._plaintext(np.full(bfv.N, (1 << 50) + 12345))
    for _ in range(3):
        state.evaluator.multiply_plain_inplace(noisy, large)
    state.evaluator.mod_switch_to_next_inplace(noisy)
    with pytest.raises(CryptoError, match="overflowed"):
        key("BFV").decrypt([bfv._save(noisy)], slots)


def test_public_keys_are_checked() -> None:
    good = key("BFV").public.public
    for bad in (b"", good[:-1], os.urandom(len(good)), bytes(bfv.MAX_PUBLIC + 1)):
        with pytest.raises(CryptoError):
            bfv.Bfv(bad)
    good = key("Paillier").public.public
    n = int.from_bytes(good[:128], "little")
    h = good[128:]
    even = (n - 1).to_bytes(128, "little") + h
    short = (n >> 2 | 1).to_bytes(128, "little") + h
    unit = good[:128] + bytes([1]) + bytes(255)
    shared = good[:128] + n.to_bytes(256, "little")
    prime = int(paillier._prime(1024)).to_bytes(128, "little") + h
    weak = (n | 1 << 1023 | 1).to_bytes(128, "little")[:64] + h[:128]
    for bad in (b"", good[:-1], even, short, unit, shared, prime, weak):
        with pytest.raises(CryptoError):
            paillier.Paillier(bad)


def test_paillier_bases_of_small_order_are_refused() -> None:
    """Their powers hide nothing; also where the order is small modulo one factor only, or but for the content."""
    secret = key("Paillier")
    p, q, n, h = secret.p, secret.q, secret.public.n, secret.public.h  # type: ignore[attr-defined]
    at_q = h + (1 - h) * q * q * gmpy2.invert(q * q, p * p)  # 1 modulo p, as h is modulo q
    few = gmpy2.powmod(h, (p - 1) * (q - 1) // 2, n * n)
    assert at_q % p == 1 and (at_q - h) % q == 0
    for bad in (1, 1 + n, n * n - 1, n - 1, few, -few, at_q, -at_q):
        with pytest.raises(CryptoError, match="unit of large order"):
            paillier.Paillier(write([n], 128) + write([bad % (n * n)], 256))
    paillier.Paillier(write([n], 128) + write([h], 256))


@pytest.mark.parametrize("rows", [0, 20])
def test_paillier_s_randomness_is_longer_than_the_group_for_who_has_the_factors(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    true = FixedBase.random_powers

    def record(self: FixedBase, count: int, bits: int) -> list[gmpy2.mpz]:
        drawn.extend([bits] * count)
        return true(self, count, bits)

    monkeypatch.setattr(FixedBase, "random_powers", record)
    public("Paillier").encrypt(np.arange(rows))
    assert drawn == [512] * rows
    drawn.clear()
    public("Paillier").blinds(3)
    assert drawn == [1024 + 64] * 3


def test_keys_have_the_length_asked_for() -> None:
    made = generate("Paillier", 2048)
    assert made.public.modulus.bit_length() == 2048
    assert public_limits("Paillier", 2048) == (len(made.public.public),) * 2
    with pytest.raises(ConfigError, match="key_length"):
        generate("Paillier", 512)
    with pytest.raises(ConfigError, match="IterativeAffine"):
        generate("IterativeAffine")


def test_another_key_decrypts_to_something_else() -> None:
    slots = Slots(1, 5)
    cipher = public("Paillier")
    blinds = cipher.blinds(1)
    body = cipher.finish([], blinds[0])
    assert key("Paillier").decrypt([body], slots) == cipher.masks(blinds, slots)
    other = key("Paillier", 1)
    with contextlib.suppress(CryptoError):  # it may be a larger number than the other key's
        assert other.decrypt([body], slots) != cipher.masks(blinds, slots)
