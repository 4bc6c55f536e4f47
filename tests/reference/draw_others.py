"""Cases of quantization, strings, sequences and optional values."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from .draw_movement import ints
from .drawing import STRINGS, Case, Draw, draws

F32 = np.float32


@draws("QuantizeLinear DequantizeLinear")
def quantize(draw: Draw) -> Case:
    back = draw.name == "DequantizeLinear"
    zero_name = {
        True: "T" if draw.version < 19 else "T1",
        False: "T2" if draw.version < 23 else "T3",
    }[back]
    if back:
        whole, real = draw.kind(zero_name), np.dtype(F32)
        if draw.version >= 19:
            real = draw.kind("T2")
    else:
        whole = draw.kind(zero_name)
        real = draw.kind("T1") if draw.version >= 19 else np.dtype(F32)
    if real.kind in "iu":
        real = np.dtype(F32)
    shape = draw.shape(0, 4, (1, 2, 4, 6))
    attributes: dict[str, object] = {}
    per: tuple[int, ...] = ()
    if draw.version >= 13 and shape and draw.chance(0.6):
        axis = draw.axis(len(shape))
        attributes["axis"] = axis
        size = shape[axis]
        per = (size,)
        if draw.version >= 21 and draw.chance(0.4):
            block = draw.pick([b for b in (1, 2, 3, 4) if b <= size])
            attributes["block_size"] = block
            blocks = list(shape)
            blocks[axis] = -(-size // block)
            per = tuple(blocks)
    scale = draw.array(per, real, positive=True)
    x = draw.array(shape, whole if back else real, scale=draw.pick([2, 100]) if not back else 2)
    if not back and draw.chance(0.3) and whole.kind in "iu":
        x = (x * draw.pick([1e4, 1e9])).astype(real) if real.itemsize > 2 else x
    zero = draw.array(per, whole) if draw.chance(0.7) or (not back and whole != np.uint8) else None
    if zero is not None and whole.kind not in "iu" and not whole.name.startswith(("int", "uint")):
        zero = zero * np.zeros((), whole)
    if back and whole == np.int32:
        zero = None
    return Case([x, scale, zero], attributes, exact=True)


@draws("DynamicQuantizeLinear")
def dynamic(draw: Draw) -> Case:
    return Case([draw.array(draw.shape(0, 3, (1, 2, 5)), F32, scale=draw.pick([0, 1, 1e6]))], {}, 3)


@draws("MatMulInteger QLinearMatMul")
def integer_products(draw: Draw) -> Case:
    a, b = (draw.kind(v) for v in ("T1", "T2"))
    n, k, m = (draw.int(1, 4) for _ in range(3))
    batch = draw.shape(0, 1, (2, 3))
    left, right = draw.array((*batch, n, k), a), draw.array((k, m), b)
    if draw.name == "MatMulInteger":
        zero_a = draw.array((), a) if draw.chance(0.7) else None
        zero_b = (
            draw.array(draw.pick([(), (m,)]), b)
            if zero_a is not None and draw.chance(0.6)
            else None
        )
        return Case([left, right, zero_a, zero_b], exact=True)
    real = F32
    right = np.abs(right) if b == np.int8 and a == np.uint8 and draw.chance(0.3) else right
    per = draw.pick([(), (m,)])
    y = a
    scales = [draw.array(s, real, positive=True) for s in ((), per, ())]
    zero_b = draw.array(per, b) * b.type(b != np.int8)
    return Case(
        [
            left,
            scales[0],
            draw.array((), a),
            right,
            scales[1],
            zero_b,
            scales[2],
            draw.array((), y),
        ],
        exact=True,
    )


@draws("StringNormalizer")
def normalizer(draw: Draw) -> Case:
    shape = draw.pick([(4,), (1, 4), (1,)])
    words = draw.rng.choice(np.array([w for w in STRINGS[1:] if w.isascii()], object), shape)
    attributes = {"locale": "C"} | draw.some(
        case_change_action=draw.pick(["NONE", "LOWER", "UPPER"]),
        is_case_sensitive=draw.int(0, 1),
        stopwords=draw.pick([["a"], ["AB", "x"], ["ab"]]),
    )
    return Case([words], attributes)


@draws("StringConcat")
def string_concat(draw: Draw) -> Case:
    shape = draw.shape()
    return Case([draw.array(shape, object), draw.array(draw.broadcast(shape), object)])


@draws("StringSplit")
def string_split(draw: Draw) -> Case:
    texts = np.array(["a b c", "", " a  b ", "x,y,,z", "one", "a--b-c", ",x"], object)
    x = draw.rng.choice(texts, draw.shape(0, 2))
    return Case(
        [x if isinstance(x, np.ndarray) else np.array(x, object)],
        draw.some(delimiter=draw.pick([",", "-", "--", "", " "]), maxsplit=draw.int(1, 3)),
        2,
    )


@draws("RegexFullMatch")
def regex(draw: Draw) -> Case:
    x = draw.array(draw.shape(), object)
    pattern = draw.pick(
        [r"[a-z]*", r".*x.*", r"(a|Ab)+", r"\w+ \w+", r"\d{1,3}", r"", r"(?i)AB", r"[^,]+", r"a?b?"]
    )
    return Case([x], {"pattern": pattern})


@draws("TfIdfVectorizer")
def tfidf(draw: Draw) -> Case:
    low = draw.int(1, 2)
    high = draw.int(low, 2)
    pairs = [(1, 2), (2, 3), (3, 4)]
    attributes = {
        "mode": draw.pick(["TF", "IDF", "TFIDF"]),
        "min_gram_length": low,
        "max_gram_length": high,
        "max_skip_count": draw.int(0, 2),
        "ngram_counts": [0, 4],
        "ngram_indexes": list(range(7)),
    } | draw.some(weights=[round(float(v), 2) for v in draw.rng.random(7)])
    grams = [1, 2, 3, 4, *[v for pair in pairs for v in pair]]
    shape = draw.pick([(6,), (2, 5), (1, 4)])
    values = draw.rng.integers(1, 5, shape)
    if draw.chance(0.5):
        attributes["pool_strings"] = [f"w{v}" for v in grams]
        return Case(
            [np.array([f"w{v}" for v in values.reshape(-1)], object).reshape(shape)], attributes
        )
    attributes["pool_int64s"] = grams
    return Case([values.astype(draw.pick([np.int32, np.int64]))], attributes)


def sequence(draw: Draw, low: int = 0) -> list[np.ndarray]:
    kind = draw.pick([np.float32, np.int64, object])
    return [draw.array(draw.shape(1, 2), kind) for _ in range(draw.int(max(low, 1), 4))]


@draws("SequenceAt SequenceErase SequenceLength SequenceInsert SequenceConstruct")
def sequences(draw: Draw) -> Case:
    parts = sequence(draw)
    count = len(parts)
    if draw.name == "SequenceConstruct":
        return Case([*parts])
    if draw.name == "SequenceLength":
        return Case([parts])
    kind = draw.pick([np.int32, np.int64])
    if draw.name == "SequenceInsert":
        new = draw.array(draw.shape(1, 2), parts[0].dtype)
        at = np.array(draw.int(-count, count), kind) if draw.chance(0.7) else None
        return Case([parts, new, at], exact=True)
    at = np.array(draw.int(-count, count - 1), kind)
    return Case(
        [parts, None if draw.name == "SequenceErase" and draw.chance(0.3) else at], exact=True
    )


@draws("SequenceEmpty")
def empty(draw: Draw) -> Case:
    return Case([], draw.some(dtype=draw.pick([1, 7, 8])))


@draws("ConcatFromSequence")
def joined(draw: Draw) -> Case:
    shape = list(draw.shape(1, 3, (1, 2, 3)))
    kind, new = draw.pick([np.float32, np.int64, object]), draw.chance(0.5)
    axis = draw.int(-len(shape) - 1, len(shape)) if new else draw.axis(len(shape))
    parts = []
    for _ in range(draw.int(1, 3)):
        if not new:
            shape[axis] = draw.int(1, 3)
        parts.append(draw.array(shape, kind))
    return Case([parts], {"axis": axis, "new_axis": int(new)})


@draws("Optional")
def optional(draw: Draw) -> Case:
    return Case([draw.array(draw.shape(), np.float32)])


@draws("OptionalHasElement OptionalGetElement")
def optional_element(draw: Draw) -> Case:
    x = draw.array(draw.shape(), draw.pick([np.float32, np.int64, object]))
    return Case([[x] if draw.chance(0.3) else x], exact=True)


@draws("SequenceMap")
def mapped(draw: Draw) -> Case:
    body = helper.make_graph(
        [helper.make_node("Add", ["a", "a"], ["b"])],
        "body",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    return Case(
        [[draw.array(draw.shape(1, 2), F32) for _ in range(draw.int(1, 3))]], {"body": body}
    )


@draws("If")
def branches(draw: Draw) -> Case:
    def graph(name: str, value: float) -> object:
        tensor = helper.make_tensor("value", TensorProto.FLOAT, [], [value])
        node = helper.make_node("Constant", [], [name], value=tensor)
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [])]
        )

    return Case(
        [np.array(draw.chance(0.5)).reshape(draw.pick([(), (1,)]))],
        {"then_branch": graph("p", 1.0), "else_branch": graph("q", 2.0)},
    )


@draws("Loop")
def loop(draw: Draw) -> Case:
    state = np.abs(draw.array(draw.shape(1, 2, (1, 2)), F32))
    body = helper.make_graph(
        [
            helper.make_node("Add", ["s", "s"], ["t"]),
            helper.make_node("ReduceSum", ["t"], ["total"], keepdims=0),
            helper.make_node("Less", ["total", "limit"], ["going"]),
            helper.make_node("Identity", ["t"], ["scan"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("scan", TensorProto.FLOAT, state.shape),
        ],
        [helper.make_tensor("limit", TensorProto.FLOAT, [], [40.0])],
    )
    trips = ints(draw.int(0, 5)).reshape(draw.pick([(), (1,)])) if draw.chance(0.8) else None
    going = np.array(draw.chance(0.8)) if trips is None or draw.chance(0.5) else None
    return Case([trips, going, state], {"body": body}, 2)


@draws("Scan")
def scan(draw: Draw) -> Case:
    rank, count = draw.int(1, 3), draw.int(1, 2)
    steps, rest = draw.int(1, 4), [draw.int(1, 3) for _ in range(rank - 1)]
    axes = [draw.axis(rank) for _ in range(count)]
    parts = []
    for axis in axes:
        shape = list(rest)
        shape.insert(axis % rank, steps)
        parts.append(draw.array(shape, F32))
    names = [f"e{i}" for i in range(count)]
    nodes = [
        helper.make_node("Sum", ["s", *names], ["t"]),
        helper.make_node("Identity", ["t"], ["o"]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("s", *names)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("t", "o")],
    )
    attributes = {"body": body, "num_scan_inputs": count, "scan_input_axes": axes} | draw.some(
        scan_input_directions=[draw.int(0, 1) for _ in axes],
        scan_output_directions=[draw.int(0, 1)],
        scan_output_axes=[draw.axis(rank)],
    )
    if draw.version == 8:
        attributes = {"body": body, "num_scan_inputs": count} | draw.some(
            directions=[draw.int(0, 1) for _ in axes]
        )
        batch = draw.int(1, 2)
        parts = [draw.array((batch, steps, *rest), F32) for _ in parts]
        return Case([None, draw.array((batch, *rest), F32), *parts], attributes, 2)
    return Case([draw.array(rest, F32), *parts], attributes, 2)
