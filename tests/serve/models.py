"""Small models of the server's tests."""

import onnx.parser

TYPES = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "FP16": "float16",
    "FP32": "float",
    "FP64": "double",
    "BF16": "bfloat16",
    "BYTES": "string",
}


def made(text):
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\n{text}')


def moved(datatype):
    """A model that gives elements of one type back in another shape."""
    name = TYPES[datatype]
    return made(
        f"""moved ({name}[N, K] x) => ({name}[K, N] y) {{
            y = Transpose <perm = [1, 0]> (x)
        }}"""
    )


TWICE = made("twice (float[N, 4] x) => (float[N, 4] y) { y = Add(x, x) }")
"""Rows are apart."""

CENTRED = made(
    """centred (float[N, 4] x) => (float[N, 4] y) {
        m = ReduceMean <axes = [0], keepdims = 1> (x)
        y = Sub(x, m)
    }"""
)
"""Rows are not apart, though inputs and outputs have the same first dimension."""

PICKED = made(
    """picked (float[N, 4] x, int64[N] at) => (float[N] y) {
        flat = Constant <value = int64[1] {-1}> ()
        one = Constant <value = int64[1] {1}> ()
        places = Unsqueeze(at, one)
        found = GatherElements <axis = 1> (x, places)
        y = Reshape(found, flat)
    }"""
)
"""An index out of range fails when it runs."""

LONG = made(
    """long (int64 n, float[64, 64] x) => (float[64, 64] y) {
        c = Constant <value = bool {1}> ()
        y = Loop (n, c, x) <body = inner (int64 i, bool ci, float[64, 64] a)
            => (bool co, float[64, 64] o) { co = Identity(ci) o = MatMul(a, a) }>
    }"""
)
"""Runs as long as ``n`` says."""

DIVIDED = made("divided (float[N] x) => (float[N] y) { y = Div(x, x) }")
"""NaN of zeros."""

SEQUENCE = made("sequence (float[N] x) => (seq(float[N]) y) { y = SequenceConstruct(x) }")
