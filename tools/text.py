"""How the tools write quantities and tables: one way for each, so that all read alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def number(count: float) -> str:
    """Write a large number with a decimal prefix: ``25.6 M``."""
    for prefix in _PREFIXES:
        if count < 1000 or prefix == _PREFIXES[-1]:
            break
        count /= 1000
    return f"{count:.0f}" if not prefix else f"{count:.1f} {prefix}"


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


def table(title: str, *columns: str) -> Table:
    """Make an empty table; a column whose heading ends in a colon is aligned to the right.

    Columns on the right hold numbers and are never cut, those on the left give way.
    """
    from rich import box
    from rich.table import Table

    made = Table(
        show_header=any(column.strip(":") for column in columns),
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    made.caption_justify = "left"
    for column in columns:
        right = column.endswith(":")
        made.add_column(
            column.removesuffix(":"),
            justify="right" if right else "left",
            no_wrap=right,  # such columns keep their width as long as others can give way
            overflow="ellipsis",
        )
    return made
