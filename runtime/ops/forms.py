"""Which forms a convolution may take: direct with one of a few tiles, or Winograd's."""

from __future__ import annotations

import numpy as np

from ...kernels.cpu import packing
from ..choices import Form
from ..emission import Emission
from ..symbolic import Dim
from ..tensors import Tensor
from . import winograd
from .windows import Window

_MOST_TILES = 3


def choose_form(
    emit: Emission, name: str, window: Window, weights: np.ndarray, groups: int, y: Tensor,
    pixels: Dim,
) -> Form:  # fmt: skip
    """Choose the form of a convolution of rows of ``pixels``, named ``name`` in the choices."""
    out_channels, channels, *kernel = weights.shape
    width = pixels if isinstance(pixels, int) else None
    depth = channels * kernel[0] * kernel[1]
    tiles = packing.rank_tiles(width, out_channels // groups, depth)[:_MOST_TILES]
    forms = [Form("direct", tile) for tile in tiles]
    forms += [Form("winograd", sizes) for sizes in winograd.legal_forms(emit, window)]
    cheapest = winograd.form_of(emit, window, weights, groups, y)
    if cheapest is not None:
        forms.sort(key=lambda form: form != Form("winograd", cheapest))
    return emit.choices.choose(name, forms)
