"""Progress of long work, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from . import text

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


def shown(items: Iterable[T], title: str) -> Iterable[T]:
    """Show how far an iteration is, where somebody sees it."""
    if not sys.stderr.isatty():
        return items
    from rich.progress import track

    return track(items, title, console=text.console(stderr=True), transient=True)


@contextmanager
def status(title: str, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Show what is being done, where somebody sees it; the value changes the text.

    Parameters
    ----------
    title : str
    console : Console, optional
        What is printed there meanwhile stands above. Without one, nothing may be printed.
    """
    if not sys.stderr.isatty():
        yield lambda title: None
        return
    with (console or text.console(stderr=True)).status(title) as shown_status:
        yield shown_status.update
