"""Runner of many cases in forked processes: a signal or a hang ends one process, and is counted.

A child notes the case it is in before it begins, so that the parent knows which one a signal came
from, and starts another child after it. Each of several processes has every n-th case.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .cases import RAN, REFUSED, SKIPPED, Fault

Case = Callable[[int], str]
OUTCOMES = (RAN, REFUSED, SKIPPED, "differences", "exceptions", "signals", "hangs")
FAULTS = OUTCOMES[3:]
HANG_SECONDS = 120
MEMORY = 4 << 30
"""Bytes of address space of a child: cases may ask for any size."""
_CASE, _BEGAN, _COUNTS = 0, 1, 2


class Runner:
    """Cases from ``first`` on, shared out among processes.

    Parameters
    ----------
    case : callable
        Runs the case of a number; returns an outcome or raises `Fault`.
    first, count : int
        Numbers of the cases.
    processes : int
    journal : path, optional
        Where counts and progress are kept, so that the same call goes on where it was stopped.
    report : callable, optional
        Is told of every fault, a line each.

    Attributes
    ----------
    counts : Counter
        How often each of ``OUTCOMES`` came.
    faults : list of str
        A line for each fault.
    """

    def __init__(
        self,
        case: Case,
        first: int,
        count: int,
        processes: int = 1,
        journal: Path | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self._case = case
        self._last = first + count
        self._processes = processes
        self._journal = journal
        self._report = report or (lambda _: None)
        # The next case of each process, which has every n-th of them.
        self._next = [first + number for number in range(processes)]
        pages = [mmap.mmap(-1, mmap.PAGESIZE) for _ in range(processes)]
        self._notes = [np.frombuffer(page, np.int64) for page in pages]
        self._pids: list[int | None] = [None] * processes
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[0], False)
        self._resume()

    # --- parent -------------------------------------------------------------------------------

    def run(self) -> None:
        """Run all cases; stops cleanly at an interrupt, to be resumed from the journal."""
        saved = time.monotonic()
        try:
            for process in range(self._processes):
                self._start(process)
            while any(pid is not None for pid in self._pids):
                time.sleep(0.02)
                for process in range(self._processes):
                    self._look_after(process)
                if time.monotonic() - saved > 10:
                    self._save()
                    saved = time.monotonic()
        finally:
            for process, pid in enumerate(self._pids):
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    self._collect(process)
                    self._next[process] = int(self._notes[process][_CASE])
            self._save()

    def _start(self, process: int) -> None:
        if self._next[process] >= self._last:
            return
        notes = self._notes[process]
        notes[:] = 0
        notes[_CASE], notes[_BEGAN] = self._next[process], time.monotonic_ns()
        pid = os.fork()
        if pid == 0:
            try:
                self._work(process)
            finally:
                os._exit(0)
        self._pids[process] = pid

    def _look_after(self, process: int) -> None:
        """Start another child where one has ended before its last case."""
        pid = self._pids[process]
        if pid is None:
            return
        notes = self._notes[process]
        ended, status = os.waitpid(pid, os.WNOHANG)
        hangs = time.monotonic_ns() - int(notes[_BEGAN]) > HANG_SECONDS * 1e9
        if not ended and not hangs:
            return
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._pids[process] = None
        self._collect(process)
        case = int(notes[_CASE])
        if os.WIFSIGNALED(status) or hangs:
            self.counts["hangs" if hangs else "signals"] += 1
            name = "no end" if hangs else signal.Signals(os.WTERMSIG(status)).name
            self._fault(f"case {case}: {name}")
            case += self._processes
        self._next[process] = case
        self._start(process)

    def _collect(self, process: int) -> None:
        """Take over what a child has counted, and the faults that all have told."""
        for outcome, count in zip(OUTCOMES, self._notes[process][_COUNTS:], strict=False):
            self.counts[outcome] += int(count)
        self._notes[process][_COUNTS:] = 0
        self._read_faults()

    def _read_faults(self) -> None:
        text = b""
        while True:
            try:
                text += os.read(self._pipe[0], 1 << 16)
            except BlockingIOError:
                break
        for line in text.decode(errors="replace").splitlines():
            self._fault(line)

    def _fault(self, line: str) -> None:
        self.faults.append(line)
        self._report(line)

    # --- journal ------------------------------------------------------------------------------

    def _save(self) -> None:
        self._read_faults()
        if self._journal is None:
            return
        counts = Counter(self.counts)
        progress = list(self._next)
        for process, notes in enumerate(self._notes):
            if self._pids[process] is not None:
                progress[process] = int(notes[_CASE])
                for outcome, count in zip(OUTCOMES, notes[_COUNTS:], strict=False):
                    counts[outcome] += int(count)
        state = {"next": progress, "counts": counts, "faults": self.faults}
        self._journal.write_text(json.dumps(state, indent=1))

    def _resume(self) -> None:
        if self._journal is None or not self._journal.exists():
            return
        state = json.loads(self._journal.read_text())
        if len(state["next"]) != self._processes:
            raise ValueError(f"{self._journal} is of {len(state['next'])} processes")
        self._next, self.faults = state["next"], state["faults"]
        self.counts.update(state["counts"])

    # --- child --------------------------------------------------------------------------------

    def _work(self, process: int) -> None:
        # What the process has already, such as frameworks of other tests, does not count.
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = MEMORY + pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        notes = self._notes[process]
        for number in range(self._next[process], self._last, self._processes):
            notes[_CASE], notes[_BEGAN] = number, time.monotonic_ns()
            try:
                outcome = self._case(number)
            except KeyboardInterrupt:
                return
            except BaseException as error:
                outcome = "differences" if isinstance(error, Fault) else "exceptions"
                text = str(error).replace("\n", " ")[:300]
                self._tell(f"case {number}: {type(error).__name__}: {text}")
            notes[_COUNTS + OUTCOMES.index(outcome)] += 1
        notes[_CASE] = self._last

    def _tell(self, line: str) -> None:
        os.write(self._pipe[1], line.encode() + b"\n")
