"""Runs the parts in processes with limits of time, and keeps what they tell."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .child import MARK
from .tasks import Part, Row, Setting

_TASK_SECONDS = 100
"""That a task may take, kernels that are compiled included."""
_MOST_PROCESSES = 12
_SIMULATED = {"NUMBA_ENABLE_CUDASIM": "1"}


@dataclass
class Outcome:
    """How the tasks of a part ended.

    Attributes
    ----------
    passed, total : int
        Tasks that are done and right, and all there are; -1 as long as nobody knows.
    skipped, failed : dict of str to str
        Why, by task.
    rows : list of Row
    seconds : float
    is_cut : bool
        Whether time was over before all tasks were done.
    """

    passed: int = 0
    total: int = -1
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    is_cut: bool = False

    def take(self, told: dict[str, Any]) -> None:
        """Note how a task ended."""
        status, name = told["status"], told["name"]
        if status == "passed":
            self.passed += 1
            self.rows += [Row(*row) for row in told["rows"]]
        else:
            (self.skipped if status == "skipped" else self.failed)[name] = told["text"]


class Check:
    """A check of all parts.

    Parameters
    ----------
    setting : Setting
    deadline : float
        Of `time.monotonic`, when it ends with what it has.
    report : callable
        Called whenever there is something new, with the outcomes by part.
    """

    def __init__(
        self, setting: Setting, deadline: float, report: Callable[[dict[str, Outcome]], None]
    ) -> None:
        self._setting, self._deadline, self._report = setting, deadline, report
        self._lock = threading.Lock()
        self.outcomes: dict[str, Outcome] = {}

    def run(self, part: Part) -> None:
        """Do the tasks of a part."""
        outcome = self.outcomes[part.name] = Outcome()
        start = time.monotonic()
        # The simulator is slow, and so may be the machine that it runs on.
        allowed = part.seconds * self._setting.size(1, 10)
        end = min(self._deadline, start + allowed)
        count = 1
        if part.is_shared and not self._setting.simulates:
            count = max(min(os.cpu_count() or 1, _MOST_PROCESSES), 1)
        threads = [
            threading.Thread(target=self._share, args=(part, f"{i}/{count}", outcome, end))
            for i in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outcome.seconds = time.monotonic() - start
        self._report(self.outcomes)

    def _share(self, part: Part, share: str, outcome: Outcome, end: float) -> None:
        """Do a share of the tasks, in one process after the other: each failure may end one."""
        begin, has_total = 0, False
        while time.monotonic() < end:
            process = _Process(part.name, share, begin, self._setting)
            current: tuple[int, str] | None = None
            while True:
                left = end - time.monotonic()
                told = process.next(min(left, _TASK_SECONDS))
                if told is None:
                    break
                if "total" in told and not has_total:
                    with self._lock:
                        outcome.total = max(outcome.total, 0) + told["total"]
                    has_total = True
                if "begins" in told:
                    current = told["begins"], told["name"]
                if "ends" in told:
                    begin, current = told["ends"] + 1, None
                    with self._lock:
                        outcome.take(told)
                        self._report(self.outcomes)
                if "is_done" in told:
                    process.end()
                    return
            why = process.end()
            is_late = time.monotonic() >= end
            if current is None and not is_late:
                outcome.failed[f"{part.name}, process {share}"] = why
                return
            if current is not None and not is_late:
                begin = current[0] + 1
                with self._lock:
                    outcome.take({"status": "failed", "name": current[1], "text": why})
        outcome.is_cut = True


class _Process:
    """A process of the check, and the lines that it prints."""

    def __init__(self, name: str, share: str, begin: int, setting: Setting) -> None:
        module = f"{__package__}.child"
        numbers = str(begin), str(int(setting.simulates))
        command = [sys.executable, "-m", module, name, share, *numbers]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by `end`
        environment = os.environ | (_SIMULATED if setting.simulates else {})
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment
        )
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._is_late = False

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                self._lines.put(json.loads(line.removeprefix(MARK)))
        self._lines.put(None)

    def next(self, seconds: float) -> dict[str, Any] | None:
        """Return what it tells next; None when it has ended, or told nothing for so long."""
        try:
            return self._lines.get(timeout=max(seconds, 0.01))
        except queue.Empty:
            self._is_late = True
            return None

    def end(self) -> str:
        """End it, if it has not ended; returns why it has."""
        if self._is_late:
            self._process.kill()
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        self._errors.close()
        if self._is_late:
            return "took too long"
        return f"the process ended with code {code}: {' '.join(lines[-3:])[:800]}"
