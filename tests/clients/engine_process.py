"""Process of a client under an engine, as its parent sees it."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Any

_LINES = 15


class EngineProcess:
    """A client that runs in a process of its own.

    Parameters
    ----------
    client : str
    engine : {"sardonyx", "onnxruntime"}
    threads : int, optional

    Attributes
    ----------
    result
        Of the first run.
    opened : float
        Seconds to open the client.
    engines : list of str
        Of its sessions.

    Raises
    ------
    RuntimeError
        It failed; with the last lines that it wrote.
    """

    def __init__(self, client: str, engine: str, threads: int | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-m", f"{__package__}.child", client, engine]
        self._process = subprocess.Popen(
            command + ([str(threads)] if threads else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        first = self._received()
        self.result, self.opened, self.engines = (
            first[name] for name in ("result", "opened", "engines")
        )

    def block(self, seconds: float) -> list[float]:
        """Return the seconds that runs take, one after another for so long."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n".encode())
        self._process.stdin.flush()
        times: list[float] = self._received()
        return times

    def _received(self) -> Any:
        assert self._process.stdout is not None
        head = self._process.stdout.read(8)
        if len(head) < 8:
            self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").splitlines()
            self.close()
            raise RuntimeError("\n".join(line[:400] for line in lines[-_LINES:]))
        return pickle.loads(self._process.stdout.read(int.from_bytes(head, "little")))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()
