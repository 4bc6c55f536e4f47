"""SavedModel folders of TensorFlow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ...logs import silenced
from ..frameworks import conversion
from ..limits import Budget
from ..notes import Notes
from .conversion import LOGGERS
from .freezing import refuse_writes, tables_of
from .function import convert_function
from .graph_def import check_constants, convert_graph
from .signatures import choose_signature

if TYPE_CHECKING:
    import onnx_ir as ir


def from_saved_model(
    source: Any, notes: Notes, signature: str | None = None, expansion_limit: int | None = None
) -> ir.Model:
    """Convert a signature of a SavedModel.

    Parameters
    ----------
    source : path
        The folder.
    notes : Notes
        Filled in: how to run the source, labels, normalization.
    signature : str, optional
        Which one: ``serving_default``, or the only one, by default.
    expansion_limit : int, optional
        Bytes that constants of one value may take in memory, 256 MiB or more by default.

    Raises
    ------
    ImportFailed
        The conversion failed; says why.
    InvalidArgument
        There is no such signature.
    UnsupportedModel
        An operator has no counterpart in ONNX.
    """
    import tensorflow as tf

    path = os.fsdecode(source)
    _check_graphs(tf, path, expansion_limit)
    try:
        with silenced(*LOGGERS):
            module = tf.saved_model.load(path)
    except Exception:
        # It also rebuilds optimizers and the like, and fails on those of other versions of Keras.
        with conversion("TensorFlow", path):
            return _from_graph(tf, path, notes, signature)
    name = choose_signature(path, list(module.signatures), signature)
    return convert_function(tf, module.signatures[name], f"{path} ({name})", notes)


def _check_graphs(tf: Any, path: str, limit: int | None) -> None:
    """Refuse constants that are too large."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = os.path.join(path, "saved_model.pb")
    with conversion("TensorFlow", path), open(file, "rb") as graph:
        stored = SavedModel.FromString(graph.read())
    budget = Budget(file, limit)
    for meta in stored.meta_graphs:
        check_constants(tf, meta.graph_def, budget)


def _from_graph(tf: Any, path: str, notes: Notes, signature: str | None) -> ir.Model:
    """Freeze the graph of a signature with TensorFlow 1's loader, which reads nothing else."""
    from tf2onnx import tf_loader

    with (
        silenced(*LOGGERS),
        tf.Graph().as_default() as graph,
        tf.compat.v1.Session(graph=graph) as session,
    ):
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def
        chosen = signatures[choose_signature(path, list(signatures), signature)]
        inputs = {chosen.inputs[key].name: key for key in sorted(chosen.inputs)}
        outputs = {chosen.outputs[key].name: key for key in sorted(chosen.outputs)}
        frozen = tf_loader.freeze_session(
            session, input_names=list(inputs), output_names=list(outputs)
        )
        refuse_writes(frozen, path)
        tables = tables_of(tf, session, frozen)
    return convert_graph(tf, frozen, path, notes, inputs, outputs, tables=tables)
