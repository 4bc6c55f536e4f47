"""onnx's conformance suite lowered for a GPU that is not there: kernels and plans, no runs.

``python tests/conformance/cuda_lowering.py`` writes ``cuda_on_the_cpu.txt`` anew.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sardonyx.kernels.cuda.kernel import Launch, Limits
from sardonyx.kernels.ref import KernelRef
from sardonyx.runtime.arguments import Signature
from sardonyx.runtime.devices.cuda.device import CudaDevice
from sardonyx.runtime.devices.cuda.driver import Driver
from sardonyx.runtime.devices.cuda.ready import is_cuda
from sardonyx.runtime.executable import Executable
from sardonyx.runtime.options import checked_options
from sardonyx.runtime.program import Program
from sardonyx.runtime.program_cache import open_program

LIST = Path(__file__).with_name("cuda_on_the_cpu.txt")
CAPABILITY = (8, 0)
_HEAD = "# What a GPU does not run of the conformance suite: operator (kernel, or host) | cases"


class Planner(Driver):
    """A GPU whose memory nothing touches, and whose kernels nothing runs."""

    name = f"cuda:{CAPABILITY[0]}{CAPABILITY[1]}"
    title = "a GPU that is not there"
    limits = Limits()

    def __init__(self) -> None:
        self._end = 1 << 40
        self._pinned: list[np.ndarray] = []

    def allocate(self, size: int) -> int:
        begin = self._end
        self._end += -(-size // 256) * 256 + 256
        return begin

    def allocate_pinned(self, size: int) -> int:
        self._pinned.append(np.zeros(size + 8, np.uint8))
        return self._pinned[-1].ctypes.data

    def load(self, kernels: Sequence[Any]) -> list[Any]:
        return list(kernels)

    def prepare(self, kernel: Any, launch: Launch, words: np.ndarray) -> Launch:
        return launch

    def encoded(self, tensor_map: Any) -> np.ndarray:
        return np.zeros(16, np.int64)

    def _nothing(self, *_: Any, **__: Any) -> Any:
        return None

    free = free_pinned = to_device = to_host = move = wait_for = let_wait = _nothing
    owns = queue = capture = synchronize = mark = nanoseconds = _nothing


class Absent(CudaDevice):
    """The GPU; kernels of the CPU are not compiled."""

    def load(self, program: Program) -> None:
        refs = [ref for ref in program.all_kernels if is_cuda(ref)]
        self._loaded |= dict(zip(refs, self._driver.load(refs), strict=True))

    def address(self, ref: KernelRef) -> int:
        return 0


class Lowered(NamedTuple):
    """What lowering made of a case: what the CPU runs, kernels of the GPU, and launches."""

    elsewhere: set[str]
    kernels: set[KernelRef]
    launches: list[Launch]


def suite() -> dict[str, Any]:
    """Return the cases of the suite that have a model here, by name."""
    from onnx.backend.test import loader

    kinds = ("node", "simple", "pytorch-converted", "pytorch-operator")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [case for kind in kinds for case in loader.load_model_tests(kind=kind)]
    light = Path(loader.__file__).parents[1] / "data" / "light"
    found = {case.name: case for case in cases}
    return found | {path.stem: path for path in sorted(light.glob("*.onnx"))}


def model_of(case: Any) -> bytes:
    """Return the model of a case."""
    if isinstance(case, Path):
        return case.read_bytes()
    if case.model is not None:
        return case.model.SerializeToString()
    return Path(case.model_dir, "model.onnx").read_bytes()


def lowered(model: bytes) -> Lowered:
    """Lower a model and, where its inputs have shapes, plan a run of it."""
    _, options = checked_options(1, "fp32", "all")
    program = open_program(model, {**options, "device": Planner.name})
    elsewhere = {
        f"{step.op_type} ({program.kernels[step.kernel].function})"
        for step in program.steps
        if not is_cuda(program.kernels[step.kernel])
    }
    elsewhere |= {f"{host.op_type} (host)" for host in program.host_steps}
    kernels = {ref for ref in program.all_kernels if is_cuda(ref)}
    return Lowered(elsewhere, kernels, _launches(program))


def _launches(program: Program) -> list[Launch]:
    """Return the launches of the first phase, where inputs declare all sizes."""
    device = Absent(Planner())
    device.load(program)
    executable = Executable(program, device)
    shapes = Signature(program.inputs).static_shapes()
    if shapes is None:
        return []
    binding = device.context(executable, 1).binding
    binding.bind(shapes)
    placement = binding.placement()
    # Sizes of phases that have not begun are not known.
    stretches = [program.stretches[index].last for index, _ in program.opened_phases()]
    end = min([len(program.steps), *stretches])
    launches = (binding._launch(step, placement) for step in range(end))
    return [launch for launch in launches if launch is not None]


def listed() -> dict[str, set[str]]:
    """Return what the list says that the CPU runs, by case."""
    found: dict[str, set[str]] = {}
    for line in LIST.read_text().splitlines():
        if not line.startswith("#"):
            what, _, cases = line.partition(" | ")
            for case in cases.split():
                found.setdefault(case, set()).add(what)
    return found


def write(found: dict[str, set[str]]) -> None:
    """Write the list."""
    names = sorted(set().union(*found.values()))
    lines = [f"{what} | {' '.join(sorted(case for case in found if what in found[case]))}"
             for what in names]  # fmt: skip
    LIST.write_text("\n".join([_HEAD, *lines, ""]))


def main() -> None:
    """Lower all cases, and write the list anew."""
    found = {}
    for name, case in suite().items():
        try:
            found[name] = lowered(model_of(case)).elsewhere
        except Exception as error:
            print(name, type(error).__name__, str(error)[:300])
    write({name: what for name, what in found.items() if what})


if __name__ == "__main__":
    main()
