"""Sites with networks of their own: a namespace of Linux each, with a router between them that can fail.

Each site has an address of its own on a link to the router, and a second link to the tests' own network, so that the
tests reach a site's servers also while the sites do not reach each other. What is cut is lost without a word, as on a
line that a digger has met: no packet is answered, no connection closed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from tests.servers.process import Place, Server, ServerError

#: the first two bytes of all addresses here; a part of 198.18.0.0/15, which is for tests of networks (RFC 2544)
_PREFIX = "198.18"


def missing() -> str:
    """What this machine lacks for namespaces, empty where it lacks nothing."""
    if shutil.which("ip", path=_path()) is None or shutil.which("tc", path=_path()) is None:
        return "ip and tc are not installed: apt-get install iproute2 (tools/install-test-servers installs it)"
    if os.geteuid() != 0:
        return "network namespaces need root: run the tests as root"
    name = f"fate-{secrets.token_hex(3)}"
    tried = _run(["ip", "netns", "add", name])
    if tried.returncode:
        return f"network namespaces cannot be made here, perhaps in a container without CAP_SYS_ADMIN: {tried.stderr}"
    _run(["ip", "netns", "del", name])
    return ""


class Network(Server):
    """Sites, and a router between them.

    :param names: of the sites
    :raises ServerError: this machine cannot make network namespaces, and why
    """

    def __init__(self, *names: str) -> None:
        lacking = missing()
        if lacking:
            raise ServerError(lacking)
        self._tag = secrets.token_hex(2)
        self._block = _free_block()
        self._names = names
        self._router = f"fate-{self._tag}-router"
        #: where servers run, by site
        self.places: dict[str, Place] = {}

    def start(self) -> Network:
        """Make the namespaces and their links."""
        self._namespace(self._router)
        self._sh(self._router, "echo 1 > /proc/sys/net/ipv4/ip_forward")
        for number, name in enumerate(self._names):
            self._add(name, number)
        return self

    def _add(self, name: str, number: int) -> None:
        """A site, its link to the router, and the one to the tests. A /24 block has eight networks of 32 addresses."""
        namespace = f"fate-{self._tag}-{name}"
        to_router, to_tests = (f"{_PREFIX}.{self._block}.{64 * number + offset}" for offset in (0, 32))
        gateway, public, tests, host = (_plus(net, step) for net in (to_router, to_tests) for step in (1, 2))
        self._namespace(namespace)
        # the router's and the tests' ends bear the tag, as others may have networks of this kind here
        far, near = f"f{self._tag}r{number}", f"f{self._tag}t{number}"
        ip("link", "add", "sites", "netns", namespace, "type", "veth", "peer", "name", far, "netns", self._router)
        ip("link", "add", "tests", "netns", namespace, "type", "veth", "peer", "name", near)
        ip("-n", self._router, "addr", "add", f"{gateway}/27", "dev", far)
        ip("-n", self._router, "link", "set", far, "up")
        ip("addr", "add", f"{tests}/27", "dev", near)
        ip("link", "set", near, "up")
        for device, address in (("sites", public), ("tests", host)):
            ip("-n", namespace, "addr", "add", f"{address}/27", "dev", device)
            ip("-n", namespace, "link", "set", device, "up")
        # no more than that: what asks for names must hear at once that there is no way to a name server, cut or not
        ip("-n", namespace, "route", "add", f"{_PREFIX}.{self._block}.0/24", "via", gateway)
        enter = (_program("nsenter"), f"--net=/run/netns/{namespace}")
        self.places[name] = Place(host=host, listen="0.0.0.0", public=public, enter=enter)

    def _namespace(self, name: str) -> None:
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")

    def _sh(self, namespace: str, command: str) -> None:
        _checked([_program("nsenter"), f"--net=/run/netns/{namespace}", "sh", "-c", command])

    def stop(self) -> None:
        """Remove all; processes that still run there lose their network."""
        for number in range(len(self.places)):  # the kernel takes its time over those of a namespace that is gone
            _run(["ip", "link", "del", f"f{self._tag}t{number}"])
        for name in (self._router, *(f"fate-{self._tag}-{name}" for name in self._names)):
            if Path("/run/netns", name).exists():
                ip("netns", "del", name)

    # -- faults

    def cut(self) -> None:
        """From here on the router loses all packets between the sites."""
        for place in self.places.values():
            ip("-n", self._router, "route", "replace", "blackhole", f"{place.public}/32")

    def restore(self) -> None:
        """Mend what :meth:`cut` and :meth:`slow` did."""
        for number, place in enumerate(self.places.values()):
            _run(["ip", "-n", self._router, "route", "del", "blackhole", f"{place.public}/32"])
            _run(["tc", "-n", self._router, "qdisc", "del", "dev", f"f{self._tag}r{number}", "root"])

    def slow(self, rate: str) -> None:
        """Let no more than ``rate`` through to each site.

        :param rate: as ``tc`` writes it, e.g. ``512kbit``
        """
        for number in range(len(self.places)):
            device = f"f{self._tag}r{number}"
            _checked(
                [
                    "tc", "-n", self._router, "qdisc", "replace", "dev", device, "root",
                    "tbf", "rate", rate, "burst", "16kb", "latency", "400ms",
                ]
            )  # fmt: skip


def ip(*words: str) -> None:
    """Run ``ip`` with these words. :raises ServerError: it failed"""
    _checked(["ip", *words])


def _checked(command: list[str]) -> None:
    done = _run(command)
    if done.returncode:
        raise ServerError(f"{' '.join(command)}: code {done.returncode}: {done.stderr}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": _path()})


def _path() -> str:
    return os.pathsep.join(("/usr/sbin", "/sbin", os.environ.get("PATH", os.defpath)))


def _program(name: str) -> str:
    found = shutil.which(name, path=_path())
    if found is None:
        raise ServerError(f"{name} is not installed: apt-get install util-linux")
    return found


def _free_block() -> int:
    """The third byte of addresses that no interface of the tests' own network has."""
    used = _run(["ip", "-4", "-o", "addr"]).stdout
    free = [block for block in range(256) if f" {_PREFIX}.{block}." not in used]
    if not free:
        raise ServerError(f"all of {_PREFIX}.0.0/16 is in use here")
    return secrets.choice(free)


def _plus(network: str, step: int) -> str:
    head, _, last = network.rpartition(".")
    return f"{head}.{int(last) + step}"
