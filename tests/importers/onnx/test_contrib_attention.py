"""Attention of com.microsoft becomes the standard one, and gives what onnxruntime gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper as oh

F32, I32 = np.float32, np.int32
DOMAIN = "com.microsoft"
Feeds = dict[str, np.ndarray]


Wanted = list[np.ndarray]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, F32)


def agree(
    name: str, inputs: Mapping[str, np.ndarray | None], outputs: tuple[str, ...] = ("y",),
    weights: tuple[str, ...] = (), opened: bool = False, rows: Any = None,
    shared: Mapping[str, str] | None = None, like: Wanted | None = None, **attributes: Any,
) -> None:  # fmt: skip
    """Compare a node's results.

    ``rows`` takes what counts of them. ``shared`` outputs lie with onnxruntime over inputs that
    they name. ``like`` is what onnxruntime computes where it does not have this form.
    """
    given = {n: x for n, x in inputs.items() if x is not None}
    feeds = {n: x for n, x in given.items() if n not in weights}
    names = [n if x is not None else "" for n, x in inputs.items()]
    while not names[-1]:
        names.pop()
    node = oh.make_node(name, names, outputs, domain=DOMAIN, name="node", **attributes)
    infos = []
    for n, x in feeds.items():
        shape = [f"{n}{i}" if opened and i + 1 < x.ndim else d for i, d in enumerate(x.shape)]
        infos.append(oh.make_tensor_value_info(n, oh.np_dtype_to_tensor_dtype(x.dtype), shape))
    graph = oh.make_graph(
        [node], "contrib", infos, [oh.make_tensor_value_info(n, 1, None) for n in outputs if n],
        [onnx.numpy_helper.from_array(given[n], n) for n in weights if n in given],
    )  # fmt: skip
    opsets = [oh.make_opsetid("", 17), oh.make_opsetid(DOMAIN, 1)]
    proto = oh.make_model(graph, opset_imports=opsets, ir_version=8)
    wanted = like or run_onnxruntime(proto, feeds, shared or {})
    assert all(each.domain != DOMAIN for each in sardonyx.load(proto).graph)
    session = sardonyx.Session(proto, threads=1)
    assert not session.engine.program.host_steps
    for i, (found, right) in enumerate(zip(session.run(None, feeds), wanted, strict=True)):
        assert (found.shape, found.dtype) == (right.shape, right.dtype)
        if rows is not None:
            found, right = rows(i, found), rows(i, right)
        np.testing.assert_allclose(found, right, 1e-4, 2e-5 * np.abs(right).max(), err_msg=str(i))


def run_onnxruntime(proto: onnx.ModelProto, feeds: Feeds, shared: Mapping[str, str]) -> Wanted:
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    binding = session.io_binding()
    values = {n: onnxruntime.OrtValue.ortvalue_from_numpy(x.copy()) for n, x in feeds.items()}
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    for output in session.get_outputs():
        if output.name in shared:
            binding.bind_ortvalue_output(output.name, values[shared[output.name]])
        else:
            binding.bind_output(output.name)
    session.run_with_iobinding(binding)
    return [value.numpy().copy() for value in binding.get_outputs()]


# --- MultiHeadAttention -----------------------------------------------------------------------

SIZES = [  # batch, heads, queries, keys, size of a head, of values
    (1, 1, 1, 1, 8, 8),
    (2, 3, 5, 7, 8, 8),
    (2, 2, 20, 20, 16, 24),
    (3, 4, 1, 9, 32, 32),
]


def operands(rng: np.random.Generator, b: int, h: int, s: int, t: int, d: int, w: int) -> Feeds:
    return {"q": normal(rng, b, s, h * d), "k": normal(rng, b, t, h * d),
            "v": normal(rng, b, t, h * w)}  # fmt: skip


def masks(rng: np.random.Generator, b: int, s: int, total: int) -> list[np.ndarray | None]:
    some = rng.integers(0, 2, (b, total)).astype(I32)
    some[:, 0] = 1
    return [None, some, rng.integers(0, 2, (b, s, total)).astype(I32)]


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("attributes", [{}, {"scale": 0.3, "mask_filter_value": -5.0}], ids=str)
def test_multi_head(rng, attributes, opened):
    for b, h, s, t, d, w in SIZES:
        for mask in masks(rng, b, s, t):
            for biased in (False, True):
                more = {
                    "bias": normal(rng, 2 * h * d + h * w) if biased else None,
                    "mask": mask,
                    "extra": normal(rng, 1, h, s, t) if biased else None,
                }
                feeds = operands(rng, b, h, s, t, d, w) | more
                agree("MultiHeadAttention", feeds, num_heads=h, opened=opened, **attributes)


@pytest.mark.parametrize("causal", [0, 1])
def test_multi_head_with_a_cache(rng, causal):
    for b, h, s, _, d, _ in SIZES:
        for before in (0, 6):
            feeds = operands(rng, b, h, s, s, d, d)
            past = {"pk": normal(rng, b, h, before, d), "pv": normal(rng, b, h, before, d)}
            for mask in masks(rng, b, s, before + s)[:2]:
                more = {"bias": None, "mask": mask, "extra": normal(rng, 1, 1, s, before + s)}
                agree("MultiHeadAttention", feeds | more | past, ("y", "k2", "v2"), num_heads=h,
                      unidirectional=causal)  # fmt: skip


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("before", [0, 5])
def test_scores_of_multi_head(rng, causal, before):
    """They are those that softmax gets, with mask and bias.

    Of keys behind a query onnxruntime's is the lowest number, and -inf where a bias is negative.
    """
    b, h, s, d = 2, 3, 4, 8
    feeds = operands(rng, b, h, s, s, d, d)
    mask, caches = np.ones((b, before + s), I32), dict.fromkeys(("pk", "pv"))
    mask[1, :2] = 0
    if before:
        caches = {n: normal(rng, b, h, before, d) for n in caches}
    feeds |= {"bias": None, "mask": mask, "more": normal(rng, 1, h, s, before + s), **caches}
    agree("MultiHeadAttention", feeds, ("y", "k2", "v2", "scores"), num_heads=h,
          unidirectional=causal, rows=lambda index, x: np.maximum(x, -1e5))  # fmt: skip


def test_scores_of_keys_apart(rng):
    b, h, s, t, d = 2, 3, 4, 7, 8
    feeds = {"q": normal(rng, b, s, h * d), "k": normal(rng, b, h, t, d)}
    feeds |= {"v": normal(rng, b, h, t, d), "bias": None, "mask": None}
    agree("MultiHeadAttention", feeds | {"more": normal(rng, 1, 1, s, t)},
          ("y", "", "", "scores"), num_heads=h)  # fmt: skip
    feeds["q"] = feeds["q"][:, :1]
    del feeds["bias"]
    agree("DecoderMaskedMultiHeadAttention", feeds, ("y", "", "", "scores"), num_heads=h,
          output_qk=1)  # fmt: skip


def test_multi_head_over_keys_apart(rng):
    for b, h, s, t, d, _ in SIZES:
        feeds = {"q": normal(rng, b, s, h * d), "k": normal(rng, b, h, t, d),
                 "v": normal(rng, b, h, t, d)}  # fmt: skip
        agree("MultiHeadAttention", feeds, num_heads=h)


def test_multi_head_over_packed_operands(rng):
    """onnxruntime has these on other devices: they are what they are unpacked."""
    for b, h, s, t, d, _ in SIZES:
        if s == t:
            x = normal(rng, b, s, h, 3, d)
            q, k, v = (x[..., i, :].reshape(b, s, h * d) for i in range(3))
            agree("MultiHeadAttention", {"x": x}, num_heads=h, like=plain(q, k, v, h))
        q, x = normal(rng, b, s, h * d), normal(rng, b, t, h, 2, d)
        k, v = (x[..., i, :].reshape(b, t, h * d) for i in range(2))
        agree("MultiHeadAttention", {"q": q, "x": x}, num_heads=h, like=plain(q, k, v, h))


def plain(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int) -> Wanted:
    """MultiHeadAttention of three operands, by onnxruntime."""
    node = oh.make_node("MultiHeadAttention", [*"qkv"], ["y"], domain=DOMAIN, num_heads=heads)
    infos = [
        oh.make_tensor_value_info(n, 1, x.shape) for n, x in zip("qkv", (q, k, v), strict=True)
    ]
    graph = oh.make_graph([node], "plain", infos, [onnx.ValueInfoProto(name="y")])
    opsets = [oh.make_opsetid("", 17), oh.make_opsetid(DOMAIN, 1)]
    proto = oh.make_model(graph, opset_imports=opsets, ir_version=8)
    return run_onnxruntime(proto, {"q": q, "k": k, "v": v}, {})


@pytest.mark.parametrize("name", ["DecoderMaskedMultiHeadAttention", "MultiHeadAttention"])
def test_caches_that_are_written_to(rng, name):
    decodes = name != "MultiHeadAttention"
    for b, h, s, t, d, _ in SIZES:
        new, room = 1 if decodes else s, t + s + 3
        feeds = operands(rng, b, h, new, new, d, d)
        mask = masks(rng, b, new, t + new)[1]
        past = {"pk": normal(rng, b, h, room, d), "pv": normal(rng, b, h, room, d)}
        middle = {"mask": mask, "extra": None} if decodes else {"b": None, "mask": mask, "e": None}
        more = {"past_present_share_buffer": 1} if decodes else {"unidirectional": 1}
        agree(name, feeds | middle | past | {"held": np.array([t], I32)}, ("y", "k2", "v2"),
              num_heads=h, shared={"k2": "pk", "v2": "pv"},
              rows=lambda i, x, end=t + new: x[:, :, :end] if i else x, **more)  # fmt: skip


def test_decoding_over_keys_of_another_sequence(rng):
    """onnxruntime has it on other devices: it is attention of one query."""
    for b, h, _, t, d, _ in SIZES:
        q, k, v = normal(rng, b, 1, h * d), normal(rng, b, h, t, d), normal(rng, b, h, t, d)
        flat = [x.swapaxes(1, 2).reshape(b, t, h * d) for x in (k, v)]
        agree("DecoderMaskedMultiHeadAttention", {"q": q, "k": k, "v": v}, num_heads=h,
              past_present_share_buffer=1, like=plain(q, *flat, h))  # fmt: skip


# --- Attention --------------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_projections(rng, causal, opened):
    for b, h, s, _, d, w in SIZES:
        ends = rng.integers(1, s + 1, b).astype(I32)
        both = np.concatenate([ends, np.minimum(ends - 1, 2)]).astype(I32)
        for mask in [*masks(rng, b, s, s), ends, both]:
            feeds = {
                "x": normal(rng, b, s, 12),
                "w": normal(rng, 12, 2 * h * d + h * w),
                "bias": normal(rng, 2 * h * d + h * w),
                "mask": mask,
            }
            more: dict[str, Any] = {} if d == w else {"qkv_hidden_sizes": [h * d, h * d, h * w]}
            agree("Attention", feeds, weights=("w", "bias"), num_heads=h, unidirectional=causal,
                  opened=opened, **more)  # fmt: skip


@pytest.mark.parametrize("before", [None, 0, 5])
def test_attention_with_a_cache(rng, before):
    for b, h, s, _, d, _ in SIZES:
        total = s + (before or 0)
        feeds = {
            "x": normal(rng, b, s, 12),
            "w": normal(rng, 12, 3 * h * d),
            "bias": normal(rng, 3 * h * d),
            "mask": masks(rng, b, s, total)[1],
            "past": None if before is None else normal(rng, 2, b, h, before, d),
            "extra": normal(rng, 1, h, s, total) if before is None else None,
        }
        agree("Attention", feeds, ("y", "present"), ("w", "bias"), num_heads=h, unidirectional=1)


# --- GroupQueryAttention ----------------------------------------------------------------------


def group(
    rng: np.random.Generator, b: int, h: int, g: int, s: int, d: int, room: int | None,
    lengths: list[int], total: int,
) -> dict[str, np.ndarray | None]:  # fmt: skip
    cache = None if room is None else normal(rng, b, g, room, d)
    other = None if room is None else normal(rng, b, g, room, d)
    return {
        "q": normal(rng, b, s, h * d), "k": normal(rng, b, s, g * d), "v": normal(rng, b, s, g * d),
        "pk": cache, "pv": other, "lengths": np.array(lengths, I32) - 1,
        "total": np.array([total], I32), "cos": None, "sin": None, "places": None, "bias": None,
        "sink": None,
    }  # fmt: skip


def valid(lengths: list[int], s: int) -> Any:
    """Rows that count: of a result those of the sequence, of a cache those that are filled."""

    def rows(index: int, x: np.ndarray) -> np.ndarray:
        if index == 0:
            return np.concatenate([x[b, : min(s, n)].ravel() for b, n in enumerate(lengths)])
        return np.concatenate([x[b, :, :n].ravel() for b, n in enumerate(lengths)])

    return rows


CASES = [  # batch, heads, of keys, queries, size, room, lengths, total
    (1, 2, 1, 5, 16, None, [5], 5),
    (2, 4, 2, 6, 32, None, [6, 3], 6),
    (1, 4, 4, 1, 16, 7, [8], 8),
    (2, 6, 2, 1, 16, 12, [9, 4], 9),
    (2, 4, 1, 4, 16, 10, [4, 2], 4),
    (1, 4, 2, 3, 64, 20, [17], 17),
    (1, 32, 8, 1, 64, 70, [70], 70),
]


@pytest.mark.parametrize(
    "attributes",
    [{}, {"scale": 0.4}, {"softcap": 3.0}, {"local_window_size": 3}, {"smooth_softmax": 1}],
    ids=str,
)
@pytest.mark.parametrize("packed", [False, True])
def test_groups(rng, attributes, packed):
    for b, h, g, s, d, room, lengths, total in CASES:
        feeds = group(rng, b, h, g, s, d, room, lengths, total)
        if packed:
            feeds["q"] = np.concatenate([feeds["q"], feeds["k"], feeds["v"]], -1)
            feeds["k"] = feeds["v"] = None
        agree("GroupQueryAttention", feeds, ("y", "k2", "v2"), ("total",), num_heads=h,
              kv_num_heads=g, rows=valid(lengths, s), **attributes)  # fmt: skip


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("partial", [False, True])
def test_groups_that_are_turned(rng, partial, interleaved):
    for b, h, g, s, d, room, lengths, total in CASES:
        feeds = group(rng, b, h, g, s, d, room, lengths, total)
        if partial and d == 16:  # onnxruntime takes multiples of eight angles
            continue
        half = d // 4 if partial else d // 2
        angles = rng.uniform(-3, 3, (80, half))
        feeds |= {"cos": np.cos(angles).astype(F32), "sin": np.sin(angles).astype(F32)}
        agree("GroupQueryAttention", feeds, ("y", "k2", "v2"), ("total", "cos", "sin"), num_heads=h,
              kv_num_heads=g, do_rotary=1, rotary_interleaved=interleaved,
              rows=valid(lengths, s))  # fmt: skip


def test_lengths_of_a_mask_keep_everything_compiled(rng):
    """As decoders are exported: lengths from the sums of a mask, the longest from its shape."""
    heads, shared, d = 8, 2, 32
    nodes = [
        oh.make_node("ReduceSum", ["mask", "one"], ["sums"], keepdims=1),
        oh.make_node("Sub", ["sums", "one"], ["last"]),
        oh.make_node("Cast", ["last"], ["lengths"], to=onnx.TensorProto.INT32),
        oh.make_node("Shape", ["mask"], ["shape"]),
        oh.make_node("Gather", ["shape", "one"], ["longest"]),
        oh.make_node("Cast", ["longest"], ["total"], to=onnx.TensorProto.INT32),
        oh.make_node(
            "GroupQueryAttention", [*"qkv", "pk", "pv", "lengths", "total"], ["y", "k2", "v2"],
            domain=DOMAIN, num_heads=heads, kv_num_heads=shared,
        ),
    ]  # fmt: skip
    shapes = {
        "mask": ["b", "t"], "q": ["b", "s", heads * d], "k": ["b", "s", shared * d],
        "v": ["b", "s", shared * d], "pk": ["b", shared, "p", d], "pv": ["b", shared, "p", d],
    }  # fmt: skip
    kinds = {"mask": onnx.TensorProto.INT64}
    infos = [oh.make_tensor_value_info(n, kinds.get(n, 1), dims) for n, dims in shapes.items()]
    outputs = [onnx.ValueInfoProto(name=n) for n in ("y", "k2", "v2")]
    one = onnx.numpy_helper.from_array(np.array([1]), "one")
    graph = oh.make_graph(nodes, "decoder", infos, outputs, [one])
    opsets = [oh.make_opsetid("", 17), oh.make_opsetid(DOMAIN, 1)]
    proto = oh.make_model(graph, opset_imports=opsets, ir_version=8)
    session = sardonyx.Session(proto, threads=2)
    assert not session.engine.program.host_steps
    for b, s, p in ((1, 5, 0), (1, 1, 9), (2, 1, 20), (1, 3, 6)):
        sizes = {"b": b, "s": s, "p": p, "t": p + s}
        own = {n: [sizes.get(d, d) for d in dims] for n, dims in shapes.items()}
        feeds = {n: normal(rng, *dims) for n, dims in own.items()}
        feeds["mask"] = np.ones(own["mask"], np.int64)
        wanted = run_onnxruntime(proto, feeds, {})
        for found, right in zip(session.run(None, feeds), wanted, strict=True):
            np.testing.assert_allclose(found, right, 1e-4, 2e-5)


def test_groups_with_a_sink_and_a_bias(rng):
    for b, h, g, s, d, room, lengths, total in CASES:
        feeds = group(rng, b, h, g, s, d, room, lengths, total)
        for bias in (None, normal(rng, 1, h, s, total)):
            for sink in (None, normal(rng, h)):
                for window in (-1, 4):
                    agree("GroupQueryAttention", feeds | {"bias": bias, "sink": sink},
                          ("y", "k2", "v2"), ("total",), num_heads=h, kv_num_heads=g,
                          local_window_size=window, rows=valid(lengths, s))  # fmt: skip


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize("attributes", [{}, {"softcap": 3.0}, {"smooth_softmax": 1}], ids=str)
@pytest.mark.parametrize("window", [-1, 3])
def test_scores_of_groups(rng, mode, attributes, window):
    """Before softmax or after it, with 0 for keys that are not seen, and without a sink."""
    b, h, g, s, d = 2, 4, 2, 5, 16
    for room, before in ((None, 0), (9, 0), (12, 4)):
        queries = 1 if before else s
        total = before + queries
        feeds = group(rng, b, h, g, queries, d, room, [total] * b, total)
        agree("GroupQueryAttention", feeds, ("y", "k2", "v2", "scores"), ("total",), num_heads=h,
              kv_num_heads=g, qk_output=mode, local_window_size=window, **attributes,
              rows=lambda index, x, n=total: x[:, :, :n] if index in (1, 2) else x)  # fmt: skip


# --- RotaryEmbedding --------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embeddings(rng, interleaved, apart):
    for b, h, s, d in ((1, 1, 1, 16), (2, 3, 5, 32)):
        x = normal(rng, b, h, s, d) if apart else normal(rng, b, s, h * d)
        for places in (np.array([4]), rng.integers(0, 20, (b, s))):
            for turned in (0, d // 2):
                half = (turned or d) // 2
                feeds = {"x": x, "places": places, "cos": normal(rng, 20, half),
                         "sin": normal(rng, 20, half)}  # fmt: skip
                heads = h if turned else 0
                agree("RotaryEmbedding", feeds, weights=("cos", "sin"), num_heads=heads,
                      rotary_embedding_dim=turned, interleaved=interleaved)  # fmt: skip


def test_scales_of_rotary_embeddings_are_ignored(rng):
    feeds = {"x": normal(rng, 2, 5, 24), "places": rng.integers(0, 20, (2, 5))}
    feeds |= {"cos": normal(rng, 20, 4), "sin": normal(rng, 20, 4)}
    agree("RotaryEmbedding", feeds, opened=True, num_heads=3, scale=2.0)
    agree("RotaryEmbedding", feeds, is_packed_batching=1)
