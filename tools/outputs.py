"""Outputs of a run as tables: their ranges, and how they compare with those expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import text

if TYPE_CHECKING:
    from rich.table import Table

    from ..difference import Difference


def differences(compared: Iterable[Difference]) -> Table:
    """Lay out how outputs compare with what was expected: errors, and whether they agree."""
    rows = text.table("", "output", "max abs error:", "max rel error:", "")
    for each in compared:
        verdict = "[green]agrees[/green]" if each.agrees else f"[red]differs[/red]: {each.reason}"
        rows.add_row(each.name, text.error(each.max_abs), text.error(each.max_rel), verdict)
    return rows


def statistics(results: Mapping[str, Any]) -> Table:
    """Lay out type, shape and range of the outputs of a run."""
    rows = text.table("", "output", "type", "shape", "least:", "mean:", "largest:")
    for name, value in results.items():
        rows.add_row(name, *_statistics(value))
    return rows


def _statistics(value: Any) -> tuple[str, ...]:
    if not isinstance(value, np.ndarray):
        return (type(value).__name__, "", "", "", "")
    start = (str(value.dtype), text.shape(value.shape))
    if value.dtype.kind not in "fiub" or not value.size:
        return (*start, "", "", "")
    return (*start, *(f"{float(f(value)):.6g}" for f in (np.min, np.mean, np.max)))
