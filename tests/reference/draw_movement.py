"""Cases of operators that move, choose and arrange elements."""

from __future__ import annotations

import math

import numpy as np

from .drawing import Case, Draw, draws

INDICES = (np.int32, np.int64)
ANY = "USc"


def content(
    draw: Draw, low: int = 1, high: int = 4, sizes: tuple[int, ...] = (0, 1, 2, 3, 4)
) -> np.ndarray:
    return draw.array(draw.shape(low, high, sizes), draw.kind(leave=ANY), wide=True)


def ints(values: object) -> np.ndarray:
    return np.array(values, np.int64)


@draws("Concat")
def concat(draw: Draw) -> Case:
    shape = list(draw.shape(1, 4))
    axis, kind = draw.axis(len(shape)), draw.kind(leave=ANY)
    parts = []
    for _ in range(draw.int(1, 4)):
        shape[axis] = draw.int(0, 3)
        parts.append(draw.array(shape, kind))
    return Case(parts, {"axis": axis})


@draws("Reshape")
def reshape(draw: Draw) -> Case:
    x = content(draw, 0)
    count = x.size
    shape = [n for n in draw.rng.permutation(list(x.shape)).tolist()]
    if draw.chance(0.5):
        shape = [*shape, 1]
    attributes = draw.some(allowzero=draw.int(0, 1)) if 0 not in x.shape else {}
    if 0 in x.shape:
        shape = list(x.shape) if draw.version < 14 or draw.chance(0.5) else shape
        attributes = {"allowzero": 1} if shape != list(x.shape) else {}
    elif shape and draw.chance(0.5):
        shape[draw.int(0, len(shape) - 1)] = -1
    assert count >= 0
    return Case([x, ints(shape)], attributes)


@draws("Transpose")
def transpose(draw: Draw) -> Case:
    x = content(draw, 0)
    return Case(
        [x], draw.some(perm=[int(i) for i in draw.rng.permutation(x.ndim)]) if x.ndim else {}
    )


@draws("Squeeze Unsqueeze")
def unit_axes(draw: Draw) -> Case:
    kind = draw.kind(leave=ANY)
    shape = list(draw.shape(0, 3, (0, 2, 3)))
    rank = len(shape) + draw.int(1, 2)
    axes = sorted(draw.rng.permutation(rank)[: rank - len(shape)].tolist())
    if draw.name == "Squeeze":
        for axis in axes:
            shape.insert(axis, 1)
    given = [a - rank if draw.chance(0.4) and draw.version >= 11 else a for a in axes]
    x = draw.array(shape, kind)
    if draw.version < 13:
        return Case([x], {"axes": given} if draw.name == "Unsqueeze" or draw.chance(0.7) else {})
    return Case([x, ints(given) if draw.name == "Unsqueeze" or draw.chance(0.7) else None])


@draws("Flatten")
def flatten(draw: Draw) -> Case:
    x = content(draw, 1)
    low = -x.ndim if draw.version >= 11 else 0
    return Case([x], draw.some(axis=draw.int(low, x.ndim)))


@draws("Expand")
def expand(draw: Draw) -> Case:
    shape = draw.shape()
    x = draw.array(draw.broadcast(shape), draw.kind(leave=ANY))
    return Case([x, ints(shape if draw.chance(0.5) else draw.broadcast(shape))])


@draws("Tile")
def tile(draw: Draw) -> Case:
    x = content(draw, 1, 3)
    if draw.version == 1:
        numbers = [draw.int(1, 3), draw.int(0, x.ndim - 1)]
        return Case([x, *(np.array(number).astype(x.dtype) for number in numbers)])
    return Case([x, ints([draw.int(0, 3) for _ in x.shape])])


@draws("Slice")
def slices(draw: Draw) -> Case:
    x = content(draw, 1)
    axes = draw.axes(x.ndim, 1)
    wild = [-(2**31), 2**31, -(2**62), 2**62, -100, 100]
    starts = [draw.pick(wild) if draw.chance(0.2) else draw.int(-6, 6) for _ in axes]
    ends = [draw.pick(wild) if draw.chance(0.3) else draw.int(-6, 6) for _ in axes]
    steps = [draw.pick([1, 1, 2, 3, -1, -2, 100, -100]) for _ in axes]
    if draw.version < 10:
        return Case([x], {"starts": starts, "ends": ends, "axes": [a % x.ndim for a in axes]})
    return Case([x, ints(starts), ints(ends), ints(axes), ints(steps)])


@draws("Split SplitToSequence")
def split(draw: Draw) -> Case:
    shape = list(draw.shape(1, 3))
    axis = draw.axis(len(shape))
    sequence = draw.name == "SplitToSequence"
    count = draw.int(1, 4)
    parts = [draw.int(0, 3) for _ in range(count)]
    equal = draw.chance(0.5)
    shape[axis] = count * draw.int(1, 2) if equal else sum(parts)
    x = draw.array(shape, draw.kind(leave=ANY))
    attributes = {"axis": axis} if axis % len(shape) or draw.chance(0.5) else {}
    if sequence:
        attributes |= draw.some(keepdims=draw.int(0, 1))
        sizes = draw.pick([None, ints(parts) if not equal else np.array(draw.int(1, 3), np.int32)])
        if sizes is not None:  # onnxruntime takes note of it, although the standard ignores it
            attributes.pop("keepdims", None)
        return Case([x, sizes], attributes)
    if equal:
        if draw.version >= 18:
            shape[axis] += draw.int(0, 1) if count > 1 and shape[axis] > count else 0
            return Case([draw.array(shape, x.dtype)], attributes | {"num_outputs": count}, count)
        return Case([x], attributes, count)
    if draw.version < 13:
        return Case([x], attributes | {"split": parts}, count)
    return Case([x, ints(parts)], attributes, count)


@draws("Pad")
def pad(draw: Draw) -> Case:
    mode = draw.pick(["constant", "reflect", "edge", "wrap"][: 4 if draw.version >= 19 else 3])
    sizes = (0, 1, 2, 4) if mode == "constant" else (2, 3, 5)
    shape = draw.shape(1, 4, sizes)
    kind = draw.kind()
    x = draw.array(shape, kind)
    axes = draw.axes(x.ndim, 1) if draw.version >= 18 and draw.chance(0.5) else list(range(x.ndim))

    def width(n: int) -> int:
        return draw.int(
            -1 if n > 2 else 0,
            n - 1 if mode == "reflect" else min(n, 3) if mode != "constant" else 3,
        )

    widths = [width(shape[a]) for _ in range(2) for a in axes]
    value = draw.array((), kind) if mode == "constant" and draw.chance(0.5) else None
    attributes = {"mode": mode} if mode != "constant" or draw.chance(0.3) else {}
    if draw.version < 11:
        return Case(
            [x], attributes | {"pads": widths} | ({"value": 1.5} if value is not None else {})
        )
    given = [x, ints(widths), value]
    return Case(
        [*given, ints(axes)] if axes != list(range(x.ndim)) else given,
        attributes,
        exact=kind.kind in "iub",
    )


@draws("Gather")
def gather(draw: Draw) -> Case:
    # Of strings, onnxruntime leaves out some.
    x = draw.array(draw.shape(1, 3, (1, 2, 4)), draw.kind())
    axis = draw.axis(x.ndim)
    n = x.shape[axis]
    indices = draw.rng.integers(-n, n, draw.shape(0, 2)).astype(draw.pick(INDICES))
    return Case([x, np.asarray(indices)], {"axis": axis} if axis else {})


@draws("GatherElements")
def gather_elements(draw: Draw) -> Case:
    x = content(draw, 1, 3, (1, 2, 4))
    axis = draw.axis(x.ndim)
    shape = [draw.int(1, n) for n in x.shape]
    shape[axis] = draw.int(0, 4)
    n = x.shape[axis]
    return Case(
        [x, draw.rng.integers(-n, n, shape).astype(draw.pick(INDICES))],
        {"axis": axis} if axis else {},
    )


def _nd(draw: Draw, shape: tuple[int, ...], batch: int) -> np.ndarray:
    depth = draw.int(1, len(shape) - batch)
    outer = draw.shape(0, 2, (1, 2, 3))
    columns = [
        draw.rng.integers(-n, n, (*shape[:batch], *outer)) for n in shape[batch : batch + depth]
    ]
    return np.stack(columns, -1)


@draws("GatherND")
def gather_nd(draw: Draw) -> Case:
    x = content(draw, 1, 4, (1, 2, 3))
    batch = draw.int(0, min(x.ndim - 1, 2)) if draw.version >= 12 and draw.chance(0.5) else 0
    return Case(
        [x, _nd(draw, x.shape, batch).astype(np.int64)], {"batch_dims": batch} if batch else {}
    )


def _reduction(draw: Draw) -> dict[str, str]:
    known = {11: ["none"], 13: ["none"], 16: ["none", "add", "mul"]}
    return draw.some(
        reduction=draw.pick(known.get(draw.version, ["none", "add", "mul", "max", "min"]))
    )


@draws("ScatterElements Scatter")
def scatter_elements(draw: Draw) -> Case:
    attributes = _reduction(draw)
    plain = attributes.get("reduction", "none") == "none"
    x = draw.array(draw.shape(1, 3, (1, 2, 4)), draw.kind(leave=ANY if plain else "OUScb"))
    axis = draw.axis(x.ndim) if draw.version >= 11 else draw.int(0, x.ndim - 1)
    shape = [draw.int(1, n) for n in x.shape]
    n = x.shape[axis]
    low = -n if draw.version >= 11 else 0
    indices = draw.rng.integers(low, n, shape)
    if plain:  # the same place twice has no defined result
        order = np.argsort(draw.rng.random(x.shape), axis=axis)
        indices = order[tuple(slice(0, k) for k in shape)]
    return Case(
        [x, indices.astype(draw.pick(INDICES)), draw.array(shape, x.dtype)],
        attributes | {"axis": axis},
        exact=x.dtype.kind in "iu",
    )


@draws("ScatterND")
def scatter_nd(draw: Draw) -> Case:
    attributes = _reduction(draw)
    plain = attributes.get("reduction", "none") == "none"
    x = draw.array(draw.shape(1, 3, (1, 2, 4)), draw.kind(leave=ANY if plain else "OUScb"))
    indices = _nd(draw, x.shape, 0).astype(np.int64)
    if plain:
        indices = indices.reshape(-1, indices.shape[-1])[:1]
    shape = (*indices.shape[:-1], *x.shape[indices.shape[-1] :])
    return Case([x, indices, draw.array(shape, x.dtype)], attributes, exact=x.dtype.kind in "iu")


@draws("OneHot")
def one_hot(draw: Draw) -> Case:
    depth = draw.int(1, 5)
    kind = draw.pick([np.int64, np.int32, np.float32])
    low = -depth - 1 if draw.version >= 11 else 0
    indices = draw.rng.integers(low, depth + 2, draw.shape(1, 3)).astype(kind)
    size = np.array(depth, draw.pick([np.int64, np.int32, np.float32]))
    values = draw.array((2,), draw.kind("T3", leave=ANY), special=0.2)
    axis = draw.int(-indices.ndim - 1, indices.ndim)
    return Case([indices, size.reshape(draw.pick([(), (1,)])), values], draw.some(axis=axis))


@draws("TopK")
def top_k(draw: Draw) -> Case:
    x = draw.array(draw.shape(1, 3, (1, 2, 4, 6)), draw.kind())
    axis = draw.axis(x.ndim) if draw.version >= 11 else draw.int(0, x.ndim - 1)
    attributes = {"axis": axis} | draw.some(largest=draw.int(0, 1))
    count = draw.int(0 if draw.version >= 10 else 1, x.shape[axis])
    return Case([x, ints([count])], attributes, 2, exact=x.dtype.kind in "iu")


@draws("Unique")
def unique(draw: Draw) -> Case:
    kind = draw.kind(leave=ANY)
    x = draw.array(draw.shape(1, 3, (1, 2, 4, 6)), kind)
    if kind.kind in "f":
        x = np.round(x)
    attributes = draw.some(sorted=draw.int(0, 1), axis=draw.axis(x.ndim))
    return Case([x], attributes, draw.int(1, 4))


@draws("Compress")
def compress(draw: Draw) -> Case:
    x = content(draw, 1)
    axis = draw.axis(x.ndim) if draw.chance(0.7) else None
    size = x.size if axis is None else x.shape[axis]
    flags = draw.array((draw.int(1, max(1, size)),), bool)
    flags[size:] = False
    return Case([x, flags], {} if axis is None else {"axis": axis})


@draws("DepthToSpace SpaceToDepth")
def blocks(draw: Draw) -> Case:
    b = draw.int(1, 3)
    n, c, h, w = draw.int(0, 2), draw.int(1, 2), draw.int(1, 3), draw.int(1, 3)
    kind = draw.kind()
    if draw.name == "DepthToSpace":
        x = draw.array((n, c * b * b, h, w), kind)
        return Case([x], {"blocksize": b} | draw.some(mode=draw.pick(["DCR", "CRD"])))
    return Case([draw.array((n, c, h * b, w * b), kind)], {"blocksize": b})


@draws("Trilu")
def trilu(draw: Draw) -> Case:
    x = draw.array(draw.shape(2, 4), draw.kind())
    k = ints(draw.int(-6, 6)) if draw.chance(0.6) else None
    return Case([x, k], draw.some(upper=draw.int(0, 1)))


@draws("EyeLike")
def eye_like(draw: Draw) -> Case:
    x = draw.array(draw.shape(2, 2, (1, 2, 5)), draw.kind())
    return Case([x], draw.some(k=draw.int(-3, 3), dtype=draw.pick([1, 7, 6, 11])))


@draws("ReverseSequence")
def reverse_sequence(draw: Draw) -> Case:
    shape = draw.shape(2, 4, (1, 2, 4))
    batch = draw.int(0, 1)
    lengths = ints([draw.int(1, shape[1 - batch]) for _ in range(shape[batch])])
    return Case(
        [draw.array(shape, draw.kind(leave=ANY)), lengths],
        {"batch_axis": batch, "time_axis": 1 - batch},
    )


@draws("Range")
def ranges(draw: Draw) -> Case:
    kind = draw.kind()
    step = draw.pick([-3, -1, 1, 2, 5]) if kind.kind in "iu" else draw.pick([-0.5, 0.25, 1.5])
    return Case([np.array(v, kind) for v in (draw.int(-5, 5), draw.int(-9, 9), step)], exact=True)


@draws("ConstantOfShape")
def constant_of_shape(draw: Draw) -> Case:
    from onnx import numpy_helper

    value = numpy_helper.from_array(draw.array((1,), draw.kind("T2")), "value")
    return Case([ints(draw.shape(0, 3))], draw.some(value=value))


@draws("CenterCropPad")
def center(draw: Draw) -> Case:
    x = draw.array(draw.shape(1, 3, (1, 2, 3, 5, 6)), draw.kind())
    axes = draw.axes(x.ndim, 1) if draw.chance(0.5) else None
    count = x.ndim if axes is None else len(axes)
    return Case([x, ints([draw.int(1, 7) for _ in range(count)])], draw.only(axes=axes))


@draws("Col2Im")
def col2im(draw: Draw) -> Case:
    rank = draw.int(1, 3)
    image = [draw.int(2, 5) for _ in range(rank)]
    block = [draw.int(1, 2) for _ in range(rank)]
    # In one and three axes, onnxruntime takes dilations for others.
    dilations = [
        draw.int(1, 2) if k > 1 and n > 2 and rank == 2 else 1
        for k, n in zip(block, image, strict=True)
    ]
    strides, pads = [draw.int(1, 2) for _ in image], 2 * [draw.int(0, 1) for _ in image]
    counts = [
        (n + pads[i] + pads[i + rank] - (k - 1) * d - 1) // s + 1
        for i, (n, k, d, s) in enumerate(zip(image, block, dilations, strides, strict=True))
    ]
    shape = (draw.int(1, 2), draw.int(1, 2) * math.prod(block), math.prod(counts))
    return Case(
        [draw.array(shape, draw.kind()), ints(image), ints(block)],
        {"dilations": dilations, "strides": strides, "pads": pads},
    )


@draws("TensorScatter")
def tensor_scatter(draw: Draw) -> Case:
    shape = [draw.int(1, 3), draw.int(2, 5), draw.int(1, 3)]
    update = [shape[0], draw.int(1, shape[1]), shape[2]]
    mode = draw.pick(["linear", "circular"])
    room = shape[1] - update[1] if mode == "linear" else shape[1] - 1
    where = ints([draw.int(0, room) for _ in range(shape[0])]) if draw.chance(0.7) else None
    kind = draw.kind()
    return Case(
        [draw.array(shape, kind), draw.array(update, kind), where],
        {"mode": mode, "axis": draw.pick([1, -2])},
    )
