"""Options of sessions and runs: every field of onnxruntime 1.32, obeyed or marked as ignored."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..runtime.cancellation import Cancellation
from .enumerations import ExecutionMode, ExecutionOrder, GraphOptimizationLevel
from .errors import Fail, InvalidArgument, made
from .fields import Field, Options, flag, ignored, integer, member, text
from .values import OrtValue

_MEMORY = "the memory of a run is planned when shapes are known, and reused always"
_LOGGING = "messages are those of the logger 'sardonyx.compat' and of Python's warnings"
_CONTEXTS = "no provider here compiles models into contexts"
_POLICIES = "providers are chosen by the list that the session is given"


class SessionOptions(Options):
    """Options of a session; see the reasons of those without effect in ``ignored()``."""

    enable_cpu_mem_arena = Field(flag, True, _MEMORY)
    enable_mem_pattern = Field(flag, True, _MEMORY)
    enable_mem_reuse = Field(flag, True, _MEMORY)
    enable_profiling = Field(flag, False)
    execution_mode = Field(
        member(ExecutionMode),
        ExecutionMode.ORT_SEQUENTIAL,
        "steps run one after another, each with all threads",
    )
    execution_order = Field(
        member(ExecutionOrder), ExecutionOrder.DEFAULT, "the order of steps follows the memory plan"
    )
    graph_optimization_level = Field(
        member(GraphOptimizationLevel), GraphOptimizationLevel.ORT_ENABLE_ALL
    )
    inter_op_num_threads = Field(integer, 0, "steps run one after another, each with all threads")
    intra_op_num_threads = Field(integer, 0)
    log_severity_level = Field(integer, -1)
    log_verbosity_level = Field(integer, 0, _LOGGING)
    logid = Field(text, "")
    optimized_model_filepath = Field(text, "")
    profile_file_prefix = Field(text, "onnxruntime_profile_")
    use_deterministic_compute = Field(
        flag, False, "a session gives the same results for the same inputs in any case"
    )
    use_per_session_threads = Field(
        flag, True, "sessions share the threads of the process, lent to one run each"
    )

    def __init__(self) -> None:
        self._entries: dict[str, str] = {}
        self._dimensions: dict[str, int] = {}
        self._denotations: dict[str, int] = {}
        self._initializers: dict[str, Any] = {}
        self._files: tuple[list[str], list[bytes], list[int]] | None = None
        self._libraries: list[str] = []
        self._providers: list[tuple[str, dict[str, str]]] = []
        self._is_cancelled = False

    # --- obeyed -------------------------------------------------------------------------------

    def add_free_dimension_override_by_name(self, name: str, value: int) -> None:
        """Give a dimension that inputs name a size."""
        self._dimensions[text(name)] = integer(value)

    def add_free_dimension_override_by_denotation(self, denotation: str, value: int) -> None:
        """Give dimensions with a denotation a size."""
        self._denotations[text(denotation)] = integer(value)

    def add_initializer(self, name: str, value: OrtValue) -> None:
        """Give an initializer of the model other contents."""
        if not isinstance(value, OrtValue):
            raise RuntimeError(f"initializer {name!r}: an OrtValue is expected, not {value!r}")
        self._initializers[text(name)] = value

    def add_external_initializers(self, names: Sequence[str], values: Sequence[OrtValue]) -> None:
        """Give several initializers contents: those that lie in files of external data."""
        if len(names) != len(values):
            raise made(InvalidArgument, f"{len(names)} names of initializers, {len(values)} values")
        for name, value in zip(names, values, strict=True):
            self.add_initializer(name, value)

    def add_external_initializers_from_files_in_memory(
        self, names: Sequence[str], buffers: Sequence[bytes], lengths: Sequence[int]
    ) -> None:
        """Give files of external data by name, as bytes."""
        self._files = (list(names), list(buffers), list(lengths))

    def set_load_cancellation_flag(self, is_cancelled: bool) -> None:
        """Let sessions with these options not be opened."""
        self._is_cancelled = flag(is_cancelled)

    def register_custom_ops_library(self, path: str) -> None:
        """Name a library of operators; sessions with one are those of the real onnxruntime."""
        if not os.path.exists(text(path)):
            raise made(Fail, f"Failed to load library {path}: there is no such file")
        self._libraries.append(path)

    def add_provider(self, name: str, options: Mapping[str, str] | None = None) -> None:
        """Add an execution provider to those that a session is opened with."""
        self._providers.append((text(name), dict(options or {})))

    def has_providers(self) -> bool:
        """Tell whether `add_provider` was called."""
        return bool(self._providers)

    # --- kept, without effect -----------------------------------------------------------------

    @ignored("entries are kept and can be read; they speak of parts that this runtime has not")
    def add_session_config_entry(self, key: str, value: str) -> None:
        """Keep a configuration entry."""
        self._entries[text(key)] = text(value)

    def get_session_config_entry(self, key: str) -> str:
        """Return a configuration entry.

        Raises
        ------
        RuntimeError
            There is none of that name.
        """
        if key not in self._entries:
            raise RuntimeError(f"SessionOptions does not have configuration with key: {key}")
        return self._entries[key]

    @ignored(_POLICIES)
    def add_provider_for_devices(self, devices: Sequence[Any], options: Mapping[str, str]) -> None:
        """Accept devices of a provider."""

    @ignored(_POLICIES)
    def set_provider_selection_policy(self, policy: Any) -> None:
        """Accept a policy."""

    @ignored(_POLICIES)
    def set_provider_selection_policy_delegate(self, delegate: Any) -> None:
        """Accept a function that chooses providers."""

    @ignored(_CONTEXTS)
    def set_ep_context_data_read_func(self, read: Any) -> None:
        """Accept a function that reads contexts."""

    @ignored(_CONTEXTS)
    def clear_ep_context_data_read_func(self) -> None:
        """Accept that there is no such function."""


class RunOptions(Options):
    """Options of a run; setting ``terminate`` stops the runs in progress that have these."""

    log_severity_level = Field(integer, -1, _LOGGING)
    log_verbosity_level = Field(integer, 0, _LOGGING)
    logid = Field(text, "", _LOGGING)
    only_execute_path_to_fetches = Field(flag, False, "all outputs are computed, one program each")

    def __init__(self) -> None:
        self._entries: dict[str, str] = {}
        self._cancellation = Cancellation()
        self._adapters: list[Any] = []

    @property
    def terminate(self) -> bool:
        """Whether runs with these options stop."""
        return self._cancellation.is_cancelled

    @terminate.setter
    def terminate(self, value: Any) -> None:
        if flag(value):
            self._cancellation.cancel()
        else:
            self._cancellation.renew()

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Keep a configuration entry; that on shrinking arenas gives back memory after a run."""
        self._entries[text(key)] = text(value)

    def get_run_config_entry(self, key: str) -> str:
        """Return a configuration entry.

        Raises
        ------
        RuntimeError
            There is none of that name.
        """
        if key not in self._entries:
            raise RuntimeError(f"RunOptions does not have configuration with key: {key}")
        return self._entries[key]

    def add_active_adapter(self, adapter: Any) -> None:
        """Add a LoRA adapter, which sessions of the real onnxruntime alone take."""
        self._adapters.append(adapter)
