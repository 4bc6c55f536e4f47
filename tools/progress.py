"""Progress of long work, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from . import text

T = TypeVar("T")


def shown(items: Iterable[T], title: str) -> Iterable[T]:
    """Show how far an iteration is, where somebody sees it."""
    if not sys.stderr.isatty():
        return items
    from rich.progress import track

    return track(items, title, console=text.console(stderr=True), transient=True)
