"""Benchmark of the server: requests a second and latencies, beside onnxruntime in its place.

``python -m sardonyx.tools.serving_bench mobilenet_v2`` measures a model of the zoo, or a file. The
clients are a process of their own, and so is each server; the servers take turns, several times,
and what counts is the median of a setting's rates. onnxruntime's sessions have the same threads.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import text, zoo
from .serving.load import Load, load, request_of
from .serving.options import ServingOptions


class _OnnxRuntime:
    """A session of onnxruntime with what the server uses of ours."""

    def __init__(self, path: str, options: ServingOptions) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        self.threads = settings.intra_op_num_threads = options.threads or 1
        self._session = onnxruntime.InferenceSession(
            path, settings, providers=["CPUExecutionProvider"]
        )
        for name in ("get_inputs", "get_outputs", "get_overridable_initializers", "get_modelmeta"):
            setattr(self, name, getattr(self._session, name))

    def run(self, names: Any, feeds: Any, _: Any) -> Any:
        return self._session.run(names, feeds)

    def close(self) -> None:
        pass


def _serve(path: str, engine: str, options: ServingOptions, sender: Any) -> None:
    from .serving.served_model import open_session
    from .serving.server import listen, serve

    listener = listen("127.0.0.1", 0)
    sender.send(listener.getsockname()[1])
    opener = _OnnxRuntime if engine == "onnxruntime" else open_session
    serve([Path(path)], options, listener, opener)


class _Server:
    """A server in a process of its own."""

    def __init__(self, path: str, engine: str, options: ServingOptions) -> None:
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_serve, args=(path, engine, options, sender))
        self.process.start()
        self.port: int = receiver.recv()
        while not self._is_ready():
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            address = f"http://127.0.0.1:{self.port}/v2/health/ready"
            return bool(urllib.request.urlopen(address).status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()


def measure(
    path: str,
    shape: Sequence[int],
    clients: Sequence[int],
    batches: Sequence[int],
    threads: int,
    seconds: float,
    rounds: int,
) -> dict[tuple[str, int, int], list[Load]]:
    """Measure a model; the keys are engine, largest batch and clients."""
    import onnxruntime

    rng = np.random.default_rng(0)
    port = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()[0]
    feeds = [{port.name: rng.random(shape, np.float32)} for _ in range(8)]
    requests = [request_of(Path(path).stem, each) for each in feeds]
    servers = {
        (engine, batch): _Server(path, engine, ServingOptions(threads=threads, max_batch=batch))
        for engine in ("sardonyx", "onnxruntime")
        for batch in batches
    }
    found: dict[tuple[str, int, int], list[Load]] = {}
    try:
        for turn in range(rounds + 1):
            for count in clients:
                for (engine, batch), server in servers.items():
                    done = load(server.port, requests, count, seconds if turn else 0.5)
                    if turn:  # the first warms up
                        found.setdefault((engine, batch, count), []).append(done)
    finally:
        for server in servers.values():
            server.stop()
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--shape", default="1,3,224,224")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    path = given.model if Path(given.model).exists() else zoo.resolve(given.model)
    shape = [int(size) for size in given.shape.split(",")]
    found = measure(
        path, shape, given.clients, given.batch, given.threads, given.seconds, given.rounds
    )
    table = text.table(
        f"{given.model}, threads of a run: {given.threads}", "engine", "batch:", "clients:",
        "requests/s:", "p50 ms:", "p99 ms:", "failed:",
    )  # fmt: skip
    for (engine, batch, clients), loads in found.items():
        rate, p50, p99 = (
            statistics.median(values)
            for values in (
                [each.rate for each in loads],
                [1e3 * each.quantile(0.5) for each in loads],
                [1e3 * each.quantile(0.99) for each in loads],
            )
        )
        failed = sum(each.failed for each in loads)
        table.add_row(
            engine, str(batch), str(clients), f"{rate:.1f}", f"{p50:.2f}", f"{p99:.2f}", str(failed)
        )
    text.show(text.console(), table)


if __name__ == "__main__":
    main()
