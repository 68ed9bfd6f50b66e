"""A short series of faults with a fixed seed: what ``make chaos`` does at length."""

from __future__ import annotations

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.jobs import JOBS
from tests.chaos.series import Series, table
from tests.chaos.sites import Sites

SEED = 4


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    with Sites(tmp_path_factory.mktemp("chaos")) as sites:
        made = Series(sites, SEED)
        yield made
        print(f"\nseed {SEED}\n{table(made.outcomes)}")


@pytest.mark.parametrize("fault", ["task", "cut-30", "datanode"])
def test_what_is_promised_is_kept(series, fault):
    outcomes = series.strike(FAULTS[fault], [JOBS["secureboost"]])
    assert all(outcome.kept for outcome in outcomes), table(outcomes)
