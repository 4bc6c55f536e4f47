"""Borders between layers of integers and of floats: steps that quantize, or widen, tensors.

They are measured in two mixes in which neighbours differ, and a mix is improved by what it saves
when some layers side by side, which cost two borders, become like those around them.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .mixes import FLOAT, Option

if TYPE_CHECKING:
    import onnx_ir as ir

INTEGERS = "int8"
_WIDTH = 4
"""Layers side by side that change together."""
_WORTH = 0.997
"""Times of whole runs are not known more exactly."""


@dataclass(frozen=True)
class Borders:
    """Times that layers take longer where a neighbour differs: steps behind them, other kernels.

    Attributes
    ----------
    neighbours : dict of str to set of str
        Layers that read what each layer makes, or make what it reads, through what is no layer.
    widening, rounding : dict of str to float
        Nanoseconds, by the layer: it is of integers, and a neighbour is not; or the other way.
    """

    neighbours: Mapping[str, Collection[str]]
    widening: Mapping[str, float]
    rounding: Mapping[str, float]

    def ns(self, precisions: Mapping[str, str], layers: Iterable[str] | None = None) -> float:
        """Time of the borders of a mix, of all layers or of some."""
        return sum(
            (self.widening if precisions.get(layer) == INTEGERS else self.rounding)[layer]
            for layer in self.differing(precisions, layers)
        )

    def differing(
        self, precisions: Mapping[str, str], layers: Iterable[str] | None = None
    ) -> Iterator[str]:
        """Yield the layers of a mix, all or of some, of which a neighbour differs."""
        for layer in self.neighbours if layers is None else layers:
            own = precisions.get(layer) == INTEGERS
            if any((precisions.get(each) == INTEGERS) != own for each in self.neighbours[layer]):
                yield layer

    def around(self, layers: Iterable[str]) -> list[str]:
        """Layers, and their neighbours, by name."""
        return sorted({each for layer in layers for each in (layer, *self.neighbours[layer])})


def measured(
    layers: Mapping[str, ir.Node],
    whole: Mapping[str, float],
    floats: Mapping[str, float],
    layer_times: Callable[[list[str]], Mapping[str, float]],
) -> Borders:
    """Measure borders in the mixes of every second layer along the data flow.

    Parameters
    ----------
    layers : mapping of str to ir.Node
        In the order of the graph.
    whole, floats : mapping of str to float
        Times of layers where all are of integers, and none.
    layer_times : callable
        Times of layers where some are of integers; steps behind a layer count for it.
    """
    readers = readers_of(layers)
    depths: dict[str, int] = {}
    for layer in layers:
        depth = depths.setdefault(layer, 0)
        for each in readers[layer]:
            depths[each] = max(depths.get(each, 0), depth + 1)
    widening: dict[str, float] = {}
    rounding: dict[str, float] = {}
    for parity in (0, 1):
        integers = [layer for layer in layers if depths[layer] % 2 == parity]
        times = layer_times(integers)
        for layer in layers:
            known, own = (whole, widening) if layer in integers else (floats, rounding)
            own[layer] = max(times[layer] - known[layer], 0.0)
    return Borders(both_ways(readers), widening, rounding)


def corrected(
    between: Borders, precisions: Mapping[str, str], options: Mapping[str, Sequence[Option]],
    times: Mapping[str, float],
) -> Borders:  # fmt: skip
    """Return borders that give the measured times of a mix's layers, where neighbours differ."""
    widening, rounding = dict(between.widening), dict(between.rounding)
    for layer in between.differing(precisions):
        precision = precisions.get(layer, FLOAT)
        own = widening if precision == INTEGERS else rounding
        own[layer] = max(times[layer] - _option(options[layer], precision).ns, 0.0)
    return Borders(between.neighbours, widening, rounding)


def both_ways(readers: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Layers next to each layer, of those that read it."""
    found = {layer: set(some) for layer, some in readers.items()}
    for layer, some in readers.items():
        for each in some:
            found[each].add(layer)
    return found


def readers_of(layers: Mapping[str, ir.Node]) -> dict[str, list[str]]:
    """Layers that read what each layer makes, through what is no layer."""
    names = {node: layer for layer, node in layers.items()}
    return {layer: list(dict.fromkeys(_readers(node, names))) for layer, node in layers.items()}


def _readers(node: ir.Node, names: Mapping[ir.Node, str]) -> Iterator[str]:
    left, seen = list(node.outputs), set(node.outputs)
    while left:
        for reader in left.pop().consumers():
            if reader in names:
                yield names[reader]
                continue
            new = [value for value in reader.outputs if value not in seen]
            seen.update(new)
            left += new


def total_ns(
    precisions: Mapping[str, str], options: Mapping[str, Sequence[Option]], borders: Borders
) -> float:
    """Time of all layers of a mix, with its borders."""
    chosen = (_option(row, precisions.get(layer, FLOAT)) for layer, row in options.items())
    return sum(each.ns for each in chosen) + borders.ns(precisions)


def improved(
    precisions: Mapping[str, str], options: Mapping[str, Sequence[Option]], borders: Borders
) -> dict[str, str]:
    """Change up to four layers side by side at a time, as long as that saves time.

    The result has no more noise than the given mix, and no more time with its borders. A change is
    weighed by the layers that it is about, and the borders around them.
    """
    layers, best = list(options), dict(precisions)
    least, spare, changes = total_ns(best, options, borders), 0.0, True
    while changes:
        changes = False
        for width in range(1, _WIDTH + 1):
            for start in range(len(layers) - width + 1):
                some = layers[start : start + width]
                for precision in {each.precision for layer in some for each in options[layer]}:
                    if not _have(some, precision, options):
                        continue
                    change = dict.fromkeys(some, precision)
                    ns, noise = _added(best, change, options, borders)
                    if ns < (_WORTH - 1) * least and noise <= spare:
                        best |= change
                        least, spare, changes = least + ns, spare - noise, True
    return {layer: each for layer, each in best.items() if each != FLOAT}


def _added(
    mix: dict[str, str], change: dict[str, str], options: Mapping[str, Sequence[Option]],
    borders: Borders,
) -> tuple[float, float]:  # fmt: skip
    """Time and noise that a change adds to a mix; below zero where it saves some."""
    changed, near = ChainMap(change, mix), borders.around(change)
    ns, noise = borders.ns(changed, near) - borders.ns(mix, near), 0.0
    for layer, precision in change.items():
        new = _option(options[layer], precision)
        old = _option(options[layer], mix.get(layer, FLOAT))
        ns, noise = ns + new.ns - old.ns, noise + new.noise - old.noise
    return ns, noise


def _have(layers: Sequence[str], precision: str, options: Mapping[str, Sequence[Option]]) -> bool:
    return all(any(each.precision == precision for each in options[layer]) for layer in layers)


def _option(row: Sequence[Option], precision: str) -> Option:
    return next(each for each in row if each.precision == precision)
