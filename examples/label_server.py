"""Label server: labels of images over HTTP, from an artifact.

    python examples/label_server.py digits.sdx
    curl --data-binary @image.npy localhost:8000

The artifact (`Session.save` writes it) opens without onnx and the optimizer where it was saved. Any
model that turns images into probabilities can be given in its place. A request is one image, as the
model takes it: an .npy file, or nested lists as JSON.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from sardonyx import InvalidArgument, Session
from sardonyx.tools import text

_MOST_BYTES = 16 * 2**20  # of a request
_SECONDS = 30  # for a request to come in


class LabelServer(ThreadingHTTPServer):
    """Answers requests for labels, several at once.

    Parameters
    ----------
    session : Session
        From images, the first axis being the batch, to probabilities of shape (batch, classes).
    labels : sequence of str
        Names of the classes; when empty those in the model, or else their numbers.
    port : int
        0 for one that is free.

    Raises
    ------
    InvalidArgument
        The model is of another kind, has another number of classes, or the port is taken.
    """

    def __init__(self, session: Session, labels: Sequence[str] = (), port: int = 0) -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        classes = (outputs[0].shape or [None])[-1]
        if len(inputs) != 1 or len(outputs) != 1 or not isinstance(classes, int):
            raise InvalidArgument(f"the model does not classify: {inputs} to {outputs}")
        stated = json.loads(session.get_modelmeta().custom_metadata_map.get("labels", "[]"))
        self.labels = list(labels) or stated or [str(number) for number in range(classes)]
        if len(self.labels) != classes:
            raise InvalidArgument(f"{len(self.labels)} labels, but the model has {classes} classes")
        self.session, self.shape = session, text.shape((inputs[0].shape or [])[1:])
        try:
            super().__init__(("127.0.0.1", port), _Request)
        except OSError as error:
            raise InvalidArgument(f"cannot serve at port {port}: {error.strerror}") from error

    def answer(self, image: Any) -> dict[str, Any]:
        """Return the label of an image and the probabilities of all."""
        probabilities = self.session(np.asarray(image, np.float32)[None])[0]
        named = dict(zip(self.labels, probabilities.tolist(), strict=True))
        return {"label": self.labels[probabilities.argmax()], "probabilities": named}


class _Request(BaseHTTPRequestHandler):
    server: LabelServer
    timeout = _SECONDS

    def do_POST(self) -> None:
        """Answer with the label of the image that came."""
        try:
            size = int(self.headers.get("Content-Length", ""))
            if not 0 < size <= _MOST_BYTES:
                raise InvalidArgument(f"{size} bytes came; 1 to {_MOST_BYTES} can be an image")
            image = _image(self.rfile.read(size), self.headers.get_content_type())
            self._send(HTTPStatus.OK, self.server.answer(image))
        except (ValueError, TypeError, EOFError) as error:  # InvalidArgument is a ValueError
            self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _send(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _image(body: bytes, kind: str) -> Any:
    if kind == "application/json":
        return json.loads(body)
    return np.lib.format.read_array(io.BytesIO(body), allow_pickle=False)


@contextmanager
def serving(session: Session, labels: Sequence[str] = ()) -> Iterator[int]:
    """Serve in the background; give the port."""
    with LabelServer(session, labels) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, image: np.ndarray) -> dict[str, Any]:
    """Send an image to a server on this machine.

    Returns
    -------
    dict
        ``label``, and ``probabilities`` by label.

    Raises
    ------
    InvalidArgument
        The server refuses; says why.
    """
    body = io.BytesIO()
    np.save(body, image)
    connection = HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("POST", "/", body.getvalue())
        answer: dict[str, Any] = json.load(connection.getresponse())
    finally:
        connection.close()
    if "error" in answer:
        raise InvalidArgument(answer["error"])
    return answer


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until Ctrl-C, or answer one question."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="an artifact (.sdx), or a model")
    parser.add_argument("--labels", default="", help="names of the classes, with commas between")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--once", type=Path, metavar="IMAGE.npy", help="ask for this one, and stop")
    arguments = parser.parse_args(argv)
    labels = arguments.labels.split(",") if arguments.labels else []
    # Requests run side by side, each on one thread.
    session = Session(arguments.model, threads=1)
    if arguments.once:
        with serving(session, labels) as port:
            print(json.dumps(ask(port, np.load(arguments.once))))
        return
    with LabelServer(session, labels, arguments.port) as server:
        print(f"POST images of {server.shape} to http://127.0.0.1:{server.server_port}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
