"""Reference results and times from onnxruntime: whole runs, single values, single nodes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import InvalidArgument, UnsupportedModel

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    import onnxruntime as ort

Source: TypeAlias = "str | os.PathLike[str] | bytes | onnx.ModelProto | ir.Model"
Feeds: TypeAlias = Mapping[str, np.ndarray]

# Event of a node in a profile. The suffix that a fusion adds to the name of its first node is
# removed; a node in onnxruntime's own layout is named after its output.
_NODE_EVENT = re.compile(r"(?:fused )?(.*?)(?:/\w+Fusion)*(_nchwc)?(?:_token_\d+)?_kernel_time")
LAYOUT_CHANGES = "onnxruntime's changes of layout"
"""Name in `node_times` for the nodes that onnxruntime adds."""


def is_available() -> bool:
    """Tell whether onnxruntime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


@contextmanager
def on_disk(model: Source, outputs: Iterable[str] = ()) -> Iterator[Path]:
    """Provide a model as a file that other engines read.

    Parameters
    ----------
    model : path, bytes, ModelProto or onnx_ir.Model
        A path is handed on as it is, unless outputs are added.
    outputs : iterable of str
        Names of values to make graph outputs besides those there are.

    Yields
    ------
    Path
        Valid inside the context.
    """
    added = list(outputs)
    if isinstance(model, str | os.PathLike) and not added:
        yield Path(model)
        return
    import onnx
    import onnx_ir as ir

    from ..importers import save

    with tempfile.TemporaryDirectory(prefix="sardonyx-") as folder:
        path = Path(folder) / "model.onnx"
        if isinstance(model, str | os.PathLike):
            model = ir.load(model)
        if isinstance(model, ir.Model):
            save(model, path)
            proto = onnx.load(path, load_external_data=False)
        else:
            proto = onnx.load_from_string(model) if isinstance(model, bytes) else model
        present = {value.name for value in proto.graph.output}
        proto.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in dict.fromkeys(added) if name not in present
        )
        onnx.save(proto, path)
        yield path


def open_session(
    model: Source,
    *,
    threads: int = 1,
    level: str = "all",
    outputs: Iterable[str] = (),
    **options: Any,
) -> ort.InferenceSession:
    """Open a session of onnxruntime on the CPU.

    Parameters
    ----------
    model : path, bytes, ModelProto or onnx_ir.Model
    threads : int
        Threads within an operator; operators run one after the other.
    level : {"none", "basic", "extended", "all"}
        Of onnxruntime's own graph optimizations.
    outputs : iterable of str
        Names of values to return besides the outputs.
    **options
        Attributes of ``SessionOptions``.

    Raises
    ------
    InvalidArgument
        onnxruntime is not installed.
    UnsupportedModel
        onnxruntime refuses the model.
    """
    if not is_available():
        raise InvalidArgument("onnxruntime is not installed: pip install onnxruntime")
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = threads
    settings.graph_optimization_level = {
        "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
        "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    }[level]
    for key, value in options.items():
        setattr(settings, key, value)
    with on_disk(model, outputs) as path:
        try:
            return ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions have no common base
            raise UnsupportedModel(f"onnxruntime refuses the model: {error}") from error


def with_wide_indices(model: ir.Model) -> ir.Model:
    """Let nodes that look bytes up in a table read them as int32, which ONNX demands of `Gather`.

    The runtime's own last passes write bytes as indices; the model is changed, and returned.
    """
    import onnx_ir as ir

    for node in list(model.graph.all_nodes()):
        index = node.inputs[1] if node.op_type == "Gather" else None
        if index is None or index.dtype not in (ir.DataType.UINT8, ir.DataType.INT8):
            continue
        assert node.graph is not None
        result = node.outputs[0].name
        wide = ir.node("Cast", [index], {"to": ir.DataType.INT32}, name=f"{result}.wide")
        wide.outputs[0].name = f"{result}.indices"
        node.graph.insert_before(node, wide)
        node.replace_input_with(1, wide.outputs[0])
    return model


def run(session: ort.InferenceSession, names: list[str] | None, feeds: Feeds) -> list[Any]:
    """Run a session of onnxruntime; its errors become ours.

    Raises
    ------
    InvalidArgument
        onnxruntime refuses the inputs, or fails on them.
    """
    try:
        results: list[Any] = session.run(names, dict(feeds))
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise InvalidArgument(f"onnxruntime cannot run with these inputs: {error}") from error
    return results


def values(
    model: Source, feeds: Feeds, names: Iterable[str], level: str = "none"
) -> dict[str, Any]:
    """Compute values of a graph by name.

    Parameters
    ----------
    model : path, bytes, ModelProto or onnx_ir.Model
    feeds : mapping of str to ndarray
    names : iterable of str
        Values of the main graph; outputs, intermediate values, inputs.
    level : str
        As in `open_session`; without optimizations every value is what its node computes.

    Returns
    -------
    dict of str to ndarray
    """
    wanted = list(dict.fromkeys(names))
    computed = [name for name in wanted if name not in feeds]
    if not computed:
        return {name: feeds[name] for name in wanted}
    session = open_session(model, level=level, outputs=computed)
    results = dict(zip(computed, run(session, computed, feeds), strict=True))
    return {name: results[name] if name in results else feeds[name] for name in wanted}


def run_unoptimized(model: Source, feeds: Feeds) -> list[Any]:
    """Run a model without optimizations of onnxruntime."""
    return run(open_session(model, level="none"), None, feeds)


def node_times(
    model: ir.Model,
    feeds: Feeds,
    *,
    runs: int = 20,
    warmup: int = 3,
    threads: int = 1,
    level: str = "all",
) -> dict[str, np.ndarray]:
    """Measure the time of every node in onnxruntime, from its profile.

    A node that was fused into another is missing; its time is in that of the other.

    Returns
    -------
    dict of str to ndarray of float64
        Nanoseconds for each run, by node name; those of all nodes that only change the layout
        under `LAYOUT_CHANGES`. onnxruntime counts whole microseconds.
    """
    with tempfile.TemporaryDirectory(prefix="sardonyx-") as folder:
        session = open_session(
            model,
            threads=threads,
            level=level,
            enable_profiling=True,
            profile_file_prefix=str(Path(folder) / "profile"),
        )
        for _ in range(warmup + runs):
            run(session, None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    makers = {value.name: str(node.name) for node in model.graph for value in node.outputs}
    times: dict[str, list[float]] = {}
    for event in events:
        match = _NODE_EVENT.fullmatch(event["name"])
        if event.get("cat") == "Node" and match:
            name = makers.get(match[1], match[1]) if match[2] else match[1]
            if event["args"].get("op_name") in ("ReorderInput", "ReorderOutput"):
                name = f"{LAYOUT_CHANGES}/{event['name']}"
            times.setdefault(name, []).append(1e3 * event["dur"])
    # A node in a loop body or an untaken branch runs another number of times: left out.
    complete = {k: np.array(v[-runs:]) for k, v in times.items() if len(v) == warmup + runs}
    changes = [complete.pop(name) for name in list(complete) if name.startswith(LAYOUT_CHANGES)]
    return complete | ({LAYOUT_CHANGES: np.sum(changes, axis=0)} if changes else {})
