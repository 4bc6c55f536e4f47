"""Conversion of fitted estimators: scikit-learn's, and LightGBM's and XGBoost's within them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from ...patches import applied
from ..frameworks import conversion, require
from ..names import rename
from ..notes import Notes, labels_of
from ..onnx.loader import from_onnx
from . import boosted
from .converters import register
from .inputs import Inputs
from .patches import MAKE_NODE

if TYPE_CHECKING:
    import onnx_ir as ir

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""Versions that skl2onnx and onnxmltools both write, and onnxruntime runs."""

_BOOSTER_OPSET = 15  # the newest that onnxmltools writes

_NAMES = {"output_label": "label", "output_probability": "probabilities"}


def from_estimator(
    source: Any, notes: Notes, example_inputs: Any = None, zipmap: bool = False
) -> ir.Model:
    """Convert a fitted estimator or pipeline, or a booster.

    Parameters
    ----------
    source
        An estimator of scikit-learn, LightGBM or XGBoost, a pipeline of them, or a ``Booster`` of
        the last two.
    notes : Notes
        Filled in: how to run the source, and labels.
    example_inputs : array, DataFrame or mapping, optional
        Rows that give the inputs their types: one input for an array, and one of shape [N, 1] for
        each column of a DataFrame or mapping. Without them the input is ``X``, of float32.
    zipmap : bool
        Whether probabilities are a list of mappings from classes, as skl2onnx writes by default,
        instead of one array.

    Raises
    ------
    ImportFailed
        The estimator is not fitted, or has no converter; says which.
    InvalidArgument
        The number of features is unknown, and there are no example inputs.
    """
    name = type(source).__name__
    with conversion("scikit-learn", name):
        inputs = Inputs.of(source, example_inputs)
        proto = _converted(source, inputs)
    if not zipmap:
        _without_zipmap(proto)
    model = from_onnx(proto)
    outputs = model.graph.outputs
    rename(model, outputs, [_NAMES.get(str(each.name), str(each.name)) for each in outputs])
    package = require(_package(source), "sklearn")
    notes.framework = f"{package.__name__} {package.__version__}"
    notes.labels = labels_of([str(each) for each in _classes(source)])
    notes.examples = inputs.examples
    methods = [] if zipmap else _methods(source, len(outputs))
    if methods:

        def run(feeds: Mapping[str, Any]) -> list[np.ndarray]:
            x = inputs.restored(feeds)
            pairs = zip(methods, outputs, strict=True)
            return [_like(output, method(x)) for method, output in pairs]

        notes.run = run
    return model


def _package(source: Any) -> str:
    """Name the package of a source: of the first of its classes that is not the caller's own."""
    packages = [kind.__module__.partition(".")[0] for kind in type(source).__mro__]
    return next(each for each in packages if each in ("sklearn", "lightgbm", "xgboost"))


def _converted(source: Any, inputs: Inputs) -> onnx.ModelProto:
    import skl2onnx

    package = _package(source)
    if package != "sklearn" and not hasattr(source, "get_params"):  # a Booster
        return _booster(source, package, inputs)
    register()
    scored = hasattr(source, "decision_function") and not hasattr(source, "predict_proba")
    # Scores of two classes have opposite signs then; without it, each converter has its own way.
    options = {id(source): {"raw_scores": True}} if scored and _classes(source) else None
    with applied((MAKE_NODE, *boosted.patches())):
        return skl2onnx.to_onnx(
            source, initial_types=inputs.types, target_opset=OPSETS, options=options
        )


def _booster(source: Any, package: str, inputs: Inputs) -> onnx.ModelProto:
    from onnxmltools import convert
    from onnxmltools.convert.common import data_types  # other classes than those of skl2onnx

    types = [(n, getattr(data_types, type(kind).__name__)(kind.shape)) for n, kind in inputs.types]
    convert_booster = convert.convert_lightgbm if package == "lightgbm" else convert.convert_xgboost
    with applied(boosted.PATCHES[package]):
        return convert_booster(source, initial_types=types, target_opset=_BOOSTER_OPSET)


def _without_zipmap(proto: onnx.ModelProto) -> None:
    """Return probabilities as one array, not as mappings from classes."""
    outputs = {output.name: output for output in proto.graph.output}
    for node in proto.graph.node:
        if node.op_type == "ZipMap":
            outputs[node.output[0]].ClearField("type")
            identity = onnx.helper.make_node("Identity", node.input, node.output, node.name)
            node.CopyFrom(identity)


def _like(output: ir.Value, result: Any) -> np.ndarray:
    """Give a result of an estimator the dtype of an output, and its axes."""
    array = np.asarray(result.todense() if hasattr(result, "todense") else result)
    if array.dtype.kind == "U":
        array = array.astype(object)
    elif output.dtype is not None and array.dtype.kind in "fiu":
        array = array.astype(output.dtype.numpy())
    is_column = output.shape is not None and len(output.shape) == 2 and array.ndim == 1
    return array.reshape(-1, 1) if is_column else array


def _classes(source: Any) -> Sequence[Any]:
    return list(getattr(source, "classes_", ()))


def _scores(source: Any) -> Callable[[Any], np.ndarray]:
    """Scores of all classes: of two, an estimator gives that of the second one only."""

    def scores(x: Any) -> np.ndarray:
        found = np.asarray(source.decision_function(x))
        return np.stack([-found, found], 1) if len(_classes(source)) == 2 else found

    return scores


def _methods(source: Any, outputs: int) -> list[Callable[[Any], Any]]:
    """Functions that compute the outputs of an estimator's model; none where unknown."""
    if not hasattr(source, "predict"):
        return [source.transform] if hasattr(source, "transform") and outputs == 1 else []
    methods = [source.predict]
    if hasattr(source, "predict_proba"):
        methods.append(source.predict_proba)
    elif hasattr(source, "decision_function"):
        methods.append(_scores(source))
    elif hasattr(source, "transform"):
        methods.append(source.transform)
    return methods[:outputs] if len(methods) >= outputs else []
