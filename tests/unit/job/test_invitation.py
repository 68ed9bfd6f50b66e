"""Invitations: a party is told what concerns it and no more, and what arrives is hostile until checked."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.invitation import MAX_BYTES, Invitation
from airflow_provider_fate.job.party import Party

from .jobs import changed, load
from .test_any_value import VALUES, places, put

GUEST, HOST, ARBITER = Party("guest", "9999"), Party("host", "10000"), Party("arbiter", "10000")
JOBS = ["toy", "hetero_lr_v1", "hetero_lr_v2"]


def whole(name: str = "hetero_lr_v1") -> Job:
    return Job.parse(*load(name))


def sent(name: str = "hetero_lr_v1", party: Party = HOST) -> dict[str, Any]:
    return Invitation.for_party(whole(name), "job-1", GUEST, party).to_dict()


# -- what a party is told


@pytest.mark.parametrize("name", JOBS)
def test_a_party_sees_nothing_of_the_others_own(name):
    job = whole(name)
    for party in job.parties:
        if party == GUEST:
            continue
        arrived = Invitation.parse(json.dumps(Invitation.for_party(job, "job-1", GUEST, party).to_dict()))
        assert arrived.job.common() == job.common(), "the parties would not agree"
        assert (arrived.job_id, arrived.initiator, arrived.party, arrived.kind) == ("job-1", GUEST, party, "train")
        for component in job.components:
            assert arrived.job.parameters(component, party) == job.parameters(component, party)
        own = arrived.to_dict()["job"]["conf"]["component_parameters"]["role"]
        assert set(own) <= {party.role} and len(own.get(party.role, {})) <= 1
        mine = {job.reader_table(reader, party) for reader in job.readers}
        for other in job.parties:
            for reader in job.readers:
                if other != party and (table := job.reader_table(reader, other)) is not None:
                    assert table in mine or f'"{table.name}"' not in json.dumps(arrived.to_dict())
                    assert arrived.job.reader_table(reader, other) is None


def test_all_parties_of_a_job_have_its_digest_and_no_other_job_has():
    job = whole("hetero_lr_v2")
    hosts = [Invitation.for_party(job, "job-1", GUEST, party) for party in job.parties if party != GUEST]
    assert len({one.digest for one in hosts}) == 1
    assert Invitation.for_party(job, "job-2", GUEST, HOST).digest != hosts[0].digest
    other = job.with_parameters({"hetero_lr_0": {"max_iter": 3}})
    assert Invitation.for_party(other, "job-1", GUEST, HOST).digest != hosts[0].digest


def test_what_is_common_may_stand_under_role_at_the_initiator():
    """As in many of FATE's v1 confs, where all under role_parameters is given for each party."""
    conf, dsl = load("hetero_lr_v1")
    del conf["algorithm_parameters"]["hetero_lr_0"]["max_iter"]
    for role in ("guest", "host"):
        conf["role_parameters"][role]["hetero_lr_0"] = {"max_iter": [7], "init_param": {"init_method": ["ones"]}}
    conf["role_parameters"]["arbiter"] = conf["role_parameters"]["guest"] | {}
    for name in ("args", "dataio_0", "evaluation_0"):
        conf["role_parameters"]["arbiter"] = {
            key: value for key, value in conf["role_parameters"]["arbiter"].items() if key != name
        }
    job = Job.parse(conf, dsl)
    alone = Invitation.for_party(job, "job-1", GUEST, HOST).job
    assert alone.common() == job.common()
    assert alone.parameters("hetero_lr_0", GUEST).max_iter == 7
    assert alone.parameters("hetero_lr_0", GUEST).init_param.init_method == "ones"


def test_what_a_party_has_no_part_in_need_not_be_the_same_for_it():
    """FATE's confs give guest and host under role what all must have the same, and the arbiter nothing."""
    conf, dsl = load("hetero_lr_v1")
    for role in ("guest", "host"):
        conf["role_parameters"][role]["intersection_0"] = {"ecdh_params": {"salt": ["pepper"]}}
    job = Job.parse(conf, dsl)
    for party in (HOST, ARBITER):
        alone = Invitation.for_party(job, "job-1", GUEST, party).job
        assert alone.common() == job.common()
        assert alone.parameters("intersection_0", HOST).ecdh_params.salt == "pepper"


def test_how_spark_runs_is_not_told():
    conf, dsl = load("hetero_lr_v2")
    conf["job_parameters"]["common"]["spark_run"] = {"master": "spark://guests:7077"}
    conf["job_parameters"]["role"] = {"guest": {"0": {"spark_run": {"conf": {"spark.password": "hunter2"}}}}}
    told = json.dumps(Invitation.for_party(Job.parse(conf, dsl), "j", GUEST, HOST).to_dict())
    assert "spark" not in told and "hunter2" not in told and "backend" not in told


def predict_job() -> Job:
    model_id = whole().model_id
    conf = {
        "dsl_version": 2, "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000]},
        "job_parameters": {"common": {"job_type": "predict", "model_id": model_id, "model_version": "v1"}},
    }  # fmt: skip
    data = {"guest": {"namespace": "n", "name": "guests"}, "host": {"namespace": "n", "name": "hosts"}}
    return Job.parse(conf).with_data(data)


def test_a_prediction():
    """Each side completes it from its own part of the model: the host's was trained by invitation."""
    trained = whole()
    hosts = Invitation.for_party(trained, "job-1", GUEST, HOST).job
    for job in (predict_job(), predict_job().for_prediction(trained.to_dict())):
        told = Invitation.for_party(job, "job-2", GUEST, HOST)
        assert "guests" not in json.dumps(told.to_dict())
        arrived = Invitation.parse(told.to_dict())
        assert (arrived.kind, arrived.model_version) == ("predict", "v1")
        mine = arrived.job.for_prediction(hosts.to_dict())
        assert mine.common() == predict_job().for_prediction(trained.to_dict()).common()
        assert [str(mine.reader_table(name, HOST)) for name in mine.readers] == ["n/hosts"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("job/1", GUEST, HOST), "is not a safe name"),
        (("job#1", GUEST, HOST), "cannot be the id of a DAG run"),
        (("job-1", HOST, ARBITER), "initiator: is host-10000; the job's own initiator is guest-9999"),
        (("job-1", GUEST, Party("host", "1")), "host-1 is not in this job"),
        (("job-1", GUEST, GUEST), "guest-9999 is the initiator itself"),
    ],
)
def test_what_cannot_be_sent(arguments, words):
    with pytest.raises(ConfigError, match=words):
        Invitation.for_party(whole(), *arguments)


# -- what arrives


CONF = "job/conf"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("formt", 1, "formt: unknown key; did you mean format"),
        ("format", 2, "format: 2: expected 1"),
        ("format", True, "format: True: expected 1"),
        ("job_id", "../../etc", "job_id: .* is not a safe name"),
        ("job_id", "a/b", "job_id: .* is not a safe name"),
        ("job_id", 7, "job_id: 7 cannot be the id of a DAG run"),
        ("job_id", "x" * 129, "job_id: a job id of 129 characters"),
        ("initiator", "guest-8888", "initiator: is guest-8888; the job's own initiator is guest-9999"),
        ("initiator", "guest-../9999", "initiator: '../9999' is not a party id"),
        ("initiator", {"role": "guest"}, "initiator: .* is not a party; expected such as host-10000"),
        ("party", "host-10001", "party: host-10001 is not in the job|expected the index of host-10001"),
        ("party", "judge-1", "party: 'judge' is not a role"),
        ("kind", "tune", "kind: 'tune': expected train or predict"),
        ("kind", "predict", "kind: is predict; the job's own job_type is train"),
        ("model", {"model_id": "m"}, "model: is for predictions"),
        ("job", "/etc/passwd", "job: expected a dict"),
        ("job/conf", "/etc/passwd", "job.conf: expected a dict"),
        ("job/dsl", "/etc/passwd", "job.dsl: expected a dict"),
        ("job/parameters", {}, "job.parameters: unknown key"),
        (f"{CONF}/dsl_version", 1, "job.conf.dsl_version: 1: expected 2"),
        (f"{CONF}/role_parameters", {}, "job.conf.role_parameters: unknown key; it is of version 1"),
        (f"{CONF}/provider", "x", "job.conf.provider: unknown key"),
        (
            f"{CONF}/job_parameters/common/spark_run", {"master": "spark://evil:7077"},
            "spark_run: how a party runs its part is for the party to say",
        ),
        (f"{CONF}/job_parameters/common/backend", 1, "backend: how a party runs its part is for the party to say"),
        (f"{CONF}/job_parameters/common/task-cores", 1, "task-cores: unknown key"),
        (
            f"{CONF}/job_parameters/role", {"host": {"0": {"spark_run": {"conf": "spark.jars=x"}}}},
            "job_parameters.role: how a party runs its part is for the party to say",
        ),
        (
            f"{CONF}/component_parameters/role/guest", {"0": {"dataio_0": {"with_label": True}}},
            "component_parameters.role.guest.0: is not host-10000's alone",
        ),
        (f"{CONF}/component_parameters/role/host/1", {}, "'1' is not the index of a host"),
        (f"{CONF}/component_parameters/role/host/00", {}, "expected the index of host-10000, and no other"),
        (f"{CONF}/component_parameters/role/host/0|1", {}, "is not host-10000's alone"),
        (
            f"{CONF}/component_parameters/role/host/0/reader_train_data_0/table",
            {"namespace": "..", "name": "x"}, "'..' is not a safe name",
        ),
        (
            f"{CONF}/component_parameters/role/host/0/reader_train_data_0/table/name", "a/../../b",
            "is not a safe name",
        ),
        (f"{CONF}/component_parameters/common/hetero_lr_0/max_iter", 10**30, "more than 63 bits"),
        (f"{CONF}/component_parameters/common/hetero_lr_0/max_iter", 10**9, "max_iter: 1000000000: expected less"),
        (f"{CONF}/component_parameters/common/hetero_lr_0/alpha", float("nan"), "expected a finite number"),
        (f"{CONF}/component_parameters/common/hetero_lr_0/alhpa", 1, "alhpa: unknown parameter; did you mean alpha"),
        ("job/dsl/components/hetero_lr_0/module", "os.system", "'os.system' is not a module"),
        (f"{CONF}/job_parameters/common/model_id", "../m", "'../m' is not a safe name"),
        (f"{CONF}/role/host", list(range(300)), "role.host: 300 parties; at most 256"),
        ("job/dsl/components", {f"r_{i}": {"module": "Reader"} for i in range(300)}, "300 components; at most 200"),
        (f"{CONF}/component_parameters/common/evaluation_0/metrics", ["auc"] * 20_000, "20000 items; at most 10000"),
    ],
)  # fmt: skip
def test_what_is_refused(path, value, words):
    with pytest.raises(ConfigError, match=words):
        Invitation.parse(changed(sent(), path, value))


def test_another_hosts_own_is_refused():
    told = sent("hetero_lr_v2")
    told["job"]["conf"]["component_parameters"]["role"]["host"]["1"] = {}
    with pytest.raises(ConfigError, match="expected the index of host-10000, and no other"):
        Invitation.parse(told)


@pytest.mark.parametrize("mark", ["{{ 7*7 }}", "{% for x in y %}", "{# x #}", "a{{", "x{%-y"])
def test_templates_are_refused_wherever_they_stand(mark):
    told = sent()
    for path in places(told):
        # as a value
        with pytest.raises(ConfigError, match="begins a template; templates are refused"):
            Invitation.parse(put(told, path, mark))
        # and as a key
        place = at(told, path)
        if isinstance(place, dict):
            with pytest.raises(ConfigError, match="begins a template; templates are refused"):
                Invitation.parse(put(told, (*path, mark), 1))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def test_models_of_predictions():
    told = Invitation.for_party(predict_job(), "job-2", GUEST, HOST).to_dict()
    assert told["model"] == {"model_id": whole().model_id, "model_version": "v1"}
    for path, value, words in (
        ("model/model_id", "another", "model.model_id: is 'another'; the job's own is"),
        ("model/model_version", "v2", "model.model_version: is 'v2'; the job's own is 'v1'"),
        ("model/model_version", "../v1", "is not a safe name"),
        ("model/path", "x", "model.path: unknown key"),
        ("model", None, "model.model_id: is missing"),
    ):
        with pytest.raises(ConfigError, match=words):
            Invitation.parse(changed(told, path, value))


def test_text():
    assert Invitation.parse(json.dumps(sent())) == Invitation.parse(sent())
    for text, words in (
        ("", "is not JSON"),
        ("[]", "expected a dict"),
        ("[" * 100_000, "is not JSON"),
        ('{"format": 1, "format": 1}', "a key stands twice"),
        ('{"format": NaN}', "finite"),
        ('{"format": ' + "9" * 5000 + "}", "is not JSON"),
        ("x" * (MAX_BYTES + 1), "is larger than"),
        (str(sent()), "is not JSON.*tojson"),
        ("/etc/passwd", "is not JSON"),
    ):
        with pytest.raises(ConfigError, match=words):
            Invitation.parse(text)


def test_too_large():
    told = sent()
    told["job"]["conf"]["component_parameters"]["common"]["evaluation_0"] = {"pos_label": "x" * 90_000}
    for extra in ("dataio_0", "intersection_0", "hetero_lr_0"):
        told["job"]["conf"]["component_parameters"]["common"][extra] = {"a": "x" * 90_000}
    with pytest.raises(ConfigError, match="is larger than 262144 bytes"):
        Invitation.parse(told)
    told["job"] = {"conf": [[0] * 1000] * 300}
    with pytest.raises(ConfigError, match="more than 200000 values"):
        Invitation.parse(told)


def parsed_or_refused(value: Any) -> None:
    """The only two outcomes, in bounded time."""
    began = time.process_time()
    try:
        found = Invitation.parse(value)
    except ConfigError as error:
        assert len(str(error)) < 4000
    else:
        assert isinstance(found, Invitation)
        assert Invitation.parse(found.to_dict()) == found
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", JOBS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_one_value_replaced(name, data):
    told = sent(name, Party("host", "9999") if name == "toy" else HOST)
    path = data.draw(st.sampled_from(places(told)))
    parsed_or_refused(put(told, path, data.draw(VALUES)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_one_key_added_or_gone(data):
    told = copy.deepcopy(sent())
    dicts = [at(told, path) for path in [(), *places(told)] if isinstance(at(told, path), dict)]
    place = data.draw(st.sampled_from(dicts))
    if data.draw(st.booleans()) and place:
        del place[data.draw(st.sampled_from(sorted(place)))]
    else:
        place[data.draw(st.text(max_size=8))] = data.draw(VALUES)
    parsed_or_refused(told)


@settings(max_examples=150, deadline=None)
@given(VALUES | st.text() | st.binary())
def test_anything_at_all(value):
    with pytest.raises(ConfigError):
        Invitation.parse(value)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_text_with_a_part_cut_or_changed(data):
    text = json.dumps(sent())
    start, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 40))
    parsed_or_refused(text[:start] + data.draw(st.text(max_size=10)) + text[start + length :])


def many(count: int, size: int = 1) -> dict[str, Any]:
    return {f"a{i}_{i}": {"x": "y" * size} for i in range(count)}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{CONF}/component_parameters/common", many(9_000)),
        (f"{CONF}/component_parameters/common", many(200, 1000)),
        (f"{CONF}/component_parameters/role/host/0", many(9_000)),
        (f"{CONF}/component_parameters/role/host", {str(i): {} for i in range(9_000)}),
        (f"{CONF}/component_parameters/role/host", {"|".join(["0"] * 9_000): many(200)}),
        (f"{CONF}/component_parameters/common/hetero_lr_0", {f"k{i}": 1 for i in range(9_000)}),
        (f"{CONF}/component_parameters/common/evaluation_0/metrics", [f"m{i}" for i in range(9_999)]),
        (f"{CONF}/component_parameters/common/evaluation_0/metrics", list(range(9_999))),
        (f"{CONF}/role/host", [*range(10000, 10256)]),
        ("job/dsl/components", {f"c_{i}": {"module": "Reader"} for i in range(9_000)}),
        ("job/dsl/components", {f"c_{i}": {"module": "Readre"} for i in range(200)}),
        (
            "job/dsl/components",
            {f"c_{i}": {"module": "DataIO", "input": {"data": {"data": [f"c_{i + 1}.data"]}}} for i in range(200)},
        ),
        ("job/dsl/components/hetero_lr_0/input/data/train_data", [f"r{i}.data" for i in range(9_999)]),
        ("job/dsl/components/evaluation_0/input/data/data", [f"r{i}.data" for i in range(9_999)]),
        ("job/dsl/components/hetero_lr_0/output/data", [f"r{i}" for i in range(9_999)]),
        ("job/dsl/components/hetero_lr_0/module", "HeteroL" * 10_000),
    ],
)
def test_what_would_take_long_is_bounded(path, value):
    parsed_or_refused(changed(sent(), path, value))
