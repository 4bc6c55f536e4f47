"""Where onnx.reference or onnxruntime differs from the standard, and why it is not asked there.

The specification decides: each reason says what it has, its own words in quotation marks, and then
what the witness does instead. Where it leaves results open, nobody is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from ..reference.drawing import HALVES, Case, Draw
from .changes import is_float

ONNX, ORT = "onnx.reference", "onnxruntime"
OWN = "sardonyx.reference"
ALL = (ONNX, ORT, OWN)
When = Callable[[Draw, Case, str], bool]


@dataclass(frozen=True)
class Note:
    """A difference: of which operators and witnesses, what the specification has, and when."""

    operators: str
    witnesses: str | tuple[str, ...]
    reason: str
    when: When = lambda draw, case, check: True


def _in_checks(*names: str) -> When:
    return lambda draw, case, check: check in names


def _given(index: int) -> When:
    return lambda draw, case, check: len(case.inputs) > index and case.inputs[index] is not None


def _has(name: str) -> When:
    return lambda draw, case, check: name in case.attributes


def _lacks(name: str) -> When:
    return lambda draw, case, check: name not in case.attributes


def _is_integer(draw: Draw, case: Case, check: str) -> bool:
    return case.inputs[0].dtype.kind in "iu"


def _casts_to(case: Case) -> np.dtype:
    """Return the type that a Cast or CastLike gives; strings are objects."""
    code = case.attributes.get("to")
    if isinstance(code, str):  # its name, in the first version
        code = TensorProto.DataType.Value(code)
    return case.inputs[1].dtype if code is None else tensor_dtype_to_np_dtype(code)


def _may_overflow(draw: Draw, case: Case, check: str) -> bool:
    return check in ("extremes", "integer overflow") and _is_integer(draw, case, check)


def _pads_differ(draw: Draw, case: Case, check: str) -> bool:
    pads = case.attributes.get("pads", ())
    return pads[: len(pads) // 2] != pads[len(pads) // 2 :]


def _is_empty(draw: Draw, case: Case, check: str) -> bool:
    return any(np.size(value) == 0 for value in case.inputs if value is not None)


def _is_finite(value: Any) -> bool:
    """Tell whether an input has neither NaN nor infinities."""
    return bool(np.isfinite(np.asarray(value).astype(np.float64)).all())


def _makes_integers_of_nan(draw: Draw, case: Case, check: str) -> bool:
    """Tell whether NaN may be quantized to an integer."""
    kinds = [value.dtype.name for value in case.inputs if value is not None]
    if any(kind.startswith(("float8", "float4")) for kind in kinds):
        return False
    scales = [v for v in case.inputs[1:] if v is not None and is_float(v.dtype)]
    return check == "NaN" or not all(_is_finite(scale) and scale.all() for scale in scales)


def _has_large_quotients(draw: Draw, case: Case, check: str) -> bool:
    """Tell whether a number may have more units of its scale than int32 or a half holds."""
    x, scale = (np.abs(value.astype(np.float64)) for value in case.inputs[:2])
    limit = min(2**30, float(ml_dtypes.finfo(case.inputs[1].dtype).max))
    return bool(x.size and scale.size and not x.max() < limit * scale.min())


NAN = _in_checks("NaN")
NOT_FINITE = _in_checks("NaN", "infinities")
ZEROS = _in_checks("signed zeros")

# --- what the specification leaves open -----------------------------------------------------------

_OPEN = [
    Note(
        "ArgMax ArgMin DynamicQuantizeLinear Hardmax TopK", ALL,
        "largest and smallest elements: NaN has no place in an order of numbers", NAN,
    ),
    Note(
        "ArgMax ArgMin", ALL,
        "'accepted range is [-r, r - 1]': no axis of a scalar; newer versions take it, too",
        lambda draw, case, check: check == "scalars" and draw.version == 11,
    ),
    Note(
        "GlobalMaxPool MaxPool MaxRoiPool", ALL,
        "'max pooling': nothing is said of NaN; here it is the largest, as for Max and in PyTorch",
        NAN,
    ),
    Note(
        "Cast CastLike", ALL,
        "'casting from floating point to fixed point: undefined if OOR (out of range)'",
        lambda draw, case, check: (
            NOT_FINITE(draw, case, check)
            or (check == "extremes" and "int" in _casts_to(case).name)
        ),
    ),
    Note(
        "Celu Clip Max Min Relu Selu Sign", ALL,
        "'max(0, x)', 'alpha * e^x - alpha', 'if input == 0, output 0': zeros of both signs are "
        "equal", ZEROS,
    ),
    Note(
        "Det", ONNX,
        "a determinant is a sum of products: the order says which zero a sum of zeros is", ZEROS,
    ),
    Note(
        "Det", ALL, "a sum of products of sums: the order decides which infinities meet",
        _in_checks("infinities"),
    ),
    Note(
        "DFT STFT", ALL,
        "sums whose order and factors are not said: these decide which of them NaN and infinities "
        "reach", NOT_FINITE,
    ),
    Note(
        "ConvTranspose DeformConv", ALL,
        "it is not said whether zeros beyond the image are multiplied by weights that are NaN or "
        "infinite",
        lambda draw, case, check: not _is_finite(case.inputs[1]),
    ),
    Note(
        "SVMClassifier SVMRegressor", ALL,
        "sums over support vectors, whose order decides which are infinite",
        _in_checks("infinities"),
    ),
    Note(
        "QLinearConv QLinearMatMul QuantizeLinear", ALL,
        "'saturates to [0, 255] if it's uint8, or [-128, 127] if it's int8': what NaN becomes, "
        "given or of a scale of 0 or infinity, is not said; here it is 0",
        _makes_integers_of_nan,
    ),
    Note(
        "QLinearConv", ALL,
        "sums of 32 bits, as those of ConvInteger: 'accumulation may overflow', it is not said "
        "to what",
        _in_checks("extremes", "integer overflow"),
    ),
    Note(
        "RMSNormalization", ALL,
        "'Y' has the type of 'scale', onnx infers that of 'X': such models are refused",
        lambda draw, case, check: case.inputs[0].dtype != case.inputs[1].dtype,
    ),
    Note(
        "Attention", ALL,
        "keys that a query does not see: whether their values are multiplied by 0 or left out is "
        "said only by a body, which may be computed in other ways", NOT_FINITE,
    ),
    Note(
        "Pow ReduceL1 ReduceProd ReduceSum ReduceSumSquare", ORT,
        "'x^exponent', 'the sum', 'the product': it is not said what integers beyond the limits of "
        "a type become; here they wrap, as in onnx.reference",
        _may_overflow,
    ),
    Note(
        "ReduceL2 ReduceMean", ALL,
        "'the L2 norm', 'the mean': it is not said what sums beyond the limits of a type become "
        "on the way",
        _may_overflow,
    ),
    Note("Unique", ALL, "'unique values': it is not said whether NaN is equal to NaN", NAN),
    Note(
        "BatchNormalization", ALL,
        "'current_mean = ReduceMean(X)': of an empty set it is undefined",
        lambda draw, case, check: (
            bool(case.attributes.get("training_mode")) and _is_empty(draw, case, check)
        ),
    ),
    Note("ReduceMean", ALL, "'reduction over an empty set of values yields undefined'", _is_empty),
    Note(
        "Einsum", ALL,
        "'ellipsis to enable broadcasting': a letter has one size, also of 1 and 0, which are "
        "refused here; the others broadcast them", _is_empty,
    ),
    Note(
        "GRU LSTM RNN", OWN,
        "'1/(1 + e^-x)' of numbers far below zero is 0, or next to it as in compiled code, which "
        "infinity tells apart", _in_checks("infinities"),
    ),
    Note(
        "Resize", ALL,
        "'a weighted average of neighborhood': it is not said whether NaN and infinities of weight "
        "0 count",
        lambda draw, case, check: (
            case.attributes["mode"] != "nearest" and not _is_finite(case.inputs[0])
        ),
    ),
    Note(
        "GRU LSTM RNN", ALL,
        "sums of products: what is left of large ones that cancel depends on their order",
        _in_checks("extremes"),
    ),
    Note(
        "Selu", ALL,
        "'default to 1.6732', 'default to 1.0507': newer versions have more digits",
        lambda draw, case, check: draw.version == 1,
    ),
    Note(
        "Resize", (ONNX, OWN),
        "the precision of coordinates is not said: of two pixels as near float64 may take the "
        "other than float32, in which onnxruntime computes them, too",
        lambda draw, case, check: case.attributes["mode"] == "nearest",
    ),
]  # fmt: skip

# --- onnx.reference -------------------------------------------------------------------------------

_REFERENCE = [
    Note(
        "AveragePool", ONNX,
        "'divided by the number of elements exclude pad': it divides by all",
        lambda draw, case, check: draw.version == 1,
    ),
    Note(
        "Compress NonZero", ONNX,
        "'tensor of rank r >= 1', and '(0, N)' of a scalar: it gives rows", _in_checks("scalars"),
    ),
    Note(
        "BatchNormalization", ONNX,
        "'Output case #2: Y (test mode)': it moves mean and variance on by those of the batch",
        lambda draw, case, check: draw.version == 9,
    ),
    Note(
        "Cast CastLike", (ONNX, OWN),
        "'plain floating-point representation': with how many digits is not said",
        lambda draw, case, check: _casts_to(case).kind == "O",
    ),
    Note(
        "Clip", ONNX,
        "limits 'default to numeric_limits::lowest() and numeric_limits::max()': infinity stays",
        _in_checks("infinities"),
    ),
    Note(
        "Conv", ONNX,
        "'dilation value along each spatial axis of the filter': it multiplies by zeros between "
        "the weights, which NaN and infinities between them reach", NOT_FINITE,
    ),
    Note(
        "ConvTranspose", ONNX,
        "'bias to be added to the convolution, has size of M': of groups it adds that of one",
        _has("group"),
    ),
    Note(
        "DynamicQuantizeLinear", ONNX,
        "'y = saturate(round(x / y_scale) + y_zero_point)' of zeros divides by a scale of 0: "
        "here it is 1, as onnxruntime has it",
    ),
    Note(
        "GRU LSTM RNN", ONNX, "'lengths of the sequences in a batch': it ignores them", _given(4),
    ),
    Note(
        "GRU LSTM RNN", ONNX,
        "'Xt*(Wi^T) + Ht-1*(Ri^T)': its products leave out zeros times infinity",
        _in_checks("infinities"),
    ),
    Note(
        "Gemm", ONNX,
        "'alpha * A' * B' + beta * C' of integers: it multiplies them by numbers of double",
        _in_checks("extremes", "integer overflow"),
    ),
    Note(
        "GridSample", ONNX,
        "'bicubic interpolation': it keeps what it makes of rows of double in float32",
        lambda draw, case, check: str(case.attributes.get("mode")).endswith("cubic"),
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
        _is_integer,
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
        _in_checks("extremes", "integer overflow"),
    ),
    Note(
        "LinearRegressor", ONNX, "'intercepts are optional': without them it adds NaN",
        _lacks("intercepts"),
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
        _in_checks("extremes"),
    ),
    Note(
        "OneHot", ONNX,
        "'on_value' and 'off_value' are written: it computes one from the other, so that "
        "infinities and NaN meet", lambda draw, case, check: not _is_finite(case.inputs[2]),
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
        _pads_differ,
    ),
    Note(
        "ReduceLogSumExp", ONNX,
        "'the log sum exponent' of infinity is infinity: it subtracts this from itself",
        lambda draw, case, check: not _is_finite(case.inputs[0]),
    ),
    Note(
        "RoiAlign", ONNX,
        "'output_half_pixel' is 'backward-compatible behavior': it shifts by half a pixel before "
        "opset 16, too",
        lambda draw, case, check: draw.version < 16,
    ),
    Note(
        "PRelu", ONNX, "'f(x) = x for x >= 0': it multiplies zeros by the slope",
        _in_checks("signed zeros", "NaN", "infinities"),
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
        _has_large_quotients,
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

# --- onnxruntime ----------------------------------------------------------------------------------

_ONNXRUNTIME = [
    Note(
        "BatchNormalization", ORT,
        "'Y = (X - input_mean) / sqrt(input_var + epsilon) * scale + B': it multiplies out, so "
        "that infinities of mean and scale meet, and large numbers are lost",
        _in_checks("infinities", "extremes"),
    ),
    Note(
        "Clip", ORT, "limits of the type: where it has no kernel it is asked in float32",
        lambda draw, case, check: check == "infinities" and case.inputs[0].dtype != np.float32,
    ),
    Note("Compress", ORT, "'tensor of rank r >= 1'", _in_checks("scalars")),
    Note(
        "Compress", ORT, "'behaves like numpy.compress': it gives shapes of its own", _is_empty,
    ),
    Note(
        "Clip ReduceMax ReduceMin", ORT,
        "'equivalent to Min(max, Max(input, min))', 'similar to numpy': NaN stays; it gives a "
        "number", NAN,
    ),
    Note(
        "Div Mod", ORT, "the least integer divided by -1 ends its process", _in_checks("extremes"),
    ),
    Note(
        "DynamicQuantizeLinear", ORT,
        "'y_scale = (maximum(0, max(x)) - minimum(0, min(x))) / (qmax - qmin)': a scale that is a "
        "denormal it takes for 0", _in_checks("extremes"),
    ),
    Note(
        "Einsum", ORT, "'reduce-sum' of integers: it sums them in floats",
        _in_checks("extremes", "integer overflow"),
    ),
    Note(
        "FeatureVectorizer GRU InstanceNormalization LSTM RoiAlign Unique", ORT,
        "it ends the process for tensors without elements", _is_empty,
    ),
    Note(
        "QLinearMatMul", ORT,
        "'y = saturate((x / y_scale) + y_zero_point)': of no products it is 0, not the zero point",
        _is_empty,
    ),
    Note(
        "RNN", ORT, "'the last output value of the hidden': of no steps it is 0, not 'initial_h'",
        _is_empty,
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
        "'square_sum' is of one window: its running sums carry NaN and infinities to others",
        NOT_FINITE,
    ),
    Note(
        "LayerNormalization", ORT,
        "'Mean = ReduceMean(X)': of infinity it gives NaN",
        lambda draw, case, check: check == "infinities" and case.outputs > 1,
    ),
    Note(
        "LinearRegressor", ORT,
        "'coefficients of length n' for each target: without features it takes any number",
        _is_empty,
    ),
    Note(
        "LogSoftmax", ORT,
        "'log of softmax' until opset 13: of double it gives numbers for NaN and infinity",
        lambda draw, case, check: draw.version < 13 and NOT_FINITE(draw, case, check),
    ),
    Note(
        "MatMulInteger", ORT, "'matrix product': a sum of nothing is 0, it writes none", _is_empty,
    ),
    Note(
        "NonZero", ORT, "'for scalar input, NonZero produces output shape (0, N)': it gives a row",
        _in_checks("scalars"),
    ),
    Note(
        "Normalizer", ORT, "'Y = X / max(X)', 'sum(X)': it does not see NaN and infinities",
        NOT_FINITE,
    ),
    Note(
        "ReduceLogSumExp", ORT,
        "'the log sum exponent': it overflows where the result does not",
    ),
    Note(
        "Shrink", ORT,
        "'if x > lambd, y = x - bias': it computes integers in float, which does not hold all",
        _in_checks("extremes", "integer overflow"),
    ),
    Note(
        "ReduceMax ReduceMin", ORT,
        "'or the minimum value of the data type otherwise': where it has no kernel it is asked in "
        "another type",
        lambda draw, case, check: _is_empty(draw, case, check) and _is_integer(draw, case, check),
    ),
    Note(
        "ScatterElements ScatterND", ORT,
        "'reduction using the minimum operation', of which NaN is NaN: it gives a number",
        lambda draw, case, check: (
            case.attributes.get("reduction") in ("max", "min") and not _is_finite(case.inputs[0])
        ),
    ),
    Note("Where", ORT, "'elements, either from X or Y': it adds zeros, and -0 becomes 0", ZEROS),
]  # fmt: skip

NOTES = [*_OPEN, *_REFERENCE, *_ONNXRUNTIME]
"""What is known. Where a reason says nothing of the other witness, that one is right."""


def noted(draw: Draw, case: Case, check: str, witness: str) -> Note | None:
    """Return the note for which a witness is not asked about a case."""
    for note in NOTES:
        is_meant = draw.name in note.operators.split() and witness in note.witnesses
        if is_meant and note.when(draw, case, check):
            return note
    return None
