"""Time and memory of opening a model against its number of nodes, beside onnxruntime's.

``python -m sardonyx.tools.scaling [KIND...] [--nodes 1000,10000,50000]`` prints a table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .footprint import peak_bytes
from .large_graphs import KINDS

_NODES = (1000, 10000, 50000)
_COLUMNS = ("import_s", "optimize_s", "lower_s", "total_s", "peak_bytes")


def measure(engine: str, path: str, folder: str) -> dict[str, float]:
    """Open a model in a process of its own.

    Parameters
    ----------
    engine : {"sardonyx", "onnxruntime"}
    path : str
        The model.
    folder : str
        Where the program is written; kernels are taken from the cache.

    Returns
    -------
    dict of str to float
        ``total_s`` and, of sardonyx, its parts ``import_s``, ``optimize_s`` and ``lower_s`` in
        seconds of the processor, and ``peak_bytes`` of resident memory. Empty if it failed.
    """
    command = [sys.executable, "-m", f"{__package__}.scaling", "--open", engine, path, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(*done.stderr.splitlines()[-1:], file=sys.stderr)
        return {}
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _open(engine: str, path: str, folder: str) -> dict[str, float]:
    """Open a model in this process; see `measure`."""
    times = _open_own(path, folder) if engine == "sardonyx" else _open_other(path)
    parts = {
        name: end - start for name, start, end in zip(_COLUMNS, times, times[1:], strict=False)
    }
    parts = parts if len(times) > 2 else {}
    return {**parts, "total_s": times[-1] - times[0], "peak_bytes": peak_bytes()}


def _open_own(path: str, folder: str) -> list[float]:
    from .. import load
    from ..kernels.collection import rare_collection
    from ..kernels.folders import Folder
    from ..optimizer import optimize_in_place
    from ..runtime.engine import Engine
    from ..runtime.lowering import lower
    from ..runtime.memory import give_back
    from ..runtime.program_file import save_program

    times = [time.process_time()]
    with rare_collection():  # as a session does
        model = load(path)
        give_back()
        times.append(time.process_time())
        optimize_in_place(model)
        times.append(time.process_time())
        program = lower(model)
        del model
        times.append(time.process_time())
    with Folder(folder) as private:
        program = save_program(program, private, "program", "") or program
        Engine(program, threads=1)
    times.append(time.process_time())
    return times


def _open_other(path: str) -> list[float]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    start = time.process_time()
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return [start, time.process_time()]


def table(kinds: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Measure kinds of graphs at numbers of nodes; returns the lines of a table in Markdown."""
    lines = [
        "| graph | nodes | import | optimize | lower | total | peak | onnxruntime | its peak |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    with tempfile.TemporaryDirectory(prefix="sardonyx-") as folder:
        for kind in kinds:
            for count in counts:
                path = str(Path(folder) / "model.onnx")
                Path(path).write_bytes(KINDS[kind](count).SerializeToString())
                if count == counts[0]:
                    measure("sardonyx", path, folder)  # compiles the kernels
                own = measure("sardonyx", path, folder)
                other = measure("onnxruntime", path, folder)
                lines.append(_row(kind, count, own, other))
                print(lines[-1], file=sys.stderr, flush=True)
    return lines


def _row(kind: str, count: int, own: Mapping[str, float], other: Mapping[str, float]) -> str:
    cells = [_cell(name, own) for name in _COLUMNS]
    cells += [_cell(name, other) for name in ("total_s", "peak_bytes")]
    return f"| {kind.replace('_', ' ')} | {count} | {' | '.join(cells)} |"


def _cell(name: str, figures: Mapping[str, float]) -> str:
    if name not in figures:
        return "failed"
    number = figures[name]
    return f"{number / 1e6:.0f} MB" if name == "peak_bytes" else f"{number:.2f} s"


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sardonyx.tools.scaling", description=__doc__)
    parser.add_argument("kinds", nargs="*", help=", ".join(KINDS))
    parser.add_argument("--nodes", default=",".join(map(str, _NODES)))
    arguments = parser.parse_args()
    counts = [int(number) for number in arguments.nodes.split(",")]
    print(*table(arguments.kinds or list(KINDS), counts), sep="\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--open"]:
        print(json.dumps(_open(*sys.argv[2:])))
    else:
        _main()
