"""Convolutions and resized images of JAX, exported as one operator each.

jax2onnx takes these apart, and so knows neither convolutions of volumes whose channels are last,
nor paddings "same" of open sizes, nor resized images in a batch of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from .jax_operators import operator

_RESIZE: dict[str, dict[str, Any]] = {
    "nearest": {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
    "linear": {"mode": "linear"},
    "bilinear": {"mode": "linear"},
    "cubic": {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
}
"""Attributes for the methods of ``jax.image.resize``; pixels are where half_pixel has them."""


def convolution_as_operator(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``jax.lax.conv_general_dilated`` that traces as Conv, where it is one."""
    import jax

    def conv_general_dilated(
        lhs: Any, rhs: Any, window_strides: Sequence[int], padding: Any,
        lhs_dilation: Any = None, rhs_dilation: Any = None, dimension_numbers: Any = None,
        feature_group_count: int = 1, batch_group_count: int = 1, **others: Any,
    ) -> Any:  # fmt: skip
        def plain(x: Any, w: Any) -> Any:
            return original(
                x, w, window_strides, padding, lhs_dilation, rhs_dilation, None,
                feature_group_count, batch_group_count, **others,
            )  # fmt: skip

        spec = jax.lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
        x, w = jax.numpy.transpose(lhs, spec.lhs_spec), jax.numpy.transpose(rhs, spec.rhs_spec)
        dilations = list(rhs_dilation or (1,) * len(window_strides))
        pads = _pads(x.shape[2:], w.shape[2:], window_strides, padding, dilations)
        transposed = any(step != 1 for step in lhs_dilation or ())
        if pads is None or transposed or batch_group_count != 1:
            y = plain(x, w)
        else:
            (y,) = operator(
                "Conv", [x, w],
                {"strides": list(window_strides), "dilations": dilations,
                 "group": feature_group_count, **pads},
                [(jax.eval_shape(plain, x, w).shape, str(x.dtype))],
            )  # fmt: skip
        return jax.numpy.transpose(y, np.argsort(spec.out_spec).tolist())

    return conv_general_dilated


def _pads(
    sizes: Sequence[Any], kernel: Sequence[int], strides: Sequence[int], padding: Any,
    dilations: Sequence[int],
) -> dict[str, Any] | None:  # fmt: skip
    """Attributes for a padding; None where no attribute expresses it."""
    import jax

    if isinstance(padding, str):
        padding = padding.upper()
        if padding == "VALID":
            return {}
        if not all(isinstance(size, int) for size in sizes):
            same = padding == "SAME" and set(dilations) == {1}
            return {"auto_pad": "SAME_UPPER"} if same else None
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        padding = jax.lax.padtype_to_pads(sizes, reach, strides, padding)
    low, high = zip(*padding, strict=True)
    pads = [*low, *high]
    return {"pads": pads} if all(isinstance(p, int) and p >= 0 for p in pads) else None


def resize_as_operator(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``jax.image.resize`` that traces as Resize, where it is one of open size."""
    import jax

    def resize(
        image: Any, shape: Sequence[Any], method: Any, antialias: bool = True, **others: Any
    ) -> Any:
        axes = [
            i for i, (old, new) in enumerate(zip(image.shape, shape, strict=True)) if old != new
        ]
        known = all(isinstance(size, int) for size in (*image.shape, *shape))
        if known or method not in _RESIZE or len(axes) > 2:
            return original(image, shape, method, antialias, **others)
        if not axes:
            return image
        order = [axis for axis in range(len(shape)) if axis not in axes] + axes
        sizes = jax.numpy.stack([jax.numpy.asarray(shape[axis], "int32") for axis in axes])
        (wide,) = operator(
            "Cast", [sizes], {"to": onnx.TensorProto.INT64}, [((len(axes),), "int64")]
        )
        attributes = {
            "axes": list(range(len(shape) - len(axes), len(shape))),
            "coordinate_transformation_mode": "half_pixel",
            "antialias": int(antialias and method != "nearest"),
            **_RESIZE[method],
        }
        (y,) = operator(
            "Resize", [jax.numpy.transpose(image, order), None, None, wide], attributes,
            [([shape[axis] for axis in order], str(image.dtype))],
        )  # fmt: skip
        return jax.numpy.transpose(y, np.argsort(order).tolist())

    return resize
