from __future__ import annotations

import numpy as np
import pytest

from airflow_provider_fate.errors import ConfigError, DataError, PeerError
from airflow_provider_fate.job.parameters.secure_add_example import SecureAddExampleParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components import secure_add_example
from airflow_provider_fate.runtime.components.secure_add_example import SecureAddExample
from airflow_provider_fate.runtime.federation.base import Federation
from tests.parties import run_parties
from tests.unit.components.running import GUEST, HOST, HOST2, Ran, component, run_component

SAME_ID = Party("host", GUEST.party_id)


def run(host: Party = HOST, **parameters) -> dict[Party, Ran]:
    return run_component(SecureAddExample, SecureAddExampleParam(**parameters), {GUEST: {}, host: {}})


@pytest.mark.parametrize("host", [HOST, SAME_ID])
def test_the_seed_s_toy_example(host) -> None:
    ran = run(host, seed=123, partition=48, data_num=1000)
    assert ran[GUEST].error is ran[host].error is None
    assert ran[GUEST].outputs.verdict == "success to calculate secure_sum, it is 2000.0"
    assert ran[GUEST].outputs.metrics == {"secure_sum": 2000.0}
    assert ran[host].outputs.metrics == {}
    assert any(line.startswith("seed: not used") for line in ran[GUEST].log)


@pytest.mark.parametrize(("data_num", "partition"), [(1, 1), (1, 4), (7, 3), (1001, 5)])
def test_any_number_of_rows_and_partitions(data_num, partition, monkeypatch) -> None:
    monkeypatch.setattr(secure_add_example, "SHARES_PER_MESSAGE", 100)
    ran = run(data_num=data_num, partition=partition)
    assert ran[GUEST].outputs.metrics == {"secure_sum": 2.0 * data_num}
    assert not any("seed" in line for line in ran[GUEST].log)


def test_a_share_is_uniform_and_differs_in_every_run() -> None:
    """The host sees uniform numbers modulo 2^64: each bit is set in about half of them, whatever the value."""
    seen: list[np.ndarray] = []

    def host(federation: Federation) -> None:
        seen.append(federation.receive(GUEST, "guest_share.0", lambda _: None))
        federation.send(GUEST, "host_share.0", np.zeros(10_000, np.uint64))
        federation.send(GUEST, "host_sum", 0)

    def guest(federation: Federation) -> None:
        parameters = SecureAddExampleParam(data_num=10_000, seed=1)
        # the host lied about its share, so the sum is wrong, and the guest says so
        with pytest.raises(DataError, match="expected 20000.0"):
            component(SecureAddExample, parameters, GUEST, None, federation).fit({}, {})

    for _ in range(2):
        run_parties({GUEST: guest, HOST: host}, timeout=30)
    bits = np.unpackbits(seen[0].view(np.uint8)).reshape(-1, 64).mean(axis=0)
    # six standard deviations of a fair coin thrown 10,000 times
    assert np.abs(bits - 0.5).max() < 0.03
    assert (seen[0] != seen[1]).sum() > 9_990


def test_values_below_zero_survive_the_encoding() -> None:
    for value in (0.0, 1.0, -1.0, 0.5, -1234.25, 2.0**30):
        assert secure_add_example._decode(secure_add_example._encode(value)) == value


def test_different_sizes_are_refused() -> None:
    parameters = {GUEST: SecureAddExampleParam(data_num=10), HOST: SecureAddExampleParam(data_num=11)}
    ran = run_component(SecureAddExample, parameters, {GUEST: {}, HOST: {}})
    assert isinstance(ran[GUEST].error, PeerError)
    assert "shape" in str(ran[GUEST].error)


def test_two_hosts_are_refused() -> None:
    ran = run_component(SecureAddExample, SecureAddExampleParam(), {GUEST: {}, HOST: {}, HOST2: {}})
    assert all(isinstance(each.error, ConfigError) and "takes one host" in str(each.error) for each in ran.values())


def test_the_largest_sum_fits() -> None:
    largest = next(
        limit.le for limit in SecureAddExampleParam.model_fields["data_num"].metadata if hasattr(limit, "le")
    )
    assert secure_add_example._decode(2 * largest * secure_add_example._encode(1.0) - 1) > 0
