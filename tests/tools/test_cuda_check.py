"""The check of a GPU, in the simulator and without a GPU."""

import importlib.util
import os
import subprocess
import sys
import time

import pytest

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip("needs numba-cuda: pip install 'sardonyx[cuda]'", allow_module_level=True)

from sardonyx.tools.cuda_check import report, run
from sardonyx.tools.cuda_check.parts import PARTS
from sardonyx.tools.cuda_check.run import Check, Outcome
from sardonyx.tools.cuda_check.tasks import Part, Row, Setting

PART = Part("some", 60, lambda _: [])


def check(*options, **variables):
    command = [sys.executable, "-m", "sardonyx.tools.cuda_check", *map(str, options)]
    environment = os.environ | variables
    return subprocess.run(
        command, capture_output=True, text=True, timeout=590, env=environment, check=False
    )


def test_all_of_it_in_the_simulator(tmp_path):
    path = tmp_path / "cuda.md"
    done = check("--simulate", "--output", path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = path.read_text()
    assert "## Measured: numba's CUDA simulator" in text
    for part in PARTS:
        assert f"| {part.name} |" in text
    titles = ("Products", "Kernels of products", "Networks, ms a batch", "Bandwidth",
              "Attention", "Convolutions", "Cost of launches")  # fmt: skip
    for title in titles:
        assert f"### {title}\n" in text
    assert "### What has failed" not in text
    assert "out of time" not in text
    assert "expected" in text


def test_no_gpu_is_one_clear_error(tmp_path):
    done = check("--output", tmp_path / "cuda.md", CUDA_VISIBLE_DEVICES="", NUMBA_ENABLE_CUDASIM="")
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("cuda_check: device='cuda' finds no GPU")
    assert "install" in line
    assert not list(tmp_path.iterdir())


def test_the_limit_ends_it(tmp_path):
    start = time.monotonic()
    done = check("--simulate", "--limit", 0, "--output", tmp_path / "cuda.md")
    assert "out of time before: kernels" in done.stdout
    assert time.monotonic() - start < 120


class Script:
    """Stands for processes: each tells what is next in a list, and then ends or is silent."""

    def __init__(self, monkeypatch, *processes):
        self.begun, self._processes = [], list(processes)
        monkeypatch.setattr(run, "_Process", self._start)

    def _start(self, name, share, begin, setting):
        self.begun.append(begin)
        self._told = iter(self._processes.pop(0))
        return self

    def next(self, seconds):
        told = next(self._told, None)
        if told == "silence":
            time.sleep(seconds)
            return None
        return told

    def end(self):
        return "the process ended with code -11"


def begins(number):
    return {"begins": number, "name": f"task {number}"}


def ends(number, status="passed", **more):
    more = {"rows": []} | more if status == "passed" else {"text": "why"} | more
    return {"ends": number, "name": f"task {number}", "status": status, **more}


def checked(seconds=60.0):
    seen = []
    made = Check(Setting(), time.monotonic() + seconds, lambda outcomes: seen.append(len(outcomes)))
    made._setting = Setting(simulates=True)  # one process
    made.run(PART)
    assert seen
    return made.outcomes["some"]


def test_what_kills_a_process_fails_and_the_next_task_is_done(monkeypatch):
    script = Script(
        monkeypatch,
        [{"total": 4}, begins(0), ends(0), begins(1)],
        [{"total": 4}, begins(2), ends(2, "skipped"), begins(3), ends(3, "failed"),
         {"is_done": True}],
    )  # fmt: skip
    outcome = checked()
    assert script.begun == [0, 2]
    assert (outcome.passed, outcome.total, outcome.is_cut) == (1, 4, False)
    assert outcome.failed == {"task 1": "the process ended with code -11", "task 3": "why"}
    assert outcome.skipped == {"task 2": "why"}


def test_a_process_that_cannot_begin_is_told_once(monkeypatch):
    script = Script(monkeypatch, [])
    assert list(checked().failed) == ["some, process 0/1"]
    assert script.begun == [0]


def test_a_task_that_is_silent_ends_with_the_limit(monkeypatch):
    Script(monkeypatch, [{"total": 2}, begins(0), ends(0), begins(1), "silence"])
    outcome = checked(0.3)
    assert (outcome.passed, outcome.is_cut, outcome.failed) == (1, True, {})


def test_a_section_takes_the_place_of_an_older_one_of_the_same_gpu(tmp_path):
    path = tmp_path / "cuda.md"
    path.write_text("# Title\n\nHow to.\n")
    one = Outcome(1, 1, rows=[Row("Speed", "a", {"x": 1.5}), Row("Speed", "a", {"y": 120.4})])
    report.write(path, "A", "old", {"part": one})
    report.write(path, "B", "other", {"part": one})
    report.write(path, "A", "new", {"part": Outcome(0, 2, {}, {"task": "text\nof two lines"})})
    text = path.read_text()
    assert text.startswith("# Title\n\nHow to.\n")
    assert "old" not in text
    assert text.index("## Measured: B") < text.index("## Measured: A")
    assert "| a | 1.5 | 120 |" in text
    assert "- task: text of two lines" in text
