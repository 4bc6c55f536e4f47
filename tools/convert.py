"""Convert a model of any framework, and check the result against the framework."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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

TOLERANCE = 1e-4
"""An output may differ by this part of its largest value."""
_BATCH, _OTHERS = 2, 64
"""Sizes of open dimensions of random inputs: of first axes, and of those after it."""


@dataclass
class Conversion:
    """A converted model, and how it compares with its source.

    Attributes
    ----------
    model : onnx_ir.Model
    framework : str
        What it was converted from, and compared with; onnxruntime for ONNX.
    opset : int
        Of the standard domain.
    operators : dict of str to int
        How many nodes of each operator there are, the most first.
    dropped : list of str
        Parts of the source that are at work only in training.
    preprocessing : list of str
        What the model does with its inputs before anything else.
    labels : list of str
        Names of its classes.
    shapes : dict of str to tuple of int
        Of the inputs that it was checked with.
    outputs : list of Difference
        Of each output of the model, run by sardonyx, from that of the source.
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
    outputs: list[Difference] = field(default_factory=list)
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
        Whether to run both.
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
    found = Conversion(
        model,
        notes.framework,
        target_opset or model.graph.opset_imports.get("", 0),
        dict(counts.most_common()),
        notes.dropped,
        preprocessing(model),
        notes.labels,
    )
    if check:
        _check(found, notes, feeds or {}, dims, seed)
    else:
        found.unchecked = "it was not asked for"
    return found


def _check(
    found: Conversion, notes: Notes, given: Mapping[str, Any], dims: Iterable[str], seed: int
) -> None:
    """Fill in how the outputs compare."""
    if notes.run is None and notes.framework:
        found.unchecked = f"{notes.framework} takes other inputs than the model"
        return
    if notes.run is None and not reference.is_available():
        found.unchecked = "onnxruntime is not installed"
        return
    feeds = _feeds(found.model, {**notes.examples, **given}, dims, seed)
    found.shapes = {name: np.shape(value) for name, value in feeds.items()}
    try:
        expected = _expected(found, notes, feeds)
    except Exception as error:  # every framework has exceptions of its own
        found.unchecked = f"{found.framework} cannot run with these inputs: {reason(error)}"
        return
    names = [str(value.name) for value in found.model.graph.outputs]
    if len(expected) != len(names):
        found.unchecked = f"{found.framework} gives {len(expected)} outputs, not {len(names)}"
        return
    try:
        found.outputs = _differences(found.model, names, feeds, expected)
    except SardonyxError as error:
        found.unchecked = f"sardonyx cannot run the model: {error}"


def _feeds(
    model: ir.Model, given: Mapping[str, Any], dims: Iterable[str], seed: int
) -> dict[str, np.ndarray]:
    from .feeds import input_names, make_feeds
    from .import_options import FIRST

    names = input_names(model)
    given = {names[0] if name == FIRST and names else name: v for name, v in given.items()}
    stated = {text.rpartition("=")[0] for text in dims}
    open_dims = {
        str(dim.value): _OTHERS if axis else _BATCH
        for value in model.graph.inputs
        for axis, dim in enumerate(value.shape or ())
        if not isinstance(dim, int) and dim.value is not None
    }
    sizes = [f"{name}={size}" for name, size in open_dims.items() if name not in stated]
    return make_feeds(model, given, [*sizes, *dims], seed)


def _expected(found: Conversion, notes: Notes, feeds: Mapping[str, Any]) -> Sequence[Any]:
    if notes.run is not None:
        return notes.run(feeds)
    found.framework = "onnxruntime"
    return reference.run(reference.open_session(found.model), None, feeds)


def _differences(
    model: ir.Model, names: list[str], feeds: Mapping[str, Any], expected: Sequence[Any]
) -> list[Difference]:
    from ..runtime.session import Session

    with Session(model) as session:
        results = session.run(names, feeds)
    return [
        difference(name, result, wanted, rtol=0, scaled=TOLERANCE)
        for name, result, wanted in zip(names, results, expected, strict=True)
    ]


def print_conversion(found: Conversion, console: Console) -> None:
    """Print what a conversion found, the comparison last."""
    operators = ", ".join(f"{kind} {count}" for kind, count in found.operators.items())
    console.print(f"opset {found.opset}: {operators}", highlight=False, soft_wrap=True)
    for title, lines in (
        ("at work only in training", found.dropped),
        ("preparation of inputs in the model", found.preprocessing),
        (LABELS, [", ".join(found.labels)] if found.labels else []),
    ):
        if lines:
            listed = "; ".join(lines)
            console.print(f"{title}: {listed}", highlight=False, markup=False, soft_wrap=True)
    shapes = ", ".join(f"{name} {text.shape(shape)}" for name, shape in found.shapes.items())
    if found.unchecked:
        message = f"not compared: {found.unchecked}" + (f" ({shapes})" if shapes else "")
        console.print(message, highlight=False, markup=False, soft_wrap=True)
        return
    text.show(console, outputs.differences(found.outputs))
    compared = f"compared with {found.framework} on {shapes}"
    console.print(compared, highlight=False, markup=False, soft_wrap=True)
