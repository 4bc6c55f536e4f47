"""Engine of a session here: a session of sardonyx, opened and run as onnxruntime's options say."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import InvalidArgument, Session, UnsupportedModel
from .compiled_session import CompiledSession
from .element_types import dtype_of_type
from .enumerations import GraphOptimizationLevel
from .options import RunOptions, SessionOptions
from .values import OrtValue, plain

if TYPE_CHECKING:
    from ..runtime.profile import RunProfile
    from ..runtime.session import NodeArg

_LEVELS = {
    GraphOptimizationLevel.ORT_DISABLE_ALL: "none",
    GraphOptimizationLevel.ORT_ENABLE_BASIC: "basic",
}
_SHRINKING = "memory.enable_memory_arena_shrinkage"
"""Entry of run options that gives back memory after a run."""


class OwnEngine(CompiledSession):
    """A session of sardonyx.

    Parameters
    ----------
    model : str or bytes
    options : SessionOptions
    device : str

    Raises
    ------
    SardonyxError
        The model cannot run here.
    """

    name = "sardonyx"

    def __init__(self, model: str | bytes, options: SessionOptions, device: str) -> None:
        if options._libraries:
            raise UnsupportedModel(f"operators of the library {options._libraries[0]}")
        if options._files is not None:
            raise UnsupportedModel("files of external data that are given in memory")
        self._source = _with_initializers(model, options._initializers)
        self._keywords: dict[str, Any] = {
            "threads": options.intra_op_num_threads or None,
            "optimize": _LEVELS.get(options.graph_optimization_level, "all"),
            "dimensions": dict(options._dimensions),
            "denotations": dict(options._denotations),
            "device": device,
        }
        self.session = Session(self._source, **self._keywords)
        self._loose: Session | None = None
        self.inputs = _described(self.session.get_inputs())
        self.outputs = _described(self.session.get_outputs())
        self.overridable = _described(self.session.get_overridable_initializers())
        self.metadata = self.session.get_modelmeta()
        if options.optimized_model_filepath:
            self._save_optimized(options.optimized_model_filepath)

    def _save_optimized(self, path: str) -> None:
        from .. import load, optimize, save

        save(optimize(load(self._source), self._keywords["optimize"]), path)

    def run(
        self,
        names: Sequence[str] | None,
        feeds: Mapping[str, Any],
        options: RunOptions | None = None,
    ) -> list[Any]:
        """Run; what does not fit as it is is made to fit as onnxruntime would."""
        if options is None:
            try:
                return self.session.run(names, feeds)
            except InvalidArgument as error:
                session, fitting = self._fitted(feeds, error)
                return session.run(names, fitting)
        if options._adapters:
            raise UnsupportedModel("LoRA adapters")
        try:
            return self.session.run(names, feeds, options._cancellation)
        except InvalidArgument as error:
            session, fitting = self._fitted(feeds, error)
            return session.run(names, fitting, options._cancellation)
        finally:
            if _SHRINKING in options._entries:
                self.session.shrink()

    def run_timed(
        self, names: Sequence[str] | None, feeds: Mapping[str, Any]
    ) -> tuple[list[Any], RunProfile]:
        """Run, and time the steps."""
        try:
            return self.session.run_timed(names, feeds)
        except InvalidArgument as error:
            session, fitting = self._fitted(feeds, error)
            return session.run_timed(names, fitting)

    def submit(
        self,
        names: Sequence[str] | None,
        feeds: Mapping[str, Any],
        callback: Any,
        user_data: Any,
        options: RunOptions | None,
    ) -> Future[list[Any]]:
        """Run in the background, and call a function with what comes of it."""
        from ..runtime import background

        arguments = (names, dict(feeds), options)
        return background.submit(self.run, arguments, self.session.threads, callback, user_data)

    def _fitted(
        self, feeds: Mapping[str, Any], error: InvalidArgument
    ) -> tuple[Session, dict[str, Any]]:
        """Return a session and feeds that may do where others did not, or raise the error again."""
        if not isinstance(feeds, Mapping):
            raise error
        kinds = {port.name: port.type for port in (*self.inputs, *self.overridable)}
        fitting = {name: _fitting(value, kinds.get(name, "")) for name, value in feeds.items()}
        if self._disagree(fitting):
            return self._without_names(), fitting
        if all(fitting[name] is value for name, value in feeds.items()):
            raise error
        return self.session, fitting

    def _disagree(self, feeds: Mapping[str, Any]) -> bool:
        """Tell whether two inputs have different sizes by one name, which onnxruntime ignores."""
        sizes: dict[str, int] = {}
        for port in self.inputs:
            shape = np.shape(feeds[port.name]) if port.name in feeds else ()
            for dim, size in zip(port.shape or (), shape, strict=False):
                if isinstance(dim, str) and sizes.setdefault(dim, size) != size:
                    return True
        return False

    def _without_names(self) -> Session:
        """Return a session in which a name of a dimension means nothing."""
        if self._loose is None:
            names = {
                dim for port in self.inputs for dim in port.shape or () if isinstance(dim, str)
            }
            dimensions = {**dict.fromkeys(names), **self._keywords["dimensions"]}
            self._loose = Session(self._source, **{**self._keywords, "dimensions": dimensions})
        return self._loose


def _described(ports: list[NodeArg]) -> list[NodeArg]:
    """Return ports whose shape is ``[]`` where it is unknown, as onnxruntime writes it."""
    for port in ports:
        port.shape = [] if port.shape is None else port.shape
    return ports


def _with_initializers(model: str | bytes, values: Mapping[str, OrtValue]) -> Any:
    """Return a model in which initializers have other contents."""
    if not values:
        return model
    import onnx

    from .. import load

    # Files of external data are not read: those of given initializers may be missing.
    folder = None
    if isinstance(model, str):
        proto = onnx.load_model(model, load_external_data=False)
        folder = os.path.dirname(os.path.abspath(model))
    else:
        proto = onnx.ModelProto.FromString(model)
    initializers = {tensor.name: tensor for tensor in proto.graph.initializer}
    for name, value in values.items():
        if name not in initializers:
            raise InvalidArgument(f"the model has no initializer {name!r}")
        initializers[name].CopyFrom(onnx.numpy_helper.from_array(value.numpy(), name))
    return load(proto, base_dir=folder)


def _fitting(value: Any, kind: str) -> Any:
    """Return an input as an array of the type that the model asks for, if Python's objects do."""
    value = plain(value)
    if kind == "tensor(string)" and isinstance(value, np.ndarray) and value.dtype.kind == "V":
        texts = [each.decode("utf-8", "surrogateescape") for each in value.reshape(-1).tolist()]
        return np.array(texts, object).reshape(value.shape)
    dtype = dtype_of_type(kind)
    if dtype is None or not isinstance(value, list | tuple | int | float):
        return value
    try:
        return np.array(value, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument(f"no {kind} can be made of what is given: {error}") from error
