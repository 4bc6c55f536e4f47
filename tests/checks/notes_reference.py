"""Differences of onnx.reference from the specification."""

from __future__ import annotations

import numpy as np

from ..reference.drawing import HALVES
from .conditions import (
    NAN,
    NOT_FINITE,
    ONNX,
    ORT,
    OWN,
    ZEROS,
    Note,
    casts_to,
    given,
    has,
    has_large_quotients,
    in_checks,
    is_dilated_without_pads,
    is_double,
    is_finite,
    is_integer,
    lacks,
    may_overflow,
    pads_differ,
    starts_before_the_first,
)

REFERENCE = [
    Note(
        "AveragePool", ONNX,
        "'divided by the number of elements exclude pad': it divides by all",
        lambda draw, case, check: draw.version == 1,
    ),
    Note(
        "Compress NonZero", ONNX,
        "'tensor of rank r >= 1', and '(0, N)' of a scalar: it gives rows", in_checks("scalars"),
    ),
    Note(
        "BatchNormalization", ONNX,
        "'Output case #2: Y (test mode)': it moves mean and variance on by those of the batch",
        lambda draw, case, check: draw.version == 9,
    ),
    Note(
        "Cast CastLike", (ONNX, OWN),
        "'plain floating-point representation': with how many digits is not said",
        lambda draw, case, check: casts_to(case).kind == "O",
    ),
    Note(
        "Clip", ONNX,
        "limits 'default to numeric_limits::lowest() and numeric_limits::max()': infinity stays",
        in_checks("infinities"),
    ),
    Note(
        "Conv", ONNX,
        "'dilation value along each spatial axis of the filter': it multiplies by zeros between "
        "the weights, which NaN and infinities between them reach", NOT_FINITE,
    ),
    Note(
        "ConvTranspose", ONNX,
        "'bias to be added to the convolution, has size of M': of groups it adds that of one",
        has("group"),
    ),
    Note(
        "DynamicQuantizeLinear", ONNX,
        "'y = saturate(round(x / y_scale) + y_zero_point)' of zeros divides by a scale of 0: "
        "here it is 1, as onnxruntime has it",
    ),
    Note(
        "GRU LSTM RNN", ONNX, "'lengths of the sequences in a batch': it ignores them", given(4),
    ),
    Note(
        "GRU LSTM RNN", ONNX,
        "'Xt*(Wi^T) + Ht-1*(Ri^T)': its products leave out zeros times infinity",
        in_checks("infinities"),
    ),
    Note(
        "Gemm", ONNX,
        "'alpha * A' * B' + beta * C' of integers: it multiplies them by numbers of double",
        in_checks("extremes", "integer overflow"),
    ),
    Note(
        "GridSample", ONNX,
        "'bicubic interpolation': it keeps what it makes of rows of double in float32",
        lambda draw, case, check: str(case.attributes.get("mode")).endswith("cubic"),
    ),
    Note(
        "Erf GridSample HardSwish", ONNX,
        "'tensor(double)': it computes in float32, or with numbers of it", is_double,
    ),
    Note(
        "Attention", ONNX,
        "'the raw qk matmul output': it is what 'softcap' makes of that",
        lambda draw, case, check: case.outputs > 3 and "softcap" in case.attributes,
    ),
    Note(
        "Shrink", ONNX, "'y = x - bias' of integers: it computes them in double", may_overflow,
    ),
    Note(
        "Shape", ONNX,
        "'start' and 'end' are clamped to '[0, r]': it counts from the end once more",
        lambda draw, case, check: any(
            case.attributes.get(name, 0) < -case.inputs[0].ndim for name in ("start", "end")
        ),
    ),
    Note(
        "Resize", (ONNX, ORT),
        "'interpolation': of integers it computes in float32, which does not hold all",
        may_overflow,
    ),
    Note(
        "Normalizer", (ONNX, ORT),
        "'Y' is 'tensor(float)': which numbers of double become infinite before is not said",
        lambda draw, case, check: check == "extremes" and is_double(draw, case, check),
    ),
    Note(
        "LpPool", ONNX, "'tensor(double)': it computes in float32",
        lambda draw, case, check: draw.version == 1 and is_double(draw, case, check),
    ),
    Note(
        "AveragePool LpPool", ONNX,
        "'((kernel_spatial_shape[i] - 1) * dilations[i] + 1)' is the size of a window: with "
        "'VALID' it leaves the dilations out", is_dilated_without_pads,
    ),
    Note(
        "Slice", ONNX,
        "'start' is clamped to '[0, dims[axes[i]]-1]' of negative steps: it takes nothing",
        starts_before_the_first,
    ),
    Note(
        "GlobalMaxPool", ONNX,
        "'output has the same rank as the input': it drops axes of images that do not have two",
    ),
    Note(
        "LRN", ONNX,
        "'i <= min(C - 1, c + ceil((size - 1) / 2))': its windows end one channel early",
    ),
    Note(
        "LabelEncoder", ONNX,
        "'float keys with value NaN match any input NaN value': it does not find them",
    ),
    Note(
        "LinearRegressor Scaler TreeEnsembleRegressor", ONNX,
        "'tensor(float)' is the result: of integers it casts coefficients, scales or leaves to "
        "integers",
        is_integer,
    ),
    Note(
        "LinearClassifier", ONNX,
        "'the transform to apply to the scores vector': that of two classes with one score is not "
        "said; here, as in onnxruntime, there is none but the logistic one",
        lambda draw, case, check: len(case.attributes["intercepts"]) == 1,
    ),
    Note(
        "LinearClassifier", ONNX,
        "'the transform to apply to the scores vector': it takes classes of those transformed, of "
        "which the largest may round to the same",
        in_checks("extremes", "integer overflow"),
    ),
    Note(
        "LinearRegressor", ONNX, "'intercepts are optional': without them it adds NaN",
        lacks("intercepts"),
    ),
    Note(
        "LogSoftmax", ONNX,
        "'log(Softmax(input))': of a softmax that rounds to 0 it is minus infinity",
    ),
    Note(
        "AveragePool LpPool", ONNX,
        "'average' and 'Lp norm on all values of a subset of the input': NaN among them is left "
        "out as if it was padding", NAN,
    ),
    Note(
        "Normalizer", ONNX,
        "'Y = X / max(X)': it divides by the largest absolute value",
        lambda draw, case, check: case.attributes.get("norm", "MAX") == "MAX",
    ),
    Note(
        "OneHotEncoder", ONNX, "'data will be cast to integers': it compares floats",
        in_checks("extremes"),
    ),
    Note(
        "OneHot", ONNX,
        "'on_value' and 'off_value' are written: it computes one from the other, so that "
        "infinities and NaN meet", lambda draw, case, check: not is_finite(case.inputs[2]),
    ),
    Note(
        "QLinearConv", ONNX,
        "'size is (N x C x D1 x D2 ... x Dn)': scales of channels fit images of two axes only",
        lambda draw, case, check: case.inputs[4].size > 1 and case.inputs[0].ndim != 4,
    ),
    Note(
        "QLinearMatMul", ONNX, "'T1' may be float8: it casts these to integers",
        lambda draw, case, check: any("float8" in str(v.dtype) for v in case.inputs),
    ),
    Note(
        "Hardmax LogSoftmax Softmax", ONNX,
        "'input will be coerced into a 2-dimensional tensor' until opset 13: it has newer "
        "versions only",
        lambda draw, case, check: draw.version < 13,
    ),
    Note(
        "Loop", ONNX,
        "'user_defined_vals[i] = user_defined_val': it joins matrices along their rows",
        lambda draw, case, check: np.ndim(case.inputs[2]) > 1,
    ),
    Note(
        "LpNormalization", ONNX, "'Lp-normalization': for p = 1 it does not take absolute values",
        lambda draw, case, check: case.attributes.get("p") == 1,
    ),
    Note(
        "MaxPool", ONNX,
        "'values in indices are in [0, N x C x D1 x ... x Dn)': it counts anew in each channel",
        lambda draw, case, check: case.outputs == 2,
    ),
    Note(
        "MaxPool", ONNX,
        "'pads: [x1_begin, x2_begin...x1_end, x2_end,...]': it mixes begins and ends up",
        pads_differ,
    ),
    Note(
        "ReduceLogSumExp", ONNX,
        "'the log sum exponent' of infinity is infinity: it subtracts this from itself",
        lambda draw, case, check: not is_finite(case.inputs[0]),
    ),
    Note(
        "RoiAlign", ONNX,
        "'output_half_pixel' is 'backward-compatible behavior': it shifts by half a pixel before "
        "opset 16, too",
        lambda draw, case, check: draw.version < 16,
    ),
    Note(
        "PRelu", ONNX, "'f(x) = x for x >= 0': it multiplies zeros by the slope",
        lambda draw, case, check: check == "signed zeros" or not all(map(is_finite, case.inputs)),
    ),
    Note(
        "QuantizeLinear", ONNX,
        "'the precision of the division operation' is said since opset 23 only: before, it takes "
        "the scale's, where here, as in onnxruntime, it is float32",
        lambda draw, case, check: draw.version < 23 and case.inputs[1].dtype in HALVES,
    ),
    Note(
        "QuantizeLinear", ONNX,
        "'saturate((x / y_scale) + y_zero_point)': it casts quotients to int32 before",
        has_large_quotients,
    ),
    Note(
        "Resize", ONNX,
        "'length_resized' is 'the length of the resized tensor': it takes one that is not rounded",
        lambda draw, case, check: (
            case.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        ),
    ),
    Note(
        "Resize", ONNX, "'cubic' of float64: it computes weights in float32",
        lambda draw, case, check: (
            case.attributes["mode"] == "cubic" and case.inputs[0].dtype == np.float64
        ),
    ),
    Note(
        "SVMClassifier", ONNX,
        "of classes that win as many pairs the first is taken, as by LIBSVM, where the operator is "
        "from: of two it takes the other",
    ),
    Note(
        "Unique", ONNX,
        "'in the order of the first occurrence': it sorts the values of a flattened tensor",
        lambda draw, case, check: case.attributes.get("sorted") == 0,
    ),
    Note(
        "Unsqueeze", ONNX,
        "'negative value means counting dimensions from the back' of the result: it adds one axis "
        "after another, and counts from that of each",
        lambda draw, case, check: draw.version == 11 and min(case.attributes["axes"]) < 0,
    ),
    Note("Sum", ONNX, "'element-wise sum': it begins with 0, and 0 + -0 is 0", ZEROS),
    Note(
        "TreeEnsemble TreeEnsembleRegressor", ONNX,
        "'how to aggregate leaf values within a target': it takes 0 for one of them",
        lambda draw, case, check: case.attributes.get("aggregate_function") not in (None, 1, "SUM"),
    ),
    Note(
        "TreeEnsembleClassifier", ONNX,
        "'scores for each class for each prediction': of two classes it gives one",
    ),
]  # fmt: skip
