"""Check of the cost model: the forms it chooses against the fastest, in networks as they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..runtime.options import checked_options
from ..runtime.tuning import Layer, compare_forms
from . import text, zoo

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NETWORKS = zoo.BUILT
"""Those of the literature that need no download: 229 layers with a choice."""
_SHOWN = 10
_LEAST_NS = 2000.0
"""Layers that take less are not named: clocks and neighbours move their times by a tenth."""


def check_choices(
    networks: Sequence[str],
    threads: int,
    console: Console,
    progress: Callable[[str], None] = lambda _: None,
) -> float:
    """Measure every form of networks' layers, and print how far the cost model's are from the best.

    The largest ratio, and the layers that are named, are of those that take 2 microseconds or more.

    Parameters
    ----------
    networks : sequence of str
        Files, or names of the zoo.
    threads : int
    console : Console
    progress : callable
        Is told what is measured.

    Returns
    -------
    float
        Time of all layers in the cost model's forms, over that in the fastest.
    """
    layers: list[tuple[str, Layer]] = []
    table = text.table(
        f"choices by cost, {threads} thread(s)", "network", "layers:", "by cost, ms:",
        "fastest, ms:", "ratio:", "largest:",
    )  # fmt: skip
    for name in networks:
        rng = np.random.default_rng(0)
        sizes = zoo.inputs(name, rng) if name in zoo.names() else {}
        count, options = checked_options(threads, "fp32", "all")

        def tell(what: str, name: str = name) -> None:
            progress(f"{name}: {what}")

        found = compare_forms(zoo.resolve(name), options, count, sizes, tell)
        layers += [(name, each) for each in found]
        _add_row(table, name, found)
    _add_row(table, "all", [each for _, each in layers])
    worst = text.table("layers that another form computes faster", "network", "layer", "output",
                       "by cost", "us:", "fastest", "us:", "ratio:")  # fmt: skip
    named = [(name, each) for name, each in layers if _is_named(each)]
    for name, each in sorted(named, key=lambda pair: -pair[1].ratio)[:_SHOWN]:
        if each.form != each.cost_form:
            worst.add_row(
                name, each.name, text.shape(each.shape), each.cost_form,
                f"{each.cost_ns / 1e3:.1f}", each.form, f"{each.ns / 1e3:.1f}",
                f"{each.ratio:.3f}",
            )  # fmt: skip
    text.show(console, table, worst)
    return _ratio([each for _, each in layers])


def _add_row(table: Table, name: str, layers: Sequence[Layer]) -> None:
    before = sum(each.cost_ns for each in layers) / 1e6
    after = sum(each.ns for each in layers) / 1e6
    largest = max((each.ratio for each in layers if _is_named(each)), default=1.0)
    table.add_row(
        name, str(len(layers)), f"{before:.3f}", f"{after:.3f}", f"{_ratio(layers):.3f}",
        f"{largest:.2f}",
    )  # fmt: skip


def _is_named(layer: Layer) -> bool:
    return layer.cost_ns >= _LEAST_NS


def _ratio(layers: Sequence[Layer]) -> float:
    return sum(each.cost_ns for each in layers) / max(sum(each.ns for each in layers), 1.0)
