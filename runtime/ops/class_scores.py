"""Scores and labels of classifiers and regressors of ai.onnx.ml, from the sums of their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ...kernels.cpu.class_scores import both_classes, choose_classes, transform_scores
from ...kernels.cpu.tree_scores import TRANSFORMS
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..host_steps import emit_host
from ..symbolic import Dim
from ..tensors import Tensor
from . import checks
from .pointwise import emit_expression
from .softmax import emit_softmax

DOMAIN = "ai.onnx.ml"
TRANSFORMED = checks.one_of("post_transform", *TRANSFORMS)


def transform_of(node: Node) -> str:
    """Return the transform of the scores."""
    return str(node.attribute("post_transform", "NONE"))


def class_names(node: Node) -> list[Any]:
    """Return the labels of a classifier: integers or strings, none where it has none."""
    return list(node.attribute("classlabels_strings") or node.attribute("classlabels_ints") or [])


def features(node: Node) -> Info:
    """Return the input of a model: rows of features."""
    x = node.required(0)
    if x.dtype not in ("float32", "float64", "int32", "int64"):
        raise OnHost(f"features of {x.dtype}")
    if x.rank != 2 or 0 in x.dims:
        raise OnHost(f"features of shape {x.dims}")
    return x


def float_features(emit: Emission, node: Node) -> Tensor:
    """Return the features as float32, as which all models compute."""
    return as_float32(emit, emit.tensor(node.values[0]))


def as_float32(emit: Emission, x: Tensor) -> Tensor:
    """Return a tensor in float32."""
    if x.dtype == "float32":
        return x

    def cast() -> Tensor:
        y = emit.new(x.shape, "float32", name=x.name)
        emit_expression(emit, "to_f32(x0)", y, [x])
        return y

    return emit.once(x, "float32", cast)


def infer_classes(node: Node, names: list[Any], rows: Dim, columns: int) -> list[Info]:
    """Describe labels, and scores of so many columns."""
    is_text = bool(names) and isinstance(names[0], str)
    if is_text:
        node.outputs[0].dtype = ir.DataType.STRING
    labels = node.result((rows,), "object" if is_text else "int64")
    scores = [node.result((rows, columns), "float32", 1)] if len(node.outputs) > 1 else []
    return [labels, *scores]


def wanted_scores(emit: Emission, node: Node, rows: Dim, columns: int) -> Tensor:
    """Return the tensor of a classifier's scores, whether it is an output or not."""
    if len(node.outputs) > 1 and node.outputs[1].name:
        return emit.output(node, 1)
    return emit.new((rows, columns), "float32", name=f"{node.name}.scores")


def wanted_labels(
    emit: Emission, node: Node, names: list[Any]
) -> tuple[Tensor | None, Tensor | None]:
    """Return the tensor of labels (None if nobody wants them), and the table of their numbers.

    Labels that are strings are written as the places of their names: see `name_classes`.
    """
    if not node.outputs[0].name:
        return None, None
    if isinstance(names[0], str):
        labels = emit.new(node.infos[0].dims, "int64", name=f"{node.name}.places")
        names = list(range(len(names)))
    else:
        labels = emit.output(node)
    return labels, emit.constant(np.array(names, np.int64), f"{node.name}.names")


def name_classes(emit: Emission, node: Node, places: Tensor | None, names: list[Any]) -> None:
    """Emit the host step that names classes by their places, where labels are strings."""
    if places is None or not isinstance(names[0], str):
        return
    version = emit.graph.opsets.get(DOMAIN, 1)
    if version == 1:
        attributes = [ir.AttrStrings("classes_strings", names)]
    else:
        keys = ir.AttrInt64s("keys_int64s", list(range(len(names))))
        attributes = [keys, ir.AttrStrings("values_strings", names)]
    value = ir.Value(name=places.name, type=ir.TensorType(ir.DataType.INT64))
    emit.infos[value] = Info(places.name, places.dtype, places.shape)
    emit.set(value, places)
    step = ir.Node(DOMAIN, "LabelEncoder", [value], attributes, name=node.name)
    step.outputs[0].name = node.outputs[0].name
    encoder = Node(step, emit.infos, version, len(emit.graph.nodes))
    encoder.infos = [node.infos[0]]
    emit_host(emit, encoder)
    emit.set(node.outputs[0], emit.tensor(step.outputs[0]))


# --- steps ------------------------------------------------------------------------------------


def sums_of(emit: Emission, node: Node, y: Tensor, columns: int) -> Tensor:
    """Return the tensor of so many sums, which is that of the scores where that is no loss."""
    if y.shape[1] == columns and transform_of(node) != "SOFTMAX":  # short rows wait for stores
        return y
    return emit.new((y.shape[0], columns), "float32", name=f"{node.name}.sums")


def columns_of(sums: int, transform: str, names: int) -> int:
    """Columns of scores: a sum alone stands for two classes, but where it is a probit."""
    return 2 if sums == 1 and names == 2 and transform != "PROBIT" else sums


def finish(
    emit: Emission, node: Node, sums: Tensor, y: Tensor, labels: Tensor | None = None,
    names: Tensor | None = None, *, are_probabilities: bool = True,
) -> None:  # fmt: skip
    """Emit what makes labels and scores of sums, which are written over.

    Of a sum alone and its class, the other has the rest to 1, unless ``are_probabilities`` is not
    set: then it has the opposite.
    """
    rows, count = sums.shape
    transform, both = transform_of(node), count != y.shape[1]
    if labels is not None:
        emit.step(
            choose_classes, outputs=[labels], flops=2 * sums.size, x=sums, rows=rows,
            classes=count, labels=labels, names=names,
        )  # fmt: skip
    if both and transform != "LOGISTIC":
        transform = "NONE"
    elif both:
        are_probabilities = True
    elif transform == "SOFTMAX":
        emit_softmax(emit, sums, y, 1)
        return
    elif sums.buffer is not y.buffer:
        emit.copy(sums, y)
        sums = y
    _emit_transform(emit, sums, transform)
    if both:
        opposite = int(not are_probabilities)
        emit.step(both_classes, outputs=[y], x=sums, y=y, rows=rows, opposite=opposite)


def _emit_transform(emit: Emission, x: Tensor, transform: str) -> None:
    """Emit a transform of scores other than Softmax, in place."""
    if transform == "LOGISTIC":
        emit_expression(emit, "sigmoid(x0)", x, [x])
    elif transform != "NONE":
        emit.step(
            transform_scores, outputs=[x], flops=32 * x.size, x=x, rows=x.shape[0],
            count=x.shape[1], transform=TRANSFORMS.index(transform),
        )  # fmt: skip
