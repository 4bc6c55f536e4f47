"""Report of a session as an object that shows itself in a notebook."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .page import page, write

if TYPE_CHECKING:
    import numpy as np

    from ...runtime.session import Session

_HEIGHT = 720
"""Pixels of the frame in a notebook."""


class HtmlReport:
    """A report; a notebook shows it, `save` writes it.

    Attributes
    ----------
    data : dict
        What it shows: see `collect.collect`.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page as one HTML file."""
        write(self.data, path)

    def _repr_html_(self) -> str:
        source = html.escape(page(self.data), quote=True)
        style = f"width:100%;height:{_HEIGHT}px;border:0"
        return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{source}"></iframe>'

    def __repr__(self) -> str:
        name, steps = self.data["model"]["name"], len(self.data["steps"])
        return f"<report of {name}: {steps} steps; save(path) writes it, a notebook shows it>"


def report(
    session: Session,
    feeds: Mapping[str, np.ndarray] | None = None,
    *,
    name: str = "model",
    runs: int = 20,
    with_reference: bool = True,
) -> HtmlReport:
    """Measure a session, and describe what it does, and how fast, as a page.

    Parameters
    ----------
    session : Session
    feeds : mapping of str to ndarray, optional
        Inputs; random ones of the declared sizes (1 where a size is open) by default.
    name : str
        Of the model.
    runs : int
        Timed runs.
    with_reference : bool
        Measure onnxruntime and OpenVINO, too, where they are installed.

    Returns
    -------
    HtmlReport
    """
    from ...importers import load
    from ..feeds import make_feeds
    from .collect import collect

    model = load(session.source)
    given = make_feeds(model, dict(feeds or {}), [], 0)
    return HtmlReport(
        collect(model, session, given, name=name, runs=runs, with_reference=with_reference)
    )
