"""Pad in front of a convolution or pool: into its own padding."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..rewrite import Match, NearMiss, apply_rules, op, rewrite
from ..values import attribute, integers, rank, scalar


def _extra(m: Match, neutral: float) -> list[int]:
    """Numbers of elements that the Pad adds before and after each spatial axis."""
    node = m.padded.producer()
    assert node is not None
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    m.require(mode == "constant", f"the mode is {mode}")
    inputs = [*node.inputs, None, None][1:4]
    m.require(inputs[2] is None, "it names axes")
    value = 0.0 if inputs[1] is None else scalar(inputs[1])
    m.require(value == neutral, f"it pads by {value}, not by {neutral}")
    pads, axes = integers(inputs[0]), rank(m.x)
    if pads is None or axes is None or len(pads) != 2 * axes:
        raise NearMiss("its widths are not constant")
    before, after = pads[:axes], pads[axes:]
    m.require(not any(before[:2] + after[:2]), "it pads images or channels")
    m.require(min(before + after) >= 0, "it crops")
    return before[2:] + after[2:]


def _moved(m: Match, extra: list[int], **more: int) -> ir.Value:
    attributes = dict(m.root.attributes)
    auto = attributes.pop("auto_pad", None)
    explicit = auto is None or auto.as_string() in ("NOTSET", "VALID", "")
    m.require(explicit, "the padding depends on the input's size")
    old = list(attributes.pop("pads").as_ints()) if "pads" in attributes else [0] * len(extra)
    pads = [a + b for a, b in zip(old, extra, strict=True)]
    if "kernel_shape" in attributes and m.root.op_type != "Conv":
        sizes = 2 * list(attributes["kernel_shape"].as_ints())
        small = all(pad < size for pad, size in zip(pads, sizes, strict=True))
        m.require(small, "a pool may not pad by its whole window")
    operator = getattr(m.op, m.root.op_type)
    result: ir.Value = operator(m.x, *m.root.inputs[1:], **{**attributes, "pads": pads, **more})
    return result


@rewrite(lambda x, w: op.Conv(op.Pad(x, ...).named("padded"), w, ...))
def _pad_conv(m: Match) -> ir.Value:
    return _moved(m, _extra(m, 0.0))


@rewrite(lambda x: op.MaxPool(op.Pad(x, ...).named("padded")))
def _pad_max_pool(m: Match) -> ir.Value:
    m.require(not attribute(m.root, "ceil_mode", 0), "ceil_mode is on")
    return _moved(m, _extra(m, -np.inf))


@rewrite(lambda x: op.AveragePool(op.Pad(x, ...).named("padded")))
def _pad_average_pool(m: Match) -> ir.Value:
    m.require(not attribute(m.root, "ceil_mode", 0), "ceil_mode is on")
    pads = m.root.attributes["pads"].as_ints() if "pads" in m.root.attributes else []
    counts = bool(attribute(m.root, "count_include_pad", 0)) or not any(pads)
    m.require(counts, "the mean does not count padding")
    return _moved(m, _extra(m, 0.0), count_include_pad=1)


fold_pads = apply_rules([_pad_conv, _pad_max_pool, _pad_average_pool])
