"""The report: a file with a section for each GPU, which is written anew whenever there is more."""

from __future__ import annotations

from pathlib import Path

from .run import Outcome
from .tasks import Row

_SECTION = "## Measured: "
_HEAD = """# Checks on GPUs

Written by `python -m sardonyx.tools.cuda_check`.
"""
_MOST_SHOWN = 40
_TEXT = 300


def write(path: Path, title: str, note: str, outcomes: dict[str, Outcome]) -> None:
    """Put the section of a GPU into the file, in the place of an older one; others stay."""
    text = path.read_text() if path.exists() else _HEAD
    head, *sections = text.split(f"\n{_SECTION}")
    kept = [each for each in sections if each.partition("\n")[0] != title]
    mine = "\n".join([title, "", note, "", *_lines(outcomes)]).rstrip() + "\n"
    joined = f"\n{_SECTION}".join([head.rstrip() + "\n", *kept, mine])
    new = path.with_suffix(".new")
    new.write_text(joined)
    new.replace(path)


def _lines(outcomes: dict[str, Outcome]) -> list[str]:
    lines = ["| part | right | failed | skipped | of | seconds |", "|---|---|---|---|---|---|"]
    for name, each in outcomes.items():
        total = "?" if each.total < 0 else str(each.total)
        cut = " (out of time)" if each.is_cut else ""
        counts = each.passed, len(each.failed), len(each.skipped)
        lines.append(
            f"| {name} | {' | '.join(map(str, counts))} | {total}{cut} | {each.seconds:.0f} |"
        )
    rows = [row for each in outcomes.values() for row in each.rows]
    for table in dict.fromkeys(row.table for row in rows):
        lines += ["", f"### {table}", "", *_table([row for row in rows if row.table == table])]
    for kind in ("failed", "skipped"):
        found = [
            f"- {task}: {' '.join(why.split())[:_TEXT]}"
            for each in outcomes.values()
            for task, why in getattr(each, kind).items()
        ]
        if found:
            verb = "has failed" if kind == "failed" else "was skipped"
            lines += ["", f"### What {verb}", "", *found[:_MOST_SHOWN]]
            if len(found) > _MOST_SHOWN:
                lines.append(f"- and {len(found) - _MOST_SHOWN} more")
    return lines


def _table(rows: list[Row]) -> list[str]:
    columns = list(dict.fromkeys(column for row in rows for column in row.values))
    merged: dict[str, dict[str, float | str]] = {}
    for row in rows:
        merged.setdefault(row.name, {}).update(row.values)
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, values in merged.items():
        cells = [_shown(values.get(column, "")) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
