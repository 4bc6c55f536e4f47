"""Inputs and outputs that are bound before runs, so that they may stay on the session's device.

The interface is that of onnxruntime's ``IOBinding``, with arrays where that has addresses: whatever
lies on the device and says so (DLPack, the CUDA array interface) is read, or written, as it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument

if TYPE_CHECKING:
    from .engine import Engine

_WHERE = ("cpu", "cuda")


class IOBinding:
    """Arrays of the runs of a session. For one thread at a time; made by ``Session.io_binding``.

    Parameters
    ----------
    engine : Engine

    Examples
    --------
    >>> binding = session.io_binding()
    >>> binding.bind_input("x", tensor)  # of torch, on the GPU
    >>> binding.bind_output("y")
    >>> session.run_with_iobinding(binding)
    >>> torch.from_dlpack(binding.get_outputs()[0])
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._device = engine, engine.device
        self._ports = [port.name for port in engine.program.outputs]
        self._inputs: dict[str, tuple[np.ndarray, Any]] = {}  # and where they lie on the device
        self._outputs: dict[str, Any] = {}  # "cpu", a target, or None: an array is made
        self._bound: Any = None
        self._results: list[Any] = []
        self._context: Any = None

    # --- inputs -------------------------------------------------------------------------------

    def bind_input(self, name: str, value: Any) -> None:
        """Bind an input until it is bound anew.

        Parameters
        ----------
        name : str
        value
            An array on the session's device, of which each run reads what is there then, or one of
            the host, which is copied to the device now.

        Raises
        ------
        InvalidArgument
            There is no such input, or the array cannot be read where it lies.
        """
        names = self._engine.signature.names
        if name not in names:
            raise InvalidArgument(f"no input {name!r}; the inputs are {names}")
        self._inputs[name] = self._device.bound_input(name, value)
        self._bound = None

    bind_cpu_input = bind_ortvalue_input = bind_input

    def clear_binding_inputs(self) -> None:
        """Forget all inputs."""
        self._inputs.clear()
        self._bound = None

    # --- outputs ------------------------------------------------------------------------------

    def bind_output(self, name: str, target: Any = "cuda") -> None:
        """Bind an output. When none is bound, all stay on the session's device.

        Parameters
        ----------
        name : str
        target
            An array that each run writes, of the output's type and shape, on the session's device;
            ``"cuda"`` for a new one of each run there; or ``"cpu"`` for a new one of numpy.

        Raises
        ------
        InvalidArgument
            There is no such output, or no run can write the array.
        """
        if name not in self._ports:
            raise InvalidArgument(f"no output {name!r}; the outputs are {self._ports}")
        if isinstance(target, str):
            if target.partition(":")[0] not in _WHERE:
                raise InvalidArgument(f"an output is bound to an array or {_WHERE}, not {target!r}")
            if target != "cpu" and self._device.is_host:
                raise InvalidArgument(f"output {name!r}: the session runs on the CPU")
            self._outputs[name] = "cpu" if target == "cpu" else None
        else:
            self._outputs[name] = self._device.bound_output(name, target)
        self._bound = None

    def clear_binding_outputs(self) -> None:
        """Forget all outputs."""
        self._outputs.clear()
        self._bound = None

    def get_outputs(self) -> list[Any]:
        """Return the bound outputs of the last run, in the model's order.

        Arrays of one run are not changed by the next ones, but those that are bound themselves.
        """
        return list(self._results)

    def copy_outputs_to_cpu(self) -> list[Any]:
        """Return them as arrays of numpy."""
        self.synchronize()
        return [
            np.asarray(each) if self._device.lies_here(each) else each for each in self._results
        ]

    # --- runs ---------------------------------------------------------------------------------

    def run(self, wait: bool = True, stream: int | None = None) -> None:
        """Run with what is bound.

        Parameters
        ----------
        wait : bool
            Whether to return only when the device is done. Otherwise errors of kernels, such as an
            index out of range, are raised by `synchronize` or by the next run.
        stream : int, optional
            Stream of CUDA: the run waits for what is queued there, and what is queued there later
            waits for the run.

        Raises
        ------
        InvalidArgument
            Inputs are missing, of the wrong type or shape.
        KernelError
            A step failed.
        """
        if self._bound is None:
            self._bound = self._prepared()
        arrays, shapes, places, targets = self._bound
        if stream is not None:
            self._device.wait_for(stream)
        results, self._context = self._engine.run_bound(arrays, shapes, places, targets, wait)
        if stream is not None:
            self._device.let_wait(stream)
        self._results = [results[index] for index in self._wanted()]

    def synchronize(self) -> None:
        """Wait for the last run.

        Raises
        ------
        KernelError
            A step of it failed.
        """
        if self._context is not None:
            self._context.finish()

    synchronize_outputs = synchronize

    def synchronize_inputs(self) -> None:
        """Do nothing: inputs are there when they are bound."""

    def _wanted(self) -> Sequence[int]:
        if not self._outputs:
            return range(len(self._ports))
        return [index for index, name in enumerate(self._ports) if name in self._outputs]

    def _prepared(self) -> tuple[Any, ...]:
        feeds = {name: array for name, (array, _) in self._inputs.items()}
        arrays, shapes = self._engine.signature.arrays(feeds)
        places = {id(array): place for array, place in self._inputs.values() if place is not None}
        targets = {
            index: self._outputs.get(name)
            for index, name in enumerate(self._ports)
            if not isinstance(self._outputs.get(name), str)
        }
        return arrays, shapes, places, targets
