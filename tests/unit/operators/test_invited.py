"""The invited side: what is decided, what the initiator reads of it, and what a party's own task checks again."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk import DAG

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.hooks.stores import TableMeta, invitations, models, tables
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.invitation import ANSWER, Invitation
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators._submit import FateSubmitOperator
from airflow_provider_fate.operators.invited import FateApproveOperator, FateDecideOperator
from airflow_provider_fate.operators.predict import FatePredictOperator
from airflow_provider_fate.operators.train import FateTrainOperator
from airflow_provider_fate.runtime.data import Model
from airflow_provider_fate.runtime.federation.directory import DirectoryTransport
from airflow_provider_fate.runtime.federation.messages import unpack
from airflow_provider_fate.runtime.storage.invitations import InvitationStore, JobIds

JOBS = Path(__file__).parents[3] / "dags" / "examples" / "fate_jobs"
JOB = json.loads((JOBS / "hetero_lr.json").read_text())
GUEST, ME = Party("guest", "9999"), Party("host", "10000")
PARTNER = {
    "roles": ["host"],
    "tables": ["fate_examples/breast_*"],
    "modules": ["DataIO", "Intersection", "HeteroLR", "Evaluation"],
    "predictions": True,
    "approval": "never",
}
APPROVED = {
    "chosen_options": ["Approve"], "params_input": {}, "responded_at": datetime(2026, 1, 1, tzinfo=UTC),
    "responded_by_user": {"id": "7", "name": "anna"},
}  # fmt: skip


class Ti:
    dag_id, task_id, try_number, map_index = "fate_invited", "decide", 1, -1

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = json.loads(json.dumps(value))


class Run:
    def __init__(self, conf: Any, account: str | None = "bank") -> None:
        self.conf = conf
        self.triggering_user_name = account


class Site:
    """One party's Airflow, as far as its tasks see it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "policy.json"
        self.policy()
        self.upload()

    def policy(self, **partner: Any) -> None:
        self.file.write_text(json.dumps({"format": 1, "partners": {"9999": {**PARTNER, **partner}}}))

    def upload(self, name: str = "breast_hetero_host", **more: list[float]) -> None:
        columns = {"id": ["a", "b"], "x0": [0.0, 1.0], **more}
        meta = TableMeta("fate_examples", name, "id", None, [(c, "double") for c in columns])
        with tables("fate_storage").writer(meta, drop=True) as writer:
            writer.write(pa.record_batch(columns))

    def context(self, conf: Any, run_id: str = "job-1", account: str | None = "bank") -> dict[str, Any]:
        return {"ti": Ti(run_id), "dag_run": Run(conf, account)}

    def decide(self, conf: Any, **more: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The answer, and what the task returns; ``None`` where it refuses."""
        context = self.context(conf, **more)
        task = FateDecideOperator(task_id="decide", role="host", party_id=10000, policy=str(self.file))
        try:
            returned = task.execute(context)
        except AirflowFailException:
            returned = None
        return context["ti"].pushed[ANSWER], returned

    def refused(self, conf: Any, **more: Any) -> str:
        """The one reason for which it refuses."""
        answer, returned = self.decide(conf, **more)
        assert returned is None and not answer["accepted"] and not answer["needs_approval"]
        (reason,) = answer["reasons"]
        return reason

    def counted(self) -> list[str]:
        found = (self.root / "storage" / "invitations").rglob("20*/*.json")
        return sorted(path.stem for path in found)


@pytest.fixture
def site(connections: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    return Site(tmp_path)


def invitation(job_id: str = "job-1", parameters: dict[str, Any] | None = None, job: Any = JOB) -> dict[str, Any]:
    one = Job.from_dict(job)
    one = one.with_parameters(parameters) if parameters else one
    return Invitation.for_party(one, job_id, GUEST, ME).to_dict()


# -- decide


def test_accepted(site):
    answer, returned = site.decide(invitation())
    assert answer == {"accepted": True, "reasons": [], "needs_approval": False}
    assert {key: returned[key] for key in ("job_id", "initiator", "party", "kind", "needs_approval")} == {
        "job_id": "job-1", "initiator": "guest-9999", "party": "host-10000", "kind": "train", "needs_approval": False,
    }  # fmt: skip
    assert "* Our tables: `fate_examples/breast_hetero_host`" in returned["body"]
    (kept,) = (site.root / "storage" / "invitations" / "9999").rglob("job-1.json")
    assert kept.parent.name == datetime.now(UTC).date().isoformat()


def test_refused_with_the_reason(site):
    site.policy(limits={"max_iterations": 5})
    assert site.refused(invitation()) == (
        "component_parameters.common.hetero_lr_0.max_iter: 10 iterations are asked for; at most 5 are allowed"
    )
    assert site.counted() == []


def test_approval_is_asked_for(site):
    site.policy(approval=["new_table"])
    answer, returned = site.decide(invitation())
    assert answer == {"accepted": True, "reasons": [], "needs_approval": True}
    assert "is used for the first time" in returned["body"]


def test_what_is_no_invitation(site):
    for conf in (None, {}, {"rloe": 1}):
        assert "invitation" in site.refused(conf) or "format" in site.refused(conf) or "rloe" in site.refused(conf)
    assert "the run is another one" in site.refused(invitation(), run_id="job-2")
    other = {**invitation(), "party": "arbiter-10000"}
    other["job"]["conf"]["component_parameters"]["role"] = {}
    assert site.refused(other) == "party: the invitation is for arbiter-10000; here is host-10000"


def test_a_template_is_refused_and_never_rendered(site):
    told = invitation()
    told["job"]["conf"]["component_parameters"]["common"]["evaluation_0"]["eval_type"] = "{{ 7*7 }}"
    reason = site.refused(told)
    assert "'{{ 7*7 }}' holds {{, which begins a template" in reason
    assert "49" not in reason


def test_the_conf_is_no_template_field():
    """Airflow renders what is named there, also deep inside of dicts."""
    for operator in (FateDecideOperator, FateApproveOperator):
        assert not {"conf", "invitation", "policy"} & set(operator.template_fields)
    for operator in (FateTrainOperator, FatePredictOperator):
        assert "policy" not in operator.template_fields


@pytest.mark.parametrize("native", [False, True])
def test_what_a_run_brings_is_not_rendered_a_second_time(site, native):
    """``{{ dag_run.conf | tojson }}`` becomes text, or with native types perhaps a dict: as it is."""
    hostile = {"a": ["{{ 7*7 }}", "</script>", "it's"], "{{ 7*7 }}": {"b": "{% raw %}"}, "file": "x.json"}
    with DAG("d", schedule=None, render_template_as_native_obj=native):
        task = FateTrainOperator(
            task_id="t", role="host", party_id=10000, policy=str(site.file), invitation="{{ dag_run.conf | tojson }}"
        )
    context = {**site.context(hostile), "task": task}
    task.render_template_fields(context)
    rendered = task.invitation
    assert (json.loads(rendered) if isinstance(rendered, str) else rendered) == hostile
    with pytest.raises(AirflowFailException, match="begins a template; templates are refused"):
        task.execute(context)
    assert context["ti"].pushed[ANSWER]["accepted"] is False


def test_the_own_policy_is_nobody_elses(site):
    site.file.write_text("{")
    assert site.refused(invitation()) == "its job conf or a connection is wrong; its log says more"


@pytest.mark.parametrize("error", [StorageError, RuntimeError])
def test_an_answer_also_when_something_is_broken(site, monkeypatch, error):
    def away(*_: Any) -> bool:
        raise error("namenode.internal does not answer")

    monkeypatch.setattr("airflow_provider_fate.runtime.storage.local.LocalStorage.exists", away)
    context = site.context(invitation())
    task = FateDecideOperator(task_id="decide", role="host", party_id=10000, policy=str(site.file))
    with pytest.raises(error):  # which Airflow tries again
        task.execute(context)
    answer = context["ti"].pushed[ANSWER]
    assert not answer["accepted"] and "internal" not in str(answer)


def test_the_account(site):
    site.policy(account="bank")
    assert site.decide(invitation())[0]["accepted"]
    reason = site.refused(invitation("job-2"), run_id="job-2", account="telco")
    assert reason.startswith("initiator: the run was not started by the account of party 9999")


def test_runs_a_day(site):
    site.policy(limits={"max_runs_a_day": 2})
    for job_id in ("job-1", "job-2", "job-1", "job-2"):  # asked again counts once
        assert site.decide(invitation(job_id), run_id=job_id)[0]["accepted"]
    assert site.refused(invitation("job-3"), run_id="job-3") == (
        "job_id: one more job is asked for today; at most 2 a day (UTC) are allowed"
    )
    assert site.counted() == ["job-1", "job-2"]


def test_an_id_stands_for_one_job(site):
    assert site.decide(invitation())[0]["accepted"]
    other = invitation(parameters={"hetero_lr_0": {"max_iter": 3}})
    assert site.refused(other) == "job_id: job-1 is asked for; another job had this id"
    # a job of ours whose files it would take
    (site.root / "storage" / "jobs" / "ours" / "host-10000").mkdir(parents=True)
    neutral = "job_id: {} is asked for; this id cannot be used here; choose another"
    assert site.refused(invitation("ours"), run_id="ours") == neutral.format("ours")
    # what is kept of a job goes by its id, whoever asks for it, also before it has begun
    site.file.write_text(json.dumps({"format": 1, "partners": {"9999": PARTNER, "8888": PARTNER}}))
    assert site.refused(of_8888(invitation())) == neutral.format("job-1")
    assert site.decide(of_8888(invitation("theirs")), run_id="theirs")[0]["accepted"]
    assert site.refused(invitation("theirs"), run_id="theirs") == neutral.format("theirs")
    assert site.decide(invitation())[0]["accepted"]


def of_8888(told: dict[str, Any]) -> dict[str, Any]:
    """The same of another partner, with a model of its own."""
    return json.loads(json.dumps(told).replace("9999", "8888").replace('"breast_hetero_lr"', '"theirs"'))


def test_a_job_that_is_not_invited_takes_no_id_of_one_that_is(site, run):
    assert site.decide(invitation())[0]["accepted"]
    scheduled = {"invitation": None, "policy": None, "job_id": "job-1"}
    run({}, job=JOB, data={"host": {"namespace": "fate_examples", "name": "breast_hetero_host"}}, **scheduled)
    with pytest.raises(AirflowFailException, match="job_id: job-1 has a job to which party 9999 invited us"):
        run({}, job=json.loads(json.dumps(JOB).replace("9999", "8888")), **scheduled)


def test_a_model_of_others_is_not_overwritten(site):
    store = models("fate_storage", ME)
    store.save("breast_hetero_lr", "job-0", {}, Job.from_dict(JOB).to_dict())  # the same parties: trained again
    assert site.decide(invitation())[0]["accepted"]
    assert site.refused(invitation("job-0"), run_id="job-0") == (
        "model_version: job-0 is asked for; this version of the model is here already; only a new one may be made"
    )
    # nor one of a job of this name that was not theirs
    store.save("breast_hetero_lr", "ours", {}, Job.from_dict(JOB).to_dict(), "ours")
    assert "ours is asked for; this version of the model is here" in site.refused(invitation("ours"), run_id="ours")
    # nor one that another job has made since this one was accepted; what it has made itself it may make again
    store.save("breast_hetero_lr", "job-1", {}, Job.from_dict(JOB).to_dict(), "job-1")
    assert site.decide(invitation())[0]["accepted"]
    store.save("breast_hetero_lr", "job-1", {}, Job.from_dict(JOB).to_dict(), "job-0")
    assert site.refused(invitation()).startswith("model_version: job-1 is asked for; this version of the model is here")
    others = json.loads(json.dumps(JOB).replace("9999", "8888"))
    store.save("breast_hetero_lr", "job-1", {}, others)
    assert site.refused(invitation("job-2"), run_id="job-2") == (
        "model_id: breast_hetero_lr is asked for; this id cannot be used here; choose another"
    )


# -- predictions


def prediction(version: str | None = None, model_id: str = "breast_hetero_lr") -> dict[str, Any]:
    common = {"job_type": "predict", "model_id": model_id, **({"model_version": version} if version else {})}
    conf = {
        "dsl_version": 2, "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000]}, "job_parameters": {"common": common},
    }  # fmt: skip
    table = {"namespace": "fate_examples", "name": "breast_hetero_host"}
    job = Job.parse(conf).with_data({"guest": table, "host": table})
    return Invitation.for_party(job, "job-1", GUEST, ME).to_dict()


@pytest.fixture
def model(site: Site) -> None:
    stored = Invitation.parse(invitation()).job.to_dict()
    models("fate_storage", ME).save("breast_hetero_lr", "v1", {"hetero_lr_0": Model({"format": 1})}, stored)


def test_a_prediction(site, model):
    assert site.decide(prediction("v1"))[1]["kind"] == "predict"
    site.policy(predictions=False)
    assert site.refused(prediction("v1")) == "kind: a prediction is asked for; predictions are not allowed"


def test_models_that_are_not_there_look_like_those_of_others(site, model):
    others = json.loads(json.dumps(JOB).replace("9999", "8888").replace("breast_hetero_lr", "secret"))
    models("fate_storage", ME).save("secret", "v1", {}, others)
    none = "model: there is no model {} of these parties, or not in version {}"
    for model_id, version in (("none", "v1"), ("secret", "v1"), ("breast_hetero_lr", "v2"), ("none", None)):
        expected = none.format(model_id, version or "deployed")
        assert site.refused(prediction(version, model_id)) == expected
    assert site.refused(prediction()) == none.format("breast_hetero_lr", "deployed")
    models("fate_storage", ME).deploy("breast_hetero_lr", "v1")
    assert site.decide(prediction())[0]["accepted"]


def as_arbiter(told: dict[str, Any]) -> dict[str, Any]:
    """The same asked for by the arbiter of the model, which has no part in a prediction."""
    told = json.loads(json.dumps(told))
    told["initiator"] = "arbiter-10000"
    told["job"]["conf"] |= {"initiator": {"role": "arbiter", "party_id": "10000"}}
    told["job"]["conf"]["role"]["arbiter"] = ["10000"]
    return told


def test_who_has_no_part_in_a_prediction_cannot_ask_for_it(site, model):
    """It would count, and be approved, as a job of the one whose it then is."""
    site.file.write_text(json.dumps({"format": 1, "partners": {"9999": PARTNER, "10000": PARTNER}}))
    assert site.refused(as_arbiter(prediction("v1"))) == (
        "initiator: arbiter-10000 has no part in this prediction, and cannot ask for it"
    )
    assert site.counted() == []


def test_a_stranger_is_told_nothing_but_that_it_is_one(site, model):
    """Not which models there are, nor of whom, whoever's name it asks in."""
    site.policy(account="bank")
    reason = "initiator: the run was not started by the account of party 9999; no other may ask in its name"
    more = prediction("v1")
    more["job"]["conf"]["role"]["host"].append("10001")
    for told in (prediction("v1"), prediction("v2"), prediction(), prediction("v1", "none"), more):
        assert site.refused(told, account="insurer") == reason
    site.file.write_text(json.dumps({"format": 1, "partners": {"8888": PARTNER}}))
    for told in (prediction("v1"), prediction("v2"), more):
        assert site.refused(told) == "initiator: guest-9999 asks; host-10000 has no agreement with party 9999"


def test_a_stranger_is_told_nothing_by_the_task_either(site, model, run):
    """Nor is the one in whose name it asks, who may have a job of this id of its own."""
    site.policy(account="insurer")
    for version in ("v1", "v2"):
        with pytest.raises(AirflowFailException, match="initiator: the run was not started by the account"):
            run(prediction(version), FatePredictOperator)
    assert told_to_peers(site, seconds=0.5) == []


def test_a_policy_that_is_broken_meanwhile_keeps_nobody_waiting(site, run):
    assert site.decide(invitation())[0]["accepted"]
    site.file.write_text("{")
    with pytest.raises(AirflowFailException, match="policy"):
        run(invitation())
    assert told_to_peers(site) == [
        "host-10000 could not begin: its job conf or a connection is wrong; its log says more"
    ]


def test_an_agreement_that_ends_meanwhile_keeps_nobody_waiting(site, run):
    assert site.decide(invitation())[0]["accepted"]
    site.file.write_text(json.dumps({"format": 1, "partners": {}}))
    with pytest.raises(AirflowFailException, match="no agreement"):
        run(invitation())
    (told,) = told_to_peers(site)
    assert "host-10000 has no agreement with party 9999" in told


def test_of_two_who_want_an_id_the_one_who_does_not_get_it_is_not_counted(site, monkeypatch):
    site.file.write_text(json.dumps({"format": 1, "partners": {"9999": PARTNER, "8888": PARTNER}}))
    accept = InvitationStore.accept

    def later(self, job_id, *args, **more):
        JobIds(self.storage, ME).claim(job_id, "8888")  # has just come as well
        return accept(self, job_id, *args, **more)

    monkeypatch.setattr(InvitationStore, "accept", later)
    assert site.refused(invitation()) == "job_id: job-1 is asked for; this id cannot be used here; choose another"
    assert site.counted() == []


# -- the party's own task


@pytest.fixture
def run(site: Site, monkeypatch: pytest.MonkeyPatch):
    """Runs the party's task up to where it would submit; gives its answer and what it would have submitted."""
    submitted: list[dict[str, Any]] = []

    def submit(self: FateSubmitOperator, context: Any) -> dict[str, Any]:
        submitted.append(json.loads(Path(self.application_args[0]).read_text()))
        return {"model_id": "m", "model_version": "v"}

    monkeypatch.setattr(FateSubmitOperator, "_run", submit)
    monkeypatch.setattr(FateTrainOperator, "finish", lambda self, context, result: result)
    monkeypatch.setattr(FatePredictOperator, "_result", lambda self, status: {})
    monkeypatch.setattr(FatePredictOperator, "finish", lambda self, context, result: result)

    def run(conf: Any, operator: Any = FateTrainOperator, run_id: str = "job-1", **arguments: Any) -> dict[str, Any]:
        arguments = {"role": "host", "party_id": 10000, "policy": str(site.file), "invitation": conf, **arguments}
        context = site.context(conf, run_id)
        operator(task_id="t", **arguments).execute(context)
        (job_file,) = submitted
        submitted.clear()
        assert ANSWER not in context["ti"].pushed
        return job_file

    run.submitted = submitted
    return run


def test_the_task_takes_job_and_id_from_the_invitation(site, run):
    for conf in (invitation(), json.dumps(invitation())):
        job_file = run(conf)
        assert (job_file["job_id"], job_file["party"]) == ("job-1", "host-10000")
        assert Job.from_dict(job_file["job"]).common() == Job.from_dict(JOB).common()
    assert site.counted() == ["job-1"]
    own = {"host": {"namespace": "fate_examples", "name": "breast_2"}}
    site.upload("breast_2")
    assert "breast_2" in json.dumps(run(invitation(), data=own))


def test_the_task_predicts(site, model, run):
    job_file = run(prediction("v1"), FatePredictOperator)
    job = Job.from_dict(job_file["job"])
    assert (job.job_type, job.model_version) == ("predict", "v1")
    assert [str(job.reader_table(name, ME)) for name in job.readers] == ["fate_examples/breast_hetero_host"]


def told_to_peers(site: Site, who: Party = GUEST, seconds: float = 10) -> list[str]:
    """Why this party ended, as another one hears it."""
    heard: list[Any] = []
    transport = DirectoryTransport(site.root / "messages")
    transport.open("job-1", who, [ME], lambda body: heard.append(unpack(body)[0]))
    try:
        deadline = time.monotonic() + seconds
        while not heard and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        transport.close(remove=True)
    return [one.reason for one in heard]


def test_the_task_checks_the_policy_again(site, run):
    """Before anything is submitted; nobody tries again, and the peers and the initiator hear why."""
    site.policy(limits={"max_iterations": 5})
    reason = "component_parameters.common.hetero_lr_0.max_iter: 10 iterations are asked for; at most 5 are allowed"
    context = site.context(invitation())
    task = FateTrainOperator(
        task_id="t", role="host", party_id=10000, policy=str(site.file), invitation=invitation()
    )
    with pytest.raises(AirflowFailException, match="at most 5 are allowed"):
        task.execute(context)
    assert run.submitted == [] and site.counted() == []
    assert context["ti"].pushed[ANSWER] == {"accepted": False, "reasons": [reason], "needs_approval": False}
    assert told_to_peers(site, Party("arbiter", "10000"), 0.5) == []  # hears it of the guest
    assert told_to_peers(site) == [f"host-10000 could not begin: its policy refuses the job: {reason}"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"role": "arbiter"}, "the invitation is for host-10000; here is arbiter-10000"),
        ({"party_id": 1}, "the invitation is for host-10000; here is host-1"),
        ({"job_id": "mine"}, "job_id: is mine, and the invitation is to job-1"),
        ({"job": JOB}, "leave out job and parameters"),
        ({"parameters": {"hetero_lr_0": {}}}, "leave out job and parameters"),
        ({"policy": None}, "invitation and policy go together"),
        ({"policy": "policy.yaml"}, "'policy.yaml' is not the absolute path"),
        ({"policy": "/none.yaml"}, "/none.yaml cannot be read"),
        ({"run_id": "job-2"}, "the run is another one"),
        ({"conf": {}}, "format: is missing"),
        ({"conf": "{}"}, "format: is missing"),
        ({"conf": "/etc/passwd"}, "is not JSON"),
        ({"invitation": None}, "invitation and policy go together"),
    ],
)
def test_what_does_not_fit(site, run, arguments, words):
    with pytest.raises(AirflowFailException, match=words):
        run(**{"conf": invitation(), **arguments})
    assert run.submitted == []


def test_train_and_predict_are_not_mixed_up(site, model, run):
    with pytest.raises(AirflowFailException, match="the invitation is to predict; this task is to train"):
        run(prediction("v1"))
    with pytest.raises(AirflowFailException, match="the invitation is to train; this task is to predict"):
        run(invitation(), FatePredictOperator)
    with pytest.raises(AirflowFailException, match="leave out model_id and job"):
        run(prediction("v1"), FatePredictOperator, model_id="m")


def test_without_an_invitation_a_job_is_needed(site):
    for operator, words in ((FateTrainOperator, "job: is not given"), (FatePredictOperator, "model_id: is not given")):
        with pytest.raises(AirflowFailException, match=words):
            operator(task_id="t", role="host", party_id=10000).execute({})


# -- approval


def test_the_task_wants_to_see_the_approval(site, run):
    site.policy(approval=["new_table"])
    rejected = {**APPROVED, "chosen_options": ["Reject"]}
    nobody = {**APPROVED, "responded_by_user": None}  # the default, when the time is up
    for approval in (None, {}, "Approve", rejected, nobody):
        with pytest.raises(AirflowFailException, match="a person must approve this job first, and nobody has"):
            run(invitation(), approval=approval)
    run(invitation(), approval=APPROVED)
    assert invitations("fate_storage", "9999").find("job-1")["approved_by"] == "anna"
    # the table is known from now on; until it has one more column
    run(invitation())
    run(invitation("job-2"), run_id="job-2")
    site.upload(x1=[1.0, 2.0])
    with pytest.raises(AirflowFailException, match="nobody has: table fate_examples/breast_hetero_host, or a column"):
        run(invitation("job-3"), run_id="job-3")


def test_the_initiator_cannot_approve_its_own_job(site, run):
    site.policy(approval="always", account="bank")
    own = {**APPROVED, "responded_by_user": {"id": "9", "name": "bank"}}
    with pytest.raises(AirflowFailException, match="the initiator's own account approved this job, which does not"):
        run(invitation(), approval=own)
    run(invitation(), approval=APPROVED)


def test_where_no_approval_is_needed_the_task_is_skipped():
    for needed in (False, "False", None):
        with pytest.raises(AirflowSkipException):
            FateApproveOperator(task_id="approve", needed=needed).execute({})


def test_a_person_says_no():
    task = FateApproveOperator(task_id="approve", needed=True)
    context = {"ti": Ti("job-1")}
    event = {
        "chosen_options": ["Reject"], "params_input": {}, "responded_at": datetime.now(UTC),
        "responded_by_user": {"id": "7", "name": "anna"}, "timedout": False,
    }  # fmt: skip
    with pytest.raises(AirflowException, match="a person refused this job"):
        task.execute_complete(context, event)
    assert context["ti"].pushed[ANSWER] == {
        "accepted": False, "reasons": ["approval: a person refused this job"], "needs_approval": True,
    }  # fmt: skip
    timeout = {"error": "time is up", "error_type": "timeout"}
    by_default = {**event, "chosen_options": ["Approve"], "responded_by_user": None, "timedout": True}
    for nobody in (timeout, by_default):
        with pytest.raises(AirflowFailException, match="nobody approved it in time"):
            task.execute_complete(context, nobody)
        assert context["ti"].pushed[ANSWER]["reasons"] == ["approval: nobody approved it in time"]
    assert task.execute_complete(context, {**event, "chosen_options": ["Approve"]})["chosen_options"] == ["Approve"]
    assert context["ti"].pushed[ANSWER] == {"accepted": True, "reasons": [], "needs_approval": True}


def test_nothing_is_left_behind(site, run):
    before = set(os.listdir("/tmp"))
    site.policy(tables=[])
    with pytest.raises(AirflowFailException):
        run(invitation())
    assert not [name for name in set(os.listdir("/tmp")) - before if name.startswith("fate-job-")]
