"""Text in pieces of whole lines, worked on by several threads and given back in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, TypeVar

import pyarrow as pa

Result = TypeVar("Result")

#: bytes of one piece, to which the rest of its last line comes; a piece and its columns fit into a core's cache
PIECE = 1 << 20
#: bytes of rows that are handed on together: what one row group of a Parquet file gets
GATHERED = 8 << 20
#: a line that is longer is not text that was meant
LONGEST_LINE = 64 << 20


def whole_lines(stream: IO[bytes], size: int = PIECE) -> Iterator[bytes]:
    """Cut a stream after line ends.

    :raises pa.ArrowInvalid: a line is longer than :data:`LONGEST_LINE`
    """
    rest = b""
    while block := stream.read(size):
        cut = block.rfind(b"\n") + 1
        if not cut:
            rest += block
            if len(rest) > LONGEST_LINE:
                raise pa.ArrowInvalid(f"a line is longer than {LONGEST_LINE} bytes")
            continue
        yield b"".join((rest, memoryview(block)[:cut]))
        rest = block[cut:]
    if rest:
        yield rest


def in_order(pieces: Iterator[bytes], work: Callable[[bytes, bool], Result]) -> Iterator[Result]:
    """``work(piece, is_first)`` of each piece; a few at a time, so memory stays bounded."""
    threads = min(4, os.cpu_count() or 1)
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="fate-upload-parser")
    try:
        for number, piece in enumerate(pieces):
            waiting.append(pool.submit(work, piece, number == 0))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def gathered(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Small tables put together, without copying them, until there are :data:`GATHERED` bytes."""
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += table.nbytes
        if size >= GATHERED:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)
