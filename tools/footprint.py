"""Start time and memory of one engine, in a process of its own.

``python -m sardonyx.tools.footprint ENGINE MODEL FEEDS.npz THREADS`` prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SardonyxError
from .engines import OPENVINO_CACHE, import_engine, open_engine


@dataclass(frozen=True)
class Footprint:
    """Start time and memory of a fresh process that runs a model.

    Attributes
    ----------
    import_s : float
        Seconds to import the engine in the warm process, numpy not counted.
    cold_s : float
        Seconds to open the session after that, when nothing is cached.
    warm_s : float
        The same with what the cold start left in the caches.
    peak_bytes : int
        Peak resident memory of the warm process: loaded, opened and run.
    """

    import_s: float
    cold_s: float
    warm_s: float
    peak_bytes: int


def footprint(engine: str, path: str, feeds: Mapping[str, Any], threads: int) -> Footprint:
    """Measure an engine in two processes: one with empty caches, one with warm ones."""
    with tempfile.TemporaryDirectory(prefix="sardonyx-") as folder:
        inputs = Path(folder) / "feeds.npz"
        np.savez(inputs, **feeds)
        caches = {"SARDONYX_CACHE": f"{folder}/own", OPENVINO_CACHE: f"{folder}/openvino"}
        cold, warm = (_child(engine, path, str(inputs), threads, caches) for _ in range(2))
    return Footprint(warm["import_s"], cold["open_s"], warm["open_s"], int(warm["peak_bytes"]))


def _child(
    engine: str, path: str, inputs: str, threads: int, caches: Mapping[str, str]
) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, engine, path, inputs, str(threads)]
    environment = {**os.environ, **caches}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise SardonyxError(f"{engine} failed on {path}: {last}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def peak_bytes() -> int:
    """Peak resident memory of this process so far."""
    try:
        status = Path("/proc/self/status").read_text()
        # Unlike ru_maxrss this does not begin with the parent's peak.
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def _main(engine: str, path: str, inputs: str, threads: str) -> None:
    with np.load(inputs) as data:
        feeds = dict(data)
    start = time.perf_counter()
    import_engine(engine)
    imported = time.perf_counter()
    run = open_engine(engine, path, feeds, int(threads))
    opened = time.perf_counter()
    for _ in range(2):
        run()
    figures = {"import_s": imported - start, "open_s": opened - imported}
    print(json.dumps({**figures, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
