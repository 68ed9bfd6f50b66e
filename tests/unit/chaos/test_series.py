"""How a series goes, with organisations that only say how a job is."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from tests.chaos import __main__ as command
from tests.chaos import series as module
from tests.chaos.faults import FAULTS
from tests.chaos.jobs import JOBS
from tests.chaos.series import Series
from tests.servers.process import ServerError

LOGS = {
    "chaos_secureboost": "waiting for host-10000 (messages)\nround 29 of 30",
    "chaos_lr": "waiting for host-10000, arbiter-10000 (messages)\niteration 98 of 100",
}
LOGS["chaos_lr_spark"] = LOGS["chaos_lr"].replace("98 of 100", "8 of 10")
MODEL = {"model.json": b"{}"}


class Quiet:
    """Two organisations in which each job has come to its last steps and ends well at once."""

    lacking = ""

    linked: bool | None = None

    def __init__(self, directory: object = None, *, linked: bool = False) -> None:
        Quiet.linked = linked
        self.begun: list[str] = []
        start = lambda dag_id, conf, run_id: self.begun.append(f"{dag_id} {run_id}")  # noqa: E731
        self.bank = SimpleNamespace(
            airflow=SimpleNamespace(trigger=start), log=lambda run, party, task="train": LOGS[run.job.dag_id],
            state=lambda run, party: "success", model=lambda run, party: MODEL,
        )  # fmt: skip

    def site_of(self, party: str) -> SimpleNamespace:
        return self.bank

    def has_ended(self, run: object) -> bool:
        return True

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


@pytest.fixture
def struck(monkeypatch) -> list[list[str]]:
    """The runs that were struck, together or each alone; nothing is really done."""
    seen: list[list[str]] = []
    monkeypatch.setattr(module, "state_of", lambda sites: {})
    monkeypatch.setattr(module, "left_behind", lambda sites, runs, before: [])
    monkeypatch.setattr(command, "Sites", Quiet)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)

    def strike(sites, runs, dice):
        seen.append([run.run_id for run in runs])
        return "quietly"

    for name, fault in FAULTS.items():
        monkeypatch.setitem(FAULTS, name, dataclasses.replace(fault, strike=strike))
    return seen


def test_a_fault_that_can_be_aimed_strikes_each_job_by_itself(struck):
    sites = Quiet()
    outcomes = Series(sites, 1).strike(FAULTS["guest-driver"], list(JOBS.values()))
    assert sorted(struck) == [["3-guest-driver"], ["4-guest-driver"]]
    assert [(one.outcome, one.did, one.continued, one.kept) for one in outcomes] == [
        ("same model", "quietly", "no restart", True)
    ] * 2
    assert outcomes[0].at == "hetero_secureboost_0 29"
    assert [text.split()[1] for text in sites.begun] == [
        "1-undisturbed", "2-undisturbed", "3-guest-driver", "4-guest-driver",
    ]  # fmt: skip


def test_one_that_strikes_all_strikes_once(struck):
    outcomes = Series(Quiet(), 1).strike(FAULTS["broker"], list(JOBS.values()))
    assert struck == [["3-broker", "4-broker"]] and len(outcomes) == 2


def test_the_command_prints_seed_and_table_and_says_whether_all_was_kept(struck, capsys, tmp_path, monkeypatch):
    keep = ["--keep", str(tmp_path)]
    assert command.main(["--seed", "5", "--fault", "broker", "task", "--job", "lr", *keep]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("seed 5\n") and "broker (quietly) | lr" in printed and "2 faults in" in printed
    assert Quiet.linked is False
    assert command.main(["--linked", "--fault", "task", "--job", "lr", *keep]) == 0 and Quiet.linked is True
    capsys.readouterr()
    monkeypatch.setattr(module, "left_behind", lambda sites, runs, before: ["process 7"])
    assert command.main(["--fault", "task", "--job", "lr", *keep]) == 1
    assert "process 7" in capsys.readouterr().out


def test_what_cannot_be_done_is_no_promise_that_was_kept(struck, monkeypatch):
    def strike(sites, runs, dice):
        raise ServerError("guest-9999 has no driver")

    outcomes = Series(Quiet(), 1).strike(dataclasses.replace(FAULTS["task"], strike=strike), [JOBS["lr"]])
    assert outcomes[0].broken == ["guest-9999 has no driver"] and not outcomes[0].kept


def test_without_networks_what_needs_them_is_left_out(struck, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "missing", lambda: "network namespaces need root")
    assert command.main(["--job", "lr", "--keep", str(tmp_path)]) in (0, 1)
    printed = capsys.readouterr().out
    assert "network namespaces need root" in printed and "cut-30" not in printed and "datanode" in printed
