"""Inputs of commands, and errors in one line, which say what inputs were random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from ..errors import SardonyxError
from . import text

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

error_console = text.console(stderr=True)
random_inputs: list[str] = []  # inputs of this command that are random, with their shapes


class Group(TyperGroup):
    """Turns an error of ours into one line and exit code 1, unless ``--debug`` is given."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        random_inputs.clear()
        try:
            return super().invoke(ctx)
        except (SardonyxError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            message = _escape(str(error))
            if random_inputs:
                random = ", ".join(random_inputs)
                message += f" (random inputs: {random}; give them with -i, their sizes with -d)"
            error_console.print(f"[bold red]error:[/bold red] {message}", soft_wrap=True)
            raise typer.Exit(1) from None


def _escape(message: str) -> str:
    from rich.markup import escape

    return escape(" ".join(message.split()))


def collect_feeds(
    model: ir.Model, files: Sequence[str], dims: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """Collect the inputs; an error that comes later will say which of them are random."""
    from .feeds import input_names, make_feeds, read_feeds

    names = input_names(model)
    arrays = read_feeds(files, names)
    feeds = make_feeds(model, arrays, dims, seed)
    random_inputs.extend(
        f"{name} {text.shape(feeds[name].shape)}" for name in names if name not in arrays
    )
    return feeds
