"""TensorFlow Lite files, float and quantized, through tf2onnx."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from .. import InvalidModel, UnsupportedModel
from .converter import OPSET, choose_signature, finish, quiet
from .frameworks import conversion, require

if TYPE_CHECKING:
    import onnx_ir as ir

_MARK = b"TFL3"  # bytes 4 to 7 of every file of the one schema there is


def from_tflite(path: str, signature: str | None = None) -> ir.Model:
    """Convert a ``.tflite`` file.

    Quantized tensors come out between QuantizeLinear and DequantizeLinear, with the inputs and
    outputs of the types of the file. Weights that are quantized alone (dynamic range) are
    dequantized: their products are computed in floats.

    Parameters
    ----------
    path : str
        The file.
    signature : str, optional
        The signature whose names inputs and outputs get: ``serving_default``, or the only one, by
        default. A file without signatures keeps the names of its tensors.

    Raises
    ------
    ImportFailed
        TensorFlow or tf2onnx is not installed, or the conversion failed; says why.
    InvalidModel
        The file is damaged, or no TensorFlow Lite.
    InvalidArgument
        There is no such signature.
    UnsupportedModel
        The signature is not that of the main graph, or an operator has no counterpart in ONNX.
    """
    tf = require("tensorflow", "tensorflow")
    require("tf2onnx", "tensorflow")
    with open(path, "rb") as file:
        data = file.read()
    _check(tf, path, data)
    with conversion("TensorFlow Lite", path):
        inputs, outputs = _names(path, data, signature)
    with conversion("TensorFlow Lite", path), quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tf2onnx import convert

        proto, _ = convert.from_tflite(path, opset=OPSET)
    return finish(proto, path, inputs, [outputs.get(v.name, "") for v in proto.graph.output])


def _check(tf: Any, path: str, data: bytes) -> None:
    """Let TensorFlow's verifier see the file first: what follows trusts the offsets in it."""
    if data[4:8] != _MARK:
        raise InvalidModel(f"{path} is no TensorFlow Lite model (it does not begin as one)")
    # Of the operators only the interpreter's allocation complains, which is not asked for.
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tf.lite.Interpreter(model_content=data, experimental_op_resolver_type=resolver)
        except ValueError as error:
            if "Flatbuffer" in str(error):
                raise InvalidModel(f"{path} is damaged or cut off: get it anew") from error


def _names(path: str, data: bytes, wanted: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Names of a signature by the tensors of the main graph, of inputs and outputs."""
    from tf2onnx.tflite.Model import Model

    model = Model.GetRootAsModel(bytearray(data), 0)
    found = [model.SignatureDefs(i) for i in range(model.SignatureDefsLength())]
    by_key = {(one.SignatureKey() or b"").decode(): one for one in found}
    if not by_key and wanted is None:
        return {}, {}
    key = choose_signature(os.fspath(path), list(by_key), wanted)
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
