"""Who may import whom, read from the source: the rules that keep Airflow, Spark and the protocols apart."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PACKAGE = "airflow_provider_fate"
ROOT = Path(__file__).parents[2] / PACKAGE

#: part of the package -> what of the package it may import (itself and the package's own version always)
ALLOWED = {
    "errors": (),
    "job": ("errors",),
    "runtime": ("errors", "job"),
    "testing": ("errors", "job", "runtime"),
    # runtime.progress: the lines and files through which the application tells how it goes
    "hooks": ("errors", "get_provider_info", "job", "runtime.storage", "runtime.federation", "runtime.progress"),
    "triggers": ("errors", "hooks"),
    "operators": ("errors", "job", "hooks", "links", "triggers"),
    "runtime.components": (
        "errors",
        "job",
        "runtime.crypto",
        "runtime.data",
        "runtime.federation.base",
        "runtime.federation.checks",
        "runtime.storage.base",
    ),
    "runtime.federation": ("errors", "job.names", "job.party"),
    "runtime.crypto": ("errors",),
    "runtime.storage": ("errors", "job.party", "runtime.data"),
}

#: what the executors and the driver have, and Airflow's own processes need not
HEAVY = {"pyspark", "py4j", "tenseal", "gmpy2", "sklearn", "scipy", "pandas"}
#: the only modules that know Spark
KNOW_SPARK = {"runtime.main", "runtime.spark_engine", "runtime.storage.hadoop"}
#: modules whose reading of data can run code
RUN_CODE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy"}


@dataclass
class Imports:
    """What one source file imports."""

    at_load: set[str] = field(default_factory=set)  #: when the module is loaded
    later: set[str] = field(default_factory=set)  #: inside functions

    @property
    def all(self) -> set[str]:
        return self.at_load | self.later


def imports_of(source: str, module: str) -> Imports:
    """Full dotted names that a source imports; imports for type checkers only are left out."""
    found = Imports()

    def visit(node: ast.AST, inside: bool) -> None:
        names = found.later if inside else found.at_load
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *filter(None, [base])])
            names.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child, inside)
        else:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                visit(child, inside or function)

    visit(ast.parse(source), False)
    return found


def code_runners(source: str) -> list[str]:
    """Uses of what can run code that came as data, each with its line."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if name in {"eval", "exec", "compile", "__import__"}:
                found.append(f"line {node.lineno}: {name}()")
            for keyword in node.keywords:
                trusting = not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
                if keyword.arg == "allow_pickle" and trusting:
                    found.append(f"line {node.lineno}: allow_pickle")
            if ast.unparse(node.func) in {"np.load", "numpy.load"} and "allow_pickle" not in ast.unparse(node):
                found.append(f"line {node.lineno}: numpy.load without allow_pickle=False")
    module = imports_of(source, "")
    return found + [f"import {name}" for name in sorted(module.all) if name.split(".")[0] in RUN_CODE]


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_module(path): path.read_text() for path in sorted(ROOT.rglob("*.py"))}
IMPORTS = {  # relative names in a package's __init__ start at the package itself
    module: imports_of(source, f"{module}.__init__" if (ROOT.parent / Path(*module.split("."))).is_dir() else module)
    for module, source in SOURCES.items()
}


def _inside(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


def _own(name: str) -> str | None:
    """The part of this package that a dotted name lies in, without the package's name; "" for the package itself."""
    if not _inside(name, PACKAGE):
        return None
    while name not in SOURCES:  # the last words may be a class or a function
        name = name.rpartition(".")[0]
    return name[len(PACKAGE) + 1 :]


def _modules(part: str) -> Iterator[str]:
    return (module for module in SOURCES if _inside(module, f"{PACKAGE}.{part}"))


@pytest.mark.parametrize("part", ALLOWED)
def test_who_may_import_whom(part):
    wrong = []
    for module in _modules(part):
        for name in IMPORTS[module].all:
            other = _own(name)
            if other and not _inside(other, part) and not any(_inside(other, good) for good in ALLOWED[part]):
                wrong.append(f"{module} imports {name}")
    assert not wrong, "\n".join(sorted(wrong))
    assert list(_modules(part)), f"{PACKAGE}.{part} is not there any more"


def test_the_page_on_the_architecture_says_the_same():
    page = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("| part | what it is for | may import |\n|---|---|---|\n", 1)[1].split("\n\n", 1)[0]
    said = {}
    for line in table.splitlines():
        part, _, others = line.strip("| ").split(" | ")
        named = [name.removesuffix(".py").replace("/", ".").rstrip(".") for name in re.findall("`([^`]+)`", others)]
        said[part.strip("`").removesuffix(".py").replace("/", ".").rstrip(".")] = sorted(named)
    assert said == {part: sorted(others) for part, others in ALLOWED.items()}


def test_nobody_imports_operators():
    wrong = [
        f"{module} imports {name}"
        for module, imports in IMPORTS.items()
        for name in imports.all
        if (_own(name) or "").startswith("operators") and not _inside(module, f"{PACKAGE}.operators")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("part", ["runtime", "job", "errors"])
def test_no_airflow_below_the_hooks(part):
    wrong = [f"{m} imports {name}" for m in _modules(part) for name in IMPORTS[m].all if _inside(name, "airflow")]
    assert not wrong, "\n".join(wrong)


def test_only_the_application_knows_spark():
    wrong = [
        f"{module} imports {name}"
        for module, imports in IMPORTS.items()
        for name in imports.all
        if name.split(".")[0] in {"pyspark", "py4j"} and module[len(PACKAGE) + 1 :] not in KNOW_SPARK
    ]
    assert not wrong, "\n".join(wrong)


def test_airflow_processes_load_nothing_heavy():
    """Airflow imports hooks and operators everywhere: nothing they load, at any depth, needs Spark's libraries."""
    todo = [m for m in SOURCES if not _inside(m, f"{PACKAGE}.runtime")]
    reached_from = {module: module for module in todo}
    wrong = []
    while todo:
        module = todo.pop()
        for name in IMPORTS[module].at_load:
            if name.split(".")[0] in HEAVY:
                wrong.append(f"{module} (loaded for {reached_from[module]}) imports {name}")
            other = _own(name)
            # loading a.b.c loads a and a.b before
            for loaded in [] if other is None else _with_parents(f"{PACKAGE}.{other}".rstrip(".")):
                if loaded not in reached_from:
                    reached_from[loaded] = reached_from[module]
                    todo.append(loaded)
    assert not wrong, "\n".join(sorted(wrong))


def test_an_application_loads_what_is_slow_when_it_is_needed():
    """Every party and every Python worker imports the components; scikit-learn alone takes seconds of a core."""
    program = (
        "import sys\n"
        "from airflow_provider_fate.runtime import main, pipeline, spark_engine\n"
        "from airflow_provider_fate.runtime.components.registry import COMPONENTS, component_class\n"
        "for name in COMPONENTS: component_class(name)\n"
        "print(*{'sklearn', 'pandas', 'tenseal', 'airflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1) if ".".join(parts[:end]) in SOURCES]


def test_nothing_received_can_run_code():
    wrong = [f"{module}: {use}" for module, source in SOURCES.items() for use in code_runners(source)]
    assert not wrong, "\n".join(wrong)


def test_pyspark_and_its_client_are_twins():
    """Both own the same files; two versions of them together break in the oddest places."""
    assert importlib.metadata.version("pyspark") == importlib.metadata.version("pyspark-client")


def test_the_readers_above_see_what_they_should():
    source = """
from __future__ import annotations
from typing import TYPE_CHECKING
import numpy.linalg
from .sibling import thing
if TYPE_CHECKING:
    import airflow
else:
    import real
def f():
    from pyspark import sql
class C:
    import inner
"""
    found = imports_of(source, "a.b.c")
    assert {"numpy.linalg", "a.b.sibling.thing", "real", "inner"} <= found.at_load
    assert found.later == {"pyspark.sql"}
    assert "airflow" not in found.all
    assert code_runners("import pickle\neval('1')\nnp.load(f)\nnp.load(f, allow_pickle=False)\nre.compile('x')") == [
        "line 2: eval()",
        "line 3: numpy.load without allow_pickle=False",
        "import pickle",
    ]
    assert code_runners("np.load(f, allow_pickle=trusted)") == ["line 1: allow_pickle"]
