"""Names under which models carry, as metadata, what ONNX or `onnx_ir` has no field for."""

TYPE_NOTE = "sardonyx.type"
"""Of a value: its type in onnxruntime's words, where it holds maps: `onnx_ir` knows none."""
