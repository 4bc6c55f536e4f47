"""Faults of onnx's shape inference that would end the process.

The inference of some operators reads the type of an input without asking whether there is one.
(Found by inferring every operator of every opset, each in a process of its own, with onnx 1.23.)
"""

from __future__ import annotations

_ALWAYS = 1 << 30
_FAULTY_BELOW = {
    ("ai.onnx.ml", "DictVectorizer"): _ALWAYS,
    ("ai.onnx.ml", "LabelEncoder"): 2,
    ("", "RegexFullMatch"): _ALWAYS,
    ("ai.onnx", "RegexFullMatch"): _ALWAYS,
}


def needs_input_type(domain: str, op_type: str, version: int) -> bool:
    """Tell whether onnx must not infer a node of an opset unless the type of its input is known."""
    return version < _FAULTY_BELOW.get((domain, op_type), 0)
