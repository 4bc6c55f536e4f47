"""Results that the specification leaves open, for which nobody is asked."""

from __future__ import annotations

from .conditions import (
    ALL,
    NAN,
    NOT_FINITE,
    ONNX,
    ORT,
    OWN,
    ZEROS,
    Note,
    casts_to,
    in_checks,
    is_empty,
    is_finite,
    makes_integers_of_nan,
    may_overflow,
)

UNSPECIFIED = [
    Note(
        "Conv", ALL,
        "'implicit padding': whether its zeros meet NaN and infinities of weights is not said",
        lambda draw, case, check: not is_finite(case.inputs[1]),
    ),
    Note(
        "SwiGLU", ALL,
        "how numbers below the smallest normal one are kept is not said; here they are 0 unless "
        "precision is strict", in_checks("extremes"),
    ),
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
            or (check == "extremes" and "int" in casts_to(case).name)
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
        in_checks("infinities"),
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
        lambda draw, case, check: not is_finite(case.inputs[1]),
    ),
    Note(
        "SVMClassifier SVMRegressor", ALL,
        "sums over support vectors, whose order decides which are infinite",
        in_checks("infinities"),
    ),
    Note(
        "QLinearConv QLinearMatMul QuantizeLinear", ALL,
        "'saturates to [0, 255] if it's uint8, or [-128, 127] if it's int8': what NaN becomes, "
        "given or of a scale of 0 or infinity, is not said; here it is 0",
        makes_integers_of_nan,
    ),
    Note(
        "QLinearConv", ALL,
        "sums of 32 bits, as those of ConvInteger: 'accumulation may overflow', it is not said "
        "to what",
        in_checks("extremes", "integer overflow"),
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
        may_overflow,
    ),
    Note(
        "ReduceL2 ReduceMean", ALL,
        "'the L2 norm', 'the mean': it is not said what sums beyond the limits of a type become "
        "on the way",
        may_overflow,
    ),
    Note("Unique", ALL, "'unique values': it is not said whether NaN is equal to NaN", NAN),
    Note(
        "BatchNormalization", ALL,
        "'current_mean = ReduceMean(X)': of an empty set it is undefined",
        lambda draw, case, check: (
            bool(case.attributes.get("training_mode")) and is_empty(draw, case, check)
        ),
    ),
    Note("ReduceMean", ALL, "'reduction over an empty set of values yields undefined'", is_empty),
    Note(
        "Einsum", ALL,
        "'ellipsis to enable broadcasting': a letter has one size, also of 1 and 0, which are "
        "refused here; the others broadcast them", is_empty,
    ),
    Note(
        "GRU LSTM RNN", OWN,
        "'1/(1 + e^-x)' of numbers far below zero is 0, or next to it as in compiled code, which "
        "infinity tells apart", in_checks("infinities"),
    ),
    Note(
        "Resize", ALL,
        "'a weighted average of neighborhood': it is not said whether NaN and infinities of weight "
        "0 count",
        lambda draw, case, check: (
            case.attributes["mode"] != "nearest" and not is_finite(case.inputs[0])
        ),
    ),
    Note(
        "GRU LSTM RNN", ALL,
        "sums of products: what is left of large ones that cancel depends on their order",
        in_checks("extremes"),
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
