"""Importer record: how a format is recognised, what it needs, its options, and its reader."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgument
from .frameworks import require

if TYPE_CHECKING:
    import onnx_ir as ir

    from .notes import Notes

Reader = Callable[..., "ir.Model"]
"""Reads a source: called with the source, the notes, and the options by their names."""


@dataclass(frozen=True)
class Importer:
    """All that is known of a format before one of its models is read.

    Attributes
    ----------
    name : str
        The format, for errors.
    reader : callable
        Returns the function that reads a source. It imports the modules that do: before it is
        called, neither onnx nor a framework is imported.
    types : tuple of type
        Classes whose objects are sources.
    modules : tuple of str
        Packages whose classes are sources: an object is one when its class inherits from any of
        theirs.
    suffixes : tuple of str
        Of files, in lower case.
    folder_file : str
        The file that a folder of this format contains, if the format has folders.
    packages : tuple of str
        Packages that have to be installed.
    extra : str
        The extra of sardonyx that brings them.
    unsafe : mapping
        Options with the values that let code run which a file brings.
    """

    name: str
    reader: Callable[[], Reader]
    types: tuple[type, ...] = ()
    modules: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    folder_file: str = ""
    packages: tuple[str, ...] = ()
    extra: str = ""
    unsafe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options: the arguments of the reader after the source and the notes."""
        return tuple(inspect.signature(self.reader()).parameters)[2:]

    def takes_path(self, path: str) -> bool:
        """Whether a file or folder that exists is of this format, by its name and contents."""
        if os.path.isdir(path):
            return bool(self.folder_file) and os.path.exists(os.path.join(path, self.folder_file))
        return os.path.splitext(path)[1].lower() in self.suffixes

    def takes_object(self, source: Any) -> bool:
        """Whether an object is of this format, by its classes' names alone."""
        packages = {kind.__module__.partition(".")[0] for kind in type(source).__mro__}
        return isinstance(source, self.types) or not packages.isdisjoint(self.modules)

    def read(self, source: Any, notes: Notes, options: Mapping[str, Any]) -> ir.Model:
        """Read a source, and write the notes into the model.

        Raises
        ------
        InvalidArgument
            The format has no such option.
        ImportFailed
            A package is not installed.
        """
        accepted = self.options
        for name, value in options.items():
            if name not in accepted and value is not None:
                raise InvalidArgument(
                    f"{name}= is no option for the format {self.name}: its options are "
                    f"{', '.join(accepted)}"
                )
        for package in self.packages:
            require(package, self.extra)
        stated = {name: value for name, value in options.items() if name in accepted}
        model = self.reader()(source, notes, **stated)
        notes.write(model)
        return model
