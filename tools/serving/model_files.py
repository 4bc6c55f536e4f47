"""Files of models in a folder: names, versions and what has changed.

A folder holds plain files (``name.onnx``), folders with one model (``name/model.onnx``) and
folders of versions, as Triton has them (``name/1/model.onnx``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ...errors import InvalidArgument

_SUFFIXES = (".onnx", ".sdx")
Mark: TypeAlias = tuple[tuple[str, int, int], ...]
"""Names, times and sizes of the files that a model may be made of."""


@dataclass(frozen=True)
class ModelFile:
    """A version of a model in the file system."""

    name: str
    version: str
    path: Path

    def mark(self) -> Mark:
        """Return what changes when the model does: of its file and of those beside (weights)."""
        try:
            found = [
                (entry.name, entry.stat().st_mtime_ns, entry.stat().st_size)
                for entry in os.scandir(self.path.parent)
                if entry.is_file()
                and (entry.name == self.path.name or not entry.name.endswith(_SUFFIXES))
            ]
        except OSError:
            return ()
        return tuple(sorted(found))


def find_models(paths: Sequence[Path]) -> list[ModelFile]:
    """List the models in files and folders, by name and version.

    Raises
    ------
    InvalidArgument
        Two have one name and version, or a path is neither a model's file nor a folder.
    """
    found: dict[tuple[str, str], ModelFile] = {}
    for path in paths:
        if path.is_dir():
            models = _in_folder(path)
        elif path.is_file():
            models = [ModelFile(path.stem, "1", path)]
        else:
            raise InvalidArgument(f"no file or folder {str(path)!r}")
        for model in models:
            other = found.setdefault((model.name, model.version), model)
            if other is not model:
                raise InvalidArgument(
                    f"{model.path} and {other.path} are both version {model.version} "
                    f"of {model.name!r}"
                )
    return sorted(found.values(), key=lambda each: (each.name, int(each.version)))


def _in_folder(folder: Path) -> list[ModelFile]:
    models = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_file() and entry.suffix in _SUFFIXES:
            models.append(ModelFile(entry.stem, "1", entry))
        elif entry.is_dir():
            models += _of_folder(entry)
    return models


def _of_folder(folder: Path) -> list[ModelFile]:
    """Versions in the folder of one model."""
    versions = [each for each in folder.iterdir() if each.is_dir() and _is_version(each.name)]
    models = [
        ModelFile(folder.name, each.name, path)
        for each in versions
        if (path := _only_model(each)) is not None
    ]
    if not versions and (path := _only_model(folder)) is not None:
        models.append(ModelFile(folder.name, "1", path))
    return models


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and name == str(int(name)) and name != "0"


def _only_model(folder: Path) -> Path | None:
    """Return ``model.onnx`` of a folder, or the only model's file in it."""
    files = [each for each in sorted(folder.iterdir()) if each.suffix in _SUFFIXES]
    named = [each for each in files if each.stem == "model"]
    return (named or files)[0] if named or len(files) == 1 else None
