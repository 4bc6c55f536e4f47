"""Child process that runs one client under one engine.

``python -m sardonyx.tests.clients.child CLIENT ENGINE [THREADS]`` writes the pickled result of a
run to standard output, preceded by its length, and then for each line ``SECONDS`` that it reads the
times of runs of so long, in the same way. Anything the client prints goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
import warnings
from typing import Any

LEAST = 3
"""Runs of a block at least."""


def main(name: str, engine: str, threads: str = "") -> None:
    """Run."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    if engine == "sardonyx":
        os.environ["SARDONYX_COMPAT"] = "strict"
        import sardonyx.compat

        sardonyx.compat.install()
    from .client import client

    start = time.perf_counter()
    run = client(name).open(int(threads) if threads else None)
    opened = time.perf_counter() - start
    _send(output, {"result": run(), "opened": opened, "engines": _engines(engine)})
    for line in sys.stdin:
        _send(output, _block(run, float(line)))


def _block(run: Any, seconds: float) -> list[float]:
    """Return the seconds that runs take, after one that is not timed."""
    run()
    times: list[float] = []
    while len(times) < LEAST or sum(times) < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def _engines(engine: str) -> list[str]:
    """Return the engine of each session that is open."""
    if engine != "sardonyx":
        return [engine]
    import sardonyx.compat

    return [record.engine for record in sardonyx.compat.report()]


def _send(output: Any, value: Any) -> None:
    data = pickle.dumps(value)
    output.write(len(data).to_bytes(8, "little") + data)
    output.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
