"""Progress of long work, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from . import text

T = TypeVar("T")


def shown(items: Iterable[T], title: str) -> Iterable[T]:
    """Show how far an iteration is, where somebody sees it."""
    if not sys.stderr.isatty():
        return items
    from rich.progress import track

    return track(items, title, console=text.console(stderr=True), transient=True)


@contextmanager
def status(title: str) -> Iterator[Callable[[str], None]]:
    """Show what is being done, where somebody sees it; the value changes the text."""
    if not sys.stderr.isatty():
        yield lambda title: None
        return
    with text.console(stderr=True).status(title) as shown_status:
        yield shown_status.update
