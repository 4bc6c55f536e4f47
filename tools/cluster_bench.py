"""Workers of Ray: images a second and memory, beside onnxruntime, on two nodes of this machine.

``python -m sardonyx.tools.cluster_bench mobilenet_v2`` prints the table of docs/clusters.md. Each
node is a raylet of its own, as on two machines, and has so many CPUs as workers are to run on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from . import text, zoo

_BATCH = 8
_COLUMNS = ("engine", "workers:", "images/s:", "memory of workers:")


class Measured:
    """A worker: computes batches, and says what its process holds.

    Parameters
    ----------
    engine : {"sardonyx", "onnxruntime"}
    path : str
    die : str, optional
        A file; the first worker that does not find it makes it, and is killed.
    """

    def __init__(self, engine: str, path: str, die: str = "") -> None:
        self._die = die
        if engine == "sardonyx":
            from sardonyx.ray import Predictor

            session: Any = Predictor(path).session
        else:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(path, options)
        self._session = session
        (port,) = session.get_inputs()
        shape = [_BATCH, *(each if isinstance(each, int) else 1 for each in port.shape[1:])]
        self._feeds = {port.name: np.random.default_rng(0).random(shape, np.float32)}

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run images of random numbers, one for each row."""
        if self._die and not os.path.exists(self._die):
            Path(self._die).touch()
            os.kill(os.getpid(), 9)
        self._session.run(None, self._feeds)
        whole, own = _memory()
        count = len(batch["id"])
        fixed = {"pid": os.getpid(), "whole": whole, "own": own}
        return {"id": batch["id"], **{name: np.full(count, each) for name, each in fixed.items()}}


def _memory() -> tuple[int, int]:
    """Return bytes of this process: its share of all that it maps, and what is its alone."""
    found = {"Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = 1024 * int(rest.split()[0])
    return found["Pss"], found["Private_Clean"] + found["Private_Dirty"]


def measure(engine: str, path: str, workers: int, batches: int, die: str = "") -> dict[str, Any]:
    """Run batches on workers.

    Returns
    -------
    dict
        ``rows``, ``images_per_s`` (without the start of the workers), and bytes of all workers
        together: ``whole`` and ``own``.
    """
    import ray

    # Items that are there already: to read them would need a CPU, which workers have.
    items = [{"id": index} for index in range(_BATCH * batches)]
    data = ray.data.from_items(items, override_num_blocks=max(2 * workers, 8)).map_batches(
        Measured,
        fn_constructor_args=[engine, path, die],
        compute=ray.data.ActorPoolStrategy(size=workers),
        batch_size=_BATCH,
        num_cpus=1,
    )
    rows, start = [], None
    for batch in data.iter_batches(batch_size=_BATCH, prefetch_batches=0):
        start = start or time.perf_counter()
        rows.append(batch)
    elapsed = time.perf_counter() - (start or 0.0)
    last = {int(pid): (w, o) for each in rows for pid, w, o in _columns(each)}
    return {
        "rows": np.concatenate([each["id"] for each in rows]),
        "images_per_s": _BATCH * (len(rows) - 1) / elapsed,
        "whole": sum(int(whole) for whole, _ in last.values()),
        "own": sum(int(own) for _, own in last.values()),
    }


def _columns(batch: dict[str, np.ndarray]) -> Sequence[tuple[Any, ...]]:
    return list(zip(batch["pid"], batch["whole"], batch["own"], strict=True))


def main(
    model: Annotated[str, typer.Argument(help="An ONNX file with one input, or of the zoo.")],
    workers: Annotated[list[int], typer.Option("--workers", "-w")] = [1, 2, 4],  # noqa: B006
    batches: Annotated[int, typer.Option(help="Of 8 images each.")] = 64,
) -> None:
    """Measure workers of both engines in turns, on two local nodes."""
    import ray
    from ray.cluster_utils import Cluster

    path = os.path.abspath(zoo.resolve(model) if not os.path.exists(model) else model)
    table = text.table(f"{model}, two local nodes", *_COLUMNS)
    for count in workers:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": (count + 1) // 2})
        cluster.add_node(num_cpus=max(count // 2, 1))
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        for engine in ("sardonyx", "onnxruntime"):
            found = measure(engine, path, count, batches)
            assert len(set(found["rows"].tolist())) == _BATCH * batches
            table.add_row(
                engine, str(count), f"{found['images_per_s']:.1f}", text.size(found["whole"])
            )
        ray.shutdown()
        cluster.shutdown()
    text.show(text.console(), table)


if __name__ == "__main__":
    typer.run(main)
