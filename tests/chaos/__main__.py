"""``python -m tests.chaos``: a seeded series of faults on real processes, with a table of what came of each."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.jobs import JOBS
from tests.chaos.series import Series, say, table
from tests.chaos.sites import Sites
from tests.servers.network import missing


def main(arguments: list[str]) -> int:
    """:returns: 1 when a promise was broken, else 0"""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of all that is chosen at random; printed, and random where not given")
    parser.add_argument("--rounds", type=int, default=1, help="how often each fault strikes each job")
    parser.add_argument("--fault", nargs="+", choices=FAULTS, help="only these; by default all that the machine allows")
    parser.add_argument("--job", nargs="+", choices=JOBS, default=list(JOBS), help="only these")
    parser.add_argument("--linked", action="store_true", help="link the brokers (RabbitMQ federation)")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="keep all files there, logs among them")
    chosen = parser.parse_args(arguments)
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1 << 32)
    say(f"seed {seed}")
    faults = chosen.fault or list(FAULTS)
    if not chosen.fault and (lacking := missing()):
        faults = [name for name in faults if not FAULTS[name].network]
        say(f"without the faults of networks and disks: {lacking}")
    directory = chosen.keep or Path(tempfile.mkdtemp(prefix="fate-chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    # who is told to end removes networks and disks, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with Sites(directory, linked=chosen.linked) as sites:
            say(f"two organisations are up after {time.monotonic() - began:.0f} s")
            series = Series(sites, seed)
            for fault, jobs in series.plan(faults, chosen.job, chosen.rounds):
                say("\n".join(table(series.strike(fault, jobs)).splitlines()[2:]))
    finally:
        if chosen.keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    say(f"\nseed {seed}, {len(series.outcomes)} faults in {time.monotonic() - began:.0f} s\n{table(series.outcomes)}")
    return 0 if all(outcome.kept for outcome in series.outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
