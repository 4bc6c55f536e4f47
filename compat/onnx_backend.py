"""onnx's backend interface over sessions, as ``onnxruntime.backend`` offers it."""

from __future__ import annotations

from typing import Any

from onnx import ModelProto
from onnx.backend.base import Backend, BackendRep
from onnx.checker import check_model

from .inference_session import InferenceSession
from .options import RunOptions, SessionOptions
from .process import get_device
from .providers import get_available_providers

_SESSION_OPTIONS = frozenset(
    (
        *("enable_cpu_mem_arena", "enable_mem_pattern", "enable_mem_reuse", "execution_mode"),
        *("execution_order", "graph_optimization_level", "inter_op_num_threads", "logid"),
        *("intra_op_num_threads", "log_severity_level", "log_verbosity_level"),
        *("use_deterministic_compute",),
    )
)
_RUN_OPTIONS = frozenset(
    ("log_severity_level", "log_verbosity_level", "logid", "only_execute_path_to_fetches")
)


def _set(options: Any, given: dict[str, Any], allowed: frozenset[str]) -> Any:
    """Set fields; what is no field is passed over, as keywords are for several functions."""
    kind = type(options).__name__
    for name, value in given.items():
        if name in allowed:
            setattr(options, name, value)
        elif hasattr(options, name):
            raise RuntimeError(f"{kind} attribute {name!r} is not permitted via the backend API")
    return options


class OnnxRuntimeBackendRep(BackendRep):
    """A model that is prepared.

    Parameters
    ----------
    session : InferenceSession
    """

    def __init__(self, session: InferenceSession) -> None:
        self._session = session

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        """Run with a list of inputs, or the only one.

        Raises
        ------
        RuntimeError
            One input is given for a model of several.
        """
        ports = self._session.get_inputs()
        if not isinstance(inputs, list):
            if len(ports) != 1:
                raise RuntimeError(f"Model expect {len(ports)} inputs")
            inputs = [inputs]
        feeds = {port.name: value for port, value in zip(ports, inputs, strict=False)}
        return self._session.run(None, feeds, _set(RunOptions(), kwargs, _RUN_OPTIONS))


class OnnxRuntimeBackend(Backend):
    """Sessions, by onnx's words."""

    @classmethod
    def is_compatible(cls, model: Any, device: str | None = None, **kwargs: Any) -> bool:
        """Tell whether the device is here; the model is looked at when it is opened."""
        return device is None or cls.supports_device(device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Tell whether sessions can run on a device: ``"CPU"``, or ``"CUDA"`` if there is one."""
        return "GPU" in get_device() if device in ("CUDA", "GPU") else device == "CPU"

    @classmethod
    def prepare(cls, model: Any, device: str | None = None, **kwargs: Any) -> OnnxRuntimeBackendRep:
        """Open a path, bytes, a ``ModelProto`` or a session.

        Raises
        ------
        RuntimeError
            The device is not here, or a keyword is an option that may not be set so.
        """
        if isinstance(model, OnnxRuntimeBackendRep):
            return model
        if isinstance(model, InferenceSession):
            return OnnxRuntimeBackendRep(model)
        if isinstance(model, ModelProto):
            model = model.SerializeToString()
            check_model(model)
        if device is not None and not cls.supports_device(device):
            raise RuntimeError(f"Incompatible device expected {device!r}, got {get_device()!r}")
        options = _set(SessionOptions(), kwargs, _SESSION_OPTIONS)
        return OnnxRuntimeBackendRep(
            InferenceSession(model, options, providers=get_available_providers())
        )

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str | None = None, **kwargs: Any) -> Any:
        """Open and run a model."""
        return cls.prepare(model, device, **kwargs).run(inputs, **kwargs)


is_compatible = OnnxRuntimeBackend.is_compatible
prepare = OnnxRuntimeBackend.prepare
run = OnnxRuntimeBackend.run_model
run_model = OnnxRuntimeBackend.run_model
supports_device = OnnxRuntimeBackend.supports_device
