"""Upload of 1,000,000 rows x 20 columns to HDFS against writing the same bytes through WebHDFS raw.

    python -m benchmarks.bench_upload [rows]

Starts an HDFS of its own. Raw is one plain HTTP write of the CSV file's bytes, as ``curl`` does it. Arrow's reader
alone, on all cores, with nothing written, is the limit of any upload of text; a Parquet file of the same rows has no
text to read. Processor time is this process's own, without HDFS's.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import requests

from tests.servers.hdfs import HDFS

COLUMNS = 20
ROUNDS = 3


def main(rows: int) -> None:
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder, HDFS(Path(folder) / "hdfs") as hdfs:
        source, parquet = Path(folder) / "rows.csv", Path(folder) / "rows.parquet"
        write_csv(source, rows)
        write_parquet(source, parquet)
        home = hdfs.new_directory("/fate", hdfs.superuser)
        os.environ["AIRFLOW_CONN_BENCH_HDFS"] = json.dumps(
            {
                "conn_type": "fate_hdfs",
                "host": "127.0.0.1",
                "port": hdfs.http_port,
                "login": hdfs.superuser,
                "extra": {"hdfs_url": hdfs.url, "root_path": home},
            }
        )
        size = source.stat().st_size
        works = {
            "raw WebHDFS write": lambda: write_raw(hdfs, source),
            "Arrow's CSV reader": lambda: only_parse(source),
            "FateUploadOperator": lambda: upload(source),
            "the same of Parquet": lambda: upload(parquet),
        }
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                took[name].append(timed(work))
        from airflow_provider_fate.hooks.stores import tables

        store = tables("bench_hdfs")
        stored = sum(store.storage.size(path) for path in store.files("bench", "rows"))
        print(f"upload of {rows} rows x {COLUMNS} columns, {size / 1e6:.0f} MB of CSV, best of {ROUNDS}:")
        print(f"  {'':20s}    wall            processor")
        best = {name: min(wall for wall, _ in times) for name, times in took.items()}
        for name, wall in best.items():
            processor = min(processor for _, processor in took[name])
            print(f"  {name:20s} {wall:6.2f} s  {size / wall / 1e6:4.0f} MB/s  {processor:5.2f} s")
        raw, parse, ours, columnar = best.values()
        print(f"  stored as Parquet               {stored / 1e6:4.0f} MB")
        print(f"  ours / raw                            {raw / ours:.2f}    (aim: 0.70 or more)")
        print(f"  ours / raw, of Parquet                {raw / columnar:.2f}")
        print(f"  ours / Arrow's reader                 {parse / ours:.2f}    (nothing is written there)")
        print(f"  ours / (raw, then Arrow's reader)     {(raw + parse) / ours:.2f}")


def write_csv(path: Path, rows: int) -> None:
    generator = np.random.default_rng(1)
    names = ["id", *(f"x{number}" for number in range(COLUMNS))]
    schema = pa.schema([("id", pa.int64()), *((name, pa.float64()) for name in names[1:])])
    with pyarrow.csv.CSVWriter(path, schema) as writer:
        for start in range(0, rows, 100_000):
            count = min(100_000, rows - start)
            values = [pa.array(np.round(generator.normal(size=count), 6)) for _ in range(COLUMNS)]
            writer.write_batch(pa.record_batch([pa.array(np.arange(start, start + count)), *values], names))


def write_parquet(source: Path, target: Path) -> None:
    table = pyarrow.csv.read_csv(source, convert_options=pyarrow.csv.ConvertOptions(column_types={"id": pa.string()}))
    pyarrow.parquet.write_table(table, target, row_group_size=100_000, use_dictionary=False)


def write_raw(hdfs: HDFS, source: Path) -> None:
    place = f"{hdfs.web_url}/webhdfs/v1/fate/raw.csv?op=CREATE&overwrite=true&user.name={hdfs.superuser}"
    with requests.Session() as session, source.open("rb") as stream:
        session.trust_env = False
        target = session.put(place, allow_redirects=False, timeout=60).headers["Location"]
        session.put(target, data=stream, timeout=600).raise_for_status()


def only_parse(source: Path) -> None:
    types = pyarrow.csv.ConvertOptions(column_types={"id": pa.string()})
    pyarrow.csv.read_csv(source, pyarrow.csv.ReadOptions(block_size=1 << 20), convert_options=types)


def upload(source: Path) -> None:
    from airflow_provider_fate.operators.upload import FateUploadOperator

    FateUploadOperator(
        task_id="upload", source=str(source), namespace="bench", name="rows", storage_conn_id="bench_hdfs", drop=True
    ).execute({})


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock, and of this process's processor time."""
    began, processor = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - began, time.process_time() - processor


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
