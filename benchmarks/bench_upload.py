"""Upload of 1,000,000 rows x 20 columns to HDFS against writing the same bytes through WebHDFS raw.

    python -m benchmarks.bench_upload [rows]

Starts an HDFS of its own. Raw is one plain HTTP write of the CSV file's bytes, as ``curl`` does it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import requests

from tests.servers.hdfs import HDFS

COLUMNS = 20
ROUNDS = 3


def main(rows: int) -> None:
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder, HDFS(Path(folder) / "hdfs") as hdfs:
        source = Path(folder) / "rows.csv"
        write_csv(source, rows)
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
        raw, parse, ours = [], [], []
        for _ in range(ROUNDS):
            raw.append(timed(lambda: write_raw(hdfs, source)))
            parse.append(timed(lambda: only_parse(source)))
            ours.append(timed(lambda: upload(source)))
        from airflow_provider_fate.hooks.stores import tables

        store = tables("bench_hdfs")
        stored = sum(store.storage.size(path) for path in store.files("bench", "rows"))
        best_raw, best_parse, best_ours = min(raw), min(parse), min(ours)
        print(f"upload of {rows} rows x {COLUMNS} columns, {size / 1e6:.0f} MB of CSV, best of {ROUNDS}:")
        print(f"  raw WebHDFS write   {best_raw:6.2f} s  {size / best_raw / 1e6:6.0f} MB/s")
        print(f"  Arrow's CSV reader  {best_parse:6.2f} s  {size / best_parse / 1e6:6.0f} MB/s, nothing is written")
        print(f"  FateUploadOperator  {best_ours:6.2f} s  {size / best_ours / 1e6:6.0f} MB/s of CSV")
        print(f"  as Parquet                    {stored / 1e6:6.0f} MB stored")
        print(f"  ours / raw          {best_raw / best_ours:6.2f}    (aim: 0.70 or more)")
        print(f"  ours / (raw and CSV reader one after the other) {(best_raw + best_parse) / best_ours:.2f}")


def write_csv(path: Path, rows: int) -> None:
    generator = np.random.default_rng(1)
    names = ["id", *(f"x{number}" for number in range(COLUMNS))]
    schema = pa.schema([("id", pa.int64()), *((name, pa.float64()) for name in names[1:])])
    with pyarrow.csv.CSVWriter(path, schema) as writer:
        for start in range(0, rows, 100_000):
            count = min(100_000, rows - start)
            values = [pa.array(np.round(generator.normal(size=count), 6)) for _ in range(COLUMNS)]
            writer.write_batch(pa.record_batch([pa.array(np.arange(start, start + count)), *values], names))


def write_raw(hdfs: HDFS, source: Path) -> None:
    place = f"{hdfs.web_url}/webhdfs/v1/fate/raw.csv?op=CREATE&overwrite=true&user.name={hdfs.superuser}"
    with requests.Session() as session, source.open("rb") as stream:
        session.trust_env = False
        target = session.put(place, allow_redirects=False, timeout=60).headers["Location"]
        session.put(target, data=stream, timeout=600).raise_for_status()


def only_parse(source: Path) -> None:
    for _ in pyarrow.csv.open_csv(source, read_options=pyarrow.csv.ReadOptions(block_size=4 << 20)):
        pass


def upload(source: Path) -> None:
    from airflow_provider_fate.operators.upload import FateUploadOperator

    FateUploadOperator(
        task_id="upload", source=str(source), namespace="bench", name="rows", storage_conn_id="bench_hdfs", drop=True
    ).execute({})


def timed(work) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
