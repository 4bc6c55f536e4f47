"""Training, conversion, tuning and serving of a classifier, in each framework that is installed.

    python examples/train_and_serve.py
    python examples/train_and_serve.py --framework torch --data ~/.keras/datasets

Prepare images, train a small convolutional network, convert, optimize, save the artifact,
compare accuracies and times, and serve labels from the artifact.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sardonyx
from label_server import ask, serving
from labelled_images import Images, cifar10, digits
from sardonyx.tools import text
from side_by_side import Times, times
from three_networks import NETWORKS, Trained

_BATCH = 500


@dataclass(frozen=True)
class Outcome:
    """Result of one network.

    Attributes
    ----------
    framework : str
    nodes : tuple of int
        Of the converted and of the optimized model.
    trained, converted, optimized : float
        Accuracy in the framework, of the converted model as it is, and of the artifact.
    error : float
        Largest difference between the framework's and the artifact's probabilities.
    times : Times
        Of one image.
    artifact : Path
    """

    framework: str
    nodes: tuple[int, int]
    trained: float
    converted: float
    optimized: float
    error: float
    times: Times
    artifact: Path


def follow(
    framework: str, trained: Trained, test: Images, labels: Sequence[str], folder: Path
) -> Outcome:
    """Take a network from its framework to an artifact, and compare them on images.

    Parameters
    ----------
    framework : str
    trained : Trained
    test : Images
    labels : sequence of str
        Of the classes.
    folder : Path
        Gets the model, the optimized model and the artifact.
    """
    path = folder / f"{framework}.onnx"
    model = sardonyx.convert(trained.model, path, labels=labels, **trained.options).model
    optimized = sardonyx.optimize(model, verify=True)
    sardonyx.save(optimized, folder / f"{framework}-optimized.onnx")
    artifact = folder / f"{framework}.sdx"
    sardonyx.Session(optimized).save(artifact)

    images = trained.arrange(test.pixels)
    compiled = sardonyx.Session(artifact)
    wanted = in_batches(trained.classify, images)
    converted = in_batches(sardonyx.Session(model, optimize="none"), images)
    probabilities = in_batches(compiled, images)
    one = images[:1]
    feeds = {compiled.get_inputs()[0].name: one}
    return Outcome(
        framework,
        (len(model.graph), len(optimized.graph)),
        test.accuracy(wanted),
        test.accuracy(converted),
        test.accuracy(probabilities),
        float(np.abs(probabilities - wanted).max()),
        times(model, compiled, feeds, lambda: trained.classify(one)),
        artifact,
    )


def in_batches(classify: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Classify many images, shape (n, ...), to probabilities, shape (n, classes)."""
    parts = [classify(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    return np.concatenate(parts)


def print_table(outcomes: Sequence[Outcome], images: int) -> None:
    """Print a row for each framework."""
    table = text.table(
        f"{images} images to test on; times of one image",
        "network of", "nodes:", "accuracy:", "converted:", "optimized:", "error:", *Times.COLUMNS,
    )  # fmt: skip
    for outcome in outcomes:
        accuracies = outcome.trained, outcome.converted, outcome.optimized
        table.add_row(
            outcome.framework,
            "{} → {}".format(*outcome.nodes),
            *map(text.percent, accuracies),
            text.error(outcome.error),
            *outcome.times.cells(),
        )
    text.show(text.console(), table)


def serve_once(artifact: Path, image: np.ndarray, truth: str, names: Sequence[str]) -> None:
    """Open the artifact, serve it, and have the server label an image."""
    with serving(sardonyx.Session(artifact, threads=1), names) as port:
        answer = ask(port, image)
    sure = text.percent(answer["probabilities"][answer["label"]])
    print(f"served from {artifact}: {truth!r} is taken for {answer['label']!r} ({sure})")


def main(argv: Sequence[str] | None = None) -> list[Outcome]:
    """Tell the story; give what became of each network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--framework", choices=[*NETWORKS, "all"], default="all")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10's files; without: digits")
    parser.add_argument("--output", type=Path, default=Path("build/examples"))
    arguments = parser.parse_args(argv)
    task = cifar10(arguments.data) if arguments.data else digits()
    wanted = list(NETWORKS) if arguments.framework == "all" else [arguments.framework]
    installed = [name for name in wanted if importlib.util.find_spec(name)]
    if not installed:
        raise SystemExit(f"not installed: {', '.join(wanted)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for framework in installed:
        print(f"training the network of {framework}")
        trained = NETWORKS[framework](task.train, len(task.names), arguments.epochs)
        outcomes.append(follow(framework, trained, task.test, task.names, arguments.output))
        image, truth = trained.arrange(task.test.pixels[:1])[0], task.names[task.test.labels[0]]
        serve_once(outcomes[-1].artifact, image, truth, task.names)
    print_table(outcomes, len(task.test.labels))
    return outcomes


if __name__ == "__main__":
    main()
