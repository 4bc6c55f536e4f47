"""Small models of the tests of onnxruntime's interface."""

import onnx.parser


def made(text, **more):
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>\n{text}'
    )
    onnx.helper.set_model_props(model, more)
    return model


SUM = made(
    """agraph (float[N, 3] x, float[3] b) => (float[N, 3] y, float[N, 3] z) {
        y = Add(x, b)
        z = Relu(y)
    }""",
    labels="one,two",
)
LOOP = made(
    """agraph (int64 n, float[64, 64] x) => (float[64, 64] y) {
        c = Constant<value = bool {1}>()
        y = Loop(n, c, x) <body = inner (int64 i, bool ci, float[64, 64] a)
            => (bool co, float[64, 64] o) { co = Identity(ci) o = MatMul(a, a) }>
    }"""
)
WEIGHTED = made(
    """agraph (float[N, 2] x) => (float[N, 2] y) <float[2, 2] w = {1, 2, 3, 4}> {
        y = MatMul(x, w)
    }"""
)
