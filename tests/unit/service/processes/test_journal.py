import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from adcaptum.service.processes import journal
from adcaptum.service.processes.journal import BATCH, LOADING, MOST_TEXT, SLOTS, Journal


def test_what_runs_is_read_until_it_ends(tmp_path: Path) -> None:
    written = Journal(tmp_path / "j")
    first = written.begin(BATCH, "cells", ["a", "b"], 0.5)
    second = written.begin(LOADING, "digits")
    entries = {each.kind: each for each in journal.read(tmp_path / "j")}
    assert (entries[BATCH].model, entries[BATCH].requests) == ("cells", ("a", "b"))
    assert entries[BATCH].expected_seconds == 0.5
    assert abs(time.monotonic() - entries[BATCH].begin) < 60
    assert (entries[LOADING].model, entries[LOADING].requests) == ("digits", ())
    written.end(first)
    assert [each.kind for each in journal.read(tmp_path / "j")] == [LOADING]
    written.end(second)
    assert journal.read(tmp_path / "j") == []
    assert journal.read(tmp_path / "none") == []


def test_slots_and_texts_are_bounded(tmp_path: Path) -> None:
    written = Journal(tmp_path / "j")
    slots = [written.begin(BATCH, "m", ["x" * 100] * 1000) for _ in range(SLOTS)]
    assert written.begin(BATCH, "m") is None
    written.end(None)
    for entry in journal.read(tmp_path / "j"):
        assert len("\n".join((entry.kind, entry.model, *entry.requests))) <= MOST_TEXT
    for slot in slots:
        written.end(slot)
    assert journal.read(tmp_path / "j") == []


def test_it_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from adcaptum.service.processes.journal import Journal\n"
        "Journal(Path(sys.argv[1])).begin('batch', 'm', ['id'])\n"
        "print('noted', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "j")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    (entry,) = journal.read(tmp_path / "j")
    assert (entry.model, entry.requests) == ("m", ("id",))


def test_ids_that_do_not_fit_are_left_out_as_a_whole(tmp_path: Path) -> None:
    ids = [f"{number:03}".ljust(128, "x") for number in range(100)]
    Journal(tmp_path / "journal").begin(BATCH, "model", ids)
    (entry,) = journal.read(tmp_path / "journal")
    assert len(entry.requests) > 25
    assert entry.requests == tuple(ids[: len(entry.requests)])
