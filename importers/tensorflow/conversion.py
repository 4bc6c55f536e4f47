"""What the forms of a TensorFlow model share: names, and what tf2onnx says and leaves behind."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import InvalidArgument, UnsupportedModel
from .frameworks import rename
from .onnx import from_onnx

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

OPSET = 18
"""The newest opset that tf2onnx writes."""

_DEFAULT_SIGNATURE = "serving_default"
_INTERNAL = "__saved_model_"  # beginning of signatures that only TensorFlow calls
_NAMED = 5  # operators that an error names


def choose_signature(what: str, names: Sequence[str], wanted: str | None) -> str:
    """Return the signature asked for; else ``serving_default``, or the only one there is.

    Raises
    ------
    InvalidArgument
        There is no such signature, or none of several is the default; lists them.
    """
    public = sorted(name for name in names if not name.startswith(_INTERNAL))
    if wanted is not None:
        if wanted in names:
            return wanted
        only = f"only {public}" if public else "and no other either"
        raise InvalidArgument(f"{what} has no signature {wanted!r}, {only}")
    if _DEFAULT_SIGNATURE in public:
        return _DEFAULT_SIGNATURE
    if len(public) == 1:
        return public[0]
    if not public:
        raise InvalidArgument(
            f"{what} has no signature: save it with signatures=, or load what tf.saved_model.load "
            "gives, with example_inputs="
        )
    raise InvalidArgument(f"{what} has several signatures: choose with signature=, of {public}")


def finish(
    proto: onnx.ModelProto,
    what: str,
    inputs: Mapping[str, str],
    outputs: Sequence[str],
    one_batch: bool = False,
) -> ir.Model:
    """Give what tf2onnx wrote its final names, and read it.

    Parameters
    ----------
    proto : onnx.ModelProto
        Changed in place.
    what : str
        The source, for errors.
    inputs : mapping
        New names of inputs by their present ones. Inputs it lacks keep theirs.
    outputs : sequence of str
        New names of the outputs, in order.
    one_batch : bool
        All inputs have the same open first axis; else each has its own.

    Raises
    ------
    UnsupportedModel
        Operators were left that are not ONNX; names them.
    """
    _refuse_leftovers(proto.graph, what)
    name_dimensions(proto, one_batch, inputs)
    model = from_onnx(proto)
    rename(model, model.graph.inputs, [inputs.get(v.name or "", "") for v in model.graph.inputs])
    rename(model, model.graph.outputs, outputs)
    return model


def name_dimensions(
    proto: onnx.ModelProto, one_batch: bool, names: Mapping[str, str] | None = None
) -> None:
    """Name the open dimensions of inputs: the first of all is ``batch``."""
    del proto.graph.value_info[:]  # their names for these dimensions are others
    one_batch |= len(proto.graph.input) == 1
    for value in proto.graph.input:
        name = (names or {}).get(value.name, value.name)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_param = "batch" if one_batch and axis == 0 else f"{name}_{axis}"


def _refuse_leftovers(graph: onnx.GraphProto, what: str) -> None:
    found: dict[str, str] = {}
    for node in _nodes(graph):
        found.setdefault(node.op_type, node.name or node.output[0])
    import onnx

    left = [
        kind for kind in found if not onnx.defs.has(kind) and not onnx.defs.has(kind, "ai.onnx.ml")
    ]
    if left:
        some = ", ".join(
            f"{kind.removeprefix('TFL_')} (node {found[kind]!r})" for kind in left[:_NAMED]
        )
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        raise UnsupportedModel(
            f"{what}: ONNX has nothing for {some}{more}; build the model of standard operators, "
            "or cut it before them"
        )


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        if not node.domain:
            yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _nodes(inner)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the converter's progress off the terminal."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Failures(logging.Handler):
    """Keeps what tf2onnx says of nodes that it could not convert."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("Failed to convert node") and isinstance(record.args, tuple):
            reason = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
            self.found.append(f"{record.args[0]!r} ({reason})")


@contextlib.contextmanager
def nothing_fails(what: str) -> Iterator[None]:
    """Refuse a model of which tf2onnx left a node half converted, as it does without a word.

    Raises
    ------
    UnsupportedModel
        Names the nodes.
    """
    logger, handler = logging.getLogger("tf2onnx.tfonnx"), _Failures()
    level, logger.propagate = logger.level, False
    logger.setLevel(logging.ERROR)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = True
    if handler.found:
        nodes = ", ".join(handler.found[:_NAMED])
        raise UnsupportedModel(
            f"{what}: tf2onnx could not convert {nodes}; give inputs more sizes that are known, or "
            "build the model of other operators"
        )


_LEFT_OUT = (
    "optimize_transpose",  # wrong where axes of size 1 are beside others; ours goes further
    "einsum_optimizer",  # what it makes is hard to see through
)


@contextlib.contextmanager
def less_optimized() -> Iterator[None]:
    """Keep tf2onnx from what the optimizer does better."""
    from tf2onnx import optimizer

    passes = optimizer._get_optimizers()
    before = list(passes.items())
    try:
        for name in _LEFT_OUT:
            passes.pop(name, None)
        yield
    finally:
        passes.clear()
        passes.update(before)
