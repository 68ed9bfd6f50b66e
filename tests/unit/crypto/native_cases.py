"""Hostile bytes for SEAL, whose code is C++: run as a process of its own, which may die of them.

``python -m tests.unit.crypto.native_cases SEED CASES`` prints each case before it is tried, and how many were refused
and accepted at the end.
"""

from __future__ import annotations

import faulthandler
import random
import resource
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from airflow_provider_fate.errors import CryptoError
from airflow_provider_fate.runtime.crypto import bfv
from airflow_provider_fate.runtime.crypto.scheme import Slots, generate, scheme
from tests.watching import peak_from_now, peak_memory

#: bytes of memory that the process may map; more is a MemoryError, or its end
MEMORY = 4 << 30
#: what a case may take more at its peak
MEBIBYTES = 64
ROWS = 20
EXTREMES = [0, 1, 2, 3, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 53, 1 << 63, (1 << 64) - 1]


def opened(body: bytes) -> bytes:
    """A ciphertext as SEAL saves it without compression."""
    thing = bfv._load(bfv.seal.Ciphertext(), body)
    return bfv._seal().ciphertext_head + np.array(
        [thing[place] for place in range(2 * thing.coeff_modulus_size() * bfv.N)], "<u8"
    ).tobytes()


def closed(content: bytes, mode: int) -> bytes:
    """With SEAL's header in front: 0 for no compression, 1 for zlib."""
    inside = zlib.compress(content, 1) if mode == 1 else content
    return bfv.HEADER.pack(bfv.MAGIC, bfv.HEADER.size, 4, 3, mode, 0, bfv.HEADER.size + len(inside)) + inside


@lru_cache(maxsize=1)
def bomb(content: bytes) -> bytes:
    """A ciphertext that 256 MiB of zeros follow."""
    return closed(content + bytes(256 << 20), 1)


def bytes_changed(body: bytes, draw: random.Random) -> tuple[str, bytes]:
    """A compressed body with something changed in it."""
    how = draw.choice(["cut", "grown", "flip", "flip", "many", "header", "length", "zeros", "random", "other"])
    data = bytearray(body)
    at = draw.randrange(len(data))
    match how:
        case "cut":
            data = data[:at]
        case "grown":
            data[at:at] = draw.randbytes(draw.choice([1, 8, 1000]))
        case "flip":
            data[at] ^= 1 << draw.randrange(8)
        case "many":
            for _ in range(draw.choice([4, 100])):
                data[draw.randrange(len(data))] = draw.randrange(256)
        case "header":
            at = draw.randrange(min(80, len(data)))
            data[at] = draw.choice([0, 1, 2, 127, 128, 255])
        case "length":
            struct.pack_into("<Q", data, 8, draw.choice(EXTREMES))
        case "zeros":
            data = bytearray(len(data))
        case "random":
            data = bytearray(draw.randbytes(draw.choice([0, 1, 16, 100, len(data)])))
        case _:
            data = bytearray(bfv._save(bfv.seal.Plaintext("1x^3 + 7")))
    if draw.random() < 0.7 and len(data) >= bfv.HEADER.size:
        # else most end at the length, which is looked at first
        struct.pack_into("<Q", data, 8, len(data))
    return f"{how} at {at}", bytes(data)


def content_changed(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """What stands within the compression, changed: level, form, sizes, residues; compressed again."""
    data = bytearray(content)
    start = bfv.HEADER.size
    words = {
        "level": start + 8 * draw.randrange(4), "size": start + 33, "degree": start + 41, "primes": start + 49,
        "scale": start + 57, "correction": start + 65, "array": start + 73 + 8, "count": start + 73 + 16,
    }  # fmt: skip
    how = draw.choice([*words, "form", "residue", "residue", "residues", "inner", "cut", "bomb"])
    match how:
        case "form":
            data[start + 32] = draw.choice([1, 2, 255])
        case "residue":
            place = draw.randrange(start + 97, len(data) - 8, 8)
            struct.pack_into("<Q", data, place, draw.choice(EXTREMES))
        case "residues":
            half = start + 97 + draw.choice([0, (len(data) - start - 97) // 2])
            data[half:] = draw.choice([bytes(len(data) - half), b"\xff" * (len(data) - half)])
        case "inner":
            data[start + 73 + draw.randrange(16)] = draw.randrange(256)
        case "cut":
            data = data[: draw.randrange(start, len(data))]
        case "bomb":
            return how, bomb(bytes(data[start:]))
        case _:
            struct.pack_into("<Q", data, words[how], draw.choice(EXTREMES))
    # the header of the uncompressed form goes: another takes its place
    return how, closed(bytes(data[start:]), draw.choice([0, 1]))


def uses() -> dict[str, tuple[bytes, Callable[[bytes], object]]]:
    """Where bytes of a peer reach SEAL: good ones, and what is done with them."""
    key = generate("BFV")
    public = scheme("BFV", key.public.public)
    columns = np.arange(3 * ROWS, dtype=np.int64).reshape(ROWS, 3)
    slots = Slots(3, ROWS)
    vector = public.write(public.encrypt(np.arange(ROWS)))
    (piece,) = bfv._pieces(vector)
    encoded = public.encode(columns, slots)
    (blind,) = public.blinds(1)
    part = public.finish(public.products(public.read(vector), encoded, slots), blind)

    def framed(body: bytes) -> bytes:
        return bfv.LENGTH.pack(len(body)) + body

    def computed(body: bytes) -> object:
        read = public.read(framed(body))
        public.combine([read], np.arange(ROWS))
        (mask,) = public.blinds(1)
        return key.decrypt([public.finish(public.products(public.read(framed(body)), encoded, slots), mask)], slots)

    def as_key(body: bytes) -> object:
        return scheme("BFV", body).encrypt(np.arange(ROWS))

    return {
        "vector": (bytes(piece), computed),
        "part": (part, lambda body: key.decrypt([body], slots)),
        "key": (key.public.public, as_key),
    }


def main(seed: int, cases: int) -> None:
    faulthandler.enable()
    draw = random.Random(seed)
    where = uses()
    content = opened(where["vector"][0])
    # what has been started by then does not count
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    bomb(content[bfv.HEADER.size :])
    ends: Counter[str] = Counter()
    for number in range(cases):
        name = draw.choice(list(where))
        good, use = where[name]
        inside = name == "vector" and draw.random() < 0.6
        how, body = content_changed(content, draw) if inside else bytes_changed(good, draw)
        print(f"case {number} of seed {seed}: {name}, {how}", flush=True)
        before = peak_from_now()
        try:
            use(body)
            ends[f"{name} accepted"] += 1
        except CryptoError:
            ends[f"{name} refused"] += 1
        more = (peak_memory() - before) / 1024
        if more > MEBIBYTES:
            raise SystemExit(f"it took {more:.0f} MiB")
    print(f"ends: {dict(sorted(ends.items()))}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
