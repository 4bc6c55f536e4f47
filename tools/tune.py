"""Tuning on the command line: sizes from its arguments, and the result as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.options import checked_options
from ..runtime.tuning import Tuning, is_kept, tuned
from . import text

if TYPE_CHECKING:
    from rich.console import Console

_NAME_WIDTH = 32


def tune_model(
    source: Any,
    inputs: Sequence[str],
    dims: Sequence[str],
    again: bool,
    progress: Callable[[str], None],
    **settings: Any,
) -> Tuning:
    """Tune a model.

    Parameters
    ----------
    source
        Anything ``sardonyx.load`` takes.
    inputs, dims : sequence of str
        Files and sizes as other commands take them (``feeds.read_feeds``, ``feeds.parse_dims``).
    again : bool
        Measure again although the cache has an answer.
    progress : callable
        Is told what is measured.
    **settings
        ``threads``, ``precision`` and ``optimize`` of a session.

    Raises
    ------
    InvalidArgument
        An input or size is missing, unknown, or does not fit.
    """
    from .feeds import given_arrays, parse_dims

    sizes = parse_dims(dims)
    if inputs:
        from ..importers import load

        sizes |= given_arrays(load(source), inputs)
    threads, options = checked_options(**settings)
    return tuned(source, options, threads, sizes, again, progress)


def print_tuning(tuning: Tuning, source: str, console: Console) -> None:
    """Print the layers, what was measured, and the whole run before and after."""
    name = Path(source).name
    shapes = ", ".join(f"{key} {text.shape(shape)}" for key, shape in tuning.shapes.items())
    changed = len(tuning.choices)
    table = text.table(
        f"{name}: {changed} of {len(tuning.layers)} layers have another form; "
        f"{tuning.threads} thread(s), {shapes}",
        "layer", "operators", "output", "by cost", "ms:", "fastest", "ms:", "ratio:",
    )  # fmt: skip
    for each in tuning.layers:
        other = each.form != each.cost_form
        table.add_row(
            text.tail(each.name, _NAME_WIDTH),
            each.op_type,
            text.shape(each.shape),
            each.cost_form,
            text.milliseconds(each.cost_ns),
            each.form if other else "",
            text.milliseconds(each.ns) if other else "",
            f"{each.ns / each.cost_ns:.2f}" if other and each.cost_ns else "",
        )
    totals = text.table("Totals", "", ":")
    totals.add_row("whole run, forms by cost", text.duration(tuning.before_ns))
    totals.add_row("whole run, fastest forms", text.duration(tuning.after_ns))
    ratio = f"{tuning.after_ns / tuning.before_ns:.3f}" if tuning.before_ns else "–"
    totals.add_row("ratio", ratio)
    totals.add_row("difference of the outputs, relative", text.error(tuning.error))
    text.show(console, table, totals)
    if tuning.note:
        console.print(f"the forms by cost stay: {tuning.note}", highlight=False)
    console.print(
        "kept on disk for sessions with the same tune=, threads, precision and optimize"
        if is_kept(source)
        else "not kept: there is no cache, or the model is neither bytes nor an .onnx file",
        highlight=False,
        soft_wrap=True,
    )
