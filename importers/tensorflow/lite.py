"""TensorFlow Lite files, float and quantized, through tf2onnx."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidModel, UnsupportedModel
from ..frameworks import conversion
from ..limits import Budget
from ..notes import Notes, Run
from .conversion import OPSET, finish, tf2onnx_conversion
from .lite_metadata import take_metadata
from .lite_sparsity import densified
from .operators import HANDLERS, LITE_HANDLERS
from .signatures import choose_signature

if TYPE_CHECKING:
    import onnx_ir as ir

_MAGIC = b"TFL3"  # bytes 4 to 7 of every file of the one schema there is


def from_lite(
    source: Any, notes: Notes, signature: str | None = None, expansion_limit: int | None = None
) -> ir.Model:
    """Convert a ``.tflite`` file.

    Quantized tensors come out between QuantizeLinear and DequantizeLinear, with the inputs and
    outputs of the types of the file. Weights that are quantized alone (dynamic range) are
    dequantized: their products are computed in floats.

    Parameters
    ----------
    source : path
        The file.
    notes : Notes
        Filled in: how to run the source, labels, normalization.
    signature : str, optional
        The signature whose names inputs and outputs get: ``serving_default``, or the only one, by
        default. A file without signatures keeps the names of its tensors.
    expansion_limit : int, optional
        Bytes that sparse weights may take once they are dense; by default 256 MiB, or eight times
        the file's size.

    Raises
    ------
    ImportFailed
        The conversion failed; says why.
    InvalidModel
        The file is damaged, or not TensorFlow Lite.
    InvalidArgument
        There is no such signature.
    UnsupportedModel
        The signature is not that of the main graph, or an operator has no counterpart in ONNX.
    """
    import tensorflow as tf
    from tf2onnx import convert

    path = os.fsdecode(source)
    with open(path, "rb") as file:
        data = file.read()
    _check(tf, path, data)
    with conversion("TensorFlow Lite", path):
        inputs, outputs = _names(path, data, signature)
    with (
        tf2onnx_conversion("TensorFlow Lite", path),
        warnings.catch_warnings(action="ignore"),
        _as_file(densified(data, Budget(path, expansion_limit))) as dense,
    ):
        proto, _ = convert.from_tflite(
            dense, opset=OPSET, custom_op_handlers={**HANDLERS, **LITE_HANDLERS}
        )
    notes.framework = f"TensorFlow Lite {tf.__version__}"
    notes.run = _runner(tf, data, inputs)
    take_metadata(notes, data)
    return finish(proto, path, inputs, [outputs.get(v.name, "") for v in proto.graph.output])


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Write a file for tf2onnx, which reads no bytes."""
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(data)
        file.flush()
        yield file.name


def _runner(tf: Any, data: bytes, names: Mapping[str, str]) -> Run:
    def run(feeds: Mapping[str, np.ndarray]) -> list[Any]:
        with warnings.catch_warnings(action="ignore"):
            interpreter = tf.lite.Interpreter(model_content=data)
        inputs = interpreter.get_input_details()
        arrays = [feeds[names.get(each["name"], each["name"])] for each in inputs]
        for each, array in zip(inputs, arrays, strict=True):
            interpreter.resize_tensor_input(each["index"], array.shape)
        interpreter.allocate_tensors()
        for each, array in zip(inputs, arrays, strict=True):
            interpreter.set_tensor(each["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]

    return run


def _check(tf: Any, path: str, data: bytes) -> None:
    """Check the file with TensorFlow's verifier: what follows trusts the offsets in it."""
    if data[4:8] != _MAGIC:
        raise InvalidModel(f"{path} is not a TensorFlow Lite model (bytes 4 to 7 are not TFL3)")
    # Of the operators only the interpreter's allocation complains, which is not asked for.
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings(action="ignore"):
        try:
            tf.lite.Interpreter(model_content=data, experimental_op_resolver_type=resolver)
        except ValueError as error:
            if "Flatbuffer" in str(error):
                raise InvalidModel(f"{path} is damaged or truncated") from error


def _names(path: str, data: bytes, requested: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Names of a signature by the tensors of the main graph, of inputs and outputs."""
    from tf2onnx.tflite.Model import Model

    model = Model.GetRootAsModel(bytearray(data), 0)
    signatures = [model.SignatureDefs(i) for i in range(model.SignatureDefsLength())]
    by_key = {(each.SignatureKey() or b"").decode(): each for each in signatures}
    if not by_key and requested is None:
        return {}, {}
    key = choose_signature(path, list(by_key), requested)
    chosen, main = by_key[key], model.Subgraphs(0)
    if chosen.SubgraphIndex() != 0:
        others = sorted(name for name, one in by_key.items() if one.SubgraphIndex() == 0)
        raise UnsupportedModel(
            f"{path}: only its main graph can be converted, with the signature {others}, not "
            f"{key!r}; convert that function to a file of its own"
        )

    def named(count: int, get: Any) -> dict[str, str]:
        maps = [get(i) for i in range(count)]
        return {main.Tensors(m.TensorIndex()).Name().decode(): m.Name().decode() for m in maps}

    inputs = named(chosen.InputsLength(), chosen.Inputs)
    return inputs, named(chosen.OutputsLength(), chosen.Outputs)
