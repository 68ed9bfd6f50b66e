"""Jobs in every form that a user may give them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.operators._job import as_object, conf_and_dsl, load_job

JOBS = Path(__file__).parents[3] / "dags" / "examples" / "fate_jobs"
HETERO_LR = JOBS / "hetero_lr.json"
WHOLE = json.loads(HETERO_LR.read_text())


@pytest.mark.parametrize(
    "job",
    [
        WHOLE,
        str(HETERO_LR),
        HETERO_LR.read_text(),
        {"conf": json.dumps(WHOLE["conf"]), "dsl": WHOLE["dsl"]},
        {"job_runtime_conf": WHOLE["conf"], "job_dsl": WHOLE["dsl"]},
    ],
    ids=["dict", "file", "text", "parts", "FATE's names"],
)
def test_forms(job):
    assert load_job(job) == load_job(WHOLE)


def test_v1_files():
    job = load_job({"conf": str(JOBS / "toy_example_conf.json"), "dsl": str(JOBS / "toy_example_dsl.json")})
    assert [str(party) for party in job.parties] == ["guest-9999", "host-9999"]


def test_parameters_and_data_go_over_the_jobs_own():
    table = {"namespace": "other", "name": "rows"}
    job = load_job(WHOLE, {"guest": table, "host": [table]}, '{"hetero_lr_0": {"learning_rate": 0.5}}')
    guest, host, _ = job.parties
    assert job.parameters("hetero_lr_0", host).learning_rate == 0.5
    assert str(job.reader_table("reader_0", guest)) == str(job.reader_table("reader_0", host)) == "other/rows"


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (None, "job: is not given"),
        ("nowhere.json", "job: 'nowhere.json' is neither a JSON object nor a file"),
        ("{broken", "job: is not JSON"),
        (["a"], "job: is a list; expected a dict"),
        ({"dsl": {}}, "job.conf: is not given"),
        ({"conf": {}, "dls": {}}, "job.dls: is not a part of a job"),
        ({"conf": {}, "runtime_conf": {}}, "job.runtime_conf: the job has a conf already"),
        ({"conf": "no.json"}, "job.conf: 'no.json' is neither"),
    ],
)
def test_refused(job, words):
    with pytest.raises(ConfigError, match=words):
        conf_and_dsl(job)


def test_a_file_with_something_else(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[1]")
    with pytest.raises(ConfigError, match="is not JSON|holds a JSON list"):
        as_object(str(path), "job")
