"""Many components in one job, trained and then applied to new rows without naming one of them again."""

from __future__ import annotations

import numpy as np
import pytest

from airflow_provider_fate.job.conf import Job
from airflow_provider_fate.runtime.storage.models import ModelStore
from airflow_provider_fate.runtime.storage.tables import TableStore
from tests.unit.runtime.credit_job import credit_job
from tests.unit.runtime.whole_jobs import GUEST, HOST, TABLES, Parties

FITTED = {
    "dataio_0", "feature_scale_0", "statistics_0", "hetero_feature_binning_0", "hetero_feature_selection_0",
    "hetero_lr_0", "hetero_secureboost_0",
}  # fmt: skip


def test_every_fitted_component_is_applied_again(breast: Parties) -> None:
    job = credit_job()
    status = breast.run(job)[GUEST]
    assert min(status["metrics"][f"evaluation_{place}"]["auc"] for place in (0, 1)) > 0.97
    for party in (GUEST, HOST):
        store = ModelStore(breast.storage(party), party)
        assert set(store.load(job.model_id, "job1")) == FITTED
        store.deploy(job.model_id, "job1")
    conf = {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000], "arbiter": [10000]},
        "job_parameters": {"common": {"job_type": "predict", "model_id": job.model_id, "model_version": "job1"}},
    }
    stored = ModelStore(breast.storage(GUEST), GUEST).describe(job.model_id, "job1")["job"]
    predict = Job.parse(conf).with_data(TABLES).for_prediction(stored)
    assert not {"statistics_0", "hetero_feature_binning_0"} & set(predict.components)  # the selection is made
    applied = breast.run(predict, "job2")[GUEST]
    assert set(applied["output"]) == {"hetero_lr_0", "hetero_secureboost_0"}
    tables = TableStore(breast.storage(GUEST))
    for name in applied["output"]:
        # the same rows give the same scores as in training
        scores = []
        for one in (status, applied):
            place = one["output"][name]["data"]
            rows = tables.preview(place["namespace"], place["name"], 569).to_pylist()
            scores.append({row["id"]: row["predict_score"] for row in rows})
        assert scores[0].keys() == scores[1].keys()
        assert [scores[1][key] for key in scores[0]] == pytest.approx(list(scores[0].values()))
        assert np.ptp(list(scores[0].values())) > 0.5
