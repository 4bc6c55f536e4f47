"""Products of every form against onnxruntime."""

import numpy as np
import pytest
from onnx.helper import make_node

MATMUL = make_node("MatMul", ["a", "b"], ["y"])
WIDTHS = [1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 130, 256]


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


FORMS = [
    ((5,), (5,)),
    ((1,), (1,)),
    ((5,), (5, 4)),
    ((4, 5), (5,)),
    ((5,), (3, 5, 4)),
    ((3, 4, 5), (5,)),
    ((2, 3, 4, 5), (5,)),
    ((5,), (2, 3, 5, 4)),
    ((4, 5), (5, 6)),
    ((1, 5), (5, 6)),
    ((4, 1), (1, 6)),
    ((4, 5), (5, 1)),
    ((1, 1), (1, 1)),
    ((1, 5), (5, 1)),
    ((3, 4, 5), (5, 6)),
    ((4, 5), (3, 5, 6)),
    ((3, 4, 5), (3, 5, 6)),
    ((3, 4, 5), (1, 5, 6)),
    ((1, 4, 5), (3, 5, 6)),
    ((2, 3, 4, 5), (3, 5, 6)),
    ((3, 4, 5), (2, 1, 5, 6)),
    ((2, 1, 4, 5), (1, 3, 5, 6)),
    ((2, 1, 3, 4, 5), (6, 1, 5, 7)),
    ((2, 3, 1, 5), (2, 3, 5, 1)),
    ((2, 3, 4, 1), (2, 3, 1, 6)),
    ((1, 1, 4, 5), (1, 1, 5, 6)),
    ((2, 1, 2, 1, 4, 5), (1, 2, 1, 2, 5, 3)),
]


@pytest.mark.parametrize(("a", "b"), FORMS, ids=str)
def test_forms(check, a, b):
    a, b = normal(*a), normal(*b, seed=1)
    for threads in ([1], [4]):
        check([MATMUL], {"a": a, "b": b}, threads=threads)
        check([MATMUL], {"a": a}, {"b": b}, threads=threads)
        check([MATMUL], {"b": b}, {"a": a}, threads=threads)


@pytest.mark.parametrize(("a", "b"), FORMS, ids=str)
def test_forms_of_symbolic_shapes(check, a, b):
    for constant in (True, False):
        feeds = {"a": normal(*a), "b": normal(*b, seed=1)}
        weights = {"b": feeds.pop("b")} if constant else {}
        dims = {name: [f"{name}{i}" for i in range(x.ndim)] for name, x in feeds.items()}
        check([MATMUL], feeds, weights, dims=dims)


@pytest.mark.parametrize("columns", WIDTHS)
def test_any_number_of_columns(check, columns):
    for rows, depth in [(1, 1), (1, 300), (2, 3), (5, 16), (13, 64), (40, 7)]:
        a, b = normal(rows, depth), normal(depth, columns)
        check([MATMUL], {"a": a, "b": b})
        check([MATMUL], {"a": a}, {"b": b}, threads=[1, 4])


def test_large_enough_for_blocks_and_threads(check):
    for rows, depth, columns in [(300, 200, 100), (1, 5000, 200), (64, 3000, 70)]:
        feeds = {"a": normal(rows, depth), "b": normal(depth, columns)}
        check([MATMUL], feeds, threads=[1, 2, 4])
        check([MATMUL], {"a": feeds["a"]}, {"b": feeds["b"]}, threads=[1, 2, 4])


def test_one_session_at_several_shapes(check):
    feeds = [{"a": normal(n, m, 9)} for n, m in ((1, 1), (2, 7), (3, 50), (0, 4), (5, 0))]
    check([MATMUL], feeds, {"b": normal(9, 20)})
    both = [
        {"a": normal(n, m, k), "b": normal(n, k, p)}
        for n, m, k, p in ((1, 1, 1, 1), (2, 7, 3, 9), (3, 20, 16, 33), (0, 2, 3, 4), (2, 0, 3, 4))
    ]
    dims = {"a": ["N", "M", "K"], "b": ["N", "K", "P"]}
    check([MATMUL], both, dims=dims)
    # Batches that are repeated at one shape only.
    feeds = [{"a": normal(n, 4, 5), "b": normal(m, 5, 6)} for n, m in ((2, 2), (1, 3), (3, 1))]
    check([MATMUL], feeds)


def test_sums_of_nothing_are_zero(check):
    feeds = {"a": normal(3, 0), "b": normal(0, 4)}
    wanted = [[np.zeros((3, 4), np.float32)]]
    check([MATMUL], feeds, host=["MatMul"], wanted=wanted)
    check([MATMUL], feeds, dims={"a": [3, "K"], "b": ["K", 4]}, wanted=wanted)


@pytest.mark.parametrize("perm", [[0, 1, 3, 2], [0, 2, 1, 3], [2, 0, 3, 1], [3, 2, 1, 0]], ids=str)
def test_transposed_operands(check, perm):
    shape = tuple((2, 3, 4, 5)[perm.index(i)] for i in range(4))
    turn = make_node("Transpose", ["x"], ["a"], perm=perm)
    x = normal(*shape)
    a = x.transpose(perm)
    other = normal(*a.shape[:-2], a.shape[-1], 7)
    check([turn, MATMUL], {"x": x, "b": other})
    other = normal(*a.shape[:-2], 7, a.shape[-2])
    check([turn, make_node("MatMul", ["b", "a"], ["y"])], {"x": x, "b": other})


def test_sliced_operands(check):
    nodes = [make_node("Slice", ["x", "s", "e", "i", "t"], ["a"]), MATMUL]
    bounds = {"s": np.array([1]), "e": np.array([6])}
    for axis in (0, 1, 2):
        for step in (1, 2):
            weights = bounds | {"i": np.array([axis]), "t": np.array([step])}
            x = normal(6, 6, 6)
            sliced = x[tuple(slice(1, 6, step) if i == axis else slice(None) for i in range(3))]
            check(nodes, {"x": x}, weights | {"b": normal(sliced.shape[2], 4)})
            check(nodes, {"x": x, "b": normal(sliced.shape[0], sliced.shape[2], 4)}, weights)


def test_images_as_operands(check):
    conv = make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4)
    weights = {"w": normal(8, 3, 3, 3)}
    x = normal(2, 3, 5, 6)
    check([conv, MATMUL], {"x": x}, weights | {"b": normal(6, 7)})
    check([conv, MATMUL], {"x": x, "b": normal(8, 6, 7)}, weights)
    check([conv, make_node("MatMul", ["b", "a"], ["y"])], {"x": x, "b": normal(4, 5)}, weights)


def test_sizes_that_do_not_fit_are_refused(refused):
    feeds = {"a": normal(3, 4), "b": normal(5, 6)}
    for dims in (None, {"a": ["M", "K"], "b": ["L", "N"]}):
        message = refused([MATMUL], feeds, dims=dims)
        assert "matmul0" in message or dims is None
    feeds = {"a": normal(2, 3, 4), "b": normal(3, 4, 6)}
    refused([MATMUL], feeds)
    refused([MATMUL], feeds, dims={"a": ["A", 3, 4], "b": ["B", 4, 6]})


TYPES = ["float64", "int32", "int64", "uint32", "uint64"]


def numbers(dtype, *shape, seed=0):
    if dtype.startswith("float"):
        return normal(*shape, seed=seed).astype(dtype)
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", TYPES)
def test_other_types(check, dtype):
    """Whole numbers wrap around as numpy's do."""
    for left, right in (*FORMS, ((40, 300), (300, 100)), ((3, 2000), (2000, 9))):
        a, b = numbers(dtype, *left), numbers(dtype, *right, seed=1)
        wanted = [[np.asarray(np.matmul(a, b))]]
        for feeds, weights in (({"a": a}, {"b": b}), ({"a": a, "b": b}, {})):
            given = {"threads": [1, 3], "tolerance": 1e-12, "wanted": wanted}
            check([MATMUL], feeds, weights, **given)


# --- Gemm -------------------------------------------------------------------------------------

SHAPES = [(4, 5, 6), (1, 5, 6), (4, 1, 6), (4, 5, 1), (1, 1, 1), (17, 33, 19), (6, 6, 6)]


@pytest.mark.parametrize("size", SHAPES, ids=str)
@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)], ids=str)
def test_gemm(check, size, turned):
    m, k, n = size
    a = normal(m, k) if not turned[0] else normal(k, m)
    b = normal(k, n) if not turned[1] else normal(n, k)
    added = [None, (), (1,), (n,), (1, n), (m, 1), (m, n), (1, 1)]
    for shape in added:
        given = {} if shape is None else {"c": normal(*shape)}
        for alpha, beta in ((1.0, 1.0), (0.5, -2.0), (1.5, 0.0)):
            attributes = dict(alpha=alpha, beta=beta, transA=turned[0], transB=turned[1])
            node = make_node("Gemm", ["a", "b", *given], ["y"], **attributes)
            check([node], {"a": a}, {"b": b, **given})
            check([node], {"a": a, **given}, {"b": b})
            check([node], {"a": a, "b": b}, given)


def test_gemm_at_several_shapes(check):
    for turned in ((0, 0), (1, 1)):
        feeds = []
        for m, k, n in ((1, 1, 1), (4, 5, 6), (0, 3, 2), (20, 7, 33)):
            a, b = normal(m, k), normal(k, n)
            feeds.append({"a": a.T if turned[0] else a, "b": b.T if turned[1] else b})
            feeds[-1]["c"] = normal(1, n)
        node = make_node(
            "Gemm", ["a", "b", "c"], ["y"], alpha=2.0, transA=turned[0], transB=turned[1]
        )
        check([node], [{k: np.ascontiguousarray(v) for k, v in f.items()} for f in feeds])


def test_gemm_followed_by_more(check):
    for c in ((6,), (4, 1), (4, 6)):
        node = make_node("Gemm", ["a", "b", "c"], ["d"], beta=0.5)
        feeds = {"a": normal(4, 5), "r": normal(4, 6)}
        for constant in (True, False):
            operands = {"b": normal(5, 6), "c": normal(*c)}
            more = ({}, operands) if constant else (operands, {})
            add, relu = make_node("Add", ["d", "r"], ["e"]), make_node("Relu", ["e"], ["y"])
            check([node, add, relu], feeds | more[0], more[1], threads=[1, 4])


@pytest.mark.parametrize("dtype", TYPES)
def test_gemm_of_other_types(check, dtype):
    a, b = numbers(dtype, 5, 4), numbers(dtype, 5, 33, seed=1)
    for alpha, beta in ((1.0, 1.0), (0.5, 2.0)) if dtype == "float64" else ((1.0, 1.0),):
        node = make_node("Gemm", ["a", "b", "c"], ["y"], transA=1, alpha=alpha, beta=beta)
        for shape in ((), (33,), (4, 1), (4, 33)):
            c = numbers(dtype, *shape, seed=2)
            factors = (alpha, beta) if dtype == "float64" else np.ones(2, dtype)
            wanted = [[np.asarray(factors[0] * (a.T @ b) + factors[1] * c)]]
            for given in ({"b": b, "c": c}, {}):
                feeds = {"a": a} if given else {"a": a, "b": b, "c": c}
                check([node], feeds, given, wanted=wanted, tolerance=1e-12)


def test_scaled_gemm_of_whole_numbers_runs_on_the_host(check):
    node = make_node("Gemm", ["a", "b"], ["y"], alpha=2.0)
    arrays = {name: np.arange(16, dtype=np.int32).reshape(4, 4) for name in "ab"}
    check([node], arrays, host=["Gemm"])
