"""Borders between layers of different precisions: how long layers take beside such neighbours.

Steps lie there that quantize, widen or round tensors, kernels that join layers of one precision
cannot, and such a step counts for the layer before it, whichever of both needs it: what one takes
longer another may save. Borders are measured in mixes of two precisions in which neighbours differ,
and a mix is improved by what it saves when some layers side by side become like those around them.
"""

from __future__ import annotations

import itertools
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .mixes import FLOAT, Option

if TYPE_CHECKING:
    import onnx_ir as ir

Mix: TypeAlias = Mapping[str, str]
"""Precisions by layer; what is missing is float32."""

_WIDTH = 4
"""Layers side by side that change together."""
_WORTH = 0.997
"""Times of whole runs are not known more exactly."""


class Cost(NamedTuple):
    """Time that a layer takes longer, below zero shorter, where so many neighbours differ."""

    ns: float
    differing: int


@dataclass(frozen=True)
class Borders:
    """Times that layers take longer, or below zero shorter, where neighbours differ.

    Attributes
    ----------
    neighbours : dict of str to list of str
        Of each layer, as `both_ways` finds them.
    homes : dict of str to mapping of str to str
        By precision, the mix in which the times of layers of this precision were measured: all
        layers that can have it.
    costs : dict of (str, str, str) to Cost
        By the layer, its precision, and that of neighbours that are not as in this mix. Where half
        as many differ it is half of it; where more do, or some of each kind, it is between what
        was measured, never beyond.
    known : dict of (str, str, tuple of str) to float
        Nanoseconds by the layer, its precision, and those of its neighbours, where such a mix was
        measured.
    """

    neighbours: Mapping[str, Sequence[str]]
    homes: Mapping[str, Mix]
    costs: Mapping[tuple[str, str, str], Cost]
    known: Mapping[tuple[str, str, tuple[str, ...]], float] = field(default_factory=dict)

    def ns(self, mix: Mix, layers: Iterable[str] | None = None) -> float:
        """Time of the borders of a mix, of all layers or of some."""
        some = self.neighbours if layers is None else layers
        return sum(self._of(layer, mix) for layer in some)

    def _of(self, layer: str, mix: Mix) -> float:
        found = self.known.get(self.key(layer, mix))
        if found is not None:
            return found
        own = mix.get(layer, FLOAT)
        keys = [(layer, own, each) for each in self.differing(layer, mix)]
        parts = [self.costs[key] for key in keys if key in self.costs]
        weight = sum(1 / each.differing for each in parts)
        return sum(each.ns / each.differing for each in parts) / max(weight, 1.0)

    def key(self, layer: str, mix: Mix) -> tuple[str, str, tuple[str, ...]]:
        """Return a layer with its precision and those of its neighbours."""
        around = tuple(mix.get(each, FLOAT) for each in self.neighbours[layer])
        return layer, mix.get(layer, FLOAT), around

    def differing(self, layer: str, mix: Mix) -> list[str]:
        """Precisions of the neighbours that differ from those the layer was measured beside."""
        home = self.homes[mix.get(layer, FLOAT)]
        found = [(mix.get(n, FLOAT), home.get(n, FLOAT)) for n in self.neighbours[layer]]
        return [each for each, usual in found if each != usual]

    def around(self, layers: Iterable[str]) -> list[str]:
        """Layers, and their neighbours, by name."""
        return sorted({each for layer in layers for each in (layer, *self.neighbours[layer])})


def measured(
    layers: Mapping[str, ir.Node],
    homes: Mapping[str, Mix],
    times: Mapping[str, Mapping[str, float]],
    layer_times: Callable[[Mix], Mapping[str, float]],
) -> Borders:
    """Measure borders in the mixes of two precisions that alternate along the data flow.

    Parameters
    ----------
    layers : mapping of str to ir.Node
        In the order of the graph.
    homes : mapping of str to mapping of str to str
        As `Borders` has them.
    times : mapping of str to mapping of str to float
        Times of layers in these mixes.
    layer_times : callable
        Times of layers in a mix; steps behind a layer count for it.
    """
    readers = readers_of(layers)
    depths = _depths(readers)
    costs: dict[tuple[str, str, str], Cost] = {}
    between = Borders(both_ways(readers), homes, costs)
    # Layers without bfloat16 are float32 in its mixes: what these cost is to be known before.
    for pair in sorted(itertools.combinations(homes, 2), key=lambda pair: FLOAT not in pair):
        for first, second in (pair, pair[::-1]):
            usual = {layer: (first, second)[depth % 2] for layer, depth in depths.items()}
            mix = {layer: homes[each].get(layer, FLOAT) for layer, each in usual.items()}
            found = layer_times(mix)
            for layer, own in mix.items():
                extra = found[layer] - times[own][layer]
                _add_costs(between, costs, layer, mix, extra)
    return between


def _add_costs(
    between: Borders, costs: dict[tuple[str, str, str], Cost], layer: str, mix: Mix, extra: float
) -> None:
    """Note what a layer takes longer in a mix, beside neighbours whose costs are not known yet."""
    own, others = mix[layer], between.differing(layer, mix)
    new = [each for each in others if (layer, own, each) not in costs]
    known = [costs[layer, own, each] for each in others if each not in new]
    extra -= sum(each.ns / each.differing for each in known)
    costs.update({(layer, own, each): Cost(extra, len(new)) for each in new})


def _depths(readers: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Most layers before each one along the data flow; readers follow what they read."""
    depths: dict[str, int] = {}
    for layer, some in readers.items():
        depth = depths.setdefault(layer, 0)
        for each in some:
            depths[each] = max(depths.get(each, 0), depth + 1)
    return depths


def corrected(
    between: Borders, mix: Mix, options: Mapping[str, Sequence[Option]],
    times: Mapping[str, float],
) -> Borders:  # fmt: skip
    """Return borders that give the measured times of a mix's layers, where neighbours differ."""
    found = {
        between.key(layer, mix): times[layer] - _option(row, mix.get(layer, FLOAT)).ns
        for layer, row in options.items()
        if between.differing(layer, mix)
    }
    return replace(between, known={**between.known, **found})


def both_ways(readers: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Layers next to each layer, by name: that read it, that it reads, and that these read, too.

    What two layers make meets in what is no layer before a third reads it: a sum, a product with
    the factors of channels.
    """
    read: dict[str, list[str]] = {layer: [] for layer in readers}
    for layer, some in readers.items():
        for each in some:
            read[each].append(layer)
    found = {layer: {*some, *read[layer]} for layer, some in readers.items()}
    for layers in read.values():
        for layer in layers:
            found[layer].update(each for each in layers if each != layer)
    return {layer: sorted(some) for layer, some in found.items()}


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


def total_ns(precisions: Mix, options: Mapping[str, Sequence[Option]], borders: Borders) -> float:
    """Time of all layers of a mix, with its borders."""
    chosen = (_option(row, precisions.get(layer, FLOAT)) for layer, row in options.items())
    return sum(each.ns for each in chosen) + borders.ns(precisions)


def improved(
    precisions: Mix, options: Mapping[str, Sequence[Option]], borders: Borders
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
