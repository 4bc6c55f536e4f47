"""Einsum of two operands becomes a matrix product; what is none stays."""

import numpy as np
import onnx_ir as ir
import pytest
from sardonyx.optimizer import optimize_with_report

F = np.float32
SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 6, "f": 3}


def normal(shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, F)


def model_of(graph, equation, known="", weights=""):
    """Operands x and z; sizes have names, but for known letters; ``weights`` is constant."""
    terms = dict(zip("xz", equation.split("->")[0].replace(" ", "").split(","), strict=False))
    shape = {name: [SIZES[c] for c in letters] for name, letters in terms.items()}
    inputs = {
        name: tuple(SIZES[c] if c in known else c for c in letters)
        for name, letters in terms.items()
        if name not in weights
    }
    node = ("Einsum", " ".join(terms), "y", {"equation": equation})
    return graph([node], inputs, **{name: normal(shape[name]) for name in weights})


@pytest.mark.parametrize(
    ("equation", "left"),
    [
        ("ab,bc->ac", ["MatMul"]),
        ("ab,cb->ac", ["Transpose", "MatMul"]),
        ("ab, bc -> ca", ["Transpose", "Transpose", "MatMul"]),
        ("abc,acd->abd", ["MatMul"]),
        ("abc,cd->abd", ["MatMul"]),
        ("abcd,de->abce", ["MatMul"]),
        ("cd,abd->abc", ["Transpose", "MatMul"]),
        ("acbe,aecd->abcd", ["Transpose", "MatMul", "Transpose"]),
        ("aecd,abcd->acbe", ["Transpose", "Transpose", "MatMul"]),
        ("ab,b->a", ["Reshape", "MatMul", "Reshape"]),
        ("b,bc->c", ["Reshape", "MatMul", "Reshape"]),
        ("a,a->", ["Reshape", "Reshape", "MatMul", "Reshape"]),
        ("ab,ab->a", ["Reshape", "Reshape", "MatMul", "Reshape"]),
    ],
)
def test_products(graph, optimized, equation, left):
    assert optimized(model_of(graph, equation), **SIZES)[0] == left


@pytest.mark.parametrize(
    ("equation", "known", "left"),
    [
        ("abc,cde->abde", "", ["MatMul", "Reshape"]),
        ("abcd,cde->abe", "cd", ["Reshape", "MatMul"]),
        ("abcd,dc->ab", "cd", ["Reshape", "MatMul", "Reshape"]),
        ("abc,bcd->ad", "bc", ["Reshape", "MatMul"]),
    ],
)
def test_weights_with_several_letters_of_a_kind(graph, optimized, equation, known, left):
    assert optimized(model_of(graph, equation, known, "z"), **SIZES)[0] == left


def test_several_rows_beside_a_batch(graph, optimized):
    left, _ = optimized(model_of(graph, "abcd,ade->abce", "bc"), **SIZES)
    assert left == ["Reshape", "MatMul", "Reshape"]


def test_a_bias_of_several_columns_is_added_to_the_product(graph, optimized):
    nodes = [("Einsum", "x w", "p", {"equation": "abc,cde->abde"}), ("Add", "p bias", "y")]
    weights = {"w": normal((4, 5, 6)), "bias": normal((5, 6))}
    left, _ = optimized(graph(nodes, {"x": ("a", "b", 4)}, **weights), **SIZES)
    assert left == ["MatMul", "Add", "Reshape"]
    weights["bias"] = normal((6,))
    left, _ = optimized(graph(nodes, {"x": ("a", "b", 4)}, **weights), **SIZES)
    assert left == ["MatMul", "Reshape", "Add"]


def test_one_operand_in_another_order_is_transposed(graph, optimized):
    assert optimized(model_of(graph, "abcd->bdac"), **SIZES)[0] == ["Transpose"]


@pytest.mark.parametrize(
    ("equation", "reason"),
    [
        ("ab->a", "does more than to order axes"),
        ("aa->a", "does more than to order axes"),
        ("ab,cd->abcd", "sums over no letter"),
        ("ab,bc->c", "sums over a letter of one operand only"),
        ("abb,bc->ac", "plain letters"),
        ("...ab,...bc->...ac", "plain letters"),
        ("ab,bc", "plain letters"),
        ("abcd,cde->abe", "become one axis, are not known"),
    ],
)
def test_other_equations_stay(graph, equation, reason):
    letters = equation.replace(".", "")
    model = model_of(graph, letters if "->" in letters else letters + "->ac")
    (node,) = model.graph
    node.attributes["equation"] = ir.AttrString("equation", equation)
    optimized_model, report = optimize_with_report(model, explain=True)
    assert [node.op_type for node in optimized_model.graph] == ["Einsum"]
    assert reason in report.explanations[0]
