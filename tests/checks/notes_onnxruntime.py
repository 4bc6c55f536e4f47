"""Differences of onnxruntime from the specification."""

from __future__ import annotations

import numpy as np

from .conditions import (
    NAN,
    NOT_FINITE,
    ORT,
    ZEROS,
    Note,
    in_checks,
    is_empty,
    is_finite,
    is_integer,
    may_overflow,
)

ONNXRUNTIME = [
    Note(
        "BatchNormalization", ORT,
        "'Y = (X - input_mean) / sqrt(input_var + epsilon) * scale + B': it multiplies out, so "
        "that infinities of mean and scale meet, and large numbers are lost",
        in_checks("infinities", "extremes"),
    ),
    Note(
        "Clip", ORT, "limits of the type: where it has no kernel it is asked in float32",
        lambda draw, case, check: check == "infinities" and case.inputs[0].dtype != np.float32,
    ),
    Note("Compress", ORT, "'tensor of rank r >= 1'", in_checks("scalars")),
    Note(
        "Compress", ORT, "'behaves like numpy.compress': it gives shapes of its own", is_empty,
    ),
    Note(
        "Clip ReduceMax ReduceMin", ORT,
        "'equivalent to Min(max, Max(input, min))', 'similar to numpy': NaN stays; it gives a "
        "number", NAN,
    ),
    Note(
        "Div Mod", ORT, "the least integer divided by -1 ends its process", in_checks("extremes"),
    ),
    Note(
        "DynamicQuantizeLinear", ORT,
        "'y_scale = (maximum(0, max(x)) - minimum(0, min(x))) / (qmax - qmin)': a scale that is a "
        "denormal it takes for 0", in_checks("extremes"),
    ),
    Note(
        "Einsum", ORT, "'reduce-sum' of integers: it sums them in floats",
        in_checks("extremes", "integer overflow"),
    ),
    Note(
        "FeatureVectorizer GRU InstanceNormalization LSTM RoiAlign Unique", ORT,
        "it ends the process for tensors without elements", is_empty,
    ),
    Note(
        "QLinearMatMul", ORT,
        "'y = saturate((x / y_scale) + y_zero_point)': of no products it is 0, not the zero point",
        is_empty,
    ),
    Note(
        "RNN", ORT, "'the last output value of the hidden': of no steps it is 0, not 'initial_h'",
        is_empty,
    ),
    Note(
        "GRU LSTM RNN", ORT,
        "'1/(1 + e^-x)', 'tanh': its approximations give a number for NaN", NOT_FINITE,
    ),
    Note(
        "GridSample", ORT,
        "'interpolating' multiplies pixels by weights: it leaves out those whose weight is 0",
        NOT_FINITE,
    ),
    Note(
        "GroupNormalization", ORT,
        "'precision used in stage one' is float32: of double, here, too, it is double",
        lambda draw, case, check: check == "extremes" and case.inputs[0].dtype == np.float64,
    ),
    Note(
        "InstanceNormalization", ORT,
        "'scale * (x - mean) / sqrt(variance + epsilon) + B': it multiplies out, so that "
        "infinities meet", NOT_FINITE,
    ),
    Note(
        "LRN", ORT,
        "'square_sum' is of one window: its running sums carry what is very large to others",
        in_checks("NaN", "infinities", "extremes"),
    ),
    Note(
        "LayerNormalization", ORT,
        "'Mean = ReduceMean(X)': of infinity it gives NaN",
        lambda draw, case, check: check == "infinities" and case.outputs > 1,
    ),
    Note(
        "LinearRegressor", ORT,
        "'coefficients of length n' for each target: without features it takes any number",
        is_empty,
    ),
    Note(
        "LogSoftmax", ORT,
        "'log of softmax' until opset 13: of double it gives numbers for NaN and infinity",
        lambda draw, case, check: draw.version < 13 and NOT_FINITE(draw, case, check),
    ),
    Note(
        "ConvInteger MatMulInteger QLinearConv", ORT,
        "'matrix product', 'convolution': a sum of nothing is 0, it writes none", is_empty,
    ),
    Note(
        "NonZero", ORT, "'for scalar input, NonZero produces output shape (0, N)': it gives a row",
        in_checks("scalars"),
    ),
    Note(
        "Normalizer", ORT, "'Y = X / max(X)', 'sum(X)': it does not see NaN and infinities",
        NOT_FINITE,
    ),
    Note("Normalizer", ORT, "'sum(X)': squares of integers wrap", may_overflow),
    Note(
        "GlobalAveragePool", ORT, "'average': its sums of large numbers do not cancel",
        in_checks("extremes"),
    ),
    Note(
        "ReduceLogSumExp", ORT,
        "'the log sum exponent': it overflows where the result does not",
    ),
    Note(
        "Shrink", ORT,
        "'if x > lambd, y = x - bias': it computes integers in float, which does not hold all",
        in_checks("extremes", "integer overflow"),
    ),
    Note(
        "ReduceMax ReduceMin", ORT,
        "'or the minimum value of the data type otherwise': where it has no kernel it is asked in "
        "another type",
        lambda draw, case, check: is_empty(draw, case, check) and is_integer(draw, case, check),
    ),
    Note(
        "ScatterElements ScatterND", ORT,
        "'reduction using the minimum operation', of which NaN is NaN: it gives a number",
        lambda draw, case, check: (
            case.attributes.get("reduction") in ("max", "min") and not is_finite(case.inputs[0])
        ),
    ),
    Note("Where", ORT, "'elements, either from X or Y': it adds zeros, and -0 becomes 0", ZEROS),
]  # fmt: skip
