"""Attention by AMX, as products of bfloat16 terms: where it pays, and its step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...kernels.amx_permission import has_amx
from ...kernels.bfloat_terms import BLOCK
from ...kernels.cpu.attention_forms import least_queries
from ...kernels.cpu.attention_terms import block_bytes
from ...kernels.cpu.half_attention import half_attention, half_bytes
from ...kernels.cpu.term_attention import term_attention, terms_bytes
from ...kernels.target import target
from ...kernels.unit_rates import tile_bfloat16_speed
from ..emission import Emission
from ..symbolic import Dim, reaches
from ..tensors import Indexed, Tensor, short_name
from .forms import emit_either

_TERMS = {"bf16": (1, 1), "bf16x3": (2, 2)}
"""Terms of scores' factors, and of values and their weights, by precision.

An error of a score is one of an exponent, so scores of float32 are as exact as those of vectors;
two terms of values and weights leave errors of 2 ** -17 of the values.
"""
_FLOAT32_TERMS = (3, 2)
_USUAL_SIZE = 64
"""Stands for the elements of a head where they are known only when the model runs."""


@dataclass(frozen=True)
class Job:
    """What a step of attention computes: fields of `Attention`, and bytes that its rows need."""

    outputs: list[Tensor]
    flops: Dim
    fields: dict[str, Any]
    room: Dim
    indexed: Indexed | None = None

    @property
    def has_halves(self) -> bool:
        """Tell whether operands or results lie as bfloat16."""
        return any(self.fields[name].dtype == "bfloat16" for name in "qkvy")

    @property
    def rows(self) -> Dim:
        """Queries that share keys."""
        rows: Dim = self.fields["group"] * self.fields["queries"]
        return rows


def emit_fastest(emit: Emission, job: Job, by_vectors: Callable[[], None]) -> None:
    """Emit attention by AMX where that is faster, else by vectors.

    Where sizes are known only when the model runs both are steps, and a run has one of them.
    """
    if emit.kernels.attend(emit, job):
        return
    precision = emit.options.get("precision")
    if job.has_halves:
        _emit_halves(emit, job)
        return
    if precision == "strict" or not (emit.kernels.has_forms and multiplies_halves()):
        by_vectors()
        return
    terms = _TERMS.get(str(precision), _FLOAT32_TERMS)
    size, width, keys = (job.fields[name] for name in ("size", "width", "keys"))
    least = least_queries(*terms, _known(size), _known(width))
    k, v = block_bytes(*terms, _known(size), _known(width))
    most = target().l2 // (k + v) * BLOCK
    pays = reaches(job.rows, least) * (1 - reaches(keys, most + 1))
    if pays == 0:
        by_vectors()
    elif pays == 1:
        _emit_terms(emit, job, terms)
    elif emit.is_catching:
        by_vectors()
    else:
        emit_either(emit, pays, lambda: _emit_terms(emit, job, terms), by_vectors)


def multiplies_halves() -> bool:
    """Tell whether the machine has AMX, and multiplies bfloat16 faster by it than float32."""
    return has_amx() and tile_bfloat16_speed() > 1.0


def _known(size: Dim) -> int:
    return size if isinstance(size, int) else _USUAL_SIZE


def _emit_terms(emit: Emission, job: Job, terms: tuple[int, int]) -> None:
    if terms == (1, 1) and job.fields["scores"] is None:
        _emit_halves(emit, job)
        return
    size, width, keys = (job.fields[name] for name in ("size", "width", "keys"))
    space = job.room + terms_bytes(*terms, size, width, keys)
    emit.step(
        term_attention(*terms), outputs=job.outputs, flops=job.flops, indexed=job.indexed,
        **job.fields,
        workspace=emit.workspace(space), workspace_bytes=space, terms_at=job.room,
    )  # fmt: skip


def _emit_halves(emit: Emission, job: Job) -> None:
    """Emit attention whose operands are rounded to bfloat16, or lie so."""
    size, width, keys = (job.fields[name] for name in ("size", "width", "keys"))
    kinds = [short_name(job.fields[name].dtype) for name in "qy"]
    space = half_bytes(size, width, keys)
    emit.step(
        half_attention(*kinds), outputs=job.outputs, flops=job.flops, indexed=job.indexed,
        **job.fields,
        workspace=emit.workspace(space), workspace_bytes=space,
    )  # fmt: skip
