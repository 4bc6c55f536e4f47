"""Repository: the models that are served, by name and version; they come and go while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import reason
from ...runtime.processors import available_processors
from .metrics import Metrics
from .model_files import ModelFile, find_models
from .options import ServingOptions
from .refusals import BAD_REQUEST, NOT_FOUND, Refusal
from .served_model import Opener, ServedModel, open_session
from .workers import Workers

_log = logging.getLogger("sardonyx.serve")


@dataclass
class Entry:
    """A version of a model, whether it can be asked or not.

    Attributes
    ----------
    file : ModelFile
    reason : str
        Why there is no model, or not that of the file as it is now.
    model : ServedModel, optional
    is_loading : bool
    """

    file: ModelFile
    reason: str = ""
    model: ServedModel | None = None
    is_loading: bool = False

    @property
    def state(self) -> str:
        """The protocol's word."""
        if self.model is not None:
            return "READY"
        return "LOADING" if self.is_loading else "UNAVAILABLE"


class Repository:
    """Models in files and folders.

    Parameters
    ----------
    paths : sequence of Path
    options : ServingOptions
    metrics : Metrics
    opener : callable
        Opens a session.

    Attributes
    ----------
    is_loaded : bool
        Whether all models that were there at first have been tried.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        options: ServingOptions,
        metrics: Metrics,
        opener: Opener = open_session,
    ) -> None:
        self.is_loaded = False
        self._paths = paths
        self._options = options
        self._metrics = metrics
        self._opener = opener
        self._entries: dict[str, dict[str, Entry]] = {}
        self._workers: Workers | None = None
        self._lock = asyncio.Lock()

    # --- looking ------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """List all versions of all models."""
        return [entry for versions in self._entries.values() for entry in versions.values()]

    def versions(self, name: str) -> list[str]:
        """List the versions of a model that can be asked."""
        known = self._entries.get(name, {})
        return [version for version, entry in known.items() if entry.model is not None]

    def find(self, name: str, version: str | None = None) -> ServedModel:
        """Return a model; of the newest version when none is named.

        Raises
        ------
        Refusal
            There is none, with the reason.
        """
        known = self._entries.get(name)
        if known is None:
            raise Refusal(NOT_FOUND, f"no model {name[:100]!r}; there are {list(self._entries)}")
        if version is None:
            ready = self.versions(name)
            entry = known[ready[-1]] if ready else next(reversed(known.values()))
        elif (found := known.get(version)) is not None:
            entry = found
        else:
            raise Refusal(
                NOT_FOUND,
                f"no version {version[:50]!r} of model {name!r}; there are {list(known)}",
            )
        if entry.model is None:
            why = "it is being loaded" if entry.is_loading else entry.reason
            raise Refusal(
                NOT_FOUND, f"model {name!r}, version {entry.file.version}, is not ready: {why}"
            )
        return entry.model

    # --- coming and going ---------------------------------------------------------------------

    async def load_all(self) -> None:
        """Load all models; those that cannot be opened are listed with the reason."""
        files = await asyncio.to_thread(find_models, self._paths)
        for file in files:
            self._entries.setdefault(file.name, {})[file.version] = Entry(file, is_loading=True)
        for name in list(self._entries):
            async with self._lock:
                await self._load(name, [file for file in files if file.name == name])
        self.is_loaded = True

    async def load(self, name: str) -> None:
        """Load a model, or load it again where its files have changed.

        A version is served until the new one is open, and stays if that cannot be opened.

        Raises
        ------
        Refusal
            There is no such model, or a version cannot be opened.
        """
        async with self._lock:
            found = await asyncio.to_thread(find_models, self._paths)
            files = [file for file in found if file.name == name]
            if not files:
                raise Refusal(NOT_FOUND, f"no files of a model {name[:100]!r}")
            await self._load(name, files)
        why = [entry.reason for entry in self._entries[name].values() if entry.reason]
        if why:
            raise Refusal(BAD_REQUEST, f"model {name!r} cannot be opened: {why[0]}")

    async def unload(self, name: str) -> None:
        """Close all versions of a model, once they have answered what they were asked.

        Raises
        ------
        Refusal
            There is no such model.
        """
        async with self._lock:
            if name not in self._entries:
                self.find(name)
            for entry in self._entries[name].values():
                await self._close(entry, "it was unloaded")

    async def close(self) -> None:
        """Answer what is there, and close all models."""
        await asyncio.gather(
            *(self._close(entry, "the server is stopping") for entry in self.entries())
        )

    async def _load(self, name: str, files: Sequence[ModelFile]) -> None:
        """Bring the entries of a model in line with its files."""
        before = self._entries.get(name, {})
        now = {file.version: before.get(file.version) or Entry(file) for file in files}
        self._entries[name] = now
        for version, entry in before.items():
            if version not in now:
                await self._close(entry, "its files are gone")
        for file in files:
            entry = now[file.version]
            entry.file = file
            if entry.model is None or entry.model.mark != await asyncio.to_thread(file.mark):
                await self._open(entry)

    async def _open(self, entry: Entry) -> None:
        file, old = entry.file, entry.model
        entry.is_loading, entry.reason = True, ""
        try:
            model = await asyncio.to_thread(
                ServedModel, file, self._options, self._metrics, self._opener
            )
        except Exception as error:
            entry.reason = reason(error)
            _log.warning("%s cannot be served: %s", file.path, entry.reason)
            return
        finally:
            entry.is_loading = False
        if self._workers is None:
            self._workers = Workers(max(1, available_processors() // model.threads))
        model.start(self._workers)
        entry.model = model
        if old is not None:
            await old.close()
            model.metrics.ready.set(1)

    async def _close(self, entry: Entry, why: str) -> None:
        model, entry.model, entry.reason = entry.model, None, why
        if model is not None:
            await model.close()
