"""Prepares the virtual environment and goes on in it.

``python -m tools demo|ui|test|bench|chaos|venv|clean [arguments]``
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from tools import environment
from tools.trouble import Trouble, run, say

# command -> the extras that it needs, and the program that it is in the virtual environment
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "demo": (["demo"], ["-m", "tools.demo", "demo"]),
    "ui": (["demo"], ["-m", "tools.demo", "ui"]),
    "test": (["test"], ["-m", "pytest"]),
    "bench": (["test"], ["-m", "benchmarks"]),
    "chaos": (["test"], ["-m", "tests.chaos"]),
}


def main() -> int:
    name, *arguments = sys.argv[1:] or [""]
    arguments += shlex.split(os.environ.get("ARGS", ""))
    if sys.platform != "linux":
        raise Trouble(f"this runs on Linux (on Windows: inside WSL), and this is {sys.platform}")
    if name == "clean":
        environment.clean()
        return 0
    if name == "venv":
        where = environment.prepare(["demo"])
        say(f"{where.python} with Java from {where.java_home}")
        return 0
    if name not in COMMANDS:
        raise Trouble(f"{name!r} is none of {', '.join([*COMMANDS, 'venv', 'clean'])}")
    extras, command = COMMANDS[name]
    where = environment.prepare(extras)
    if name in ("test", "bench", "chaos"):
        _install_servers(where)
    sys.stdout.flush()
    program = [str(where.python), *command, *arguments]
    os.execve(program[0], program, where.variables())


def _install_servers(where: environment.Environment) -> None:
    """The real servers that tests, benchmarks and faults run against."""
    command = [str(environment.REPOSITORY / "tools" / "install-test-servers")]
    if subprocess.run(command, env=where.variables()).returncode:
        raise Trouble("not all servers of the tests are there; what is missing is said above")


if __name__ == "__main__":
    sys.exit(run(main))
