"""Run many random cases in guard mode: ``python -m tests.fuzz graphs --cases 200000``.

Ends with the number of cases by what came of them, and fails if there was a fault. ``--show``
runs one case in this process, after its model was written to a file.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

# Threads of libraries do not survive the fork into processes.
os.environ["OMP_NUM_THREADS"] = "1"

from .cases import CASES, MODELS, without_cache
from .runner import FAULTS, OUTCOMES, Runner


def main() -> int:
    """Run what the arguments say; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kind", choices=sorted(CASES))
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--journal", type=Path, help="file to resume from after an interrupt")
    parser.add_argument("--show", type=int, metavar="CASE", help="run one case, here")
    given = parser.parse_args()
    case = CASES[given.kind]
    without_cache()
    if given.show is not None:
        path = Path(f"case-{given.show}.onnx")
        path.write_bytes(MODELS[given.kind](given.show)[0].SerializeToString())
        print(f"{path}: ", end="", flush=True)
        print(case(given.show))
        return 0
    start = time.monotonic()
    runner = Runner(
        case, given.first, given.cases, given.processes, given.journal,
        lambda line: print(line, flush=True),
    )  # fmt: skip
    runner.run()
    seconds = time.monotonic() - start
    counts = ", ".join(f"{runner.counts[outcome]} {outcome}" for outcome in OUTCOMES)
    print(f"{sum(runner.counts.values())} cases in {seconds:.0f} s: {counts}")
    return int(any(runner.counts[outcome] for outcome in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
