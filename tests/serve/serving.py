"""A server in a process of its own, as the command line starts it, and requests to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np


class Serving:
    """``sardonyx serve`` with arguments."""

    def __init__(self, *arguments, environment=None):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sardonyx.tools.cli", "serve", "--port", "0",
             *map(str, arguments)],
            stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        line = self.process.stderr.readline()
        assert line.startswith("listening on http://"), line + self.process.stderr.read()
        self.port = int(line.rsplit(":", 1)[1])
        self.address = f"127.0.0.1:{self.port}"

    def wait(self, seconds=120):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.get("v2/health/ready")[0] == 200:
                return self
            time.sleep(0.05)
        raise TimeoutError("the server did not become ready")

    def get(self, path):
        return self.send(urllib.request.Request(f"http://{self.address}/{path}"))

    def post(self, path, body=b"", headers=None):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        address = f"http://{self.address}/{path}"
        return self.send(
            urllib.request.Request(address, content, headers=headers or {}, method="POST")
        )

    def infer(self, model, inputs, **more):
        tensors = [
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": {"float32": "FP32", "int64": "INT64"}[array.dtype.name],
                "data": array.ravel().tolist(),
            }
            for name, array in inputs.items()
        ]
        return self.post(f"v2/models/{model}/infer", {"inputs": tensors, **more})

    def send(self, request):
        """Return status and content, read if it is JSON."""
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return _read(response)
        except urllib.error.HTTPError as error:
            return _read(error)

    def raw(self, data, *, until_close=True, timeout=20):
        """Send bytes as they are, and return what comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            try:
                connection.sendall(data)
                if until_close:
                    connection.shutdown(socket.SHUT_WR)
                pieces = []
                while piece := connection.recv(1 << 16):
                    pieces.append(piece)
            except (ConnectionResetError, BrokenPipeError):
                pass
            return b"".join(pieces)

    def metric(self, name, **labels):
        """Sum of a metric over all lines with the labels."""
        total = 0.0
        for line in self.get("metrics")[1].decode().splitlines():
            if line.startswith(name + "{") and all(
                f'{key}="{value}"' in line for key, value in labels.items()
            ):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def stop(self, seconds=30):
        """Stop it as a machine does; returns the exit code and what it printed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        printed = self.process.communicate(timeout=seconds)[1]
        return self.process.returncode, printed


def _read(response):
    content = response.read()
    if response.headers.get_content_type() == "application/json":
        return response.status, json.loads(content)
    return response.status, content


def array_of(answer, name):
    """Return an output of a response in JSON."""
    output = next(each for each in answer["outputs"] if each["name"] == name)
    kinds = {"FP32": "float32", "INT64": "int64"}
    return np.array(output["data"], kinds[output["datatype"]]).reshape(output["shape"])
