"""Modes of quantization that need no ranges of activations: weights of few bits, and halves."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgument
from .calibration_data import calibration_feeds
from .quantize_options import BLOCK_ROUNDINGS
from .refinements import Refinements, kept

if TYPE_CHECKING:
    import onnx_ir as ir

    from ..optimizer.quantize.few_bits import FewBits
    from ..optimizer.quantize.refinement import Refined


def write_halves(model: ir.Model, kind: str, keep: Collection[str], ports: bool) -> int:
    """Convert a model to ``"fp16"`` or ``"bf16"``, in place; returns the number of nodes.

    Raises
    ------
    InvalidArgument
        There is no node and no operator of a name to keep.

    Warns
    -----
    UserWarning
        A constant has numbers beyond the range of the type: names it.
    """
    import onnx

    from ..optimizer.quantize.halves import write_halves

    names = {each for node in model.graph.all_nodes() for each in (node.name, node.op_type)}
    for name in keep:
        if name not in names and not onnx.defs.has(name):
            raise InvalidArgument(f"no node or operator {name!r} to keep")
    found = write_halves(model, kind, keep=keep, ports=ports)
    if found.clipped:
        warnings.warn(
            f"{len(found.clipped)} constants have numbers beyond the range of {kind}, such as "
            f"{found.clipped[0]!r}: they became its largest",
            stacklevel=3,
        )
    return found.count


def write_weights(
    model: ir.Model,
    data: Any,
    refinements: Refinements,
    threads: int | None,
    *,
    bits: int,
    block: int,
    offsets: bool,
    wide: Collection[str],
) -> int:
    """Keep weights in few bits, in place; returns their number.

    Parameters
    ----------
    model : onnx_ir.Model
    data : Any
        Read for some refinements.
    refinements : Refinements
    threads : int, optional
    bits, block : int
    offsets : bool
        Whether zero points may lie between whole numbers.
    wide : collection of str
        Names of nodes whose weights have 8 bits anyway.
    """
    from ..optimizer.names import make_names_unique
    from ..optimizer.quantize.few_bits import few_bits
    from ..optimizer.quantize.weight_only import write_weights
    from ..optimizer.report import Report

    make_names_unique(model, Report())
    names = {node.name for node in model.graph.all_nodes()}
    for name in wide:
        if name not in names:
            raise InvalidArgument(f"no node {name!r} to keep")
    ranges = refinements.rounding if refinements.rounding in BLOCK_ROUNDINGS else "nearest"
    few = few_bits(model, bits, block, ranges, wide, offsets)
    _warn_of_blocks(model, few)
    refined: Mapping[str, Refined] = {}
    if refinements.reads_data:
        feeds = kept(calibration_feeds(model, data))
        refined = refinements.of_weights(model, feeds, threads, few)
    return write_weights(model, few, refined)


def _warn_of_blocks(model: ir.Model, few: FewBits) -> None:
    """Name weights of 4 bits whose rows are no whole blocks, which OpenVINO does not take."""
    from ..optimizer.quantize.few_bits import LEAST
    from ..optimizer.quantize.products import products

    found, summed = {}, {}
    for each in products(model):
        depth = each.weights.shape[1 - each.columns]
        if each.weights.size < LEAST or not few.take(each.node):
            continue
        block, value = few.block_of(depth), each.node.inputs[1]
        of = f"of {'' if value is None else value.name!r} ({each.node.name})"
        spaced = few.spaced.get(str(each.node.name))
        if depth % block:
            found[value] = f"{depth} {of}"
        elif spaced is not None and spaced.has_offsets and depth // block % block:
            summed[value] = f"{depth + depth // block} {of}"
    if summed:
        first, *others = summed.values()
        warnings.warn(
            f"the last block of a column is shorter, which OpenVINO refuses: with its offsets no "
            f"block divides {first}{f' and {len(others)} more' if others else ''}",
            stacklevel=4,
        )
    if found:
        warnings.warn(
            f"the last block of a column is shorter, which OpenVINO refuses: no block from 16 "
            f"divides {'; '.join(found.values())}; keep=[...] gives them 8 bits",
            stacklevel=4,
        )
