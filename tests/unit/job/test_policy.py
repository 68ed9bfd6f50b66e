"""A party's policy: its file, and what of a job it refuses, in which words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_fate.errors import ConfigError, reason_for_peers
from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.job.invitation import Invitation
from airflow_provider_fate.job.names import TableName
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.job.policy import MAX_BYTES, Limits, Partner, Policy
from airflow_provider_fate.job.refusals import refused, tables_of

from .jobs import changed, load
from .test_any_value import VALUES, places, put

REPOSITORY = Path(__file__).parents[3]
ME = Party("host", "10000")
PARTNER = {
    "roles": ["host"],
    "tables": ["experiment/breast_*"],
    "modules": ["DataIO", "Intersection", "HeteroLR", "Evaluation"],
    "approval": "never",
}


@dataclass
class Meta:
    id_name: str = "id"
    columns: list[tuple[str, str]] = field(
        default_factory=lambda: [("id", "string"), *((f"x{i}", "double") for i in range(3))]
    )
    count: int = 569
    kind: str = "features"


TABLE = TableName("experiment", "breast_hetero_host")


def tables(**meta: Any) -> Any:
    """All of this party's tables: one."""
    return {TABLE: Meta(**meta)}.get


def policy(**partner: Any) -> Policy:
    return Policy.parse({"format": 1, "partners": {"9999": {**PARTNER, **partner}}})


def job(conf_changes: dict[str, Any] | None = None, name: str = "hetero_lr_v1") -> Job:
    conf, dsl = load(name)
    for path, value in (conf_changes or {}).items():
        conf = changed(conf, path, value)
    return Job.parse(conf, dsl)


def said(policy: Policy, job: Job, me: Party = ME, tables: Any = None, **more: Any) -> list[str]:
    return [str(one) for one in policy.check(job, me, tables or {TABLE: Meta()}.get, **more)]


# -- a job held against it


def test_what_is_allowed_is_not_refused():
    assert said(policy(), job()) == []


def test_who_is_not_named_is_refused():
    other = job({"initiator/party_id": 8888, "role/guest": [8888]})
    assert said(policy(), other) == ["initiator: guest-8888 asks; host-10000 has no agreement with party 8888"]


@pytest.mark.parametrize(
    ("partner", "words"),
    [
        ({"roles": ["guest", "arbiter"]}, "party: 10000 is to be host; allowed is guest or arbiter"),
        ({"training": False}, "kind: a training is asked for; trainings are not allowed"),
        (
            {"modules": ["DataIO", "Intersection", "Evaluation"]},
            "dsl.components.hetero_lr_0.module: HeteroLR is asked for; allowed are DataIO, Intersection, Evaluation",
        ),
        (
            {"tables": ["experiment/other", "experiments/*", "*/b"]},
            "role_parameters.host.args.data.train_data[0]: experiment/breast_hetero_host is asked for; "
            "party 9999 may not use a table of this name",
        ),
        (
            {"limits": {"max_iterations": 9}},
            "algorithm_parameters.hetero_lr_0.max_iter: 10 iterations are asked for; at most 9 are allowed",
        ),
        (
            {"limits": {"min_rows": 570}},
            "role_parameters.host.args.data.train_data[0]: experiment/breast_hetero_host has too few rows; "
            "at least 570 are needed",
        ),
        (
            {"hidden": {"*/*": ["x[12]"]}},
            "role_parameters.host.args.data.train_data[0]: experiment/breast_hetero_host has 2 columns that party 9999 "
            "may not use; a job reads all columns of its table",
        ),
    ],
)
def test_one_sentence_for_each_refusal(partner, words):
    assert said(policy(**partner), job()) == [words]


def test_what_only_this_party_may_know_is_for_its_log():
    refusals = policy(limits={"min_rows": 1000}, hidden={"*/*": ["x[12]"]}).check(job(), ME, tables())
    error = refused(refusals)
    for secret in ("569", "x1, x2"):
        assert secret in str(error)
        assert secret not in reason_for_peers(error)
    assert reason_for_peers(error).startswith("its policy refuses the job: role_parameters.host.args")


def test_columns():
    one = policy(columns={"experiment/*": ["x0"], "*/breast*": ["x1", "y"]}, hidden={"*/*_host": ["x1"]})
    partner = one.partner(Party("guest", "9999"))
    assert partner.columns_refused(TABLE, ["x0", "x1", "x2"]) == ["x1", "x2"]
    assert partner.columns_refused(TableName("other", "t"), ["x0", "x1", "x2"]) == []
    assert "has 2 columns" in said(one, job())[0]
    assert "has 1 column that party 9999 may not use" in said(policy(columns={"*/*": ["x[01]"]}), job())[0]
    # the label is a column as every other; the id is none
    label = {"columns": [("id", "string"), ("y", "double"), ("x0", "double")]}
    assert "has 1 column" in said(policy(columns={"*/*": ["x*"]}), job(), tables=tables(**label))[0]


def test_lines_have_no_columns_to_look_at():
    lines = tables(kind="lines", columns=[("id", "string"), ("line", "string")])
    assert said(policy(), job(), tables=lines) == []
    assert "holds lines" in said(policy(hidden={"*/*": ["income"]}), job(), tables=lines)[0]


def test_a_table_that_is_not_allowed_is_not_looked_at():
    def look(table: TableName) -> None:
        raise AssertionError(table)

    (there,) = said(policy(tables=["a/b"]), job(), tables=look)
    assert "may not use a table of this name" in there
    assert "there is no such table" in said(policy(), job(), tables={}.get)[0]


def test_a_pattern_does_not_cross_the_slash_and_minds_case():
    partner = policy(tables=["bank/*", "telco/c?stomers_[0-9]"]).partner(Party("guest", "9999"))
    assert partner.table_allowed(TableName("bank", "anything"))
    assert partner.table_allowed(TableName("telco", "customers_1"))
    for namespace, name in (("Bank", "x"), ("banks", "x"), ("telco", "customers_10"), ("telco", "Customers_1")):
        assert not partner.table_allowed(TableName(namespace, name))


def test_keys():
    weak = {"algorithm_parameters/hetero_lr_0/encrypt_param": {"method": "Paillier", "key_length": 1024}}
    allowed_weak = {**weak["algorithm_parameters/hetero_lr_0/encrypt_param"], "allow_weak_key": True}
    assert said(policy(), job(weak)) == []  # raised to 2048
    asked = job({"algorithm_parameters/hetero_lr_0/encrypt_param": allowed_weak})
    assert said(policy(), asked) == [
        "algorithm_parameters.hetero_lr_0.encrypt_param.key_length: keys of 1024 bits are asked for; "
        "at least 2048 bits are needed"
    ]
    assert said(policy(limits={"min_key_bits": 1024}), asked) == []
    # BFV's strength is not said by key_length
    assert said(policy(limits={"min_key_bits": 4096}), job()) == []


def test_encryption():
    asked = {"algorithm_parameters/hetero_lr_0/encrypt_param": {"method": "Paillier"}}
    assert said(policy(), job()) == said(policy(encryption=["BFV", "OU"]), job()) == []
    assert said(policy(encryption=["Paillier"]), job(asked)) == []
    [refusal] = said(policy(encryption=["Paillier"]), job())
    assert refusal.startswith("algorithm_parameters.hetero_lr_0.encrypt_param.method: ")
    assert refusal.endswith("encryption with BFV is asked for; allowed is Paillier")


def test_encryption_of_sums_by_bin():
    modules = [*PARTNER["modules"], "HeteroSecureBoost"]
    assert said(policy(modules=modules, encryption=["OU"]), trees()) == []
    [refusal] = said(policy(modules=modules, encryption=["Paillier", "BFV"]), trees())
    assert "encryption with OU is asked for; allowed is Paillier, BFV" in refusal


def trees(**parameters: Any) -> Job:
    conf, dsl = load("hetero_lr_v1")
    conf["algorithm_parameters"]["boost_0"] = parameters
    del conf["algorithm_parameters"]["hetero_lr_0"], conf["role"]["arbiter"]
    text = json.dumps(dsl).replace("hetero_lr_0", "boost_0").replace("HeteroLR", "HeteroSecureBoost")
    return Job.parse(conf, json.loads(text))


def test_trees_are_counted_with_all_folds():
    one = policy(modules=[*PARTNER["modules"], "HeteroSecureBoost"], limits={"max_trees": 20})
    assert said(one, trees(num_trees=20)) == []
    assert "21 trees are asked for; at most 20" in said(one, trees(num_trees=21))[0]
    folds = trees(num_trees=5, cv_param={"n_splits": 5, "need_cv": True})
    assert "25 trees are asked for; at most 20" in said(one, folds)[0]


def test_partitions():
    many = job({"job_parameters/computing_partitions": 1000})
    assert "1000 partitions are asked for; at most 10" in said(policy(limits={"max_partitions": 10}), many)[0]


def test_who_else_takes_part():
    """An arbiter keeps the keys: one that the guest chose, or is, could open what the hosts send."""
    for arbiter in (9999, 6666):
        other = job({"role/arbiter": [arbiter]})
        words = f"role.arbiter: arbiter-{arbiter} is to take part; allowed beside you and us: "
        assert said(policy(), other) == [words + "none"]
        assert said(policy(others={"arbiter": ["7777"], "host": [str(arbiter)]}), other) == [words + "7777"]
        for allowed in ([str(arbiter)], ["*"]):
            assert said(policy(others={"arbiter": allowed}), other) == []
    several = job(name="hetero_lr_v2")
    assert [text.partition(" is ")[0] for text in said(policy(), several, tables=lambda _: Meta())][:2] == [
        "role.host: host-10001", "role.host: host-10002",
    ]  # fmt: skip


def test_only_what_this_party_takes_part_in_counts():
    arbiter = policy(roles=["arbiter"], tables=[], modules=["HeteroLR"])
    assert said(arbiter, job(), Party("arbiter", "10000")) == []


def test_a_job_without_a_table_for_this_party():
    conf, dsl = load("hetero_lr_v2")
    del conf["component_parameters"]["role"]["host"]
    alone = policy(others={"host": ["10001", "10002"]})
    assert "no table is named for host-10000" in said(alone, Job.parse(conf, dsl))[0]


def test_the_account_that_started_the_run():
    one = policy(account="bank")
    assert said(one, job(), account="bank") == []
    for account in (None, "telco"):
        (refusal,) = one.check(job(), ME, tables(), account)
        assert str(refusal) == (
            "initiator: the run was not started by the account of party 9999; no other may ask in its name"
        )
        assert "'bank'" in refusal.in_full
        # nothing of what is agreed with the bank, whatever is asked for
        limited = policy(account="bank", modules=["DataIO"], limits={"max_iterations": 1}, tables=[])
        assert limited.check(job(), ME, tables(), account) == [refusal]


def prediction() -> Job:
    conf, dsl = load("hetero_lr_v1")
    stored = Job.parse(conf, dsl).to_dict()
    conf = {
        "dsl_version": 2, "initiator": conf["initiator"], "role": {"guest": [9999], "host": [10000]},
        "job_parameters": {"common": {"job_type": "predict", "model_id": Job.parse(*load("hetero_lr_v1")).model_id}},
    }  # fmt: skip
    table = {"namespace": TABLE.namespace, "name": TABLE.name}
    return Job.parse(conf).with_data({"guest": table, "host": table}).for_prediction(stored)


def test_predictions():
    assert said(policy(), prediction()) == ["kind: a prediction is asked for; predictions are not allowed"]
    # iterations and keys are of the training
    assert said(policy(predictions=True, training=False, limits={"max_iterations": 1}), prediction()) == []
    assert said(policy(predictions=True, encryption=["Paillier"]), prediction()) == [], "nothing is computed with it"
    few = policy(predictions=True, limits={"min_rows": 1000, "min_rows_to_predict": 100})
    assert said(few, prediction()) == []
    assert len(said(few, job())) == 1
    assert "at least 1000" in said(policy(predictions=True, limits={"min_rows": 1000}), prediction())[0]


# -- approval


def never(table: TableName, columns: list[str]) -> bool:
    return False


@pytest.mark.parametrize(
    ("approval", "reasons"),
    [
        ("always", ["every job needs approval"]),
        ("never", []),
        ([], []),
        (["predict"], []),
        (["train"], ["every training needs approval"]),
        (["heterolr", "HeteroSecureBoost"], ["HeteroLR needs approval"]),
        (["new_table"], ["table experiment/breast_hetero_host, or a column of it, is used for the first time"]),
    ],
)
def test_what_needs_approval(approval, reasons):
    one = policy(approval=approval)
    assert one.approval_reasons(job(), ME, tables(), never) == reasons
    if approval == ["new_table"]:
        assert one.approval_reasons(job(), ME, tables(), lambda *_: True) == []


def test_without_a_word_everything_needs_approval():
    given = {key: value for key, value in PARTNER.items() if key != "approval"}
    one = Policy.parse({"format": 1, "partners": {9999: given}})
    assert one.approval_reasons(job(), ME, tables(), lambda *_: True)


def test_tables_of_a_job():
    assert tables_of(job(), ME) == [TABLE]
    assert tables_of(job(), Party("arbiter", "10000")) == []


# -- the file


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "policy: expected format and partners"),
        ([], "policy: expected format and partners"),
        ({"format": 1, "partner": {}}, "policy.partner: unknown key; did you mean partners?"),
        ({"format": 2, "partners": {}}, "policy.format: 2: expected 1"),
        ({"format": 1}, "policy.partners: is missing"),
        ({"format": 1, "partners": {"../9999": PARTNER}}, "policy.partners: '../9999' is not a party id"),
        ({"tabels": []}, "policy.partners.9999.tabels: unknown key; did you mean tables?"),
        ({"limits": {"max_tres": 1}}, "policy.partners.9999.limits.max_tres: unknown key; did you mean max_trees?"),
        ({"limits": {"max_trees": 0}}, "policy.partners.9999.limits.max_trees: 0: expected greater"),
        ({"limits": {"max_trees": True}}, "policy.partners.9999.limits.max_trees: True: expected integer"),
        ({"limits": {"min_key_bits": 512}}, "min_key_bits: 512: expected greater than or equal to 1024"),
        ({"modules": ["HeteroLRR"]}, r"policy.partners.9999.modules\[0\]: 'HeteroLRR' is not a module; did you mean"),
        ({"modules": []}, "policy.partners.9999.modules: "),
        ({"roles": ["judge"]}, r"policy.partners.9999.roles\[0\]: 'judge': expected 'guest', 'host' or 'arbiter'"),
        ({"others": {"arbiter": ["../1"]}}, r"others.arbiter\[0\]: '../1': "),
        ({"others": {"judge": ["1"]}}, "policy.partners.9999.others.judge: 'judge': expected 'guest', 'host' or"),
        ({"tables": ["../x"]}, r"tables\[0\]: '../x' is not a pattern of tables"),
        ({"tables": ["bank"]}, "'bank' is not a pattern of tables"),
        ({"tables": ["a/b/c"]}, "'a/b/c' is not a pattern of tables"),
        ({"tables": ["a/.hidden"]}, "'a/.hidden' is not a pattern of tables"),
        ({"columns": {"bank": ["x"]}}, "'bank' is not a pattern of tables"),
        ({"columns": {"a/b": "x"}}, "policy.partners.9999.columns.a/b: 'x': expected list"),
        ({"approval": "sometimes"}, "policy.partners.9999.approval: 'sometimes': expected 'always' or 'never'"),
        ({"approval": ["new_tables"]}, r"approval\[0\]: 'new_tables' is neither a module nor .*did you mean new_table"),
        ({"predictions": "perhaps"}, "policy.partners.9999.predictions: 'perhaps': expected boolean"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(value, words):
    if isinstance(value, dict) and not {"format", "partners"} & set(value):
        value = {"format": 1, "partners": {"9999": {**PARTNER, **value}}}
    with pytest.raises(ConfigError, match=words):
        Policy.parse(value)


def test_files(tmp_path: Path):
    value = {"format": 1, "partners": {"9999": PARTNER}}
    (tmp_path / "policy.json").write_text(json.dumps(value))
    text = "format: 1\npartners:\n  9999:\n    roles: [host]\n    tables: [experiment/breast_*]\n"
    text += "    modules: [DataIO, Intersection, HeteroLR, Evaluation]\n    approval: never\n"
    (tmp_path / "policy.yaml").write_text(text)
    assert Policy.load(tmp_path / "policy.json") == Policy.load(str(tmp_path / "policy.yaml")) == Policy.parse(value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.yaml", "a: [", "p.yaml is not YAML"),
        ("p.yaml", "format: 1\npartners: {9999: {}, '9999': {}}", "the key '9999' stands twice"),
        ("p.yaml", "format: &a 1\npartners: *a", "aliases are not allowed"),
        ("p.yaml", "format: !!python/object/apply:os.getpid []", "could not determine a constructor"),
        ("p.yaml", "format: !!bool x", "p.yaml is not YAML"),
        ("p.yaml", "format: 2026-13-45", "p.yaml is not YAML"),
        ("p.yaml", "format: 2026-01-01\npartners: {}", "date is not a JSON type"),
        ("p.yaml", "? [a]\n: 1", "p.yaml is not YAML"),
        ("p.yaml", "[" * 5000, "p.yaml is not YAML"),
        ("p.yaml", "x" * (MAX_BYTES + 1), "is larger than"),
        ("p.json", "{", "p.json is not JSON"),
        ("p.json", "[" * 50_000, "p.json is not JSON"),
        ("p.json", '{"format": 1, "format": 1}', "the key 'format' stands twice"),
        ("p.txt", "", "expected a file that ends in .yaml, .yml or .json"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=words):
        Policy.load(tmp_path / name)


def test_files_that_are_not_there(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Policy.load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is not the absolute path"):
        Policy.load("policy.yaml")


def test_the_example_and_the_page(tmp_path: Path):
    example = REPOSITORY / "dags" / "examples" / "fate_invited_policy.yaml"
    assert Policy.load(example).partner(Party("guest", "9999")).approval == ["new_table"]
    page = (REPOSITORY / "docs" / "policy.md").read_text()
    _, _, rest = page.partition("```yaml\n")
    (tmp_path / "page.yaml").write_text(rest.partition("```")[0])
    found = Policy.load(tmp_path / "page.yaml")
    assert set(found.partners) == {"9999", "8888"}
    keys = {*Policy.model_fields, *Partner.model_fields, *Limits.model_fields}
    assert [key for key in sorted(keys) if f"| `{key}`" not in page] == []


# -- anything at all


@settings(max_examples=150, deadline=None)
@given(VALUES, st.data())
def test_any_value_in_a_policy(value, data):
    whole = {"format": 1, "partners": {"9999": {**PARTNER, "limits": {"max_trees": 1}, "columns": {"a/b": ["x"]}}}}
    for given_value in (value, put(whole, data.draw(st.sampled_from(places(whole))), value)):
        try:
            assert isinstance(Policy.parse(given_value), Policy)
        except ConfigError as error:
            assert len(str(error)) < 4000


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_job_arrives_is_held_against_the_policy(data):
    """Every job that can be parsed gets its answer, in texts that can be sent."""
    told = Invitation.for_party(job(), "job-1", Party("guest", "9999"), ME).to_dict()
    told = put(told, data.draw(st.sampled_from(places(told))), data.draw(VALUES))
    try:
        arrived = Invitation.parse(told)
    except ConfigError:
        return
    one = policy(limits={"max_iterations": 5, "max_trees": 5, "max_partitions": 5, "min_rows": 10**6})
    found = one.check(arrived.job, arrived.party, tables())
    assert found and json.dumps([str(refusal) for refusal in found])
    one.approval_reasons(arrived.job, arrived.party, tables(), lambda *_: False)
