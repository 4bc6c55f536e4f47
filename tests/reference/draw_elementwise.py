"""Cases of operators that work element by element, of reductions and of products."""

from __future__ import annotations

import numpy as np

from .drawing import Case, Draw, draws

F32 = np.float32


@draws(
    "Abs Ceil Cos Erf Exp Floor Neg Not Reciprocal Relu Round Sigmoid Sign Sin Softplus Softsign "
    "Tan Tanh Atan Asinh Sinh Cosh BitwiseNot IsNaN Identity Mish HardSwish Shape Size NonZero"
)
def unary(draw: Draw) -> Case:
    leave = "OUSc" if draw.name not in ("Identity", "Shape", "Size") else "USc"
    kind = draw.kind(leave=leave if draw.name != "Erf" else leave + "iub")
    # A scalar has no place to tell, other than in onnxruntime.
    x = draw.array(draw.shape(draw.name == "NonZero"), kind, special=0.3)
    attributes = draw.some(start=draw.int(-5, 5), end=draw.int(-5, 5))
    return Case([x], attributes, tolerance=1e-4 if draw.name == "Tan" else 0.0)


@draws("Acos Asin Atanh")
def within_one(draw: Draw) -> Case:
    kind = draw.kind()
    return Case([np.clip(draw.array(draw.shape(), np.float64, scale=0.4), -0.9, 0.9).astype(kind)])


@draws("Log Sqrt Acosh")
def positive(draw: Draw) -> Case:
    x = draw.array(draw.shape(), draw.kind(), positive=draw.chance(0.8))
    return Case([x + np.ones((), x.dtype) if draw.name == "Acosh" else x])


@draws("Elu Selu Celu LeakyRelu ThresholdedRelu HardSigmoid Shrink Gelu Swish IsInf")
def with_numbers(draw: Draw) -> Case:
    numbers = {
        name: round(float(draw.rng.uniform(0.1, 2)), 2)
        for name in ("alpha", "beta", "gamma", "lambd", "bias")
    }
    attributes = draw.some(
        **numbers,
        approximate=draw.pick(["none", "tanh"]),
        detect_negative=draw.int(0, 1),
        detect_positive=draw.int(0, 1),
    )
    x = draw.array(draw.shape(), draw.kind(), special=0.3, scale=3)
    return Case([x], attributes, absolute=2e-6)


@draws(
    "Add Sub Mul Div Mod Pow PRelu Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor "
    "BitwiseAnd BitwiseOr BitwiseXor BitShift"
)
def binary(draw: Draw) -> Case:
    shape = draw.shape()
    other = draw.broadcast(shape)
    if draw.chance(0.3) and draw.name != "PRelu":
        shape, other = other, shape
    kind = draw.kind(leave="USc" if draw.name == "Equal" else "OUSc")
    a = draw.array(shape, kind, special=0.2)
    attributes = draw.only(direction=draw.pick(["LEFT", "RIGHT"]))
    exact = False
    if draw.name == "Pow":
        kinds = draw.kinds("T1") if draw.version >= 12 else [kind]
        b = kind if kind in kinds and draw.chance(0.5) else draw.pick(kinds)
        exponents = draw.array(other, b)
        exponents = np.clip(exponents.astype(np.float64), 0 if kind.kind in "iu" else -3, 3)
        if kind.kind not in "iu" and draw.chance(0.7):
            a = np.abs(a)
        a = np.clip(a.astype(np.float64), -9, 9).astype(kind)
        return Case([a, exponents.astype(b)], exact=kind != b)
    b = draw.array(other, kind, special=0.2)
    if draw.name in ("Div", "Mod") and kind.kind in "iu":
        b = np.where(b == 0, kind.type(3), b)
        exact = kind.itemsize < 4
    if draw.name == "Mod":
        attributes = {"fmod": 1 if kind.kind not in "iu" else draw.int(0, 1)}
        exact = kind.kind in "iu"
    if draw.name == "BitShift":
        b = b % np.array(8 * kind.itemsize, kind)
    exact = exact or kind.kind in "iu"
    if exact and draw.name in ("Add", "Sub", "Mul") and kind.itemsize >= 4:
        a, b = draw.array(shape, kind, wide=True), draw.array(other, kind, wide=True)
    return Case([a, b], attributes, exact=exact)


@draws("Max Min Sum Mean")
def variadic(draw: Draw) -> Case:
    shape, kind = draw.shape(), draw.kind()
    parts = [
        draw.array(draw.broadcast(shape) if i else shape, kind, special=0.3)
        for i in range(draw.int(1, 4))
    ]
    return Case(parts, exact=kind.kind in "iu")


@draws("Where")
def where(draw: Draw) -> Case:
    shape, kind = draw.shape(), draw.kind(leave="USc", variable="T")
    parts = [draw.array(draw.broadcast(shape), kind, special=0.3) for _ in range(2)]
    return Case([draw.array(shape, bool), *parts], exact=kind.kind in "iu")


@draws("Clip")
def clip(draw: Draw) -> Case:
    x = draw.array(draw.shape(), draw.kind(), wide=True)
    low, high = (draw.array((), x.dtype) for _ in range(2))
    if draw.version < 11:
        return Case([x], draw.some(min=float(min(low, high)), max=float(max(low, high))))
    given = [x, low if draw.chance(0.7) else None, high if draw.chance(0.7) else None]
    return Case(given, exact=x.dtype.kind in "iu")


@draws(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare"
)
def reduction(draw: Draw) -> Case:
    sizes = (
        (0, 1, 2, 3, 5)
        if draw.name not in ("ReduceMax", "ReduceMin", "ReduceMean")
        else (1, 2, 3, 5)
    )
    log = draw.name in ("ReduceLogSum", "ReduceLogSumExp")
    shape, kind = draw.shape(sizes=sizes), draw.kind(leave="OUSciu" if log else "OUSc")
    if draw.chance(0.1) and draw.name != "ReduceProd":
        shape = (draw.int(1, 2), 4100)
    x = draw.array(
        shape,
        kind,
        special=0.2,
        nan=False,
        positive=draw.name == "ReduceLogSum",
        scale=1 if draw.name == "ReduceProd" else 2 if log else draw.pick([2, 300]),
    )
    if draw.name == "ReduceLogSumExp" and draw.chance(0.2) and kind.kind == "f":
        x = np.full(shape, draw.pick([-np.inf, np.inf, 800, -800]), kind)
    if kind.kind in "iu":
        x = np.clip(x, 0, 5).astype(kind)
    axes = draw.axes(len(shape), 0)
    attributes = draw.some(keepdims=draw.int(0, 1), noop_with_empty_axes=draw.int(0, 1))
    if "axes" in draw.schema.attributes:
        return Case([x], attributes | ({"axes": axes} if axes and draw.chance(0.8) else {}))
    given = np.array(axes, np.int64) if draw.chance(0.8) else None
    return Case([x, given], attributes)


@draws("ArgMax ArgMin")
def arg(draw: Draw) -> Case:
    shape = draw.shape(1, 4, sizes=(1, 2, 3, 5))
    x = draw.array(shape, draw.kind())
    axis = draw.axis(len(shape))
    return Case(
        [x], draw.some(axis=axis, keepdims=draw.int(0, 1), select_last_index=draw.int(0, 1))
    )


@draws("CumSum CumProd")
def cumulative(draw: Draw) -> Case:
    shape = draw.shape(1, 3)
    axis = np.array(draw.axis(len(shape)), draw.pick([np.int32, np.int64]))
    if draw.chance(0.1) and draw.name == "CumSum":
        shape = (1, 4100)[-len(shape) :] + shape[2:]
    x = draw.array(shape, draw.kind())
    return Case([x, axis], draw.some(exclusive=draw.int(0, 1), reverse=draw.int(0, 1)))


@draws("Softmax LogSoftmax Hardmax LpNormalization")
def along_an_axis(draw: Draw) -> Case:
    least = 2 if draw.version < 13 and draw.name != "LpNormalization" else 1
    shape = draw.shape(least, 4, sizes=(1, 2, 3, 5))
    if draw.chance(0.1):
        shape = (2, 4100)
    x = draw.array(shape, draw.kind(), scale=draw.pick([2, 100]))
    attributes = draw.some(axis=draw.axis(len(shape)), p=draw.int(1, 2))
    if draw.name == "LpNormalization" and draw.chance(0.2):
        x[...] = 0
    return Case([x], attributes)


@draws("MatMul")
def product(draw: Draw) -> Case:
    kind = draw.kind()
    n, k, m = (draw.pick([0, 1, 2, 5, 7]) for _ in range(3))
    k = draw.pick([k or 1, 4100 if draw.chance(0.2) else 3])
    batch = draw.shape(0, 2, sizes=(1, 2, 3))
    a, b = (*batch, n, k), (*draw.broadcast(batch), k, m)
    if draw.chance(0.2):
        a = (k,)
    if draw.chance(0.2):
        b = (k,)
    return Case([draw.array(s, kind) for s in (a, b)])


@draws("Gemm")
def gemm(draw: Draw) -> Case:
    kind = draw.kind()
    n, k, m = (draw.pick([1, 2, 5, 7]) for _ in range(3))
    attributes = draw.some(transA=draw.int(0, 1), transB=draw.int(0, 1))
    if kind.kind not in "iu":
        attributes |= draw.some(alpha=0.5, beta=draw.pick([0.0, 2.0]))
    a = (k, n) if attributes.get("transA") else (n, k)
    b = (m, k) if attributes.get("transB") else (k, m)
    c = draw.array(draw.broadcast((n, m)), kind) if draw.version < 11 or draw.chance(0.7) else None
    return Case([draw.array(a, kind), draw.array(b, kind), c])


@draws("Einsum")
def einsum(draw: Draw) -> Case:
    kind = draw.kind()
    sizes = {letter: draw.int(1, 4) for letter in "abcij"}
    equation = draw.pick(
        [
            "ij,jk->ik",
            "ij->ji",
            "ii->i",
            "ii",
            "ij->",
            "bij,bjc->bic",
            "...ij,...jc->...ic",
            "i,j->ij",
            "ij,ij",
            " b i j , j a -> b a i ",
            "a,b,c->abc",
            "...i->...",
            "ij",
        ]
    )
    sizes["k"] = draw.int(1, 4)
    left = equation.split("->")[0].replace(" ", "").split(",")
    batch = draw.shape(0, 2, sizes=(1, 2))
    shapes = [
        tuple(n for part in ([batch] if t.startswith("...") else []) for n in part)
        + tuple(sizes[letter] for letter in t.replace("...", ""))
        for t in left
    ]
    return Case([draw.array(s, kind) for s in shapes], {"equation": equation})


@draws("Cast CastLike")
def cast(draw: Draw) -> Case:
    kind = draw.kind(leave="USc")
    target = draw.kind("T2", leave="USc")
    if kind.kind == "O":
        text = (
            ["1", "-7", "12"] if target.kind != "f" else ["1.5", "-2e3", "NaN", "inf", "-INF", "7"]
        )
        x = draw.rng.choice(np.array(text, object), draw.shape(1, 2))
        if (
            target.kind == "b"
            or target.kind == "u"
            or target.name[:4] in ("int4", "uint", "bflo", "floa")
        ):
            target = np.dtype(F32) if target.kind != "f" else target
    else:
        x = draw.array(draw.shape(), kind, special=0.3 if target.kind not in "iu" else 0)
        if kind.kind not in "iub" and (target.kind == "u" or target.name.startswith("uint")):
            x = np.abs(x)
        if target.name in ("uint4", "int4") and kind.kind not in "iub":
            x = np.round(x.astype(F32)).astype(kind)  # there is no rule of rounding
        if target.kind == "O":
            values = [0, 1, 2, 5, -7] if kind.kind in "iub" else [1.5, 0.25, -3.75]
            x = draw.rng.choice(np.array(values), x.shape).astype(kind)
            if kind.kind in "u":
                x = np.abs(x).astype(kind) % 4
        if kind.name[:6] in ("float8", "float4") and target.name in ("uint4", "int4"):
            target = np.dtype(F32)  # there is no rule of rounding
        if kind.kind not in "iub" and target.name in ("uint4", "int4"):
            x = np.clip(x.astype(F32), 0, 7).astype(kind)
    import onnx

    code = onnx.helper.np_dtype_to_tensor_dtype(target)
    attributes = draw.some(saturate=draw.int(0, 1))
    if draw.name == "CastLike":
        like = np.array([""], object) if target.kind == "O" else np.zeros(1, target)
        return Case([x, like], attributes, exact=True)
    to = int(code) if draw.version >= 6 else onnx.TensorProto.DataType.Name(code)
    return Case([x], attributes | {"to": to}, exact=True)


@draws("Dropout")
def dropout(draw: Draw) -> Case:
    x = draw.array(draw.shape(), draw.kind())
    if draw.version < 12:
        return Case([x], draw.some(ratio=0.3))
    outputs = draw.int(1, 2)
    ratio = draw.array((), draw.kind("T1"), positive=True) if draw.chance(0.5) else None
    if ratio is not None:
        ratio = (ratio * 0 + 0.25).astype(ratio.dtype)
    return Case(
        [x, ratio, np.array(False) if draw.chance(0.5) else None], draw.some(seed=1), outputs
    )
