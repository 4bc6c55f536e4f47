"""InferenceSession: sessions run by sardonyx, or by the real onnxruntime where it refuses."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import SardonyxError
from . import providers as lists
from .chrome_trace import ChromeTrace
from .errors import (
    Fail,
    InvalidArgument,
    ModelLoadCanceled,
    NoSuchFile,
    RuntimeException,
    made,
    translated,
    translates,
)
from .io_binding import IOBinding
from .options import RunOptions, SessionOptions
from .own_engine import OwnEngine
from .process import LEVELS
from .providers import Provider
from .real_engine import RealEngine
from .real_package import real
from .records import enter
from .values import OrtValue, plain

_log = logging.getLogger("sardonyx.compat")


class Session:
    """Base of sessions, for checks of types."""


class InferenceSession(Session):
    """A model ready to run.

    Parameters
    ----------
    path_or_bytes : str, path-like or bytes
    sess_options : SessionOptions, optional
    providers : sequence of str or (str, dict), optional
        The first that is available decides about the device.
    provider_options : sequence of dict, optional
        One for each provider.
    **kwargs
        Accepted as onnxruntime does; without effect.

    Raises
    ------
    NoSuchFile, InvalidProtobuf, InvalidGraph, NotImplemented, InvalidArgument, Fail
        The model cannot run, neither here nor in the real onnxruntime where that is installed.
    TypeError
        The model is neither a path nor bytes, or the options are of another type.
    """

    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str],
        sess_options: SessionOptions | None = None,
        providers: Sequence[Provider] | None = None,
        provider_options: Sequence[Mapping[Any, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(path_or_bytes, str | bytes | os.PathLike):
            raise TypeError(f"Unable to load from type '{type(path_or_bytes)}'")
        if sess_options is not None and not isinstance(sess_options, SessionOptions):
            raise TypeError(f"sess_options must be SessionOptions, not {sess_options!r}")
        self._model_path: str | None = None
        self._model_bytes: bytes | None = None
        if isinstance(path_or_bytes, bytes):
            self._model_bytes = path_or_bytes
        else:
            self._model_path = os.fspath(path_or_bytes)
        self._sess_options = sess_options or SessionOptions()
        self._sess_options_initial = self._sess_options
        self._enable_fallback = True
        self._open(providers, provider_options)

    def _open(
        self,
        providers: Sequence[Provider] | None,
        provider_options: Sequence[Mapping[Any, Any]] | None,
    ) -> None:
        options = self._sess_options
        if providers is None and options.has_providers():
            providers = options._providers
        found = lists.chosen(providers, provider_options)
        self._trace = ChromeTrace(options.profile_file_prefix) if options.enable_profiling else None
        self._profiling_start_time_ns = self._trace.start_ns if self._trace else 0
        self._record = enter(self._model_bytes or self._model_path)
        self._sess = self._engine = self._opened(found, providers or ())
        self._record.engine = self._engine.name
        self._provider_options = found
        self._providers = list(found)
        self._inputs_meta = self._engine.inputs
        self._outputs_meta = self._engine.outputs
        self._overridable_initializers = self._engine.overridable
        self._model_meta = self._engine.metadata
        if self._trace is not None and isinstance(self._engine, OwnEngine):
            self._trace.add_opening()

    @translates
    def _opened(
        self, found: Mapping[str, Any], given: Sequence[Provider]
    ) -> OwnEngine | RealEngine:
        """Open the model here, else in the real onnxruntime; the error is the first one."""
        options, path = self._sess_options, self._model_path
        if options._is_cancelled:
            raise made(ModelLoadCanceled, "the options ask for it")
        if path is not None and not os.path.exists(path):
            raise made(NoSuchFile, f"Load model from {path} failed. File doesn't exist")
        model = path if self._model_bytes is None else self._model_bytes
        assert model is not None
        self._record.ignored = _without_effect(options)
        try:
            return OwnEngine(model, options, lists.device_of(found))
        except SardonyxError as error:
            package = real()
            if package is None:
                raise
            self._record.reason = str(error)
            if _log.isEnabledFor(logging.WARNING) and _level(options) <= logging.WARNING:
                where = options.logid or self._record.model
                _log.warning("%s: opened by onnxruntime: %s", where, error)
            try:
                return RealEngine(package, model, options, given)
            except Exception as other:
                _log.debug("onnxruntime refuses it, too: %s", other)
                raise error from other

    # --- runs ---------------------------------------------------------------------------------

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: RunOptions | None = None,
    ) -> list[Any]:
        """Run the model.

        Parameters
        ----------
        output_names : sequence of str, optional
            Outputs wanted; all where it is empty or None.
        input_feed : mapping
            An array, a list of numbers or an `OrtValue` for each input.
        run_options : RunOptions, optional

        Returns
        -------
        list
            One array for each output wanted.

        Raises
        ------
        ValueError
            An input is missing.
        InvalidArgument, RuntimeException, Fail, NotImplemented
            Something given does not fit, or a step failed.
        """
        start = time.perf_counter()
        try:
            if isinstance(output_names, str):
                raise TypeError(f"output_names must be a sequence of str, not {output_names!r}")
            if run_options is not None and not isinstance(run_options, RunOptions):
                raise TypeError(f"run_options must be RunOptions, not {run_options!r}")
            if self._trace is not None and isinstance(self._engine, OwnEngine):
                results, profile = self._engine.run_timed(output_names or None, input_feed)
                self._trace.add_run(profile, self._providers[0])
                return results
            return self._engine.run(output_names or None, input_feed, run_options)
        except Exception as error:
            raise self._explained(error, input_feed, run_options) from error
        finally:
            self._record.add_run(time.perf_counter() - start)

    def _explained(self, error: Exception, feeds: Any, options: Any) -> Exception:
        """Return what onnxruntime would raise for a run that failed."""
        if not isinstance(error, SardonyxError):
            return translated(error)
        if options is not None and options.terminate:
            return made(Fail, "Exiting due to terminate flag being set to true.")
        try:
            self._validate_input(list(feeds.keys()))
        except ValueError as missing:
            return missing
        return translated(error)

    def _validate_input(self, feed_input_names: Sequence[str]) -> None:
        """Check that no input is missing.

        Raises
        ------
        ValueError
        """
        missing = [port.name for port in self._inputs_meta if port.name not in feed_input_names]
        if missing:
            raise ValueError(
                f"Required inputs ({missing}) are missing from input feed ({feed_input_names})."
            )
        known = {port.name for port in (*self._inputs_meta, *self._overridable_initializers)}
        for name in feed_input_names:
            if name not in known:
                raise made(InvalidArgument, f"Invalid input name: {name}")

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        callback: Any,
        user_data: Any = None,
        run_options: RunOptions | None = None,
    ) -> None:
        """Run in the background; then ``callback(results, user_data, error_text)`` is called."""
        self._validate_input(list(input_feed))
        self._engine.submit(output_names or None, input_feed, callback, user_data, run_options)

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: RunOptions | None = None,
    ) -> list[OrtValue]:
        """Run with values; returns values."""
        feeds = {name: plain(value) for name, value in input_dict_ort_values.items()}
        return [OrtValue(result) for result in self.run(output_names, feeds, run_options)]

    def io_binding(self) -> IOBinding:
        """Return a new binding of inputs and outputs."""
        return IOBinding(self)

    def run_with_iobinding(
        self, iobinding: IOBinding, run_options: RunOptions | None = None
    ) -> None:
        """Run with what is bound; the outputs are the binding's.

        Raises
        ------
        RuntimeError
            Something bound does not fit, or a step failed.
        """
        try:
            iobinding._take(self.run(iobinding._names(), iobinding._inputs, run_options))
        except (SardonyxError, ValueError) as error:
            raise RuntimeException(f"Error in execution: {error}") from error

    # --- what it is ---------------------------------------------------------------------------

    def get_inputs(self) -> list[Any]:
        """Describe the inputs: name, type, shape."""
        return self._inputs_meta

    def get_outputs(self) -> list[Any]:
        """Describe the outputs."""
        return self._outputs_meta

    def get_overridable_initializers(self) -> list[Any]:
        """Describe the initializers that runs may give."""
        return self._overridable_initializers

    def get_modelmeta(self) -> Any:
        """Return what the model says of itself."""
        return self._model_meta

    def get_session_options(self) -> SessionOptions:
        """Return the options."""
        return self._sess_options

    def get_providers(self) -> list[str]:
        """Return the names of the providers."""
        return self._providers

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """Return the options of each provider."""
        return self._provider_options

    def set_providers(
        self,
        providers: Sequence[Provider] | None = None,
        provider_options: Sequence[Mapping[Any, Any]] | None = None,
    ) -> None:
        """Open the model again with other providers.

        Raises
        ------
        RuntimeError
            There is no provider of that name, here or elsewhere.
        """
        for provider in providers or ():
            name = provider[0] if isinstance(provider, tuple) else provider
            if name not in lists.get_all_providers():
                raise RuntimeError(f"Unknown Provider Type: {name}")
        self._open(providers, provider_options)

    def enable_fallback(self) -> None:
        """Accept what is so: a provider that is not available is left out."""
        self._enable_fallback = True

    def disable_fallback(self) -> None:
        """Note the wish, which `set_providers` does not need."""
        self._enable_fallback = False

    def get_profiling_start_time_ns(self) -> int:
        """Return when profiling began, in nanoseconds; 0 without profiling."""
        return self._profiling_start_time_ns

    def end_profiling(self) -> str:
        """Write the profile; returns its path, ``""`` where there is none (any more)."""
        trace, self._trace = self._trace, None
        if isinstance(self._engine, RealEngine):
            path: str = self._engine.session.end_profiling()
            return path
        return "" if trace is None else trace.write()

    def get_tuning_results(self) -> list[Any]:
        """Return an empty list: tuning is ``sardonyx.Session``'s."""
        return []

    # --- pickling -----------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        engine = ("_sess", "_engine", "_trace", "_record")
        return {name: value for name, value in vars(self).items() if name not in engine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open(list(self._provider_options.items()), None)


def _without_effect(options: SessionOptions) -> tuple[str, ...]:
    fields = options.fields()
    return tuple(name for name in options.set_fields() if fields[name].ignored)


def _level(options: SessionOptions) -> int:
    number = options.log_severity_level
    return LEVELS[number] if 0 <= number < len(LEVELS) else logging.WARNING
