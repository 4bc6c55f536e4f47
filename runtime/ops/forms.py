"""Forms of a convolution: depthwise, direct with one of a few tiles, or one of Winograd's."""

from __future__ import annotations

from ...kernels.cpu import packing
from ..choices import Form
from ..emission import Emission
from ..tensors import Tensor
from .convolution import Convolution
from .depthwise import emit_depthwise
from .direct import emit_direct
from .winograd import emit_winograd, form_of, legal_forms

_MOST_TILES = 3


def emit_convolution(emit: Emission, conv: Convolution) -> None:
    """Emit a convolution in the form chosen for it."""
    if 0 in conv.y.shape:
        return
    conv = conv.with_slices_as_rows()
    if conv.is_depthwise and conv.kind == "f32" and conv.residual is None:
        emit_depthwise(emit, conv)
        return
    conv = conv.turned() if conv.is_column else conv
    conv = conv.with_kernel_over_rows(emit)
    if isinstance(conv.weights, Tensor):
        emit_direct(emit, conv)
        return
    form = emit.choices.choose(conv.name, _forms(emit, conv))
    if form.algorithm == "winograd":
        emit_winograd(emit, conv, form.sizes)
    else:
        emit_direct(emit, conv, form.sizes)


def _forms(emit: Emission, conv: Convolution) -> list[Form]:
    """List the forms that a convolution may take, that of the cost model first."""
    width = conv.row_pixels
    out_channels, depth = conv.out_channels * (conv.itemsize // 4), conv.filters[0].size
    tiles = packing.rank_tiles(width if isinstance(width, int) else None, out_channels, depth)
    forms = [Form("direct", tile) for tile in tiles[:_MOST_TILES]]
    if conv.kind != "f32":
        return forms
    forms += [Form("winograd", sizes) for sizes in legal_forms(emit, conv.window)]
    cheapest = form_of(emit, conv)
    if cheapest is not None:
        forms.sort(key=lambda form: form != Form("winograd", cheapest))
    return forms
