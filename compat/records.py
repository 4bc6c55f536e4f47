"""Records of sessions: which engine each has and why, how often it ran, and how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_records: list[SessionRecord] = []
_MOST = 10_000
"""Records of sessions; of a process that opens more the oldest are forgotten."""


@dataclass
class SessionRecord:
    """What became of one session.

    Attributes
    ----------
    model : str
        Its path, or how many bytes it has.
    engine : {"sardonyx", "onnxruntime"}
    reason : str
        Why it is not sardonyx; empty where it is.
    ignored : tuple of str
        Options that were set and have no effect.
    runs : int
        Runs that ended, also with an error.
    seconds : float
        Time in them.
    """

    model: str
    engine: str = ""
    reason: str = ""
    ignored: tuple[str, ...] = ()
    runs: int = 0
    seconds: float = 0.0

    def add_run(self, seconds: float) -> None:
        """Count a run."""
        self.runs += 1
        self.seconds += seconds

    def __str__(self) -> str:
        text = f"{self.model}: {self.engine}, {self.runs} runs, {self.seconds:.3f} s"
        if self.reason:
            text += f" ({self.reason})"
        if self.ignored:
            text += f"; without effect: {', '.join(self.ignored)}"
        return text


def enter(model: Any) -> SessionRecord:
    """Begin the record of a session for a path or bytes."""
    named = f"{len(model)} bytes" if isinstance(model, bytes) else str(model)
    record = SessionRecord(named)
    _records.append(record)
    del _records[:-_MOST]
    return record


def report() -> list[SessionRecord]:
    """Return the records of all sessions of this process, in the order of their opening."""
    return list(_records)
