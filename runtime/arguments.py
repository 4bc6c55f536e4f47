"""Arguments of a run: arrays by name, checked against the inputs that a program declares."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..errors import InvalidArgument
from .program import Port

Shapes: TypeAlias = tuple[tuple[int, ...], ...]
"""Of all inputs; ``()`` for an input that is no plain tensor."""

# numpy's flags of arrays that are C-contiguous and aligned.
_READABLE = 0x0001 | 0x0100


class Signature:
    """Names, types and shapes of a program's inputs.

    Attributes
    ----------
    names : list of str
    """

    def __init__(self, ports: Sequence[Port]) -> None:
        self.names = [port.name for port in ports]
        dtypes = [None if port.dtype == "object" else np.dtype(port.dtype) for port in ports]
        self._ports = ports
        self._expected = list(zip(self.names, dtypes, strict=True))
        self._bools = [index for index, dtype in enumerate(dtypes) if dtype == np.bool_]
        self._fit = _comparison(ports)

    def arrays(
        self, feeds: Mapping[str, Any], are_checked: bool = False
    ) -> tuple[list[Any], Shapes]:
        """Return the inputs in order, as contiguous arrays of their types, and their shapes.

        Parameters
        ----------
        feeds : mapping
            An array for each input.
        are_checked : bool
            Whether what is no plain tensor comes from a run, and so is of its type.

        Raises
        ------
        InvalidArgument
            An input is missing, unknown, or of the wrong type.
        """
        if type(feeds) is not dict and not isinstance(feeds, Mapping):
            kind = type(feeds).__name__
            raise InvalidArgument(f"inputs must be a mapping of names to arrays, not a {kind}")
        arrays: list[Any] = []
        shapes: list[tuple[int, ...]] = []
        try:
            for name, dtype in self._expected:
                array = feeds[name]
                if dtype is None:
                    if not are_checked:
                        array = _checked_object(array, self._ports[len(arrays)].type, name)
                    arrays.append(array)
                    shapes.append(())
                    continue
                if type(array) is not np.ndarray or array.dtype is not dtype:
                    array = _typed(array, name, dtype)
                if array.flags.num & _READABLE != _READABLE:
                    array = np.array(array, order="C")
                arrays.append(array)
                shapes.append(array.shape)
            for index in self._bools:
                arrays[index] = _of_zeros_and_ones(arrays[index])
        except KeyError:
            pass
        if len(arrays) != len(feeds) or len(arrays) != len(self._expected):
            missing = [name for name in self.names if name not in feeds]
            unknown = [name for name in feeds if name not in self.names]
            raise InvalidArgument(f"inputs missing: {missing}, inputs not known: {unknown}")
        return arrays, tuple(shapes)

    def check_shapes(self, shapes: Shapes) -> None:
        """Compare shapes with what the inputs declare.

        Raises
        ------
        InvalidArgument
            A size is another one, or two inputs disagree on a dimension.
        """
        if self._fit is not None and self._fit(shapes):
            return
        sizes: dict[str, tuple[int, str]] = {}
        for port, shape in zip(self._ports, shapes, strict=True):
            if port.dims is None or port.dtype == "object":
                continue
            if len(shape) != len(port.dims):
                raise InvalidArgument(
                    f"input {port.name!r}: expected {len(port.dims)} dimensions {port.dims}, "
                    f"got shape {shape}"
                )
            for axis, (size, dim) in enumerate(zip(shape, port.dims, strict=True)):
                if isinstance(dim, int) and size != dim:
                    raise InvalidArgument(
                        f"input {port.name!r}: expected {dim} in dimension {axis} "
                        f"({port.dims}), got shape {shape}"
                    )
                if isinstance(dim, str):
                    first = sizes.setdefault(dim, (size, port.name))
                    if first[0] != size:
                        raise InvalidArgument(
                            f"input {port.name!r}: dimension {axis} ({dim!r}) is {size}, "
                            f"but {first[0]} in input {first[1]!r}"
                        )

    def static_shapes(self) -> Shapes | None:
        """Return the shapes of all inputs, None where one has a dimension that is not fixed."""
        shapes = []
        for port in self._ports:
            dims = () if port.dtype == "object" else port.dims
            if dims is None or any(not isinstance(dim, int) for dim in dims):
                return None
            shapes.append(tuple(dim for dim in dims if isinstance(dim, int)))
        return tuple(shapes)


def _comparison(ports: Sequence[Port]) -> Callable[[Shapes], bool] | None:
    """Make a fast test of whether shapes are what inputs declare; None where a rank is not known.

    A decoder has two caches for each layer: to compare sizes one by one takes a tenth of a
    millisecond.
    """
    declared = [() if port.dtype == "object" else port.dims for port in ports]
    if any(dims is None for dims in declared):
        return None
    ranks = tuple(len(dims or ()) for dims in declared)
    flat = [dim for dims in declared for dim in dims or ()]
    first: dict[str, int] = {}
    # Two at least, for of one place ``itemgetter`` gives no tuple.
    fixed: list[int] = []
    pairs: list[tuple[int, int]] = []
    for place, dim in enumerate(flat):
        if isinstance(dim, int):
            fixed += [place, place]
        elif isinstance(dim, str):
            pairs += [(first.setdefault(dim, place), place)] * 2
    wanted = tuple(flat[place] for place in fixed)
    read_fixed = operator.itemgetter(*fixed) if fixed else lambda _: ()
    firsts, others = zip(*pairs, strict=True) if pairs else ((), ())
    read_first, read_other = (
        operator.itemgetter(*places) if places else (lambda _: ()) for places in (firsts, others)
    )

    def fit(shapes: Shapes) -> bool:
        if tuple(map(len, shapes)) != ranks:
            return False
        sizes = tuple(itertools.chain.from_iterable(shapes))
        return bool(read_fixed(sizes) == wanted and read_first(sizes) == read_other(sizes))

    return fit


def _typed(value: Any, name: str, dtype: np.dtype) -> np.ndarray:
    """Return an input as an array of the type it must have."""
    array = _as_array(value, name)
    if array.dtype.newbyteorder("=") != dtype:
        raise InvalidArgument(f"input {name!r}: expected {dtype.name}, got {array.dtype.name}")
    return array.astype(dtype, copy=False)


def _of_zeros_and_ones(array: np.ndarray) -> np.ndarray:
    """Return an array of bool whose bytes are 0 or 1, as kernels expect; views may have others."""
    numbers = array.view(np.uint8)
    return array if numbers.max(initial=0) <= 1 else numbers != 0


def _as_array(value: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except Exception as error:
        raise InvalidArgument(f"input {name!r} is not an array: {error}") from error


def _checked_object(value: Any, kind: str, name: str) -> Any:
    """Return a value as one of a type in onnxruntime's words; of an unknown type as it is."""
    word, _, inner = kind.removesuffix(")").partition("(")
    if word == "optional":
        return None if value is None else _checked_object(value, inner, name)
    if word == "seq":
        if not isinstance(value, list | tuple):
            raise _wrong_kind(name, "a list", value)
        return [_checked_object(item, inner, name) for item in value]
    if word == "map":
        key_type = str if inner.startswith("string") else int
        if not isinstance(value, dict) or not all(isinstance(key, key_type) for key in value):
            raise _wrong_kind(name, f"a dict with keys of type {key_type.__name__}", value)
        return value
    return _checked_tensor(value, inner, name) if word == "tensor" else value


def _wrong_kind(name: str, expected: str, value: Any) -> InvalidArgument:
    return InvalidArgument(f"input {name!r}: expected {expected}, got a {type(value).__name__}")


@functools.cache
def _type_name(dtype: np.dtype) -> str:
    return dtype.name.replace("_", "")


def _checked_tensor(value: Any, kind: str, name: str) -> np.ndarray:
    """Return an array of elements of a type in onnxruntime's words."""
    array = _as_array(value, name)
    if kind != "string":
        want = {"float": "float32", "double": "float64"}.get(kind, kind)
        # ml_dtypes writes float8_e4m3fn and float4_e2m1fn for float8e4m3fn and float4e2m1.
        if _type_name(array.dtype) not in (want, f"{want}fn", f"{want}fnu"):
            raise InvalidArgument(f"input {name!r}: expected {want}, got {array.dtype.name}")
        return _of_zeros_and_ones(array) if kind == "bool" else array
    kinds = set(map(type, array.reshape(-1).tolist()))  # most often str alone
    if array.dtype.kind not in "OUST" or not all(issubclass(each, str | bytes) for each in kinds):
        raise InvalidArgument(f"input {name!r}: expected strings, got {array.dtype.name}")
    return array.astype(object, copy=False)
