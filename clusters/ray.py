"""``sardonyx.ray``: models in Ray Data's batches and behind Ray Serve.

Ray is imported where it is used, by name of the caller's own process; what is sent to workers needs
sardonyx there, and no Ray of ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sardonyx import InvalidArgument, Session

Batch = dict[str, np.ndarray]
"""Columns of a batch by name, each with as many rows."""


class Predictor:
    """A model as a function of batches, for ``ray.data.Dataset.map_batches``.

    The session is opened once, where the first batch comes: in the actor. Its threads are the CPUs
    that Ray has given the actor. Actors of one machine share the model's weights, which they map
    from the cache folder. A predictor is pickled by what it was made from.

    Parameters
    ----------
    model
        What `sardonyx.Session` takes; a path has to exist on every machine.
    columns : mapping of str to str, optional
        Columns by the names of the model's inputs; by default they have the same names, or there is
        one of each.
    keep : sequence of str
        Columns that go on beside the outputs.
    prepare : callable, optional
        Makes the columns of a batch into the model's inputs: called with the batch, returns a
        mapping of arrays.
    **options
        Of the session, such as ``precision="bf16"``; ``threads`` comes before Ray's CPUs.
    """

    def __init__(
        self,
        model: Any,
        *,
        columns: Mapping[str, str] | None = None,
        keep: Sequence[str] = (),
        prepare: Callable[[Batch], Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        self._model, self._columns, self._keep = model, columns, tuple(keep)
        self._prepare, self._options = prepare, options
        self._session: Session | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_session": None}

    @property
    def session(self) -> Session:
        """The session of this process."""
        if self._session is None:
            threads = {"threads": assigned_threads()}
            self._session = Session(self._model, **{**threads, **self._options})
        return self._session

    def __call__(self, batch: Batch) -> Batch:
        """Return the outputs of the model for the rows of a batch, and the columns that are kept.

        Raises
        ------
        InvalidArgument
            The batch lacks a column, or the model refuses what it holds.
        """
        feeds = self._prepare(batch) if self._prepare is not None else self._inputs(batch)
        outputs = self.session.run(None, feeds)
        names = [port.name for port in self.session.get_outputs()]
        return {
            **{name: batch[name] for name in self._keep},
            **dict(zip(names, outputs, strict=True)),
        }

    def _inputs(self, batch: Batch) -> Batch:
        ports = [port.name for port in self.session.get_inputs()]
        columns = dict(self._columns or {})
        if not columns and len(ports) == len(batch) == 1:
            columns = {ports[0]: next(iter(batch))}
        feeds = {}
        for name in ports:
            column = columns.get(name, name)
            if column not in batch:
                raise InvalidArgument(
                    f"input {name!r}: the batch has no column {column!r}, only {sorted(batch)}"
                )
            feeds[name] = np.ascontiguousarray(batch[column])
        return feeds


def assigned_threads() -> int | None:
    """Return the CPUs that Ray has given this actor or task, at least 1; None outside of Ray."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        assigned = ray.get_runtime_context().get_assigned_resources().get("CPU")
        if assigned is not None:
            return max(1, int(assigned))
    given = os.environ.get("OMP_NUM_THREADS", "") if ray is not None else ""
    return int(given) if given.isdigit() and int(given) > 0 else None


def application(
    model: Any,
    *,
    max_batch: int = 8,
    max_wait_ms: float = 5.0,
    deployment: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Return a Ray Serve application that answers JSON requests; ``ray.serve.run`` starts it.

    A request is a JSON object with an array for each input, without the axis of the batch: the
    requests of ``max_wait_ms`` are run as one batch. The answer has an array for each output.

    Parameters
    ----------
    model
        What `sardonyx.Session` takes.
    max_batch : int
        Requests of a batch.
    max_wait_ms : float
        Milliseconds that the first of them waits.
    deployment : mapping, optional
        Options of the deployment, such as ``{"num_replicas": 2}``.
    **options
        Of the session.
    """
    from ray import serve

    class Model:
        def __init__(self) -> None:
            self._predictor = Predictor(model, **options)

        @serve.batch(max_batch_size=max_batch, batch_wait_timeout_s=max_wait_ms / 1000)
        async def _run(self, requests: list[Any]) -> list[Any]:
            return _answers(self._predictor, requests)

        async def __call__(self, request: Any) -> Any:
            from starlette.responses import JSONResponse

            answer = await self._run(await request.json())
            return JSONResponse(answer, status_code=400 if "error" in answer else 200)

    # A batch can only be as large as the number of requests that a replica takes at once.
    chosen = {"max_ongoing_requests": 2 * max_batch, **(deployment or {})}
    return serve.deployment(**chosen)(Model).bind()


def _answers(predictor: Predictor, requests: Sequence[Any]) -> list[dict[str, Any]]:
    """Answer each of several requests; one that does not fit is refused alone."""
    from sardonyx.compat.element_types import dtype_of_type

    answers: list[dict[str, Any]] = [{} for _ in requests]
    fitting: dict[Any, list[int]] = {}
    rows: list[Batch] = []
    ports = predictor.session.get_inputs()
    for index, request in enumerate(requests):
        try:
            row = {p.name: np.asarray(request[p.name], dtype_of_type(p.type)) for p in ports}
        except (KeyError, TypeError, ValueError) as error:
            answers[index] = {"error": f"{type(error).__name__}: {error}"}
            row = {}
        rows.append(row)
        if row:
            fitting.setdefault(tuple(array.shape for array in row.values()), []).append(index)
    for members in fitting.values():
        batch = {port.name: np.stack([rows[i][port.name] for i in members]) for port in ports}
        try:
            results = predictor(batch)
        except InvalidArgument as error:
            for index in members:
                answers[index] = {"error": str(error)}
            continue
        for place, index in enumerate(members):
            answers[index] = {name: array[place].tolist() for name, array in results.items()}
    return answers
