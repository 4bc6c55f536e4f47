"""Products with constant weights of 4 bits on a GPU, which stay so in its memory."""

from __future__ import annotations

import numpy as np

from ....kernels.cuda.tensor_cores.nibbles import DEPTH_UNIT, nibble_product
from ...emission import Emission
from ...graph import Node
from ...ops.packed_weights import PackedWeights, nibbles_of
from ...strides import collapse
from ...symbolic import product
from ...tensors import Tensor
from .behind import VECTOR_BYTES, Behind, is_multiple
from .simulation import SIMULATED
from .tensor_tiles import element_of

_SIZE = 4


def emit_nibble_product(emit: Emission, node: Node, y: Tensor, behind: Behind) -> bool:
    """Emit a MatMul with weights of 4 bits and what follows; tells whether there is a kernel."""
    weights = nibbles_of(emit, node)
    if weights is None or weights.scales is None or weights.zeros is None:
        return False
    a, (depth, columns) = emit.tensor(node.values[0]), weights.numbers.shape
    block = depth if len(weights.scales) == 1 else weights.block
    others = behind.strides(emit, y)
    if depth % DEPTH_UNIT or block % DEPTH_UNIT or len(a.shape) < 2 or y.strides[-1] != 1:
        return False
    table = [list(each.strides[:-1]) for each in (y, a)] + [steps[:-1] for steps in others]
    sizes, steps = collapse(y.shape[:-1], range(len(y.shape) - 1), table)
    places = [a.offset, *(_SIZE * step for step in steps[1])]
    if (
        len(sizes) > 1
        or a.strides[-1] != 1
        or not all(is_multiple(p, VECTOR_BYTES) for p in places)
    ):
        return False
    after = behind.epilogue(
        None, [each[-1] for each in others], [(own[0], 0, 0) for own in steps[2:]]
    )
    if after is None:
        return False
    epilogue, record = after
    is_aligned = all(is_multiple(p, VECTOR_BYTES) for p in (y.offset, _SIZE * steps[0][0]))
    side = 64 if emit.options["device"] != SIMULATED else 32
    element = element_of(emit) or "f32"
    kernel = nibble_product(
        element, side, 64, int(is_aligned), "", epilogue.expression, "".join(epilogue.operands)
    )
    if kernel is None:
        return False
    words, pairs = _stored(emit, node, weights)
    emit.step(
        kernel,
        outputs=[y],
        flops=2 * product(y.shape) * depth,
        a=a, b=words, pairs=pairs, c=y, bias=None, operands=record, m=sizes[0], n=columns,
        k=depth, block=block, a_row=_SIZE * steps[1][0], c_row=_SIZE * steps[0][0],
    )  # fmt: skip
    return True


def _stored(emit: Emission, node: Node, weights: PackedWeights) -> tuple[Tensor, Tensor]:
    """Store numbers, two in a byte, and pairs of scale and zero point, column by column."""
    numbers = weights.numbers.T
    packed = numbers[:, ::2] | numbers[:, 1::2] << 4
    assert weights.scales is not None and weights.zeros is not None
    pairs = np.stack([weights.scales.T, weights.zeros.T.astype(np.float32)], -1)
    return (
        emit.constant(packed.astype(np.uint8), f"{node.name}.weights"),
        emit.constant(pairs.astype(np.float32), f"{node.name}.scales"),
    )
