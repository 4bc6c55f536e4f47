"""Folders of images as calibration data, prepared as a model says or as options say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument
from ..given_numbers import is_finite, is_whole
from .feeds import input_names

if TYPE_CHECKING:
    import onnx_ir as ir

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Endings of files that are images."""
_LAYOUTS = ("NCHW", "NHWC")
_ORDERS = ("rgb", "bgr")
_CHANNELS = (1, 3)
_AT_ONCE = 8
_SCALED = 16.0
"""A model that divides by more takes pixels from 0 to 255; by less, from 0 to 1."""
_RANGES = {
    "NominalRange_0_255": (0.0, 1.0),
    "Normalized_0_1": (0.0, 255.0),
    "Normalized_1_1": (127.5, 127.5),
}
"""Mean and scale by what ONNX's metadata call a range (``docs/MetadataProps.md``)."""


@dataclass(frozen=True)
class ImageOptions:
    """How a model wants images; what is not given is read off the model.

    Attributes
    ----------
    mean, scale : sequence of float, optional
        One number or one a channel: values are ``(pixel - mean) / scale``, pixels from 0 to 255.
    layout : {"NCHW", "NHWC"}, optional
    resize : (int, int), optional
        Height and width.
    order : {"rgb", "bgr"}, optional
        Of channels.
    """

    mean: Sequence[float] | None = None
    scale: Sequence[float] | None = None
    layout: str | None = None
    resize: tuple[int, int] | None = None
    order: str | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("layout", self.layout, _LAYOUTS),
            ("order", self.order, _ORDERS),
        ):
            if value is not None and not (isinstance(value, str) and value in known):
                raise InvalidArgument(f"{name} must be one of {', '.join(known)}, not {value!r}")
        for name, numbers in (("mean", self.mean), ("scale", self.scale)):
            if numbers is not None and not _are_numbers(numbers):
                raise InvalidArgument(f"{name} must be finite numbers, one or three: {numbers!r}")
        if self.scale is not None and not all(self.scale):
            raise InvalidArgument(f"scale must not be 0: {self.scale}")
        if self.resize is not None and not _is_size(self.resize):
            raise InvalidArgument(f"resize must be a height and a width, not {self.resize!r}")


def _is_size(value: Any) -> bool:
    """Tell whether a value is a height and a width."""
    is_pair = isinstance(value, Sequence | np.ndarray) and len(value) == 2
    return is_pair and all(is_whole(size) and size > 0 for size in value)


def _are_numbers(values: Any) -> bool:
    """Tell whether values are a finite number, or one for each channel."""
    is_some = isinstance(values, Sequence | np.ndarray) and len(values) in _CHANNELS
    return is_some and all(is_finite(value) for value in values)


class ImageFolder:
    """Feeds of a model from the images of a folder, in the order of their names.

    An image is resized as a whole (bilinear). Where the model takes any width, but one height, an
    image keeps its proportions, and is a run of its own.

    Parameters
    ----------
    model : onnx_ir.Model
    folder : Path
    options : ImageOptions, optional

    Raises
    ------
    InvalidArgument
        Neither model nor options say how images are to be prepared; or pillow is not installed.
    """

    def __init__(self, model: ir.Model, folder: Path, options: ImageOptions | None = None) -> None:
        try:
            import PIL.Image  # noqa: F401
        except ImportError as error:
            raise InvalidArgument(
                f"{folder} holds images: pip install 'sardonyx[images]' for pillow"
            ) from error
        options = options or ImageOptions()
        names = input_names(model)
        if len(names) != 1:
            raise InvalidArgument(
                f"the model has inputs {', '.join(names)}: a folder of images is for one alone"
            )
        (self._input,) = (each for each in model.graph.inputs if each.name == names[0])
        self._files = images_of(folder)
        sizes = _sizes(self._input)
        self._layout = options.layout or _layout(self._input, sizes)
        at = {letter: sizes[self._layout.index(letter)] for letter in "NCHW"}
        self._batch = at["N"]
        self._channels = 3 if at["C"] is None else at["C"]
        if self._channels not in _CHANNELS:
            raise InvalidArgument(
                f"input {names[0]!r} has {self._channels} channels in layout {self._layout}; "
                "images have 1 or 3"
            )
        self._size = options.resize or (at["H"], at["W"])
        for own, stated in zip(self._size, (at["H"], at["W"]), strict=True):
            if stated is not None and own != stated:
                raise InvalidArgument(
                    f"resize is {self._size}, and input {names[0]!r} has the shape {sizes}"
                )
        if self._size == (None, None):
            raise InvalidArgument(
                f"input {names[0]!r} takes images of any size: say one (--resize 224x224)"
            )
        self._order = options.order or _order(model)
        self._mean, self._scale = _normalization(model, self._input, options)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        count = self._batch or (1 if None in self._size else _AT_ONCE)
        if self._batch and len(self._files) < count:
            raise InvalidArgument(
                f"the model takes {count} images at once; there are {len(self._files)}"
            )
        for start in range(0, len(self._files), count):
            files = self._files[start : start + count]
            if len(files) == count or not self._batch:
                images = [self._image(file) for file in files]
                yield {str(self._input.name): np.stack(images)}

    def _image(self, file: Path) -> np.ndarray:
        """One image as the model takes it, without the axis of images."""
        from PIL import Image

        image = _opened(file).convert("L" if self._channels == 1 else "RGB")
        height, width = self._size
        height = height or max(round(image.height * (width or 0) / image.width), 1)
        width = width or max(round(image.width * height / image.height), 1)
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized).reshape(height, width, self._channels)
        if self._order == "bgr":
            pixels = pixels[..., ::-1]
        kind = np.dtype(np.float32) if self._input.dtype is None else self._input.dtype.numpy()
        if kind.kind == "f":
            pixels = (pixels.astype(np.float32) - self._mean) / self._scale
        pixels = pixels.astype(kind)
        return pixels if self._layout == "NHWC" else np.moveaxis(pixels, -1, 0)


def _opened(file: Path) -> Any:
    """Image of a file, of 8 bits: of 16, the upper ones."""
    from PIL import Image

    try:
        with Image.open(file) as opened:
            opened.load()
            if opened.mode == "F":
                raise ValueError("its pixels are floats, of no known range")
            if not opened.mode.startswith("I"):
                return opened.copy()
            wide = np.asarray(opened)
            return Image.fromarray(np.clip(wide // 257, 0, 255).astype(np.uint8))
    except Exception as error:  # decoders raise errors of many kinds
        raise InvalidArgument(f"{file} is no image: {error}") from error


def images_of(folder: Path) -> list[Path]:
    """Images of a folder, by name."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGES)


def _sizes(value: ir.Value) -> list[int | None]:
    if value.shape is None or len(value.shape) != 4:
        raise InvalidArgument(f"input {value.name!r} is {value.shape}: no images of four axes")
    return [size if isinstance(size, int) else None for size in value.shape]


def _layout(value: ir.Value, sizes: list[int | None]) -> str:
    is_first, is_last = sizes[1] in _CHANNELS, sizes[3] in _CHANNELS
    if is_first == is_last:
        raise InvalidArgument(
            f"input {value.name!r} has the shape {value.shape}, which does not say where channels "
            "are: give a layout (NCHW or NHWC)"
        )
    return _LAYOUTS[0] if is_first else _LAYOUTS[1]


def _order(model: ir.Model) -> str:
    stated = model.metadata_props.get("Image.BitmapPixelFormat", "")
    return "bgr" if stated.lower().startswith("bgr") else "rgb"


def _normalization(
    model: ir.Model, value: ir.Value, options: ImageOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Return what is subtracted from pixels, and what they are divided by then."""
    if options.mean is not None or options.scale is not None:
        return _numbers(options.mean or [0.0]), _numbers(options.scale or [1.0])
    stated = model.metadata_props.get("Image.NominalPixelRange", "")
    if stated in _RANGES:
        mean, scale = _RANGES[stated]
        return _numbers([mean]), _numbers([scale])
    if value.dtype is not None and not value.dtype.is_floating_point():
        return _numbers([0.0]), _numbers([1.0])
    divisor = _divisor(value)
    if divisor is None:
        raise InvalidArgument(
            f"the model does not say which values input {value.name!r} takes: no metadata, and its "
            "first operators neither subtract nor divide; give mean and scale, of "
            "(pixel - mean) / scale (--mean 0 --scale 255 for values from 0 to 1)"
        )
    return _numbers([0.0]), _numbers([1.0 if divisor > _SCALED else 255.0])


def _numbers(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, np.float32)


_MOVED = ("Cast", "Transpose", "Identity", "Reshape", "Unsqueeze", "Squeeze")


def _divisor(value: ir.Value) -> float | None:
    """What a model divides pixels by in its first operators; None if it does not scale them."""
    from ..optimizer.values import constant

    found, scales = 1.0, False
    while len(value.uses()) == 1:
        ((node, index),) = value.uses()
        others = [constant(other) for i, other in enumerate(node.inputs) if i != index]
        if node.domain or node.op_type not in (*_MOVED, "Add", "Sub", "Mul", "Div"):
            break
        if node.op_type not in _MOVED:
            other = others[0]
            if other is None or not np.all(other) or (node.op_type == "Div" and index):
                break
            size = float(np.abs(other).mean())
            found *= {"Mul": 1 / size, "Div": size}.get(node.op_type, 1.0)
            scales = True
        value = node.outputs[0]
    return found if scales else None


def read_pair(text: str) -> tuple[int, int]:
    """Read a height and a width, ``224x224``, or one number for both."""
    try:
        numbers = [int(part) for part in text.lower().split("x")]
        height, width = numbers if len(numbers) > 1 else numbers * 2
    except ValueError as error:
        raise InvalidArgument(f"{text!r} is no size: give HEIGHTxWIDTH") from error
    return height, width


def read_numbers(text: str) -> list[float]:
    """Read numbers with commas between them, one or one a channel."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidArgument(f"{text!r} is no list of numbers: give 123.7,116.3,103.5") from error
    if len(found) not in _CHANNELS:
        raise InvalidArgument(f"{text!r} has {len(found)} numbers: give one, or one a channel")
    return found


def with_images(model: ir.Model, data: Any, options: ImageOptions | None) -> Any:
    """Return data as it is, or feeds of the images of a folder."""
    if not isinstance(data, str | Path):
        return data
    folder = Path(data)
    arrays = folder.is_dir() and any(file.suffix in (".npy", ".npz") for file in folder.iterdir())
    return data if arrays or not images_of(folder) else ImageFolder(model, folder, options)
