"""``python -m sardonyx.tools.cuda_check``: check a GPU in at most ten minutes.

Results of all kernels and of models are compared with the CPU's, then times are measured, beside
PyTorch and onnxruntime where they are installed. What is found is written as it comes, to
``docs/cuda.md`` (or the file of ``--output``). It needs the extra ``sardonyx[cuda]``, nothing else.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import time
from pathlib import Path

from . import report
from .parts import PARTS
from .run import Check, Outcome
from .tasks import Setting

_LIMIT = 590
_ASK = (
    "from sardonyx.runtime.devices.cuda.requirements import open_driver; print(open_driver().title)"
)


def title_of(simulates: bool) -> str:
    """Return the name of the GPU.

    Raises
    ------
    RuntimeError
        There is none, or what it needs is missing; says what to install.
    """
    environment = os.environ | ({"NUMBA_ENABLE_CUDASIM": "1"} if simulates else {})
    done = subprocess.run(
        [sys.executable, "-c", _ASK], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no GPU"])[-1]
        raise RuntimeError(last.partition(": ")[2] or last)
    return done.stdout.strip().splitlines()[-1]


def main(arguments: list[str] | None = None) -> int:
    """Check the GPU; returns 0, 1 where something failed, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(
        prog="python -m sardonyx.tools.cuda_check", description=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("--limit", type=float, default=_LIMIT, help="seconds in all")
    parser.add_argument("--output", type=Path, help="file to write, docs/cuda.md if there is docs")
    parser.add_argument("--parts", nargs="*", help=f"of {', '.join(p.name for p in PARTS)}")
    parser.add_argument("--simulate", action="store_true", help="tiny sizes in numba's simulator")
    given = parser.parse_args(arguments)
    deadline = time.monotonic() + given.limit
    chosen = [part for part in PARTS if not given.parts or part.name in given.parts]
    try:
        title = title_of(given.simulate)
    except RuntimeError as reason:
        print(f"cuda_check: {reason}", file=sys.stderr)
        return 2
    path = given.output or Path("docs/cuda.md" if Path("docs").is_dir() else "cuda.md")
    day = datetime.datetime.now(datetime.UTC).date()
    note = f"On {day}, by `{parser.prog}`."

    def show(outcomes: dict[str, Outcome]) -> None:
        report.write(path, title, note, outcomes)

    check = Check(Setting(given.simulate), deadline, show)
    for part in chosen:
        if time.monotonic() >= deadline:
            print(f"out of time before: {part.name}")
            break
        check.run(part)
        each = check.outcomes[part.name]
        print(
            f"{part.name}: {each.passed} right, {len(each.failed)} failed, {len(each.skipped)} "
            f"skipped of {each.total}, {each.seconds:.0f} s{', out of time' * each.is_cut}",
            flush=True,
        )
        for name, why in list(each.failed.items())[:5]:
            print(f"  {name}: {' '.join(why.split())[:300]}", flush=True)
    print(f"written: {path}")
    return int(any(each.failed for each in check.outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
