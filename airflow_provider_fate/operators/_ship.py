"""This package's own code as one file, and that of users' components, for the machines that Spark runs on."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path

import airflow_provider_fate
from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job import extensions

#: what runs inside a Spark application; the rest needs Airflow
PARTS = ("__init__.py", "errors.py", "job", "runtime")
_PACKAGE = Path(airflow_provider_fate.__file__).parent


def application() -> str:
    """The script that spark-submit starts."""
    return str(_PACKAGE / "runtime" / "main.py")


def code_zip(cache_directory: Path | None = None) -> str:
    """A zip file of the code, made once for each state of it. The same code gives the same bytes.

    :param cache_directory: by default below the user's cache directory
    """
    return _kept("airflow_provider_fate", _content(), cache_directory)


def users_zips(modules: Iterable[str], cache_directory: Path | None = None) -> list[str]:
    """Zip files of the users' packages that have these modules, one for each package.

    Each holds the files of the package's distribution, and its entry points, by which the application finds them.

    :raises ConfigError: a package has compiled files, which cannot be imported from a zip
    """
    distributions: dict[str, tuple[Distribution, str]] = {}
    for module in modules:
        found = extensions.entry(module)
        if found is not None and found.dist is not None:
            distributions[found.dist.name] = (found.dist, found.module)
    zips = []
    for name, (distribution, module) in sorted(distributions.items()):
        content = _zipped(_distribution_files(distribution, module))
        zips.append(_kept(re.sub(r"[^A-Za-z0-9.]+", "_", name), content, cache_directory))
    return zips


def _kept(stem: str, content: bytes, cache_directory: Path | None) -> str:
    name = f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.zip"
    directory = cache_directory or _private_directory()
    path = directory / name
    # what is run on a cluster is compared, not trusted for its name
    if not (path.is_file() and path.read_bytes() == content):
        descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=".writing-")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.replace(temporary, path)
    return str(path)


def _private_directory() -> Path:
    """A directory that only this user can write to."""
    wanted = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airflow-provider-fate"
    with contextlib.suppress(OSError):
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = wanted.stat()
        if state.st_uid == os.getuid() and not state.st_mode & 0o022 and os.access(wanted, os.W_OK):
            return wanted
    return _fallback()


@cache
def _fallback() -> Path:
    return Path(tempfile.mkdtemp(prefix="airflow-provider-fate-"))


def _content() -> bytes:
    return _zipped({f"{_PACKAGE.name}/{path.relative_to(_PACKAGE).as_posix()}": path.read_bytes() for path in _files()})


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            # a fixed date, so that the same code gives the same bytes
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _files() -> list[Path]:
    found: list[Path] = []
    for part in PARTS:
        path = _PACKAGE / part
        found += [path] if path.is_file() else path.rglob("*.py")
    return sorted(found)


def _distribution_files(distribution: Distribution, module: str) -> dict[str, bytes]:
    """The files of a distribution by their names in the zip.

    :param module: one of its Python modules, by which its folder is found where it is installed in editable form
    """
    listed = {
        file.as_posix(): path
        for file in distribution.files or []
        if ".." not in file.parts and not file.parts[0].endswith((".dist-info", ".egg-info"))
        if (path := Path(str(file.locate()))).is_file()
    }
    root = module.partition(".")[0]
    if not any(name in (f"{root}.py", f"{root}/__init__.py") or name.startswith(f"{root}/") for name in listed):
        listed = _package_files(module)
    listed = {name: path for name, path in listed.items() if "__pycache__" not in name and path.is_file()}
    for name in listed:
        if name.endswith((".so", ".pyd", ".dylib")):
            raise ConfigError(
                f"package {distribution.name}", f"{name} is compiled, and Python cannot import it from a zip; "
                "keep the component in a pure Python package, and what it needs in the environment of archives"
            )  # fmt: skip
    files = {name: path.read_bytes() for name, path in listed.items() if not name.endswith((".pth", ".pyc"))}
    info = f"{re.sub(r'[-_.]+', '_', distribution.name)}-{distribution.version}.dist-info"
    for name in ("METADATA", "entry_points.txt"):
        files[f"{info}/{name}"] = (distribution.read_text(name) or "").encode()
    return files


def _package_files(module: str) -> dict[str, Path]:
    """All files of the package (or the single file) that a Python module is in; of a namespace, of the part in it."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        spec = find_spec(name)
        if spec is None:
            break
        if spec.origin is None and spec.submodule_search_locations is not None:
            continue  # a namespace, which other packages share
        folder = name.replace(".", "/")
        if spec.submodule_search_locations is None:
            return {f"{folder}.py": Path(str(spec.origin))}
        return {
            f"{folder}/{path.relative_to(root).as_posix()}": path
            for root in spec.submodule_search_locations
            for path in Path(root).rglob("*")
        }
    raise ConfigError(f"module {module}", "its files are not found")
