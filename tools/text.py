"""Quantities and tables as text: one way to write each, so that all tools read alike."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_PREFIXES = ("", "k", "M", "G", "T")


def duration(ns: float) -> str:
    """Write a time given in nanoseconds, with the unit that keeps it short."""
    for limit, factor, unit in ((1e3, 1, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if ns < limit:
            return f"{ns / factor:.3g} {unit}"
    return f"{ns / 1e9:.3g} s"


def milliseconds(ns: float | None) -> str:
    """Write a time given in nanoseconds as a number of milliseconds; a dash for none."""
    return "–" if ns is None else f"{ns / 1e6:.{4 if ns < 1e6 else 3}f}"


def size(count: float) -> str:
    """Write a number of bytes with a binary prefix."""
    for prefix in _PREFIXES:
        if count < 1024 or prefix == _PREFIXES[-1]:
            break
        count /= 1024
    return f"{count:.0f} B" if not prefix else f"{count:.1f} {prefix.upper()}iB"


def number(count: float, unit: str = "") -> str:
    """Write a large number with a decimal prefix: ``25.6 M``, ``8.2 GFLOP``."""
    for prefix in _PREFIXES:
        if count < 1000 or prefix == _PREFIXES[-1]:
            break
        count /= 1000
    return (f"{count:.1f}" if prefix else f"{count:.0f}") + f" {prefix}{unit}".rstrip()


def tail(name: str, width: int) -> str:
    """Shorten a name from the left: of a path, the end tells more."""
    return name if len(name) <= width else f"…{name[1 - width :]}"


def error(value: float | None) -> str:
    """Write an error: two digits, a dash for none, 0 exactly when it is zero."""
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:.1e}"


def percent(share: float | None) -> str:
    """Write a share of 1 as a percentage; a dash for none."""
    return "–" if share is None else f"{100 * share:.1f} %"


def shape(dims: Iterable[object] | None) -> str:
    """Write a shape as ``1×3×224×224``; unknown sizes as ``?``, no dimensions as ``scalar``."""
    if dims is None:
        return "any shape"
    parts = ["?" if dim is None else str(dim) for dim in dims]
    return "×".join(parts) or "scalar"


_PIPE_WIDTH = 200
_PIPE_HEIGHT = 25
"""Nothing depends on it, but rich takes a width alone for none where ``TERM`` is ``dumb``."""
_LEAST_WIDTH = 8


def console(*, stderr: bool = False) -> Console:
    """Make a console; files and pipes, which have no width, get a wide one."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty() or "COLUMNS" in os.environ:
        return Console(stderr=stderr)
    return Console(stderr=stderr, width=_PIPE_WIDTH, height=_PIPE_HEIGHT)


def show(console: Console, *parts: RenderableType) -> None:
    """Print tables; without blanks at the ends of lines where nobody sees them."""
    for part in parts:
        if console.is_terminal:
            console.print(part)
            continue
        with console.capture() as captured:
            console.print(part)
        lines = (line.rstrip() for line in captured.get().rstrip().splitlines())
        console.print("\n".join(lines) + "\n", soft_wrap=True, markup=False, highlight=False)


def table(title: str, *columns: str) -> Table:
    """Make an empty table; a column whose heading ends in a colon is aligned to the right.

    Columns on the right hold numbers and are never cut, those on the left give way.
    """
    from rich import box
    from rich.table import Table

    empty = Table(
        show_header=any(column.strip(":") for column in columns),
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    empty.caption_justify = "left"
    for column in columns:
        right = column.endswith(":")
        empty.add_column(
            column.removesuffix(":"),
            justify="right" if right else "left",
            no_wrap=right,  # such columns keep their width as long as others can give way
            overflow="ellipsis",
            min_width=None if right else min(len(column), _LEAST_WIDTH),
        )
    return empty


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """Write a table of Markdown, of which all but the first ``left`` columns align right."""
    rule = "---|" * left + "---:|" * (len(heads) - left)
    lines = [" | ".join(row) for row in (heads, *rows)]
    return "\n".join([f"| {lines[0]} |", f"|{rule}", *(f"| {line} |" for line in lines[1:]), ""])


def pace(clock: Sequence[float]) -> str:
    """Say how fast tokens came: seconds before and after a model was opened, and after each."""
    words = [f"opened in {clock[1] - clock[0]:.1f} s"]
    if len(clock) > 2:
        words.append(f"first token after {clock[2] - clock[1]:.2f} s")
    if len(clock) > 3:
        rate = (len(clock) - 3) / (clock[-1] - clock[2])
        words.append(f"{len(clock) - 2} tokens, {rate:.1f} a second")
    return ", ".join(words)
