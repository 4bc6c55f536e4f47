"""Sizes for which an exported program does not compute what its module does.

Where a module decides by a size (whether to pad, whether a batch has one element, where a slice
ends), PyTorch's tracing takes the branch of the examples, and keeps the decision as a condition of
the program, or not at all where it asks for sizes of 1. An ONNX model has no conditions. Often both
branches compute the same. So program and module are called with other sizes of every open
dimension, on both sides of each condition. What the module refuses is no evidence.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .call import Call, TensorAxis
from .comparison import close, run_purely, runs, unconditional, varied
from .results import tensors_of

Sizes = Mapping[Any, int]
"""Sizes of some of a program's symbols."""

_RUNS, _SECONDS = 40, 20.0
"""Limits of the calls of a module for other sizes."""
_GROWTH, _SMALL = 4, 2**18
"""Inputs may have this many times the elements of the examples, or this many in any case."""
_COUNTS = (1, 2, 3, 4, 5, 7, 8)
"""Sizes besides those near the example's and those that conditions name."""
_TRIES = 3


@dataclass(frozen=True)
class Findings:
    """What other sizes show of a program.

    Attributes
    ----------
    differing : dict
        The axes of each dimension for which the program computes something else than its module,
        with such a size.
    outputs : set of tuple
        (number of an output, axis) whose size is not what the program says.
    one_with : dict of str
        Symbols of dimensions that have to have the size of another one, with its symbol, or that of
        two others together, with their sum.
    beyond : bool
        Whether the module takes sizes that a condition of the program excludes.
    """

    differing: dict[tuple[TensorAxis, ...], int]
    outputs: Set[TensorAxis]
    one_with: dict[str, str]
    beyond: bool


class OpenSizes:
    """The open dimensions of an exported program.

    Attributes
    ----------
    call : Call
        What it was exported with.
    examples : dict
        Its symbols, with their sizes in that call.
    """

    def __init__(self, program: Any, call: Call) -> None:
        self.call = call
        self.examples: dict[Any, int] = {}
        self._dims: list[tuple[TensorAxis, Any]] = []
        self._guards: list[Any] = []
        for number, shape in enumerate(open_shapes(program)):
            for axis, size in enumerate(shape):
                if not isinstance(size, int):
                    self._dims.append(((number, axis), size.node.expr))
                    self._guards = [guard.expr for guard in size.node.shape_env.guards]
                    if size.node.expr.is_Symbol:
                        self.examples[size.node.expr] = call.tensors[number].shape[axis]

    def axes(self, symbol: Any) -> list[TensorAxis]:
        """Axes whose size is that of a symbol."""
        return [axis for axis, size in self._dims if size == symbol]

    def conditions(self) -> list[Any]:
        """Conditions on open dimensions that PyTorch noted for a program of this process."""
        known = set(self.examples)
        return [
            guard for guard in self._guards if guard.free_symbols and guard.free_symbols <= known
        ]

    def resized(self, sizes: Sizes) -> Call | None:
        """Return the call with other sizes; None if one of them is none, or too large."""
        all_sizes = {**self.examples, **sizes}
        axes = {}
        for axis, size in self._dims:
            with suppress(TypeError):  # a symbol that no input has alone
                axes[axis] = int(_evaluated(size, all_sizes))
        tensors = self.call.tensors
        count = sum(
            math.prod(axes.get((number, axis), size) for axis, size in enumerate(tensor.shape))
            for number, tensor in enumerate(tensors)
        )
        most = max(_SMALL, _GROWTH * sum(tensor.numel() for tensor in tensors))
        possible = min(axes.values(), default=1) > 0 and count <= most
        return self.call.resized(axes) if possible else None


def _evaluated(expression: Any, sizes: Sizes) -> Any:
    """Evaluate an expression for some sizes; None where it has no value for them."""
    with suppress(ZeroDivisionError, AssertionError):  # PyTorch's remainders of negative numbers
        return expression.xreplace(sizes)
    return None


def open_shapes(program: Any) -> list[Any]:
    """Shapes of the inputs of an exported program, with symbols for what is open."""
    inputs = set(program.graph_signature.user_inputs)
    return _shapes(
        node for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs
    )


def output_shapes(program: Any) -> list[Any]:
    """Shapes of the outputs of an exported program, in the same way."""
    nodes = {node.name: node for node in program.graph.nodes}
    names = [name for name in program.graph_signature.user_outputs if isinstance(name, str)]
    return _shapes(nodes[name] for name in names)


def _shapes(nodes: Iterable[Any]) -> list[Any]:
    values = [node.meta.get("val") for node in nodes]
    return [value.shape for value in values if hasattr(value, "shape")]


def try_sizes(
    module: Any, program: Any, call: Call, stated: Mapping[TensorAxis, tuple[int, float]]
) -> Findings:
    """Compare a program with its module for other sizes of its open dimensions.

    Parameters
    ----------
    module : torch.nn.Module
    program : torch.export.ExportedProgram
        What the module was exported as.
    call : Call
        What it was exported with.
    stated : mapping
        Smallest and largest size of axes for which the caller states them.
    """
    trial = _Trial(module, program, OpenSizes(program, call), stated)
    found = {tuple(trial.open.axes(symbol)): size for symbol, size in trial.run().items()}
    one_with = {str(symbol): str(first) for symbol, first in trial.one_with.items()}
    one_with |= {str(symbol): f"{a} + {b}" for symbol, (a, b) in trial.sums.items()}
    return Findings(found, trial.wrong_outputs, one_with, trial.goes_beyond())


class _Trial:
    def __init__(
        self, module: Any, program: Any, sizes: OpenSizes,
        stated: Mapping[TensorAxis, tuple[int, float]],
    ) -> None:  # fmt: skip
        self.module, self.open = module, sizes
        self.program = unconditional(program)
        self.outputs = output_shapes(program)
        self.ranges = {
            symbol: stated[axis]
            for symbol in sizes.examples
            for axis in sizes.axes(symbol)
            if axis in stated
        }
        self.verdicts: dict[tuple[tuple[Any, int], ...], bool | None] = {}
        self.found: dict[Any, int] = {}
        self.one_with: dict[Any, Any] = {}
        self.sums: dict[Any, tuple[Any, Any]] = {}
        self.wrong_outputs: set[TensorAxis] = set()
        self.end = time.monotonic() + _SECONDS

    def run(self) -> dict[Any, int]:
        """Return the symbols for which the results differ, with a size."""
        if not self.open.examples or self._agrees({}) is not True:
            return {}  # not a function of its inputs alone
        for sizes in self._near():
            if self._try(sizes) is None and len(sizes) > 1:
                for symbol, size in sizes.items():
                    self._try({symbol: size})
        for guard in self.open.conditions():
            for sizes in itertools.islice(self._against(guard), _TRIES):
                self._try(sizes)
        return self.found

    def goes_beyond(self) -> bool:
        """Whether the module takes sizes that a condition excludes."""
        taken = [dict(sizes) for sizes, verdict in self.verdicts.items() if verdict]
        guards = self.open.conditions()
        return any(self._violates(guard, sizes) for guard in guards for sizes in taken)

    def _near(self) -> Iterator[Sizes]:
        """Yield sizes of all symbols at once: one, larger and smaller, odd and even."""
        for grow in (
            lambda size: 1, lambda size: size + 1, lambda size: size // 2, lambda size: 2 * size,
            lambda size: size // 2 + 1, lambda size: 2 * size + 1,
        ):  # fmt: skip
            yield {s: grow(size) for s, size in self.open.examples.items() if grow(size) != size}

    def _against(self, guard: Any) -> Iterator[Sizes]:
        """Yield sizes for which a condition does not hold, those near the examples first."""
        examples = self.open.examples
        numbers = [int(number) for number in guard.atoms() if number.is_Integer]
        pool = {*_COUNTS, *examples.values()}
        pool |= {number + step for number in numbers for step in (-1, 0, 1)}
        for symbol in sorted(guard.free_symbols, key=str):
            example = examples[symbol]
            near = {example + 1, example - 1, 2 * example, 2 * example + 1, example // 2}
            for size in sorted(pool | near, key=lambda size: abs(size - example)):
                if size > 0 and self._violates(guard, {symbol: size}):
                    yield {symbol: size}

    def _violates(self, guard: Any, sizes: Sizes) -> bool:
        value = _evaluated(guard, {**self.open.examples, **sizes})
        return bool(value == False)  # noqa: E712

    def _try(self, sizes: Sizes) -> bool | None:
        """Compare for sizes, except of dimensions for which the results are known to differ.

        What makes results differ is sought to the end, however late it is: a dimension that is the
        sum of two others is not to be fixed because calls of a large module take long.
        """
        if time.monotonic() > self.end:
            return None
        groups = self._groups(sizes)
        together = {symbol: size for group in groups for symbol, size in group.items()}
        verdict = self._agrees(together)
        if verdict is False:
            for group in groups:
                if len(groups) == 1 or self._agrees(group) is False:
                    self._note(group)
            summed = {symbol for total, parts in self.sums.items() for symbol in (total, *parts)}
            if not together.keys() & (self.found.keys() | self.one_with.keys() | summed):
                first, *others = together  # it takes several; the batch stays open
                self.found.update({symbol: together[symbol] for symbol in others or [first]})
        return verdict

    def _groups(self, sizes: Sizes) -> list[dict[Any, int]]:
        """Part the dimensions that are open; those that are one have one size."""
        groups: dict[Any, dict[Any, int]] = {}
        for symbol, size in sizes.items():
            first = self.one_with.get(symbol, symbol)
            members = [s for s in self.open.examples if self.one_with.get(s, s) == first]
            if (
                first not in self.found
                and first not in self.sums
                and all(self._in_range(s, size) for s in members)
            ):
                groups.setdefault(first, dict.fromkeys(members, size))
        return list(groups.values())

    def _note(self, group: Mapping[Any, int]) -> None:
        """Note that the results differ, or that a dimension is one with others of its size."""
        first, size = next(iter(group.items()))
        example = self.open.examples[first]
        alike = [
            s for s, n in self.open.examples.items()
            if n == example and s not in group and s not in self.found
        ]  # fmt: skip
        for others in [*([other] for other in alike), alike] if alike else []:
            if self._agrees({**group, **dict.fromkeys(others, size)}):
                root = min([first, *others], key=list(self.open.examples).index)
                self.one_with.update(dict.fromkeys([*group, *others], root))
                return
        if not self._note_sum(first):
            self.found.update(group)

    def _note_sum(self, symbol: Any) -> bool:
        """Note that a dimension has to be two others together, such as past and new steps."""
        examples = self.open.examples
        free = [s for s in examples if s not in self.found and self.one_with.get(s, s) == s]
        for total, parts in itertools.product(free, itertools.combinations(free, 2)):
            related = symbol in (total, *parts) and total not in (*self.sums, *parts)
            if not related or examples[total] != sum(examples[part] for part in parts):
                continue
            longer = [{part: examples[part] + 1} for part in parts]
            if any(map(self._agrees, longer)):  # it takes that alone
                continue
            self.sums[total] = parts
            if all(map(self._agrees, longer)):
                return True
            del self.sums[total]
        return False

    def _in_range(self, symbol: Any, size: int) -> bool:
        least, most = self.ranges.get(symbol, (1, math.inf))
        return least <= size <= most

    def _agrees(self, sizes: Sizes) -> bool | None:
        """Whether program and module compute the same; None without evidence."""
        whole = {**self.open.examples, **sizes}
        sizes = {**sizes, **{s: whole[a] + whole[b] for s, (a, b) in self.sums.items()}}
        key = tuple(sorted(sizes.items(), key=str))
        if key not in self.verdicts:
            call = self.open.resized(sizes) if len(self.verdicts) < _RUNS else None
            if call is None:
                return None
            self.verdicts[key] = self._compare(sizes, varied(call))
        return self.verdicts[key]

    def _compare(self, sizes: Sizes, call: Call) -> bool | None:
        try:
            expected = run_purely(self.module, call)
        except Exception:  # whatever a module raises for sizes that it does not take
            return None
        try:
            if close(run_purely(self.program, call), expected):
                self._check_shapes(sizes, expected)
                return True
        except Exception:
            return False
        with suppress(Exception):
            return False if close(run_purely(self.module, call), expected) else None
        return None

    def _check_shapes(self, sizes: Sizes, results: Any) -> None:
        values = {**self.open.examples, **sizes}
        for number, (shape, tensor) in enumerate(
            zip(self.outputs, tensors_of(results), strict=False)
        ):
            for axis, (size, found) in enumerate(zip(shape, tensor.shape, strict=False)):
                stated = size if isinstance(size, int) else _evaluated(size.node.expr, values)
                if stated != found:
                    self.wrong_outputs.add((number, axis))


def refused(program: Any, call: Call) -> dict[tuple[TensorAxis, ...], int]:
    """Find dimensions of which a program refuses sizes that its model would take.

    Sizes beyond the range that its author stated for a dimension do not count, nor those that are
    far smaller than the examples: PyTorch notes many conditions that all but tiny sizes meet.

    Returns
    -------
    dict
        The axes of each such dimension, with a size that the program refuses.
    """
    sizes = OpenSizes(program, call)
    numbers = {int(n) for text in program._guards_code for n in re.findall(r"(?<!\w)\d+", text)}
    near = {number + step for number in numbers for step in (-1, 0, 1)}
    checked, plain = program.module(), unconditional(program)
    found: dict[tuple[TensorAxis, ...], int] = {}
    for symbol, example in sizes.examples.items():
        span = program.range_constraints.get(symbol)
        least, most = (span.lower, span.upper) if span is not None else (1, math.inf)
        others = {example + 1, example - 1, 2 * example, 2 * example + 1, *near}
        for size in sorted(
            others | set(sizes.examples.values()), key=lambda size: abs(size - example)
        ):
            stated = (size < least and least not in near) or (size > most and most not in near)
            other = sizes.resized({symbol: size}) if size > example // 2 and not stated else None
            if other is not None and runs(plain, other) and not runs(checked, other):
                found[tuple(sizes.axes(symbol))] = size
                break
    return found
