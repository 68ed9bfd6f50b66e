"""The shared job parameters of a conf that is not parsed yet."""

from __future__ import annotations

import pytest

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.common import common_of, common_path, with_common


def test_where_each_version_has_them() -> None:
    v1 = {"job_parameters": {"job_type": "train"}}
    v2 = {"dsl_version": "2", "job_parameters": {"common": {"job_type": "train"}, "role": {"guest": {}}}}
    for conf in (v1, v2):
        common = common_of(conf)
        assert common == {"job_type": "train"}
        common["job_type"] = "predict"
        assert common_of(conf) == {"job_type": "train"}, "it is a copy"
        assert common_of(with_common(conf, common)) == {"job_type": "predict"}
    assert with_common(v2, {})["job_parameters"]["role"] == {"guest": {}}
    assert (common_path(v1), common_path(v2)) == ("job_parameters", "job_parameters.common")


@pytest.mark.parametrize("conf", [{}, {"dsl_version": 2}, {"dsl_version": 2, "job_parameters": {"common": None}}])
def test_none_are_given(conf: dict) -> None:
    assert common_of(conf) == {}


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({"job_parameters": []}, "job_parameters"),
        ({"dsl_version": 2, "job_parameters": {"common": 5}}, "job_parameters.common"),
    ],
)
def test_what_is_no_dict_is_refused(conf: dict, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        common_of(conf)
    assert caught.value.path == path
