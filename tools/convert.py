"""Conversion of a model of any framework, checked against the framework."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..difference import Difference, difference
from ..errors import SardonyxError, reason
from ..importers.notes import LABELS, Notes
from . import outputs, reference, text

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.console import Console

    from ..runtime.session import Session

TOLERANCE = 1e-4
"""An output may differ by this part of its largest value."""
_ROUNDINGS = 8
"""Where a source computes in a narrower type than float32, by so many of its roundings."""
_BATCH, _OTHERS = 2, 64
"""Sizes of open dimensions of random inputs: of first axes, and of those after it."""
_GROWTH, _SMALL, _SECONDS = 4, 2**18, 20.0
"""Limits of runs with other sizes: times the elements of the first, elements, and time of all."""


@dataclass
class Conversion:
    """A converted model, and how it compares with its source.

    Attributes
    ----------
    model : onnx_ir.Model
    framework : str
        Framework of the source, which the result was compared with; onnxruntime for ONNX.
    opset : int
        Of the standard domain.
    operators : dict of str to int
        Number of nodes of each operator, in descending order.
    dropped : list of str
        Parts of the source that only have an effect in training.
    preprocessing : list of str
        Operations on the inputs that prepare them, such as a division by 255.
    labels : list of str
        Names of its classes.
    shapes : dict of str to tuple of int
        Of the inputs that it was checked with.
    others : list of dict
        Shapes of further runs, with other sizes of the dimensions that the model leaves open; those
        that the source refuses are left out.
    outputs : list of Difference
        Of each output of the model, run by sardonyx, from that of the source: the largest.
    tolerance : float
        Part of its largest value by which an output may differ.
    unchecked : str
        Why there is no comparison; empty when there is.
    """

    model: ir.Model
    framework: str
    opset: int
    operators: dict[str, int]
    dropped: list[str]
    preprocessing: list[str]
    labels: list[str]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    others: list[dict[str, tuple[int, ...]]] = field(default_factory=list)
    outputs: list[Difference] = field(default_factory=list)
    tolerance: float = TOLERANCE
    unchecked: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the outputs were compared, and all lie within the tolerance."""
        return not self.unchecked and all(each.agrees for each in self.outputs)


def convert(
    source: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    feeds: Mapping[str, Any] | None = None,
    dims: Iterable[str] = (),
    seed: int = 0,
    check: bool = True,
    labels: Sequence[str] = (),
    target_opset: int | None = None,
    **options: Any,
) -> Conversion:
    """Convert a model, check it against the framework that it comes from, and save it.

    Parameters
    ----------
    source
        Anything `sardonyx.load` takes.
    path : path, optional
        The ONNX file to write.
    feeds : mapping of str to ndarray, optional
        Inputs to compare on, by the model's names. Those not given are the examples that a PyTorch
        module was traced with; else they are random.
    dims : iterable of str
        Sizes for random inputs, ``input=1,3,224,224`` or ``dimension=4``. Others that the model
        leaves open are 2 for the first axis and 64 for the rest.
    seed : int
        Of random inputs.
    check : bool
        Whether to run both, on these inputs and with other sizes of the open dimensions.
    labels : sequence of str
        Names of the classes, for ``metadata_props["labels"]``, where the source has none.
    target_opset : int, optional
        As `sardonyx.save` takes it.
    **options
        Of `sardonyx.load`.

    Returns
    -------
    Conversion
        The model is saved also where it does not agree.

    Raises
    ------
    SardonyxError
        As `sardonyx.load` and `sardonyx.save` raise them.
    """
    from ..importers import load, save
    from ..importers.preprocessing import preprocessing

    notes = Notes()
    model = load(source, notes=notes, **options)
    notes.labels = notes.labels or list(labels)
    notes.write(model)
    if path is not None:
        save(model, path, target_opset=target_opset)
    counts = Counter(node.op_type for node in model.graph.all_nodes())
    conversion = Conversion(
        model,
        notes.framework,
        target_opset or model.graph.opset_imports.get("", 0),
        dict(counts.most_common()),
        notes.dropped,
        preprocessing(model),
        notes.labels,
    )
    if check:
        _check(conversion, notes, feeds or {}, dims, seed)
    else:
        conversion.unchecked = "the check was turned off"
    return conversion


def _check(
    conversion: Conversion, notes: Notes, arrays: Mapping[str, Any], dims: Iterable[str], seed: int
) -> None:
    """Fill in how the outputs compare."""
    from ..runtime.session import Session

    if notes.run is None and notes.framework:
        conversion.unchecked = f"{notes.framework} takes other inputs than the model"
        return
    if notes.run is None and not reference.is_available():
        conversion.unchecked = "onnxruntime is not installed"
        return
    feeds = _feeds(conversion.model, {**notes.examples, **arrays}, dims, seed)
    conversion.shapes = {name: np.shape(value) for name, value in feeds.items()}
    try:
        expected = _expected(conversion, notes, feeds)
    except Exception as error:  # every framework has exceptions of its own
        conversion.unchecked = (
            f"{conversion.framework} cannot run with these inputs: {reason(error)}"
        )
        return
    names = [str(value.name) for value in conversion.model.graph.outputs]
    if len(expected) != len(names):
        conversion.unchecked = (
            f"{conversion.framework} gives {len(expected)} outputs, not {len(names)}"
        )
        return
    try:
        conversion.tolerance = max(TOLERANCE, _ROUNDINGS * notes.precision)
        with Session(conversion.model) as session:
            conversion.outputs = _differences(conversion, session, names, feeds, expected)
            _check_other_sizes(conversion, notes, session, feeds)
    except SardonyxError as error:
        conversion.unchecked = f"sardonyx cannot run the model: {error}"


def _check_other_sizes(
    conversion: Conversion, notes: Notes, session: Session, feeds: Mapping[str, np.ndarray]
) -> None:
    """Compare for other sizes of the open dimensions, too; what the source refuses says nothing."""
    names = [each.name for each in conversion.outputs]
    end = time.monotonic() + _SECONDS
    for other in _resized(conversion.model, feeds):
        if time.monotonic() > end:
            return
        try:
            expected = _expected(conversion, notes, other)
        except Exception:  # every framework has exceptions of its own
            continue
        found = _differences(conversion, session, names, other, expected)
        conversion.others.append({name: np.shape(value) for name, value in other.items()})
        pairs = zip(conversion.outputs, found, strict=True)
        conversion.outputs = [max(pair, key=lambda d: (not d.agrees, d.max_abs)) for pair in pairs]


def _resized(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yield inputs with other sizes of all open dimensions: one, larger, smaller, odd, even."""
    dims = {
        (str(value.name), axis): dim.value
        for value in model.graph.inputs
        for axis, dim in enumerate(value.shape or ())
        if not isinstance(dim, int) and dim.value is not None
    }
    dims = {place: name for place, name in dims.items() if place[0] in feeds}
    sizes = {name: np.shape(feeds[value])[axis] for (value, axis), name in dims.items()}
    most = max(_SMALL, _GROWTH * sum(np.size(value) for value in feeds.values()))
    for grow in (
        lambda n: 1, lambda n: n + 1, lambda n: n // 2 + (n // 2 % 2 == n % 2), lambda n: 2 * n,
    ):  # fmt: skip
        resized = dict(feeds)
        for (value, axis), name in dims.items():
            size = grow(sizes[name])
            resized[value] = np.take(resized[value], np.arange(size) % sizes[name], axis)
        changed = any(grow(size) != size for size in sizes.values())
        if changed and sum(value.size for value in resized.values()) <= most:
            yield resized


def _feeds(
    model: ir.Model, arrays: Mapping[str, Any], dims: Iterable[str], seed: int
) -> dict[str, np.ndarray]:
    from .feeds import input_names, make_feeds
    from .import_options import FIRST

    names = input_names(model)
    arrays = {names[0] if name == FIRST and names else name: v for name, v in arrays.items()}
    stated = {text.rpartition("=")[0] for text in dims}
    open_dims = {
        str(dim.value): _OTHERS if axis else _BATCH
        for value in model.graph.inputs
        for axis, dim in enumerate(value.shape or ())
        if not isinstance(dim, int) and dim.value is not None
    }
    sizes = [f"{name}={size}" for name, size in open_dims.items() if name not in stated]
    return make_feeds(model, arrays, [*sizes, *dims], seed)


def _expected(conversion: Conversion, notes: Notes, feeds: Mapping[str, Any]) -> Sequence[Any]:
    if notes.run is not None:
        return notes.run(feeds)
    conversion.framework = "onnxruntime"
    return reference.run(reference.open_session(conversion.model), None, feeds)


def _differences(
    conversion: Conversion,
    session: Session,
    names: list[str],
    feeds: Mapping[str, Any],
    expected: Sequence[Any],
) -> list[Difference]:
    return [
        difference(name, result, wanted, rtol=0, scaled=conversion.tolerance)
        for name, result, wanted in zip(names, session.run(names, feeds), expected, strict=True)
    ]


def print_conversion(conversion: Conversion, console: Console) -> None:
    """Print a conversion, the comparison last."""
    operators = ", ".join(f"{kind} {count}" for kind, count in conversion.operators.items())
    console.print(f"opset {conversion.opset}: {operators}", highlight=False, soft_wrap=True)
    for title, lines in (
        ("effective only in training", conversion.dropped),
        ("preparation of inputs in the model", conversion.preprocessing),
        (LABELS, [", ".join(conversion.labels)] if conversion.labels else []),
    ):
        if lines:
            listed = "; ".join(lines)
            console.print(f"{title}: {listed}", highlight=False, markup=False, soft_wrap=True)
    shapes, *others = (
        ", ".join(f"{name} {text.shape(shape)}" for name, shape in each.items())
        for each in (conversion.shapes, *conversion.others)
    )
    if conversion.unchecked:
        message = f"not compared: {conversion.unchecked}" + (f" ({shapes})" if shapes else "")
        console.print(message, highlight=False, markup=False, soft_wrap=True)
        return
    text.show(console, outputs.differences(conversion.outputs))
    compared = f"compared with {conversion.framework} on {shapes}"
    if others:
        compared += f"; with other sizes, too: {'; '.join(others)}"
    console.print(compared, highlight=False, markup=False, soft_wrap=True)
