"""Runs all benchmarks, or those named: ``python -m benchmarks [upload messages ...]``, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_DIRECTORY = Path(__file__).parent


def main(names: list[str]) -> int:
    """Run the benchmarks one after the other.

    :param names: which; all where none is named
    :returns: the exit code: 1 when one of them failed
    """
    known = {path.stem.removeprefix("bench_"): path.stem for path in sorted(_DIRECTORY.glob("bench_*.py"))}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"error: no benchmark {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or known:
        code = subprocess.run([sys.executable, "-m", f"benchmarks.{known[name]}"], cwd=_DIRECTORY.parent).returncode
        if code:
            print(f"error: the benchmark {name} ended with code {code}", file=sys.stderr)
            failed = 1
        print(flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
