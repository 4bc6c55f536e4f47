"""Engine of a session that the real onnxruntime runs, with options and values made into its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from ..runtime.session import ModelMetadata, NodeArg
from .compiled_session import CompiledSession
from .options import RunOptions, SessionOptions
from .values import OrtValue, plain


class RealEngine(CompiledSession):
    """A session of the real onnxruntime.

    Parameters
    ----------
    package : module
        The real onnxruntime.
    model : str or bytes
    options : SessionOptions
    providers : sequence
        As they were given to the session; those that it lacks are left out.
    """

    name = "onnxruntime"

    def __init__(
        self,
        package: ModuleType,
        model: str | bytes,
        options: SessionOptions,
        providers: Sequence[Any],
    ) -> None:
        self._package = package
        there = package.get_available_providers()
        names = [each if isinstance(each, str) else each[0] for each in providers]
        fitting = [p for p, name in zip(providers, names, strict=True) if name in there]
        self.session = package.InferenceSession(
            model, _session_options(package, options), providers=fitting or None
        )
        self.inputs = [_argument(each) for each in self.session.get_inputs()]
        self.outputs = [_argument(each) for each in self.session.get_outputs()]
        self.overridable = [_argument(e) for e in self.session.get_overridable_initializers()]
        self.metadata = _metadata(self.session.get_modelmeta())

    def run(
        self,
        names: Sequence[str] | None,
        feeds: Mapping[str, Any],
        options: RunOptions | None = None,
    ) -> list[Any]:
        """Run with arrays."""
        given = {name: plain(value) for name, value in feeds.items()}
        results: list[Any] = self.session.run(names, given, self._run_options(options))
        return results

    def submit(
        self,
        names: Sequence[str] | None,
        feeds: Mapping[str, Any],
        callback: Any,
        user_data: Any,
        options: RunOptions | None,
    ) -> None:
        """Run in the background, and call a function with what comes of it."""
        given = {name: plain(value) for name, value in feeds.items()}
        run_options = self._run_options(options)
        self.session.run_async(names, given, callback, user_data, run_options)

    def _run_options(self, options: RunOptions | None) -> Any:
        if options is None:
            return None
        made = self._package.RunOptions()
        for name, value in options.set_fields().items():
            setattr(made, name, value)
        for key, entry in options._entries.items():
            made.add_run_config_entry(key, entry)
        for adapter in options._adapters:
            made.add_active_adapter(adapter)
        made.terminate = options.terminate
        return made


def _session_options(package: ModuleType, options: SessionOptions) -> Any:
    made = package.SessionOptions()
    for name, value in options.set_fields().items():
        kind = getattr(package, type(value).__name__, None)
        setattr(made, name, value if kind is None else kind(int(value)))
    for key, entry in options._entries.items():
        made.add_session_config_entry(key, entry)
    for key, size in options._dimensions.items():
        made.add_free_dimension_override_by_name(key, size)
    for key, size in options._denotations.items():
        made.add_free_dimension_override_by_denotation(key, size)
    for path in options._libraries:
        made.register_custom_ops_library(path)
    if options._initializers:
        values = [_value(package, each) for each in options._initializers.values()]
        made.add_external_initializers(list(options._initializers), values)
    if options._files is not None:
        made.add_external_initializers_from_files_in_memory(*options._files)
    return made


def _value(package: ModuleType, value: OrtValue) -> Any:
    return package.OrtValue.ortvalue_from_numpy(value.numpy())


def _argument(port: Any) -> NodeArg:
    argument = NodeArg.__new__(NodeArg)
    argument.name, argument.type, argument.shape = port.name, port.type, port.shape
    return argument


def _metadata(meta: Any) -> ModelMetadata:
    names = ModelMetadata.__dataclass_fields__
    return ModelMetadata(**{name: getattr(meta, name) for name in names})
