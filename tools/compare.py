"""Comparison with onnxruntime, down to the optimizer's pass and the step at fault."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..difference import ATOL, RTOL, Difference, difference
from ..errors import SardonyxError
from . import outputs, reference, text
from .culprit import Culprit, find_culprit

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.console import Console

_IN_ONNX = ("onnx", "onnx_ir")


@dataclass
class Comparison:
    """Result of `compare`.

    Attributes
    ----------
    outputs : list of Difference
        One for each output of the model.
    optimizer : list of Difference
        Outputs that the optimizer changed: onnxruntime on the optimized model against
        onnxruntime on the model as given. Only filled by ``bisect``.
    optimizer_fault : str
        Where the optimizer changed an output: the pass that did, and how. Only by ``bisect``.
    culprit : Culprit or None
        Only filled by ``bisect``.
    """

    outputs: list[Difference]
    optimizer: list[Difference] = field(default_factory=list)
    optimizer_fault: str = ""
    culprit: Culprit | None = None

    @property
    def agrees(self) -> bool:
        """Whether all outputs lie within the tolerance."""
        return all(each.agrees for each in self.outputs)


def compare(
    model: Any,
    feeds: Mapping[str, np.ndarray] | None = None,
    *,
    rtol: float = RTOL,
    atol: float = ATOL,
    bisect: bool = False,
    dims: Iterable[str] = (),
    seed: int = 0,
    **options: Any,
) -> Comparison:
    """Run a model here and in onnxruntime on the same inputs.

    Parameters
    ----------
    model
        Anything `sardonyx.load` takes. onnxruntime is given an ONNX model as it is, and what
        `load` makes of any other.
    feeds : mapping of str to ndarray, optional
        Inputs by name; those not given are random.
    rtol, atol : float
        Outputs may differ by ``atol + rtol * |expected|``.
    bisect : bool
        Where they do not agree, find the first step at fault.
    dims : iterable of str
        Sizes for random inputs, ``input=1,3,224,224`` or ``dimension=4``; unknown ones are 1.
    seed : int
        Of random inputs.
    **options
        Of `sardonyx.Session`: threads, precision, optimize.

    Returns
    -------
    Comparison

    Raises
    ------
    InvalidArgument
        onnxruntime is not installed, or an input does not fit.
    UnsupportedModel
        One of the two cannot run the model.
    """
    from ..importers import load
    from ..runtime.session import Session
    from .feeds import make_feeds

    loaded = load(model)
    inputs = make_feeds(loaded, feeds or {}, dims, seed)
    original = model if _is_onnx(model) else loaded
    with Session(loaded, **options) as session:
        names = [port.name for port in session.get_outputs()]
        expected = reference.values(original, inputs, names, level="all")
        results = zip(names, session.run(None, inputs), strict=True)
        comparison = Comparison([difference(n, y, expected[n], rtol, atol) for n, y in results])
        if bisect and not comparison.agrees:
            rewritten = reference.values(session.optimized_model(), inputs, names)
            comparison.optimizer = [
                each
                for each in (difference(n, rewritten[n], expected[n], rtol, atol) for n in names)
                if not each.agrees
            ]
            if comparison.optimizer:
                level = str(options.get("optimize", "all"))
                comparison.optimizer_fault = _pass_at_fault(loaded, level, inputs)
            comparison.culprit = find_culprit(session, inputs, Session, rtol, atol)
    return comparison


def _pass_at_fault(model: ir.Model, level: str, feeds: Mapping[str, Any]) -> str:
    """Optimize once more, and compare after every pass."""
    from ..optimizer.pipeline import optimize_with_report

    try:
        optimize_with_report(model, level, verify=feeds, runner=reference.run_unoptimized)
    except SardonyxError as error:
        return str(error)
    return "no pass alone changes the results beyond rounding"


def _is_onnx(model: Any) -> bool:
    if isinstance(model, str | os.PathLike):
        return os.fspath(model).endswith(".onnx")
    package = type(model).__module__.partition(".")[0]
    return isinstance(model, bytes) or package in _IN_ONNX


def print_comparison(comparison: Comparison, console: Console, repro: Path | None = None) -> None:
    """Print how the outputs compare, and what was found to be at fault.

    Parameters
    ----------
    comparison : Comparison
    console : Console
    repro : Path, optional
        Folder to write the step at fault into.
    """
    text.show(console, outputs.differences(comparison.outputs))
    for each in comparison.optimizer:
        console.print(f"the optimizer changed {each.name}: {each.reason}", highlight=False)
    if comparison.optimizer_fault:
        console.print(comparison.optimizer_fault, highlight=False, markup=False)
    if comparison.culprit is not None:
        _print_culprit(comparison.culprit, console)
        if repro is not None:
            comparison.culprit.save(repro)
            console.print(f"written: {repro}", highlight=False)


def _print_culprit(culprit: Culprit, console: Console) -> None:
    console.print(
        f"first step at fault: {culprit.index} {culprit.name} ({culprit.op_type}), "
        f"nodes {', '.join(culprit.nodes)}"
    )
    for each in culprit.differences:
        console.print(f"  {each.name}: {each.reason}")
    if culprit.alone:
        console.print("it differs on its own too, with onnxruntime's values as inputs")
    else:
        console.print("on its own it agrees: earlier errors add up, or it needs the whole model")
