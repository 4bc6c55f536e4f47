"""Values of onnxruntime's interface: tensors with their device, in memory that numpy shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .element_types import dtype_of, number_of, word_of

_CPU = "cpu"
_DEVICES = {"cpu": 0, "cuda": 1, "fpga": 2, "npu": 3, "dml": 4, "webgpu": 4}
_NO_MEMORY = (
    "Can't allocate memory on the device {!r}: values lie in the memory of the CPU here, and are "
    "copied to a GPU by the session"
)


def check_device(device: str | OrtDevice) -> None:
    """Refuse devices that hold no values here.

    Raises
    ------
    RuntimeError
    """
    name = device._name if isinstance(device, OrtDevice) else device
    if not isinstance(name, str) or name.lower() not in _DEVICES:
        raise RuntimeError(f"Unsupported device type: {name}")
    if name.lower() != _CPU:
        raise RuntimeError(_NO_MEMORY.format(name))


class OrtDevice:
    """A device: its kind, which of them, and the kind of its memory.

    Parameters
    ----------
    name : str or int
        Kind, or the number of it.
    device_id : int
        Which device of the kind; after a number the kind of memory.
    of_number : int, optional
        Which device of the kind that a number names, as onnxruntime's compiled class has it.
    """

    def __init__(
        self, name: str | int = _CPU, device_id: int = 0, of_number: int | None = None
    ) -> None:
        if isinstance(name, int):
            kinds = [kind for kind, number in _DEVICES.items() if number == name]
            name, device_id = kinds[0] if kinds else str(name), of_number or 0
        self._name: str = name.lower()
        self._id: int = device_id

    @staticmethod
    def make(ort_device_name: str, device_id: int, vendor_id: int = -1) -> OrtDevice:
        """Return a device by its name.

        Raises
        ------
        RuntimeError
            There is no such kind of device.
        """
        if ort_device_name.lower() not in _DEVICES:
            raise RuntimeError(f"Unsupported device type: {ort_device_name}")
        return OrtDevice(ort_device_name, device_id)

    @staticmethod
    def cpu() -> int:
        """Return the number of the kind of the CPU."""
        return _DEVICES["cpu"]

    @staticmethod
    def cuda() -> int:
        """Return the number of the kind of NVIDIA's GPUs."""
        return _DEVICES["cuda"]

    @staticmethod
    def dml() -> int:
        """Return the number of the kind of DirectML's devices."""
        return _DEVICES["dml"]

    @staticmethod
    def npu() -> int:
        """Return the number of the kind of neural processors."""
        return _DEVICES["npu"]

    @staticmethod
    def default_memory() -> int:
        """Return the number of usual memory."""
        return 0

    def device_type(self) -> int:
        """Return the number of the device's kind."""
        return _DEVICES[self._name]

    def device_id(self) -> int:
        """Return which of the devices of its kind it is."""
        return self._id

    def device_mem_type(self) -> int:
        """Return the number of the memory's kind."""
        return 0

    def device_vendor_id(self) -> int:
        """Return the number of the vendor; 0 for none in particular."""
        return 0

    def _get_c_device(self) -> OrtDevice:
        return self


class OrtValue:
    """A value of a run: a tensor, a sequence (list), a map (dict), or nothing (optional).

    Parameters
    ----------
    value
        A contiguous array, whose memory is shared, or an object of Python.
    """

    def __init__(self, value: Any) -> None:
        self._value = value

    @staticmethod
    def ortvalue_from_numpy(
        numpy_obj: np.ndarray,
        device_type: str | OrtDevice = _CPU,
        device_id: int = 0,
        vendor_id: int = -1,
    ) -> OrtValue:
        """Return a value that shares the memory of an array; a copy of one not contiguous.

        Raises
        ------
        RuntimeError
            It is no array, or the device is another one.
        """
        check_device(device_type)
        if not isinstance(numpy_obj, np.ndarray):
            raise RuntimeError(f"an array of numpy is expected, not a {type(numpy_obj).__name__}")
        if numpy_obj.dtype.kind in "OUST":
            return OrtValue(numpy_obj.astype(object))
        return OrtValue(np.ascontiguousarray(numpy_obj).reshape(numpy_obj.shape))

    @staticmethod
    def ortvalue_from_numpy_with_onnx_type(data: np.ndarray, onnx_element_type: int) -> OrtValue:
        """Return a value whose bits are those of an array, of a type that numpy lacks.

        Raises
        ------
        RuntimeError
            The type has another size.
        """
        dtype = dtype_of(onnx_element_type)
        array = np.ascontiguousarray(data)
        if dtype.itemsize != array.dtype.itemsize or dtype.hasobject or array.dtype.hasobject:
            raise RuntimeError(f"elements of {array.dtype.name} are no bits of {dtype.name}")
        return OrtValue(array.view(dtype))

    @staticmethod
    def ortvalue_from_shape_and_type(
        shape: Sequence[int],
        element_type: Any,
        device_type: str = _CPU,
        device_id: int = 0,
        vendor_id: int = -1,
        memory_info: Any = None,
    ) -> OrtValue:
        """Return a tensor of a shape, whose contents are whatever was in its memory.

        Raises
        ------
        RuntimeError
            A size is below zero, the type is none, or the device is another one.
        """
        check_device(device_type)
        try:
            return OrtValue(np.empty(tuple(shape), dtype_of(element_type)))
        except (ValueError, MemoryError) as error:
            raise RuntimeError(f"no tensor of the shape {list(shape)}: {error}") from error

    @staticmethod
    def from_dlpack(data: Any) -> OrtValue:
        """Return a value that shares the memory of a tensor that speaks DLPack."""
        return OrtValue(np.ascontiguousarray(np.from_dlpack(data)))

    def __dlpack__(self, *, stream: Any = None, **how: Any) -> Any:
        return self._tensor().__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._tensor().__dlpack_device__()

    def _tensor(self) -> np.ndarray:
        if not isinstance(self._value, np.ndarray):
            raise RuntimeError(f"the value is no tensor, but {self.data_type()}")
        return self._value

    def numpy(self) -> Any:
        """Return the array, whose memory is shared; lists and dicts as they are."""
        return self._value

    def update_inplace(self, data: np.ndarray) -> None:
        """Write an array of the same type and size into the value's memory.

        Raises
        ------
        RuntimeError
            It is of another type or size.
        """
        own, array = self._tensor(), np.ascontiguousarray(data)
        if array.dtype != own.dtype or array.size != own.size:
            raise RuntimeError(
                "The input size of numpy arrays does not match the size of the OrtValue: "
                f"{array.dtype.name}{list(array.shape)} for {own.dtype.name}{list(own.shape)}"
            )
        own.reshape(-1)[:] = array.reshape(-1)

    def data_ptr(self) -> int:
        """Return the address of the first element."""
        return int(self._tensor().ctypes.data)

    def data_type(self) -> str:
        """Return the type, such as ``"tensor(float)"`` or ``"seq(tensor(int64))"``."""
        return _type_of(self._value)

    def element_type(self) -> int:
        """Return ONNX's number of the element type."""
        return number_of(self._tensor().dtype)

    def device_name(self) -> str:
        """Return where the value lies."""
        return _CPU

    def shape(self) -> list[int]:
        """Return the sizes."""
        return list(self._tensor().shape)

    def tensor_size_in_bytes(self) -> int:
        """Return the bytes of the elements."""
        return self._tensor().nbytes

    def has_value(self) -> bool:
        """Tell whether there is a value: that of an optional may be missing."""
        return self._value is not None

    def is_tensor(self) -> bool:
        """Tell whether it is a tensor."""
        return isinstance(self._value, np.ndarray)

    def is_sparse_tensor(self) -> bool:
        """Tell whether it is a sparse tensor, of which there are none here."""
        return False

    def is_tensor_sequence(self) -> bool:
        """Tell whether it is a list of tensors."""
        return isinstance(self._value, list) and all(
            isinstance(item, np.ndarray) for item in self._value
        )

    def _get_c_value(self) -> OrtValue:
        return self

    @property
    def _ortvalue(self) -> OrtValue:
        """The value itself, which is another object in onnxruntime."""
        return self

    def to_dlpack(self) -> Any:
        """Return a capsule of DLPack."""
        return self.__dlpack__()


def _type_of(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"tensor({word_of(value.dtype)})"
    if isinstance(value, list):
        return f"seq({_type_of(value[0]) if value else ''})"
    if isinstance(value, dict):
        key = "string" if all(isinstance(each, str) for each in value) else "int64"
        item = _type_of(np.asarray(next(iter(value.values())))) if value else ""
        return f"map({key},{item})"
    return ""


def plain(value: Any) -> Any:
    """Return what an `OrtValue` holds; anything else as it is."""
    return value._value if isinstance(value, OrtValue) else value


class OrtValueVector(list[OrtValue]):
    """List of values, as bindings give them."""

    def shapes(self) -> list[list[int]]:
        """Return the shapes of the values."""
        return [value.shape() for value in self]
