"""A recurrent node's attributes and weights, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...kernels.bfloat_terms import PRODUCTS
from ...kernels.cpu.recurrent import MOST_BLOCKS
from ...kernels.cpu.recurrent_cells import GATES, PHASES, Numbers
from ...kernels.cpu.recurrent_forms import halves_pay, joining_pays
from ...kernels.cpu.recurrent_functions import ARITHMETIC, EXACT
from ...kernels.cpu.recurrent_terms import TERMS, word_count, words_of
from ...kernels.cpu.term_packing import fits_terms
from ...kernels.cpu.term_rates import term_costs
from ...kernels.machine_costs import machine_costs
from ...kernels.target import L3_BYTES, target
from ...kernels.unit_rates import tile_bfloat16_speed
from ..emission import Emission
from ..graph import Info, Node, refuse
from ..symbolic import Dim
from .convolution import KINDS
from .recurrent_weights import (
    ByteForm,
    Weights,
    byte_weights,
    ints_of,
    reshaped,
    split_biases,
)
from .term_products import TILE_ROWS, follows_product, may_take_terms

X, W, R, B, LENGTHS, INITIAL_H, INITIAL_C, PEEPHOLES = range(8)
"""Inputs of a node; only a LSTM has the last two."""
_BYTES = "DynamicQuantize"
"""What operators are called besides whose weights are of 8 bits."""
BYTE_INPUTS = ((W, 8, 9), (R, 10, 11))
"""Of such: weights, their scales, and their zero points."""

_DEFAULTS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
# Defaults of alpha and beta of the functions that have them.
_NUMBERS: dict[str, tuple[float | None, float | None]] = {
    "affine": (1.0, 0.0),
    "elu": (1.0, None),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01, None),
    "scaledtanh": (1.0, 1.0),
    "thresholdedrelu": (1.0, None),
}
_FUNCTION_NAMES = {*_NUMBERS, "relu", "sigmoid", "softplus", "softsign", "tanh"}
_TERM_STEPS = 8
"""Steps from which on AMX multiplies inputs and states at once: fewer are too few for its tiles to
gain what one product of all inputs does."""
_DIRECTIONS = {"forward": 0, "reverse": 1, "bidirectional": 2}


@dataclass(frozen=True)
class Layer:
    """A node's attributes and weights.

    Attributes
    ----------
    cell, kind : str
        Cell, and kind of numbers, as kernels name them.
    functions : tuple of tuple
        For each direction its activations: (name, alpha, beta).
    w, r : ndarray or Tensor
        (directions, gates, size, input size), (directions, gates, size, size); of 8 bits, words of
        several numbers along the last axis.
    w_bytes, r_bytes : ByteForm, optional
        What else there is of weights of 8 bits.
    bias, recurrent_bias : ndarray or Tensor, optional
        (directions, gates, size).
    peepholes : ndarray or Tensor, optional
        (directions, 3, size).
    features : int
        Of a joined layer, whose columns of ``r`` begin with those of ``w``, the input's features.
    has_terms : bool
        AMX multiplies states by ``r``, which is words of bfloat16 terms (`recurrent_terms`).
    has_halves : bool
        ``r`` is stored as float16, which holds it exactly; there is one sequence.
    """

    cell: str
    kind: str
    functions: tuple[tuple[tuple[str, float, float], ...], ...]
    backwards: int
    is_batch_first: bool
    clip: float | None
    is_coupled: bool
    w: Weights
    r: Weights
    bias: Weights | None
    recurrent_bias: Weights | None
    peepholes: Weights | None
    w_bytes: ByteForm | None = None
    r_bytes: ByteForm | None = None
    features: int = 0
    has_terms: bool = False
    has_halves: bool = False

    @property
    def directions(self) -> int:
        """Number of directions."""
        return len(self.functions)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Begins and ends of directions that a step computes: those of the same activations."""
        if len(set(self.functions)) > 1:
            return [(d, d + 1) for d in range(self.directions)]
        return [(0, self.directions)]

    def names_of(self, direction: int) -> str:
        """Names of a direction's activations, as kernels have them."""
        return " ".join(name for name, *_ in self.functions[direction])

    def numbers_of(self, direction: int) -> dict[str, Any]:
        """Fields of the numbers that a direction's activations take, and the threshold."""
        numbers = [number for _, *pair in self.functions[direction] for number in pair]
        padded = [*numbers, *[0.0] * 6][:6]
        return dict(zip(Numbers._fields, [*padded, self.clip or 0.0], strict=True))

    @property
    def options(self) -> str:
        """Options of a LSTM's cell, as kernels name them."""
        peepholes = ["peepholes"] * (self.peepholes is not None)
        return " ".join(["coupled"] * self.is_coupled + peepholes)

    @property
    def gates(self) -> int:
        """Number of gates."""
        return GATES[self.cell]

    @property
    def size(self) -> int:
        """Number of hidden units."""
        return ints_of(self.r.shape)[2]

    @property
    def depth(self) -> int:
        """Elements of the hidden state that products take: units, or words of several bytes."""
        return ints_of(self.r.shape)[-1]

    @property
    def product(self) -> str:
        """Kind of the products with the hidden state."""
        return self.kind if self.r_bytes is None else self.r_bytes.kind

    @property
    def lanes(self) -> int:
        """Hidden units of a vector."""
        return ARITHMETIC[self.kind].lanes

    @property
    def vectors(self) -> int:
        """Vectors of hidden units, the last one perhaps not full."""
        return -(-self.size // self.lanes)

    @property
    def units(self) -> int:
        """Hidden units of whole vectors."""
        return self.vectors * self.lanes

    @property
    def weight_bytes(self) -> int:
        """Bytes of a direction's recurrent weights."""
        return self.bytes_of(self.depth)

    def bytes_of(self, depth: int) -> int:
        """Bytes of a direction's weights of columns of so many elements, or words."""
        itemsize = 2 if self.has_halves else 8 if self.kind == "f64" else 4
        return self.gates * self.units * depth * itemsize

    def has_near(self, depth: int) -> bool:
        """Tell whether the second-level cache holds a direction's weights of such columns."""
        return self.bytes_of(depth) <= target().l2

    def is_better_read(self, depth: int, steps: Dim, batch: int) -> bool:
        """Tell whether it is better to read joint weights at each step than products of all steps.

        Weights of such columns are near, and the second-level cache does not hold the products or,
        of a layer of one block, another thread made them. Or the third-level cache holds the
        weights well, and not the products.
        """
        if not isinstance(steps, int):
            return self.has_near(depth)
        products = self.directions * self.bytes_of(steps * batch)
        if self.has_near(depth):
            return self.blocks == 1 or products > target().l2
        return 4 * self.bytes_of(depth) <= L3_BYTES <= 2 * products

    @property
    def operand_bytes(self) -> int:
        """Bytes of what products take of a sequence, if it is neither its input nor its state.

        That is a copy of its inputs, or the terms of both.
        """
        count = self.depth if self.has_terms else self.features
        return count * ARITHMETIC[self.kind].itemsize

    @property
    def blocks(self) -> int:
        """Blocks of hidden units: as many as have enough to do."""
        work = self.gates * self.size * self.depth
        item = machine_costs().sharing.operations_alone
        if self.has_terms:  # few large items, for all sequences: an even number, for two threads
            item = max(round(item * tile_bfloat16_speed() / PRODUCTS[TERMS]), 1)
            return max(1, min(work // item // 2 * 2, MOST_BLOCKS, self.vectors))
        return max(1, min(work // item, MOST_BLOCKS, self.vectors))

    @property
    def rows(self) -> int:
        """Sequences that are followed together: each weight that is loaded serves them all.

        Where hidden units are not divided, fewer: threads share sequences.
        """
        return 16 if self.blocks > 1 else 8


def joined(layer: Layer, steps: Dim, batch: Dim) -> Layer:
    """Return the layer whose steps make the products with inputs, too, where that is faster.

    It saves writing and reading the products of all steps, which other threads made. Many sequences
    have to share each weight, and a cache has to hold the weights of both products.
    """
    w, r = layer.w, layer.r
    if not isinstance(w, np.ndarray) or not isinstance(r, np.ndarray) or layer.w_bytes is not None:
        return layer
    both = replace(layer, r=np.concatenate([w, r], axis=-1), features=w.shape[-1])
    if not isinstance(batch, int) or not _may_join(layer):
        return layer
    if not both.is_better_read(both.depth, steps, batch):
        return layer
    return both if joining_pays(batch, steps if isinstance(steps, int) else None) else layer


def halved(layer: Layer, batch: Dim) -> Layer:
    """Return the layer whose weights stay float16 in memory, where one sequence reads them faster.

    A step of one sequence waits for its weights. Float16 has to hold them exactly, as those of
    models of float16.
    """
    if batch != 1 or layer.kind != "f32" or layer.r_bytes is not None:
        return layer
    if not isinstance(layer.r, np.ndarray) or not halves_pay(layer.weight_bytes):
        return layer
    with np.errstate(over="ignore"):
        halves = layer.r.astype(np.float16)
    is_exact = np.array_equal(halves, layer.r)
    return replace(layer, r=halves, has_halves=True) if is_exact else layer


def _may_join(layer: Layer) -> bool:
    """Tell whether a layer adds all its gates' sums."""
    return PHASES[layer.cell] == (layer.gates,) and layer.cell != "gru_linear"


def _terms_pay(layer: Layer, batch: int) -> bool:
    """Tell whether AMX multiplies states of a step, as terms, faster than vectors do."""
    costs, states, sums = term_costs(TERMS), layer.size * batch, layer.gates * layer.size
    products = layer.size * sums
    own = PRODUCTS[TERMS] * costs.product * products * -(-batch // TILE_ROWS) * TILE_ROWS
    own += TERMS * costs.split * states + costs.result * sums * batch
    return own < 2 * products * batch


def in_terms(emit: Emission, node: Node, layer: Layer, steps: Dim, batch: Dim) -> Layer:
    """Return the layer whose recurrent products are AMX's, of bfloat16 terms, where that is faster.

    A sequence is a row of a tile, which takes the same time for few of them. Products with inputs
    are joined only behind other products: the model's own inputs have three terms.
    """
    r, w = layer.r, layer.w
    if not may_take_terms(emit, TERMS) or layer.kind != "f32" or layer.r_bytes is not None:
        return layer
    if not isinstance(batch, int) or len(PHASES[layer.cell]) > 1 or not _terms_pay(layer, batch):
        return layer
    if not isinstance(r, np.ndarray) or not fits_terms(r):
        return layer
    terms = replace(layer, r=words_of(r), has_terms=True)
    if not isinstance(w, np.ndarray) or not fits_terms(w) or not follows_product(node):
        return terms
    depth = word_count(w.shape[-1]) + word_count(r.shape[-1])
    is_long = not isinstance(steps, int) or steps >= _TERM_STEPS
    if not is_long or not _may_join(layer) or not layer.has_near(depth):
        return terms
    both = np.concatenate([words_of(w), terms.r], axis=-1)
    return replace(terms, r=both, features=w.shape[-1])


# --- the node ---------------------------------------------------------------------------------


def _operator(node: Node) -> str:
    """Operator of the standard that a node is, whatever its weights are."""
    return node.op_type.removeprefix(_BYTES)


def has_bytes(node: Node) -> bool:
    """Tell whether weights are of 8 bits: (directions, inputs, gates * size), with scales."""
    return node.op_type.startswith(_BYTES)


def _cell(node: Node) -> str:
    linear = node.op_type == "GRU" and node.attribute("linear_before_reset", 0)
    return "gru_linear" if linear else _operator(node).lower()


def _functions(
    node: Node, directions: int, is_exact: bool
) -> tuple[tuple[tuple[str, float, float], ...], ...]:
    """Activations of each direction; those that have numbers take them in order."""
    cell = _operator(node)
    names = [name.lower() for name in node.attribute("activations") or ()]
    names = names or list(_DEFAULTS[cell] * directions)
    alphas = iter(node.attribute("activation_alpha") or ())
    betas = iter(node.attribute("activation_beta") or ())
    found = []
    for name in names:
        alpha, beta = _NUMBERS.get(name, (None, None))
        a = 0.0 if alpha is None else next(alphas, alpha)
        b = 0.0 if beta is None else next(betas, beta)
        found.append((EXACT.get(name, name) if is_exact else name, float(a), float(b)))
    count = len(_DEFAULTS[cell])
    return tuple(tuple(found[d * count : (d + 1) * count]) for d in range(directions))


def check_functions(node: Node) -> None:
    """Refuse activations that there are not, too few or too many."""
    names = node.attribute("activations") or []
    directions = 2 if node.attribute("direction", "forward") == "bidirectional" else 1
    wanted = directions * len(_DEFAULTS[_operator(node)])
    if names and len(names) != wanted:
        refuse(node, "number of activations", len(names), str(wanted))
    for name in names:
        if name.lower() not in _FUNCTION_NAMES:
            refuse(node, "activation", name, f"one of {sorted(_FUNCTION_NAMES)}")


def check_shapes(node: Node) -> None:
    """Refuse weights, states and lengths whose shapes do not fit one another."""
    x, r = node.input(X), node.required(R)
    if x is not None and x.shape is not None and x.rank != 3:
        refuse(node, f"rank of {x.name!r}", x.rank, "3")
    _check_shape(node, r, [None] * 3)
    if r.shape is None:
        return
    directions = 2 if node.attribute("direction", "forward") == "bidirectional" else 1
    size = node.attribute("hidden_size", r.dims[1 if has_bytes(node) else 2])
    rows = GATES[_cell(node)] * size
    axes = [1, 0] if node.attribute("layout", 0) else [0, 1]
    batch, features = (None, None) if x is None or x.shape is None else (x.dims[axes[1]], x.dims[2])
    for info, depth in ((r, size), (node.input(W), features)):
        matrix = [depth, rows] if has_bytes(node) else [rows, depth]
        _check_shape(node, info, [directions, *matrix])
    _check_shape(node, node.input(B), [directions, 2 * rows])
    _check_shape(node, node.input(LENGTHS), [batch])
    state = [directions, batch]
    for index in (INITIAL_H, INITIAL_C):
        _check_shape(node, node.input(index), [*(state[axis] for axis in axes), size])
    _check_shape(node, node.input(PEEPHOLES), [directions, 3 * size])
    for index in (each for _, *others in BYTE_INPUTS * has_bytes(node) for each in others):
        info = node.input(index)
        by_column = [rows] if info is not None and info.shape is not None and info.rank > 1 else []
        _check_shape(node, info, [directions, *by_column])


def _check_shape(node: Node, info: Info | None, wanted: Sequence[Dim | None]) -> None:
    """Refuse an input of another rank or, as far as they are known, of other sizes."""
    if info is None or info.shape is None:
        return
    pairs = zip(info.dims, wanted, strict=False)
    if info.rank != len(wanted) or any(
        isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs
    ):
        refuse(node, f"shape of {info.name!r}", list(info.dims), str(list(wanted)))


def read_layer(emit: Emission, node: Node) -> Layer:
    """Read a node whose shapes fit."""
    directions, *sizes = ints_of(node.required(R).dims)
    gates = GATES[_cell(node)]
    size = max(sizes) // gates

    def weights(index: int, *shape: int) -> Weights | None:
        info = node.input(index)
        if info is None:
            return None
        array = info.array() if info.is_constant else emit.ordered(emit.tensor(node.values[index]))
        return reshaped(array, (directions, *shape))

    b = weights(B, 2, gates, size)
    bias, recurrent_bias = (None, None) if b is None else split_biases(b)
    forms: tuple[ByteForm | None, ...] = (None, None)
    if has_bytes(node):
        (w, r), forms = zip(*(byte_weights(node, *i, gates) for i in BYTE_INPUTS), strict=True)
    else:
        features = ints_of(node.required(W).dims)[-1]
        w, r = weights(W, gates, size, features), weights(R, gates, size, size)
    assert w is not None and r is not None
    return Layer(
        cell=_cell(node),
        kind=KINDS[node.required(X).dtype],
        functions=_functions(node, directions, emit.options.get("precision") == "strict"),
        backwards=_DIRECTIONS[node.attribute("direction", "forward")],
        is_batch_first=bool(node.attribute("layout", 0)),
        clip=node.attribute("clip"),
        is_coupled=bool(node.attribute("input_forget", 0)),
        w=w,
        r=r,
        bias=bias,
        recurrent_bias=recurrent_bias,
        peepholes=weights(PEEPHOLES, 3, size),
        w_bytes=forms[0],
        r_bytes=forms[1],
    )
