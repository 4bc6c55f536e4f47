"""Inlining of functions that TensorFlow compiles as a whole (``jit_compile=True``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_COMPILED = "_XlaMustCompile"
_NOT_INLINED = (_COMPILED, "_noinline")


def inline_compiled(definition: Any, inputs: Iterable[str], outputs: Iterable[str]) -> Any:
    """Put the nodes of functions with ``jit_compile=True`` in the place of their calls.

    Keras has grouped convolutions compiled, which TensorFlow's own kernels cannot do on a CPU.

    Parameters
    ----------
    definition : GraphDef
        Without variables.
    inputs, outputs : iterable of str
        Tensors that are fed and fetched.
    """
    import tensorflow as tf
    from tf2onnx import tf_loader

    if not _marked(definition):
        return definition
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(definition)
    for item in _marked(copy):
        for name in _NOT_INLINED:
            item.attr.pop(name, None)
    with tf.Graph().as_default():
        return tf_loader.tf_optimize(list(inputs), list(outputs), copy)


def _marked(definition: Any) -> list[Any]:
    """Calls and functions that are marked to be compiled."""
    functions = definition.library.function
    bodies = [node for function in functions for node in function.node_def]
    return [item for item in [*definition.node, *bodies, *functions] if _COMPILED in item.attr]
