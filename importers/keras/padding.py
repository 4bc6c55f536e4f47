"""Padding "same" of Theano and CNTK.

All backends agree on the size of the result, but not on where the window begins: TensorFlow shares
the padding between both sides, CNTK centres the windows, Theano pads half a window (and more for
pooling) and leaves out the excess behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import UnsupportedModel

_WINDOWED = (
    "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D",
    "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "AveragePooling1D", "AveragePooling2D",
    "AveragePooling3D",
)  # fmt: skip


def apply_same(layer: Any, backend: str) -> Callable[[Any], Any]:
    """Return a function that applies a layer as another backend of Keras 1 or 2 did.

    Parameters
    ----------
    layer
        A layer; those with ``padding="same"`` are changed to pad beforehand if they must be.
    backend : str
        The backend that the model was trained with.

    Raises
    ------
    UnsupportedModel
        By the function: the padding depends on the size of an image, which is not known.
    """
    kind = type(layer).__name__
    if getattr(layer, "padding", None) != "same" or backend not in ("theano", "cntk"):
        return layer
    if kind.endswith("Transpose"):
        sizes = zip(_tuple(layer.kernel_size), _tuple(layer.strides), strict=False)
        if any(size % 2 == 0 or stride > 1 for size, stride in sizes):
            raise UnsupportedModel(
                f"layer {layer.name!r} is a {kind} with padding 'same' of {backend}, which "
                "crops its result differently"
            )
    return PaddedLayer(layer, backend) if kind in _WINDOWED else layer


class PaddedLayer:
    """A layer with explicit padding in front, where its own would be different."""

    def __init__(self, layer: Any, backend: str) -> None:
        self.layer, self.backend = layer, backend
        self.pooling = "Pooling" in type(layer).__name__
        self.window = _tuple(layer.pool_size if self.pooling else layer.kernel_size)
        self.strides = _tuple(layer.strides)
        if not self.pooling:
            rates = _tuple(getattr(layer, "dilation_rate", 1), len(self.window))
            self.window = tuple(
                (size - 1) * rate + 1 for size, rate in zip(self.window, rates, strict=False)
            )

    def __call__(self, value: Any) -> Any:
        """Apply the layer to a value of Keras."""
        from keras import ops

        first = 2 if self.layer.data_format == "channels_first" else 1
        sizes = value.shape[first : first + len(self.window)]
        pads = [self._pads(*numbers) for numbers in zip(sizes, self.window, self.strides)]  # noqa: B905
        if all(pad == usual for pad, usual in pads):
            return self.layer(value)
        self.layer.padding = "valid"
        widths = [(0, 0)] * first + [pad for pad, _ in pads]
        widths += [(0, 0)] * (len(value.shape) - len(widths))
        if not self.pooling:
            return self.layer(ops.pad(value, widths))
        if type(self.layer).__name__.startswith("Max"):
            lowest = float("-inf")
            return self.layer(ops.pad(value, widths, constant_values=lowest))
        # Only pixels of the image count.
        share = self.layer(ops.pad(ops.ones_like(value), widths))
        return self.layer(ops.pad(value, widths)) / share

    def _pads(
        self, size: int | None, window: int, stride: int
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Padding of an axis before and behind: the backend's, and TensorFlow's."""
        if size is None and stride > 1:
            raise UnsupportedModel(
                f"layer {self.layer.name!r} ({type(self.layer).__name__}) pads as "
                f"{self.backend} did: give its model an input of known size"
            )
        size = size or window
        count = -(-size // stride)
        total = (count - 1) * stride + window - size
        usual = max(total, 0)
        if self.backend == "cntk":
            before = (window - 1) // 2 - (size - 1) % stride // 2
        elif not self.pooling:
            before = window // 2
        else:
            before = window - 2 if window > 2 and window % 2 else window - 1
        before = max(before, 0)
        return (before, max(total - before, 0)), (usual // 2, usual - usual // 2)


def _tuple(value: Any, count: int = 1) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value)
