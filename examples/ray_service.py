"""Serve a model with Ray Serve: ``python examples/ray_service.py``, on one machine or a cluster.

Requests that come together run as one batch.
"""

from __future__ import annotations

import json
import urllib.request

import numpy as np
from ray import serve
from sardonyx.ray import application
from sardonyx.tools.demo import DATA


def main(replicas: int = 2) -> int:
    """Start the service, ask it about one image, and stop it; returns the digit."""
    app = application(str(DATA / "digits.onnx"), deployment={"num_replicas": replicas})
    serve.run(app, name="digits", route_prefix="/digits")
    with np.load(DATA / "digits.npz") as digits:
        image = digits["images"][0].astype(float)
    body = json.dumps({"pixels": image.tolist()}).encode()
    with urllib.request.urlopen("http://127.0.0.1:8000/digits", body) as answer:
        found = int(np.argmax(json.load(answer)["probabilities"]))
    print(f"the image shows a {found}")
    serve.shutdown()
    return found


if __name__ == "__main__":
    main()
