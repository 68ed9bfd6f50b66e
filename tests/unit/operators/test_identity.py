"""What a job's id follows from, and what is said where it does not follow."""

from __future__ import annotations

from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException
from jinja2 import TemplateSyntaxError

from airflow_provider_fate.operators.invite import FateInviteOperator
from airflow_provider_fate.operators.predict import FatePredictOperator
from airflow_provider_fate.operators.train import FateTrainOperator

OPERATORS = {
    FateTrainOperator: {"job": {}},
    FatePredictOperator: {"model_id": "m"},
    FateInviteOperator: {"job": {}, "sites": {}},
}
#: a night in which clocks are put forward, in UTC
DATE = pendulum.datetime(2026, 3, 29, 1, 30)


@pytest.fixture(params=OPERATORS, ids=lambda operator: operator.__name__)
def rendered(request: pytest.FixtureRequest):
    """The job's id as Airflow renders it."""

    def render(job_id: str | None, **context: Any) -> str | None:
        with DAG("d", schedule=None):
            task = request.param(task_id="t", role="guest", party_id=9999, job_id=job_id, **OPERATORS[request.param])
        task.render_template_fields({"task": task, "run_id": "manual-1", **context})
        return task.job_id

    return render


@pytest.mark.parametrize("template", ["nightly_{{ ts_nodash }}", "nightly_{{ logical_date | ts_nodash }}"])
def test_it_follows_from_the_logical_date(rendered, template):
    assert rendered(template, logical_date=DATE, ts_nodash="20260329T013000") == "nightly_20260329T013000"


@pytest.mark.parametrize("context", [{}, {"logical_date": None}])
@pytest.mark.parametrize(
    "template", ["nightly_{{ ts_nodash }}", "n_{{ logical_date | ts_nodash }}", "{{ ds }}", "{{data_interval_end|ds}}"]
)
def test_a_run_without_a_logical_date_is_refused_by_name(rendered, template, context):
    with pytest.raises(AirflowFailException, match="job_id: .* this run has none; let a schedule start it") as caught:
        rendered(template, **context)
    assert template in str(caught.value)


@pytest.mark.parametrize(
    ("template", "job_id"), [(None, None), ("fixed", "fixed"), ("of_{{ run_id }}", "of_manual-1"), ("ds", "ds")]
)
def test_what_needs_no_date_does_without(rendered, template, job_id):
    assert rendered(template) == job_id


def test_what_is_no_template_is_jinjas_to_say(rendered):
    with pytest.raises(TemplateSyntaxError):
        rendered("nightly_{{ ts_nodash")
