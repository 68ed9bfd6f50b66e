"""Two sites with a router between them: what is cut is lost without a word, and what is slow arrives."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.servers.network import Network
from tests.servers.process import HERE, Place

_PORT = 9000
_SERVE = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    link, _ = listener.accept()
    count = 0
    while data := link.recv(65536):
        count += len(data)
        if count % 100_000 == 0:
            link.sendall(b"%d\\n" % count)
"""
_SEND = """
import socket, sys, time
link = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
link.settimeout(float(sys.argv[3]))
began = time.monotonic()
link.sendall(bytes(100_000))
print(link.recv(100).decode().strip(), time.monotonic() - began)
"""


@pytest.fixture(scope="module")
def network():
    with Network("bank", "telco") as made:
        yield made


@pytest.fixture(scope="module")
def server(network):
    place = network.places["telco"]
    command = [*place.enter, sys.executable, "-I", "-c", _SERVE, place.listen, str(_PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield place
        process.kill()


def send(at: Place, address: str, wait: float = 20) -> subprocess.CompletedProcess[str]:
    command = [*at.enter, sys.executable, "-I", "-c", _SEND, address, str(_PORT), str(wait)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def seconds(done: subprocess.CompletedProcess[str]) -> float:
    assert done.returncode == 0, done.stderr
    count, took = done.stdout.split()
    assert count == "100000"
    return float(took)


def test_cut_slowed_and_mended(network, server):
    bank = network.places["bank"]
    assert seconds(send(bank, server.public)) < 5
    network.slow("256kbit")
    try:
        # 100 kB less the burst, at 32 kB a second
        assert seconds(send(bank, server.public)) > 1.5
        assert seconds(send(HERE, server.host)) < 1.5, "the tests' own link is not slowed"
    finally:
        network.restore()
    network.cut()
    try:
        lost = send(bank, server.public)
        assert lost.returncode and "TimeoutError" in lost.stderr, "no refusal: silence"
        assert seconds(send(HERE, server.host)) < 5, "the tests reach both sites still"
    finally:
        network.restore()
    assert seconds(send(bank, server.public)) < 5


def test_a_connection_outlives_a_short_cut(network, server):
    bank = network.places["bank"]
    text = _SEND.replace("began =", "print('open', flush=True); time.sleep(2); began =")
    command = [*bank.enter, sys.executable, "-I", "-c", text, server.public, str(_PORT), "30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "open\n"
        network.cut()
        time.sleep(4)
        network.restore()
        assert process.stdout.readline().startswith("100000 ")


def test_nothing_is_left_of_it():
    with Network("one", "two") as made:
        tag = made._tag
    listed = subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    assert f"fate-{tag}-" not in listed and f"f{tag}t" not in links
