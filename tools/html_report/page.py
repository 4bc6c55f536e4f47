"""Page of a report: data, style and scripts in one HTML file that asks nobody for anything."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InvalidArgument
from .collect import FORMAT

_FOLDER = Path(__file__).parent
_SCRIPTS = ("elements", "colours", "canvas", "strip", "list", "sections", "comparison", "page")
_BEGIN, _END = '<script type="application/json" id="data">', "</script>"


def page(data: Mapping[str, Any]) -> str:
    """Return the page of a report, or of two that are compared.

    Parameters
    ----------
    data : mapping
        What `collect.collect` or `compared` returns.
    """
    text = (_FOLDER / "report.html").read_text(encoding="utf-8")
    scripts = [(_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    parts = {
        "/*style*/": (_FOLDER / "report.css").read_text(encoding="utf-8"),
        "/*data*/": _embedded(data),
        "/*script*/": "\n".join(scripts),
    }
    for mark, part in parts.items():
        before, _, after = text.partition(mark)
        text = before + part + after
    return text


def _embedded(data: Mapping[str, Any]) -> str:
    """Return JSON that no name in a model can end the element of."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("/*", "/\\u002a")


def data_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the data of a report's file.

    Raises
    ------
    InvalidArgument
        The file cannot be read, or is no report of this version.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} cannot be read as a report: {error}") from error
    _, begin, rest = text.partition(_BEGIN)
    try:
        data = json.loads(rest.partition(_END)[0]) if begin else None
    except ValueError as error:
        raise InvalidArgument(f"{path} holds no data of a report: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidArgument(f"{path} is no report of one model that this version has written")
    return data


def compared(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a page that compares two reports."""
    titles = [str(data["model"]["name"]) for data in (first, second)]
    if titles[0] == titles[1]:
        titles = [f"{title} ({number})" for title, number in zip(titles, ("1", "2"), strict=True)]
    pairs = zip((first, second), titles, strict=True)
    return {"compared": [{**data, "title": title} for data, title in pairs]}


def write(data: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the page of a report.

    Raises
    ------
    InvalidArgument
        The file cannot be written.
    """
    try:
        Path(path).write_text(page(data), encoding="utf-8")
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be written: {error.strerror}") from error
