"""GraphDefs of TensorFlow without variables, to which all other forms but TensorFlow Lite lead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from ..frameworks import plain_array
from ..limits import Budget
from ..notes import Notes, Run
from .conversion import OPSET, finish, tf2onnx_conversion
from .inlining import inline_compiled
from .operators import HANDLERS
from .precision import precision_of, without_bfloat16
from .tables import Tables, table_handlers

if TYPE_CHECKING:
    import onnx_ir as ir


def check_constants(tf: Any, graph: Any, budget: Budget) -> None:
    """Refuse constants of one value, say, that are too large once they are written out.

    Raises
    ------
    UnsupportedModel
        They would take more than the budget; names one.
    """
    bodies = (function.node_def for function in graph.library.function)
    for node in chain(graph.node, *bodies):
        for attribute in node.attr.values():
            tensor = attribute.tensor
            if attribute.HasField("tensor") and not tensor.tensor_content:
                shape = [dim.size for dim in tensor.tensor_shape.dim]
                size = math.prod(shape) * max(1, tf.dtypes.as_dtype(tensor.dtype).size or 1)
                budget.spend(size, f"constant {node.name!r}", shape)


def convert_graph(
    tf: Any,
    frozen: Any,
    what: str,
    notes: Notes,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    one_batch: bool = False,
    tables: Tables | None = None,
) -> ir.Model:
    """Convert a GraphDef without variables: inputs and outputs are names by tensors.

    ``tables`` are the contents of the lookup tables that it refers to.
    """
    from tf2onnx import convert

    notes.precision = precision_of(frozen)
    widened = without_bfloat16(frozen)
    with tf2onnx_conversion("TensorFlow", what):
        proto, _ = convert.from_graph_def(
            inline_compiled(widened, inputs, outputs),
            input_names=list(inputs),
            output_names=list(outputs),
            opset=OPSET,
            custom_op_handlers={**HANDLERS, **table_handlers(tables or {})},
        )
    notes.framework = f"TensorFlow {tf.__version__}"
    notes.run = _runner(tf, frozen, inputs, outputs)
    return finish(proto, what, inputs, list(outputs.values()), one_batch)


def _runner(tf: Any, frozen: Any, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Run:
    def run(feeds: Mapping[str, np.ndarray]) -> list[Any]:
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            tf.import_graph_def(frozen, name="")
            named = {tensor: feeds[name] for tensor, name in inputs.items()}
            results = session.run(list(outputs), named)
        return [plain_array(np.asarray(value)) for value in results]

    return run
