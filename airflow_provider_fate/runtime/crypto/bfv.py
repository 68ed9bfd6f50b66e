"""Inner products under BFV (Fan and Vercauteren 2012, Brakerski 2012) with coefficient packing, on Microsoft SEAL.

A vector d of up to N values is the polynomial sum d_i X^i. A column x is sum x_i X^(stride-1-i), so that the
coefficient stride-1 of the product, modulo X^N + 1, is the inner product of both. Where a batch is short, the columns
f = 0, 1, ... of one polynomial stand ``stride`` apart: column f's product then is coefficient f*stride + stride-1, and
no product of d with another column reaches it, as |i - j| < stride for all pairs of rows.

Parameters are fixed and never taken from a peer: N = 8192, 162 bits of ciphertext modulus (217 with the key prime,
218 allowed for 128-bit security by the Homomorphic Encryption Standard of 2018), plaintexts modulo t = 2^53.

Noise and what the key holder can see of it. A fresh encryption has noise below 2^13: ternary secrets and errors below
21, divided by the key prime, which leaves nothing of them but rounding, (N + 1) / 2 at most. A sum of up to 8 parties'
stays below 2^16. A product multiplies that by at most the sum of |x_i| in its polynomial: below 2^35 for one column, as
:mod:`.fixed_point` keeps sum |x_i| * max |d_i| below 2^52 with max |d_i| >= 2^17; below 2^33 a partition where columns
share it, as factors have 20 bits. So noise is below 2^55 for up to 64 partitions. Before a result leaves,
:meth:`Bfv.finish` adds a fresh public-key encryption of a polynomial uniform modulo t (the mask), and a flood: a
polynomial uniform in [0, q_1 * 2^52), that is 106 bits. Both together hide all of the computation: content perfectly,
c1 by the hardness of ring-LWE for the fresh encryption, noise statistically (the circuit-privacy argument of Gentry
2009, section 21.1), to 2^-51 a coefficient by these worst-case bounds, that is 2^-28 over 1000 batches of a polynomial
each. Twice as many parties or partitions cost a bit; :meth:`Bfv.check_size` refuses more than 32 and 4096, that is
2^-43 a coefficient. Real noise is a sum of random signs: measured below 2^42 where the bound is 2^55, which would make
2^-41 over 1000 batches.

The noise is then below 2^106 + 2^63 and decryption is right below 2^108: all of these are bounds, not deviations of
normal distributions, so what is left, two bits, is enough for it never to fail. The parameters give no more: three
primes of 54 bits and the key prime are all that 128-bit strength allows for N = 8192, and t takes 53 bits of them. One
modulus switch, which needs no secret, makes the result smaller.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import tenseal.sealapi as seal

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto.scheme import SecretKey, Slots, VectorScheme

N = 8192
PLAIN_BITS = 53
PRIME_BITS = (54, 54, 54, 55)
#: bits of the flood above its first prime
FLOOD_BITS = 52
#: what noise bounds are for
MOST_PARTIES = 32
MOST_PARTITIONS = 4096
#: SEAL's header (magic, header size, version, compression, reserved, total size)
HEADER = struct.Struct("<HBBBBHQ")
MAGIC = 0xA15E
#: a fresh ciphertext and a public key as SEAL saves them: at most the plain numbers and some headers
MAX_CIPHERTEXT = 2 * 3 * N * 8 + 1024
MAX_PUBLIC = 2 * 4 * N * 8 + 1024
LENGTH = struct.Struct("<I")
#: residues of each polynomial of a ciphertext received that must not be zero
LOOKED_AT = 16


@dataclass(frozen=True)
class _Seal:
    """SEAL's objects for the fixed parameters.

    :param top: SEAL's name of the level of fresh ciphertexts
    :param sent: of the level of finished parts
    :param plaintext_head: what stands before the coefficients of a plaintext in SEAL's format
    :param ciphertext_head: what stands before the residues of a ciphertext of level ``top``
    """

    context: Any
    evaluator: Any
    primes: tuple[int, ...]
    top: list[int]
    sent: list[int]
    plaintext_head: bytes
    ciphertext_head: bytes


@lru_cache(maxsize=1)
def _seal() -> _Seal:
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(N)
    parameters.set_coeff_modulus(seal.CoeffModulus.Create(N, list(PRIME_BITS)))
    parameters.set_plain_modulus(1 << PLAIN_BITS)
    context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set():
        raise CryptoError(f"this build of SEAL refuses the BFV parameters: {context.parameters_error_message()}")
    top = context.first_parms_id()
    primes = tuple(int(prime.value()) for prime in parameters.coeff_modulus())[:-1]
    sent = context.get_context_data(top).next_context_data().parms_id()
    version = HEADER.unpack_from(_save(seal.Plaintext("1")))[2:4]
    plaintext_head = _head(version, bytes(32) + struct.pack("<Qd", N, 1.0), N)
    start = struct.pack("<4QBQQQdQ", *top, 0, 2, N, len(primes), 1.0, 1)
    ciphertext_head = _head(version, start, 2 * len(primes) * N)
    return _Seal(context, seal.Evaluator(context), primes, top, sent, plaintext_head, ciphertext_head)


# --- SEAL reads and writes files only: one in memory, for each thread of each process -------------------------------

_local = threading.local()


def _file(purpose: str) -> tuple[int, str]:
    """Descriptor and path of a private file, in memory where the system can."""
    if getattr(_local, "pid", None) != os.getpid():
        _local.pid, _local.files = os.getpid(), {}
    if purpose not in _local.files:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create(purpose, os.MFD_CLOEXEC)
            _local.files[purpose] = descriptor, f"/proc/self/fd/{descriptor}"
        else:
            _local.files[purpose] = tempfile.mkstemp(prefix=f"seal-{purpose}-")
    return _local.files[purpose]


def _save(thing: Any) -> bytes:
    descriptor, path = _file("save")
    thing.save(path)
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _load(thing: Any, *chunks: bytes | memoryview | np.ndarray) -> Any:
    """Read ``thing`` of bytes; SEAL checks that it is valid for the parameters."""
    context = _seal().context
    size = sum(memoryview(chunk).nbytes for chunk in chunks)
    # the file may be longer than what is in it, so the length in the header must be right
    if len(chunks[0]) < HEADER.size or HEADER.unpack_from(chunks[0])[-1] != size:
        raise CryptoError(f"{size} bytes are no {type(thing).__name__} as SEAL saves it")
    descriptor, path = _file("load")
    os.lseek(descriptor, 0, os.SEEK_SET)
    if os.writev(descriptor, chunks) != size:
        raise CryptoError(f"no room for {size} bytes in memory or in the temporary directory")
    try:
        thing.load(context, path)
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        raise CryptoError(f"not a valid {type(thing).__name__} for the BFV parameters in use: {error}") from None
    return thing


def _head(version: tuple[int, int], start: bytes, numbers: int) -> bytes:
    """What SEAL writes, without compression, before the numbers of a polynomial that starts with ``start``."""
    array = HEADER.size + 8 + 8 * numbers
    outer = HEADER.pack(MAGIC, HEADER.size, *version, 0, 0, HEADER.size + len(start) + array)
    return outer + start + HEADER.pack(MAGIC, HEADER.size, *version, 0, 0, array) + struct.pack("<Q", numbers)


def _plaintext(coefficients: np.ndarray) -> Any:
    """A plaintext of int64 or uint64 coefficients, shape (N,); negative ones modulo t."""
    # two's complement modulo a power of two
    residues = coefficients.astype("<i8", copy=False) & ((1 << PLAIN_BITS) - 1)
    return _load(seal.Plaintext(), _seal().plaintext_head, residues)


def _uniform(bits: int) -> np.ndarray:
    """N integers uniform below 2**bits, from the operating system; uint64."""
    return np.frombuffer(os.urandom(8 * N), "<u8") >> np.uint64(64 - bits)


def _below(limit: int) -> np.ndarray:
    """N integers uniform below ``limit``, which is just below a power of two."""
    values = _uniform(limit.bit_length())
    while (over := values >= limit).any():
        values = np.where(over, _uniform(limit.bit_length()), values)
    return values


def _flood() -> Any:
    """The ciphertext (e, 0) with e uniform in [0, q_1 * 2**FLOOD_BITS): noise and nothing else."""
    state = _seal()
    first, *others = state.primes
    low, high = _below(first), _uniform(FLOOD_BITS)
    residues = [low]
    for prime in others:
        # e = low + first * high, and first = prime - gap with a gap of 19 bits: no product leaves 64 bits
        gap = prime - first
        product = ((gap * (high >> 8) % prime << 8) + gap * (high & 255)) % prime
        residues.append((low % prime + prime - product) % prime)
    numbers = np.zeros((2, len(state.primes), N), "<u8")
    numbers[0] = residues
    return _load(seal.Ciphertext(), state.ciphertext_head, numbers)


class _Part:
    """A ciphertext that turns into bytes only when it leaves the process. Used once: sums are made in place.

    :param mask: of a blind: its mask at every coefficient, uint64
    """

    def __init__(self, ciphertext: Any, mask: np.ndarray | None = None) -> None:
        self.ciphertext = ciphertext
        self.mask = mask

    def __reduce__(self) -> tuple[Any, ...]:
        return _part, (_save(self.ciphertext), self.mask)


def _part(body: bytes, mask: np.ndarray | None) -> _Part:
    return _Part(_load(seal.Ciphertext(), body), mask)


class _Vector:
    """The ciphertexts of a vector; their bytes are read, and they are written, only where they must be.

    :param body: as it came
    :param ciphertexts: as they were made
    """

    def __init__(self, body: bytes | None = None, ciphertexts: list[Any] | None = None) -> None:
        self._body = body
        self._ciphertexts = ciphertexts

    @property
    def ciphertexts(self) -> list[Any]:
        """:raises CryptoError: the body is none of an encrypted vector."""
        if self._ciphertexts is None:
            self._ciphertexts = [_ciphertext(piece, _seal().top) for piece in _pieces(self._body or b"")]
        return self._ciphertexts

    @property
    def body(self) -> bytes:
        if self._body is None:
            bodies = map(_save, self._ciphertexts or [])
            self._body = b"".join(piece for body in bodies for piece in (LENGTH.pack(len(body)), body))
        return self._body

    def __reduce__(self) -> tuple[Any, ...]:
        return _Vector, (self.body,)


def _ciphertext(body: bytes | memoryview, level: list[int]) -> Any:
    """A ciphertext received. :raises CryptoError: it is not one of ``level``."""
    ciphertext = _load(seal.Ciphertext(), body)
    shape = ciphertext.size(), ciphertext.is_ntt_form(), ciphertext.parms_id(), ciphertext.is_transparent()
    if shape != (2, False, level, False) or _bare(ciphertext):
        raise CryptoError("not a BFV ciphertext as this protocol uses it")
    return ciphertext


def _bare(ciphertext: Any) -> bool:
    """Whether a ciphertext is written by hand, such as (0, q / t), which decrypts to the secret key.

    An encryption of zero on top hides this from every check, so only how much is decrypted can be bounded. Residues of
    encryptions are as good as uniform modulo primes of 54 bits: one of those looked at is zero by a chance of 2^-49.
    """
    half = ciphertext.coeff_modulus_size() * N
    places = [part * half + secrets.randbelow(half) for part in (0, 1) for _ in range(LOOKED_AT)]
    return any(ciphertext[place] == 0 for place in places)


class Bfv(VectorScheme):
    """Public operations of a BFV key.

    :param public: the public key as SEAL saves it
    """

    name = "BFV"
    modulus = 1 << PLAIN_BITS
    factor_bits = 20
    quick_cells = 1 << 20

    def __init__(self, public: bytes) -> None:
        if len(public) > MAX_PUBLIC:
            raise CryptoError(f"a BFV public key has at most {MAX_PUBLIC} bytes, got {len(public)}")
        self.public = public
        self._encryptor = seal.Encryptor(_seal().context, _load(seal.PublicKey(), public))
        #: encryptions of zero that nobody has used, and the process that made them: no other may use them
        self._zeros: list[Any] = []
        self._maker = os.getpid()

    def _fresh(self, plaintext: Any) -> Any:
        """A fresh encryption of a plaintext: one of zero, and the plaintext added, as SEAL's ``encrypt`` does it."""
        if self._zeros and self._maker == os.getpid():
            with contextlib.suppress(IndexError):  # another thread took the last one
                ciphertext = self._zeros.pop()
                _seal().evaluator.add_plain_inplace(ciphertext, plaintext)
                return ciphertext
        ciphertext = seal.Ciphertext()
        self._encryptor.encrypt(plaintext, ciphertext)
        return ciphertext

    def check_size(self, parties: int, partitions: int) -> None:
        for count, most, what in (
            (parties, MOST_PARTIES, "parties"),
            (partitions, MOST_PARTITIONS, "partitions (computing_partitions)"),
        ):
            if count > most:
                raise CryptoError(
                    f"BFV's noise hides sums of up to {most} {what}, not {count}; take fewer, or Paillier "
                    "(encrypt_param.method)"
                )

    def prepare(self, counts: Sequence[int]) -> None:
        if self._maker != os.getpid():
            self._zeros, self._maker = [], os.getpid()
        wanted = sum(-(-rows // N) for rows in counts)
        del self._zeros[wanted:]
        while len(self._zeros) < wanted:
            ciphertext = seal.Ciphertext()
            self._encryptor.encrypt_zero(ciphertext)
            self._zeros.append(ciphertext)

    def combine(self, vectors: Sequence[_Vector], values: np.ndarray) -> _Vector:
        evaluator = _seal().evaluator
        chunks = _chunks(values)
        others = [vector.ciphertexts for vector in vectors]
        for other in others:
            if len(other) != len(chunks):
                raise CryptoError(
                    f"an encrypted vector of {len(values)} rows has {len(chunks)} polynomials, got {len(other)}"
                )
        sums = []
        for number, chunk in enumerate(chunks):
            padded = np.zeros(N, np.int64)
            padded[: len(chunk)] = chunk
            sums.append(self._fresh(_plaintext(padded)))
            for other in others:
                evaluator.add_inplace(sums[-1], other[number])
        return _Vector(ciphertexts=sums)

    def read(self, body: bytes) -> _Vector:
        return _Vector(body)

    def write(self, vector: _Vector) -> bytes:
        return vector.body

    def encode(self, columns: np.ndarray, slots: Slots, first: int = 0) -> list[tuple[int, int, Any]]:
        """(chunk, part, plaintext in NTT form); chunks and parts of zeros are left out."""
        evaluator, top = _seal().evaluator, _seal().top
        stride, each = _stride(slots)
        count = columns.shape[1]
        encoded = []
        for number, chunk in enumerate(_chunks(columns)):
            rows = len(chunk)
            reverse = np.ascontiguousarray(chunk[::-1].T)
            for part in range(first // each, -(-(first + count) // each)):
                coefficients = np.zeros(N, np.int64)
                for column in range(max(first, part * each), min(first + count, (part + 1) * each)):
                    end = (column - part * each + 1) * stride
                    coefficients[end - rows : end] = reverse[column - first]
                if coefficients.any():  # SEAL refuses products with zero, as they would not be encrypted
                    plaintext = _plaintext(coefficients)
                    evaluator.transform_to_ntt_inplace(plaintext, top)
                    encoded.append((number, part, plaintext))
        return encoded

    def encoded_size(self, encoded: list[tuple[int, int, Any]]) -> int:
        return len(encoded) * 8 * N * (len(PRIME_BITS) - 1)

    def products(
        self, vector: _Vector, encoded: list[tuple[int, int, Any]], slots: Slots
    ) -> list[_Part | None]:
        evaluator = _seal().evaluator
        sums: list[Any] = [None] * self.parts(slots)
        product, transformed, at = seal.Ciphertext(), seal.Ciphertext(), -1
        for chunk, part, plaintext in encoded:
            if chunk != at:
                if chunk >= len(vector.ciphertexts):
                    raise CryptoError(
                        f"an encrypted vector of {len(vector.ciphertexts)} polynomials is too short for the rows"
                    )
                evaluator.transform_to_ntt(vector.ciphertexts[chunk], transformed)
                at = chunk
            if sums[part] is None:
                sums[part] = seal.Ciphertext()
                evaluator.multiply_plain(transformed, plaintext, sums[part])
            else:
                evaluator.multiply_plain(transformed, plaintext, product)
                evaluator.add_inplace(sums[part], product)
        return [None if ciphertext is None else _Part(ciphertext) for ciphertext in sums]

    def parts(self, slots: Slots) -> int:
        return -(-slots.columns // _stride(slots)[1])

    def blinds(self, count: int) -> list[_Part]:
        made = []
        for _ in range(count):
            mask = _uniform(PLAIN_BITS)
            ciphertext = self._fresh(_plaintext(mask))
            _seal().evaluator.add_inplace(ciphertext, _flood())
            made.append(_Part(ciphertext, mask))
        return made

    def finish(self, partials: Sequence[_Part | None], blind: _Part) -> bytes:
        evaluator = _seal().evaluator
        found = [partial.ciphertext for partial in partials if partial is not None]
        result = seal.Ciphertext()
        if found:
            total = found[0]
            for ciphertext in found[1:]:
                evaluator.add_inplace(total, ciphertext)
            evaluator.transform_from_ntt_inplace(total)
            evaluator.add_inplace(total, blind.ciphertext)
        else:
            total = blind.ciphertext
        evaluator.mod_switch_to_next(total, result)
        return _save(result)

    def masks(self, blinds: Sequence[_Part], slots: Slots) -> list[int]:
        return [int(blinds[part].mask[place]) for part, place in _places(slots)]  # type: ignore[index]

    def vector_limits(self, rows: int) -> tuple[int, int]:
        chunks = -(-rows // N)
        return chunks * LENGTH.size, chunks * (LENGTH.size + MAX_CIPHERTEXT)

    def part_limits(self) -> tuple[int, int]:
        return 1, MAX_CIPHERTEXT


class BfvSecretKey(SecretKey):
    """A fresh key pair from SEAL's generator, which the operating system seeds."""

    def __init__(self) -> None:
        state = _seal()
        generator = seal.KeyGenerator(state.context)
        public = seal.PublicKey()
        generator.create_public_key(public)
        self.public = Bfv(_save(public))
        self._decryptor = seal.Decryptor(state.context, generator.secret_key())

    def decrypt(self, parts: Sequence[bytes], slots: Slots) -> list[int]:
        if len(parts) != self.public.parts(slots):
            raise CryptoError(f"expected {self.public.parts(slots)} ciphertexts, got {len(parts)}")
        plaintexts = []
        # honest noise never overflows; one part is looked at, as that takes as long as decrypting it
        probe = secrets.randbelow(len(parts)) if parts else 0
        for number, body in enumerate(parts):
            ciphertext = _ciphertext(body, _seal().sent)
            if number == probe and self._decryptor.invariant_noise_budget(ciphertext) < 1:
                raise CryptoError("the noise of a BFV ciphertext has overflowed: it does not decrypt to its content")
            plaintext = seal.Plaintext()
            self._decryptor.decrypt(ciphertext, plaintext)
            plaintexts.append(plaintext)
        # SEAL drops leading zeros
        return [
            int(plaintexts[part][place]) if place < plaintexts[part].coeff_count() else 0
            for part, place in _places(slots)
        ]


def _stride(slots: Slots) -> tuple[int, int]:
    """Distance between columns in one polynomial, and columns in it."""
    stride = max(1, min(slots.stride, N))
    return stride, N // stride


def _places(slots: Slots) -> list[tuple[int, int]]:
    """Part and coefficient of each column's inner product."""
    stride, each = _stride(slots)
    return [(column // each, (column % each + 1) * stride - 1) for column in range(slots.columns)]


def _chunks(values: np.ndarray) -> list[np.ndarray]:
    return [values[start : start + N] for start in range(0, len(values), N)]


def _pieces(body: bytes) -> list[memoryview]:
    """The ciphertexts of an encrypted vector. :raises CryptoError: lengths do not fit."""
    pieces, position, view = [], 0, memoryview(body)
    while position < len(body):
        if position + LENGTH.size > len(body):
            raise CryptoError("an encrypted vector ends within a length")
        (length,) = LENGTH.unpack_from(body, position)
        position += LENGTH.size
        if not 0 < length <= min(MAX_CIPHERTEXT, len(body) - position):
            raise CryptoError(f"a ciphertext of {length} bytes does not fit into an encrypted vector")
        pieces.append(view[position : position + length])
        position += length
    return pieces
