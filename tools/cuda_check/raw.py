"""Products of the catalogue launched without a session: every kernel, whatever sessions choose."""

from __future__ import annotations

import functools
import math
from typing import Any

import ml_dtypes
import numpy as np

from ...kernels.cuda.catalogue import entries, epilogue_of
from ...kernels.cuda.kernel import CudaKernel
from ...kernels.cuda.machines import GPUS, Gpu
from ...kernels.cuda.tensor_cores.expectation import fraction
from ...kernels.cuda.tensor_cores.steps import product_step
from ...kernels.cuda.tensor_cores.tiles import FloatTile, GroupTile, Tile
from ...kernels.record import address_of
from ...runtime.devices.cuda.driver import Copy, Driver
from ...runtime.devices.cuda.requirements import open_driver
from .tasks import Row, Setting, Task, drawn

_TYPES: dict[str, Any] = {
    "bf16": ml_dtypes.bfloat16, "f16": np.float16, "tf32": np.float32, "f32": np.float32,
    "s8": np.int8, "u8": np.uint8, "i32": np.int32,
}  # fmt: skip
_ERRORS = {"bf16": 2e-2, "f16": 3e-3, "tf32": 3e-3, "f32": 1e-5, "s8": 1e-2}
_REPEATS = 20
_LARGE = 128 * 128


@functools.cache
def driver() -> Driver:
    """Return the GPU."""
    return open_driver()


def machine(title: str, capability: str) -> Gpu | None:
    """Return what is known of a GPU, by its name or else its compute capability.

    The simulator stands for one that is known.
    """
    if capability == "simulated":
        return GPUS["H200"]
    named = (gpu for gpu in GPUS.values() if gpu.name in title)
    alike = (gpu for gpu in GPUS.values() if gpu.target[3:5] == capability)
    return next(named, None) or next(alike, None)


class Operand:
    """An array on the GPU."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.address = driver().allocate(max(array.nbytes, 16))
        driver().to_device(Copy(self.address, address_of(array), array.nbytes))

    def back(self) -> np.ndarray:
        """Copy it back."""
        driver().to_host([Copy(address_of(self.array), self.address, self.array.nbytes)])
        driver().synchronize()
        return self.array

    def release(self) -> None:
        """Free its memory."""
        driver().free(self.address)


class Product:
    """A product by a kernel: A (m x k) times B, whose columns or rows are contiguous."""

    def __init__(self, tile: Tile | FloatTile, m: int, n: int, k: int) -> None:
        rng = np.random.default_rng(0)
        kernel: CudaKernel = product_step(tile, epilogue_of(tile))
        element, result = _TYPES[tile.element], _TYPES[tile.result]
        shape = (n, k) if tile.b_order == "nk" else (k, n)
        scale = 20 if tile.element == "s8" else 1
        arrays = [(scale * drawn(*each)).astype(element) for each in ((m, k), shape)]
        bias = rng.standard_normal((n, 2) if epilogue_of(tile).bias == "scaled" else n, np.float32)
        self.tile = tile
        self.operands = [Operand(each) for each in (*arrays, np.zeros((m, n), result), bias)]
        a, b, c, shift = (each.address for each in self.operands)
        size, given = tile.size, np.dtype(result).itemsize
        fields = dict.fromkeys(kernel.fields, 0) | {
            "a": a, "b": b, "c": c, "bias": shift if epilogue_of(tile).bias else 0,
            "m": m, "n": n, "k": k, "outer": 1, "inner": 1, "a_row": k * size,
            "b_row": shape[1] * size, "c_row": n * given,
        }  # fmt: skip
        launch = kernel.launch(fields, driver().limits)
        if kernel.maps is not None:
            self.operands.append(Operand(np.zeros(64, np.int64)))
            for i, (name, tensor_map) in enumerate(kernel.maps(fields).items()):
                words = driver().encoded(tensor_map)
                fields[name] = self.operands[-1].address + 128 * i
                driver().to_device(Copy(fields[name], address_of(words), 128))
        self._status = Operand(np.zeros(1, np.int64))
        words = np.array([*(fields[f] for f in kernel.fields), self._status.address], np.int64)
        [loaded] = driver().load([kernel])
        self._launches = [driver().prepare(loaded, launch, words)]

    def run(self) -> np.ndarray:
        """Compute it."""
        driver().queue(self._launches)
        driver().synchronize()
        return self.operands[2].back()

    def seconds(self, repeats: int) -> float:
        """Return the least time of one in three rows of launches."""
        launches = self._launches * repeats
        driver().queue(launches[:3])
        times = []
        for _ in range(3):
            start = driver().mark()
            driver().queue(launches)
            times.append(driver().nanoseconds(start, driver().mark()))
        return min(times) / 1e9 / repeats

    def wanted(self) -> np.ndarray:
        """Return what it has to be, as float64."""
        a, b, _, bias = (each.array.astype(np.float64) for each in self.operands[:4])
        y = a @ (b.T if self.tile.b_order == "nk" else b)
        kind = epilogue_of(self.tile).bias
        if kind == "scaled":
            return y * bias[:, 0] + bias[:, 1]
        return y + bias if kind else y

    def release(self) -> None:
        """Free its memory."""
        for each in (*self.operands, self._status):
            each.release()


def catalogue_tasks(setting: Setting) -> list[Task]:
    """Return a product of each kernel of the catalogue that this GPU runs, against float64."""
    chosen = _chosen(driver().name)
    return [
        Task(name, functools.partial(_compare, tile, setting))
        for name, tile in chosen[: setting.size(len(chosen), 2)]
    ]


def _chosen(name: str) -> list[tuple[str, Any]]:
    is_hopper = name.endswith("90") or name.endswith("simulated")
    found = []
    for entry in entries():
        if "product" not in entry.name or (isinstance(entry.tile, GroupTile) and not is_hopper):
            continue
        found.append((entry.name, entry.tile))
    return found


def _compare(tile: Any, setting: Setting) -> None:
    m, n, k = (setting.size(usual, tiny) for usual, tiny in ((304, 16), (400, 32), (528, 64)))
    product = Product(tile, m, n, k)
    try:
        got, wanted = product.run().astype(np.float64), product.wanted()
    finally:
        product.release()
    error = float(np.abs(got - wanted).max() / np.abs(wanted).max())
    limit = 0 if tile.result == "i32" else _ERRORS[tile.element]
    if not error <= limit:
        raise AssertionError(f"differs by {error:.1e} of the largest value, at most {limit:.1e}")


def product_figures(setting: Setting) -> list[Task]:
    """Return measurements of every product kernel at three sizes, the best tile first."""
    sizes = [setting.size(n, 32) for n in (8192, 4096, 1024)][: setting.size(3, 1)]
    chosen = [(name, tile) for name, tile in _chosen(driver().name) if tile.is_aligned]
    chosen.sort(
        key=lambda each: (not isinstance(each[1], GroupTile), each[1].m * each[1].n < _LARGE)
    )
    chosen = chosen[: setting.size(len(chosen), 1)]
    return [
        Task(f"{name}, {n}", functools.partial(_figure, name, tile, n, setting))
        for name, tile in chosen
        for n in sizes
    ]


def _figure(name: str, tile: Any, n: int, setting: Setting) -> list[Row]:
    gpu = machine(driver().title, driver().name.partition(":")[2])
    product = Product(tile, n, n, n)
    try:
        seconds = product.seconds(setting.size(_REPEATS, 1))
    finally:
        product.release()
    rate = 2.0 * n**3 / seconds
    values: dict[str, float | str] = {"TFLOP/s": rate / 1e12, "ms": seconds * 1e3}
    if gpu is not None:
        peak = 2 * gpu.multiply_adds[tile.element] * gpu.multiprocessors * gpu.clock * 1e9
        blocks = 2 if isinstance(tile, FloatTile) else 1
        values["of the peak"] = rate / peak
        values["expected"] = fraction(tile, gpu, blocks, n, n, n)
    return [Row("Kernels of products", f"{name}, {n}", _finite(values))]


def _finite(values: dict[str, float | str]) -> dict[str, float | str]:
    return {k: v for k, v in values.items() if isinstance(v, str) or math.isfinite(v)}
