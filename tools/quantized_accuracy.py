"""Accuracy that quantization costs on real models and data, of a task after the other.

    python -m sardonyx.tools.quantized_accuracy digits ocr_rec

Each task of `accuracy_tasks` may lose half a point in 8 bits; `perplexity` of a decoder may grow by
3 % from 8 bits to 4. Ends with 1 if one loses more. The extra ``accuracy`` has the packages of
tasks on text; a task whose packages or model are not at hand is left out, and says so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from ..runtime.session import Session
from . import text, zoo
from .accuracy_tasks import TASKS, Task
from .quantize import quantize

_GROWTH = 3.0
_DECODER = "smollm2"


@dataclass(frozen=True)
class Row:
    """What quantizing costs a task.

    Attributes
    ----------
    name, metric : str
    before, after : float
        Of the float model, or of 8 bits where weights have 4; of the quantized one.
    lost, allowed : float
        Points, or hundredths of the perplexity.
    """

    name: str
    metric: str
    before: float
    after: float
    lost: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether no more is lost than may be."""
        return self.lost <= self.allowed


def measured(task: Task, threads: int | None = None) -> Row:
    """Score a task with the float model and with the quantized one."""
    with Session(task.source, threads=threads) as session:
        before = task.score(session)
    done = quantize(task.source, task.data, threads=threads, **task.options)
    with Session(done.model, threads=threads) as session:
        after = task.score(session)
    return Row(task.name, task.metric, before, after, before - after, task.allowed)


def decoder_row(threads: int | None = None) -> Row:
    """Compare weights of 4 bits with those of 8."""
    from .perplexity import decoder, perplexity

    model, tokens = decoder()

    def score(bits: int) -> float:
        done = quantize(model, mode="weights", bits=bits, threads=threads)
        with Session(done.model, threads=threads) as session:
            return perplexity(session, tokens)

    wide, narrow = score(8), score(4)
    growth = 100 * (narrow / wide - 1)
    return Row("SmolLM2-135M, 4 bits after 8", "perplexity", wide, narrow, growth, _GROWTH)


def rows(names: Sequence[str], threads: int | None = None) -> Iterator[Row | tuple[str, str]]:
    """Yield a row for each task, or its name and why there is none."""
    for name in names:
        try:
            yield decoder_row(threads) if name == _DECODER else measured(TASKS[name](), threads)
        except zoo.Unavailable as reason:
            yield name, str(reason)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each task when it is done; 1 if one loses more than it may."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = [*TASKS, _DECODER]
    parser.add_argument("tasks", nargs="*", default=known, help=", ".join(known))
    parser.add_argument("--threads", type=int)
    given = parser.parse_args(argv)
    for name in given.tasks:
        if name not in known:
            parser.error(f"no task {name!r}; there are {', '.join(known)}")
    failed = False
    console = text.console()
    for row in rows(given.tasks, given.threads):
        if not isinstance(row, Row):
            console.print(f"{row[0]} is left out: {row[1]}")
            continue
        failed |= not row.holds
        allowed = f" of {row.allowed:.2f}" if isfinite(row.allowed) else ""
        console.print(
            f"{row.name}, {row.metric}: {row.before:.2f}, quantized {row.after:.2f}, "
            f"lost {row.lost:.2f}{allowed}"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
