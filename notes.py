"""Names under which models carry, as metadata, what ONNX or `onnx_ir` has no field for."""

TYPE_NOTE = "sardonyx.type"
"""Of a value: its type in onnxruntime's words, where it holds maps: `onnx_ir` knows none."""

DEFAULTS_NOTE = "sardonyx.defaults"
"""Of a model: initializers that were inputs, too, as JSON: name, type and dimensions of each."""

ACCURACY_NOTE = "sardonyx.accuracy_level"
"""Of a DequantizeLinear of weights: the ``accuracy_level`` of the MatMulNBits that it was."""

PRECISION_NOTE = "sardonyx.precision"
"""Of a convolution or product: ``"bf16"`` where its operands may be rounded to bfloat16."""

KEPT_NOTE = "sardonyx.kept"
"""Of a node of com.microsoft: why it could not be expressed by operators of the standard."""
