"""Forms of a convolution: depthwise, direct with one of a few tiles, or one of Winograd's."""

from __future__ import annotations

from collections.abc import Callable

from ...kernels.bfloat_terms import PRODUCTS
from ...kernels.cpu import control
from ...kernels.unit_rates import bfloat16_speed
from ..choices import Form
from ..emission import Emission
from ..symbolic import Dim
from ..tensors import Label, Tensor
from .bfloats import may_round, rounded
from .convolution import Convolution
from .depthwise import emit_depthwise
from .direct import emit_direct
from .half_images import in_halves, vectors_take
from .pooled import find_pool
from .term_products import emit_terms, may_split, terms_of
from .term_products import pays as pays_by_terms
from .tiles import amx_sizes, rank_tiles_of
from .winograd import emit_winograd, form_of, gain_of, legal_forms, pays


def emit_convolution(emit: Emission, conv: Convolution) -> None:
    """Emit a convolution in the form chosen for it."""
    if 0 in conv.y.shape or emit.kernels.convolve(emit, conv):
        return
    if conv.has_halves and not _takes_halves(emit, conv):
        _emit_in_float32(emit, conv)
        return
    conv = conv.with_slices_as_rows()
    if conv.is_depthwise and conv.kind == "f32" and conv.residual is None:
        emit_depthwise(emit, conv)
        return
    conv = conv.turned() if conv.is_column else conv
    conv = in_halves(emit, conv) if vectors_take(conv) else conv
    conv = conv.with_kernel_over_rows(emit)
    if isinstance(conv.weights, Tensor):
        emit_direct(emit, conv)
        return
    if may_round(emit, conv) and _is_direct(emit, conv):
        conv = rounded(emit, conv)
    forms = _forms(emit, conv)
    form = emit.choices.choose(conv.name, forms)
    if form.algorithm == "terms":
        emit_terms(emit, conv, form.sizes[0])
    elif form.algorithm == "direct":
        emit_direct(emit, conv, form.sizes)
    elif _is_settled(emit, conv, form):
        emit_winograd(emit, conv, form.sizes)
    else:
        direct = next(other for other in forms if other.algorithm == "direct")
        emit_either(
            emit, pays(conv, form.sizes),
            lambda: emit_winograd(emit, conv, form.sizes),
            lambda: emit_direct(
                emit, rounded(emit, conv) if may_round(emit, conv) else conv, direct.sizes
            ),
        )  # fmt: skip


def _takes_halves(emit: Emission, conv: Convolution) -> bool:
    """Tell whether a convolution has a form that reads and writes bfloat16, and takes it."""
    if conv.is_depthwise:
        return conv.x.dtype == conv.y.dtype and conv.residual is None
    if vectors_take(conv):
        return True
    if not may_split(emit, conv):
        return False
    prepared = conv.turned() if conv.is_column else conv
    return emit.choices.choose(conv.name, _forms(emit, prepared)).algorithm == "terms"


def _emit_in_float32(emit: Emission, conv: Convolution) -> None:
    """Emit a convolution by a form that takes float32 alone, with conversions before and after."""
    wide, absorbed = conv.in_float32(emit), len(emit.absorbed)
    with emit.taking_halves(False):
        emit_convolution(emit, wide)
    if wide.y is not conv.y and len(emit.absorbed) == absorbed:
        emit.convert(wide.y, conv.y)


def _is_settled(emit: Emission, conv: Convolution, form: Form) -> bool:
    """Tell whether a convolution has Winograd's form at all sizes that a run may have."""
    if not emit.choices.is_open(conv.name) or isinstance(pays(conv, form.sizes), int):
        return True
    # Where steps are joined, and where a pooling is a part of this step, there is one form.
    return emit.is_catching or find_pool(emit, conv, form.sizes) is not None


def emit_either(
    emit: Emission, size: Dim, one: Callable[[], None], other: Callable[[], None]
) -> None:
    """Emit two forms, of which a run takes the one where a size is not 0, else the other."""
    second, end = Label(), Label()
    emit.step(control.branch_by_size, outputs=[], op_type="Form", size=size, other=second)
    with emit.passed_by():
        one()
    emit.step(control.jump, outputs=[], op_type="Form", target=end)
    emit.program.mark(second)
    with emit.passed_by():
        other()
    emit.program.mark(end)


def _forms(emit: Emission, conv: Convolution) -> list[Form]:
    """List the forms that a convolution may take, that of the cost model first."""
    by_amx = amx_sizes(conv)
    if by_amx is not None:
        return [Form("direct", by_amx)]
    forms = [Form("direct", tile) for tile in rank_tiles_of(conv)]
    forms += [Form("winograd", sizes) for sizes in legal_forms(emit, conv)]
    cheapest = form_of(emit, conv)
    if cheapest is not None:
        forms.sort(key=lambda form: form != Form("winograd", cheapest))
    if conv.kind == "f32" and may_split(emit, conv):
        terms = terms_of(emit, conv)
        own = Form("terms", (terms, PRODUCTS[terms]))
        forms.insert(0 if _pay_terms(emit, conv) else len(forms), own)
    return forms


def _is_direct(emit: Emission, conv: Convolution) -> bool:
    """Tell whether the direct form, of pairs of bfloat16, costs least; a processor has these."""
    return form_of(emit, conv, bfloat16_speed()) is None and not _pay_terms(emit, conv)


def _pay_terms(emit: Emission, conv: Convolution) -> bool:
    """Tell whether terms cost less than any other form of float32.

    What lies as bfloat16 is a term already.
    """
    if not may_split(emit, conv):
        return False
    if conv.x.dtype == "bfloat16" and conv.groups == 1:
        return True
    return pays_by_terms(conv, terms_of(emit, conv), gain_of(emit, conv))
