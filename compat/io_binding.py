"""Bindings of inputs and outputs to memory, for runs that are repeated."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .element_types import dtype_of
from .errors import InvalidArgument, made
from .values import OrtValue, OrtValueVector, check_device, plain


class _Ports(Protocol):
    """What has inputs and outputs."""

    def get_inputs(self) -> list[Any]:
        """Describe the inputs."""

    def get_outputs(self) -> list[Any]:
        """Describe the outputs."""

    def get_overridable_initializers(self) -> list[Any]:
        """Describe the initializers that runs may give."""


class IOBinding:
    """What a run reads and writes.

    Inputs are read where they lie. Outputs that are bound to memory are written there when the run
    is over.

    Parameters
    ----------
    session : InferenceSession
    """

    def __init__(self, session: _Ports) -> None:
        self._session = session
        self._inputs: dict[str, Any] = {}
        self._bound: dict[str, np.ndarray | None] = {}
        self._results: list[Any] = []

    # --- inputs -------------------------------------------------------------------------------

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray) -> None:
        """Bind an input to an array."""
        self._bind(name, arr_on_cpu)

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Bind an input to a value."""
        self._bind(name, plain(ortvalue))

    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: Any,
        shape: Sequence[int],
        buffer_ptr: int,
    ) -> None:
        """Bind an input to an address; what lies there is the caller's, and must stay.

        Raises
        ------
        RuntimeError
            There is no such input, or the memory is another device's.
        """
        check_device(device_type)
        self._bind(name, _array_at(buffer_ptr, tuple(shape), dtype_of(element_type)))

    def _bind(self, name: str, value: Any) -> None:
        known = (*self._session.get_inputs(), *self._session.get_overridable_initializers())
        if all(name != port.name for port in known):
            raise RuntimeError(f"Failed to find NodeArg with name: {name} in the def list")
        self._inputs[name] = value

    def synchronize_inputs(self) -> None:
        """Wait for copies of inputs, of which there are none."""

    def clear_binding_inputs(self) -> None:
        """Forget the inputs."""
        self._inputs.clear()

    # --- outputs ------------------------------------------------------------------------------

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Ask for an output, in memory at an address if one is given.

        Raises
        ------
        RuntimeError
            There is no such output, or the memory is another device's.
        """
        check_device(device_type)
        place = None
        if buffer_ptr is not None:
            if element_type is None or shape is None:
                raise made(InvalidArgument, "memory of an output needs its type and shape")
            place = _array_at(buffer_ptr, tuple(shape), dtype_of(element_type))
        self._ask(name, place)

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Ask for an output in the memory of a value."""
        self._ask(name, plain(ortvalue))

    def _ask(self, name: str, place: np.ndarray | None) -> None:
        if all(name != port.name for port in self._session.get_outputs()):
            raise RuntimeError(f"Failed to find NodeArg with name: {name} in the def list")
        self._bound[name] = place

    def synchronize_outputs(self) -> None:
        """Wait for copies of outputs, which are made when a run returns."""

    def clear_binding_outputs(self) -> None:
        """Forget the outputs."""
        self._bound.clear()
        self._results = []

    def get_outputs(self) -> OrtValueVector:
        """Return the values of the last run, in the order in which outputs were bound."""
        return OrtValueVector(OrtValue(result) for result in self._results)

    get_outputs_as_ortvaluevector = get_outputs

    def copy_outputs_to_cpu(self) -> list[Any]:
        """Return the outputs of the last run as arrays."""
        return [
            result.copy() if isinstance(result, np.ndarray) else result for result in self._results
        ]

    # --- runs ---------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        if not self._bound:
            raise made(InvalidArgument, "At least one output should be requested.")
        return list(self._bound)

    def _take(self, results: Sequence[Any]) -> None:
        """Write results where outputs are bound to."""
        pairs = list(zip(self._bound.items(), results, strict=True))
        for (name, place), result in pairs:
            if place is not None and (place.shape, place.dtype) != (result.shape, result.dtype):
                raise made(
                    InvalidArgument,
                    f"output {name!r} is {result.dtype.name}{list(result.shape)}, and bound to "
                    f"{place.dtype.name}{list(place.shape)}",
                )
        for (_, place), result in pairs:
            if place is not None:
                np.copyto(place, result)
        self._results = [result if place is None else place for (_, place), result in pairs]


class SessionIOBinding(IOBinding):
    """Binding as onnxruntime's compiled class has it: places are devices, not names of them.

    Parameters
    ----------
    session
        ``InferenceSession._sess``.
    """

    def bind_input(self, name: str, *where: Any) -> None:
        """Bind an input to a value, or to a device, a type, a shape and an address.

        Raises
        ------
        RuntimeError
            There is no such input, or the memory is another device's.
        """
        if len(where) == 1:
            self._bind(name, plain(where[0]))
        else:
            device, element_type, shape, address = where
            check_device(device)
            super().bind_input(name, "cpu", 0, element_type, shape, address)

    def bind_output(self, name: str, *where: Any) -> None:
        """Ask for an output on a device, at an address if a type, a shape and it are given."""
        check_device(where[0])
        super().bind_output(name, "cpu", 0, *where[1:])


def _array_at(address: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array over memory that the caller vouches for."""
    if dtype.hasobject:
        raise made(InvalidArgument, f"elements of {dtype.name} are no bytes at an address")
    if any(size < 0 for size in shape):
        raise made(InvalidArgument, f"a size of {list(shape)} is below zero")
    count = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if not address and count:
        raise made(InvalidArgument, "the address is 0")
    memory = (ctypes.c_uint8 * count).from_address(address or 1)
    return np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
