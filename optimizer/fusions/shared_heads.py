"""Heads that share keys and values, which a model repeats for Attention."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from ..rewrite import Match, op, rewrite


def _repeated(x: Any, name: str) -> Any:
    apart = op.Unsqueeze(x, ...).named(f"{name}_apart")
    return op.Reshape(op.Expand(apart, ...), ...).named(f"{name}_heads")


@rewrite(lambda q, k, v: op.Attention(q, _repeated(k, "k"), _repeated(v, "v"), ...))
def shared_heads(m: Match) -> ir.Value:
    """Let Attention share heads that are repeated one by one."""
    for x, apart, repeated in ((m.k, m.k_apart, m.k_heads), (m.v, m.v_apart, m.v_heads)):
        own, single, every = (m.sizes(value) for value in (x, apart, repeated))
        m.require(len(own) == len(every) == 4 and None not in own, "a size is not known")
        m.require(single == [*own[:2], 1, *own[2:]], "heads are not repeated one by one")
        m.require(every == [own[0], every[1], *own[2:]], "more than heads are repeated")
    attributes = dict(m.root.attributes)
    result: ir.Value = m.op.Attention(m.q, m.k, m.v, *m.root.inputs[3:], **attributes)
    return result
