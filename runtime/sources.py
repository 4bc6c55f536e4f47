"""Sources of sessions: how each is named in the cache, and becomes an optimized model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgument, InvalidModel
from .artifact import SUFFIX, Artifact
from .cache_key import ModelFile, program_key
from .defaults import settle_defaults
from .memory import give_back

if TYPE_CHECKING:
    import onnx_ir as ir


def least_function() -> int:
    """Return how many operators a function of bytes has at least that is looked up."""
    from ..kernels.cpu.byte_tables import HAS_TABLES

    return 1 if HAS_TABLES else 4


class Source:
    """Anything that ``sardonyx.load`` takes; to be used in a ``with`` statement.

    Parameters
    ----------
    source
    options : mapping
        ``precision``, ``optimize`` and ``choices`` of a session, and ``given``: defaults that are
        inputs.

    Attributes
    ----------
    options : dict
        Those with which the optimized model is lowered.
    """

    def __init__(self, source: Any, options: Mapping[str, Any]) -> None:
        self._source = source
        self.options = dict(options)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def content(self) -> str | None:
        """State what the model is; None where that takes too long, as of objects."""
        if isinstance(self._source, bytes):
            return hashlib.sha256(self._source).hexdigest()
        return None

    def key(self) -> str | None:
        """Key of the program in the cache: all that it depends on, as it is now."""
        content = self.content()
        return None if content is None else program_key(content, self.options)

    def times(self) -> tuple[int, ...]:
        """Return what changes when a source is written over, even with what was there before."""
        return ()

    def optimized(self) -> ir.Model:
        """Import the model, and optimize it at the level of the options."""
        from ..importers.onnx.function_bodies import expand_functions
        from ..optimizer import optimize_in_place
        from ..optimizer.byte_functions import tabulate
        from ..optimizer.byte_operators import compute_bytes, dequantize_late
        from ..optimizer.few_bit_operands import widen_to_bytes
        from ..optimizer.float8_products import multiply_floats
        from ..optimizer.integer_convolutions import convolve_integers
        from ..optimizer.integer_enlarging import enlarge_integers
        from ..optimizer.integer_products import multiply_integers
        from ..optimizer.quantized_movement import move_integers
        from ..optimizer.short_products import multiply_bytes
        from ..optimizer.small_weights import gather_small_weights
        from ..optimizer.widening import widen, widen_nodes
        from .integer_rates import integers_pay, two_bytes_pay
        from .ops import computes, computes_wide
        from .shape_inference import infer_shapes

        model = self._imported()
        give_back()
        settle_defaults(model, self.options.get("given", ()))
        if fixed := self.options.get("dimensions"):
            from .fixed_dimensions import fix_dimensions

            fix_dimensions(model, *map(dict, fixed))
        if assumed := self.options.get("assumed"):
            from .variant_inputs import assume

            assume(model, assumed)
        expand_functions(model, computes)
        multiply_floats(model)
        is_strict, level = self.options["precision"] == "strict", self.options["optimize"]
        if not is_strict:
            widen(model)
        gather_small_weights(model)
        if level != "none":
            infer_shapes(model)  # passes may take away what no model may hold
        model = optimize_in_place(model, level, fold_limit=self.options.get("fold_limit"))
        if not is_strict and level == "all":
            move_integers(model)
            widen_to_bytes(model)
            enlarge_integers(model, integers_pay)
            convolve_integers(model, integers_pay)
            multiply_integers(model)
            multiply_bytes(model, two_bytes_pay)
            compute_bytes(model)
            tabulate(model, least_function())
            dequantize_late(model)
        widen_nodes(model, computes_wide)
        return model

    def _imported(self) -> ir.Model:
        from ..importers import load

        return load(self._source)


class _File(Source):
    """An ONNX file, which is opened once: what is named and what is imported are the same."""

    def __init__(self, file: ModelFile, options: Mapping[str, Any]) -> None:
        super().__init__(file.path, options)
        self._file = file

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def content(self) -> str | None:
        def external_names(data: Any) -> set[str]:
            from ..importers.onnx.wire import external_locations

            return external_locations(data)

        return self._file.content(external_names)

    def times(self) -> tuple[int, ...]:
        return self._file.times()

    def _imported(self) -> ir.Model:
        from ..importers.onnx.loader import from_mapped

        return from_mapped(self._file.data, self._file.folder, self._file.path)


class _Artifact(_File):
    """A file of `Session.save`; its own options are those that count."""

    def __init__(self, file: ModelFile, options: Mapping[str, Any]) -> None:
        self._artifact = Artifact(file.data)
        own = dict(self._artifact.options)
        own |= {name: options[name] for name in ("states", "device") if name in options}
        if sized := {name: options[name] for name in ("assumed", "dimensions") if name in options}:
            own |= {**sized, "optimize": "all"}  # for then there is more to optimize
        super().__init__(file, own)

    def content(self) -> str | None:
        return self._file.content(lambda _: ())

    def _imported(self) -> ir.Model:
        from ..importers.onnx.loader import from_mapped, naming

        with naming(self._file.path):
            model = self._artifact.model()
        return from_mapped(model, None, self._file.path)


def is_artifact(source: Any) -> bool:
    """Tell whether a source is the path of an artifact, by its suffix alone."""
    return isinstance(source, str | os.PathLike) and Path(source).suffix.lower() == SUFFIX


def opened(source: Any, options: Mapping[str, Any]) -> Source:
    """Open a source.

    Raises
    ------
    InvalidArgument
        An artifact cannot be read, or is to have other choices than its own.
    InvalidModel
        An artifact is none, or damaged.
    """
    if is_artifact(source):
        if options.get("choices"):
            raise InvalidArgument("an artifact takes no choices; open the model itself")
        if options.get("given"):
            raise InvalidArgument("an artifact keeps its defaults; open the model itself")
        return _opened_artifact(os.fspath(source), options)
    if isinstance(source, str | os.PathLike) and _is_onnx(source):
        try:
            return _File(ModelFile(source), options)
        except (OSError, ValueError):
            pass  # the importer says why
    return Source(source, options)


def _is_onnx(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is one of ONNX, by its name."""
    if Path(path).suffix == ".onnx":
        return True
    from ..importers import ONNX, importer_of

    try:
        return importer_of(path) is ONNX
    except InvalidArgument:
        return False  # the importer says why


def _opened_artifact(path: str, options: Mapping[str, Any]) -> Source:
    try:
        file = ModelFile(path)
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:
        raise InvalidModel(f"{path}: the artifact is truncated: it is empty") from None
    try:
        return _Artifact(file, options)
    except InvalidModel as error:
        file.close()
        raise InvalidModel(f"{path}: {error}") from error
