"""What the task's log shows of an application that runs on a cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_fate.hooks.stores import forget_job_status, progress_reader
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.operators._watch import ProgressWatch
from airflow_provider_fate.runtime.progress import Progress
from airflow_provider_fate.runtime.storage.local import LocalStorage

GUEST = Party("guest", "9999")


class Seen:
    """A watch and what it gave."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.watch = ProgressWatch(
            progress_reader("fate_storage", "job", GUEST),
            lambda text, *arguments: self.lines.append(text % arguments),
            self.messages.append,
            seconds=0.05,
        )


@pytest.fixture
def progress(connections) -> Progress:
    made = Progress("job", GUEST)
    made.attach(LocalStorage(connections / "storage"))
    return made


def test_the_log_shows_what_client_mode_shows(progress: Progress, capsys) -> None:
    seen = Seen()
    seen.watch.start()
    progress.tell_in_storage(seconds=0.05)
    said = [
        ("hetero_lr_0 (HeteroLR): started", {}),
        ("hetero_lr_0: iteration 1 of 5, loss 0.6", {}),
        ("host-10000 shows its part at 'http://a'", {"host_run": "http://a"}),
    ]
    for text, more in said:
        progress.say(text, **more)
    for _ in range(200):
        if len(seen.lines) == 3:
            break
        seen.watch.join(0.05)
    assert seen.lines == [text for text, _ in said]  # while it runs
    progress.say("failed: no", error="no", kind="FateError")
    progress.write_status(state="failed")
    seen.watch.stop()
    assert seen.lines[3:] == ["failed: no"]
    assert seen.messages[2]["host_run"] == "http://a" and seen.messages[3]["error"] == "no"
    client = [json.loads(line.removeprefix("@fate ")) for line in capsys.readouterr().out.splitlines()]
    assert client == seen.messages


def test_a_traceback_begins_no_line_of_its_own(capsys) -> None:
    from airflow_provider_fate.runtime.main import print_traceback

    try:
        raise ValueError('first\n@fate {"text": "forged"}\nlast')
    except ValueError:
        print_traceback()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "| Traceback (most recent call last):" and lines[-1] == "| last"
    assert all(line.startswith("| ") for line in lines)
    Progress("job", GUEST, "w0rd").say("here")
    assert capsys.readouterr().out == '@fate w0rd {"text": "here"}\n'


def test_the_file_stays_small_and_no_line_comes_twice(progress: Progress) -> None:
    seen = Seen()
    progress.tell_in_storage(seconds=60)
    for number in range(1000):
        progress.say(f"line {number}")
    progress.write_status()
    seen.watch.look()
    seen.watch.look()
    assert seen.lines[0] == "(800 lines are left out here)"
    assert seen.lines[1:] == [f"line {number}" for number in range(800, 1000)]
    progress.say("the last")
    progress.write_status()
    seen.watch.look()
    assert seen.lines[-1] == "the last" and len(seen.lines) == 202


def test_what_an_earlier_try_said_is_not_shown(progress: Progress) -> None:
    progress.tell_in_storage(seconds=60)
    progress.say("earlier")
    progress.write_status()
    forget_job_status("fate_storage", "job", GUEST)
    seen = Seen()
    seen.watch.look()
    assert seen.lines == []


def test_an_application_that_the_cluster_started_again_is_shown_from_its_start(progress: Progress, connections) -> None:
    progress.tell_in_storage(seconds=60)
    for number in range(3):
        progress.say(f"line {number}")
    progress.write_status()
    seen = Seen()
    seen.watch.look()
    again = Progress("job", GUEST)
    again.attach(LocalStorage(connections / "storage"))
    again.tell_in_storage(seconds=60)
    again.say("anew")
    again.write_status()
    seen.watch.look()
    assert seen.lines[3:] == ["anew"]


def test_without_it_nothing_is_written_for_the_log(progress: Progress) -> None:
    progress.say("to standard output only")
    progress.write_status()
    seen = Seen()
    seen.watch.look()
    assert seen.lines == []
