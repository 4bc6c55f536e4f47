"""One network, three times: in Keras, in PyTorch and in plain TensorFlow.

Convolutions of 32, 64 and 64 channels, the first two followed by max pooling; a dense layer of
64 units, dropout, and one unit for each class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from labelled_images import Images

_BATCH = 32
_RATE = 1e-3
_DROPOUT = 0.3


@dataclass(frozen=True)
class Trained:
    """A trained network of some framework.

    Attributes
    ----------
    model
        Source for ``sardonyx.load``.
    classify : callable
        Does in the framework what the model does: from images as `arrange` makes them to
        probabilities, an array of shape (n, classes).
    options : mapping
        Options of ``sardonyx.load``.
    arrange : callable
        Turns images of shape (n, height, width, channels) to what the model takes.
    """

    model: Any
    classify: Callable[[np.ndarray], np.ndarray]
    options: Mapping[str, Any] = field(default_factory=dict)
    arrange: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels


def keras_network(images: Images, classes: int, epochs: int) -> Trained:
    """Build and train it in Keras."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(images.pixels.shape[1:]),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(_DROPOUT),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(_RATE), "sparse_categorical_crossentropy")
    model.fit(images.pixels, images.labels, batch_size=_BATCH, epochs=epochs, verbose=0)
    return Trained(model, model.predict_on_batch)


def torch_network(images: Images, classes: int, epochs: int) -> Trained:
    """Build and train it in PyTorch, whose channels come before height and width."""
    import torch
    from torch import nn

    def arrange(pixels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))

    torch.manual_seed(0)
    x, labels = torch.from_numpy(arrange(images.pixels)), torch.from_numpy(images.labels)
    _, channels, height, width = x.shape
    scores = nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 64),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(64, classes),
    )
    optimizer = torch.optim.Adam(scores.parameters(), _RATE)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(_BATCH):
            loss = nn.functional.cross_entropy(scores(x[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network = nn.Sequential(scores, nn.Softmax(1)).eval()

    @torch.inference_mode()
    def classify(pixels: np.ndarray) -> np.ndarray:
        probabilities: np.ndarray = network(torch.from_numpy(pixels)).numpy()
        return probabilities

    return Trained(network, classify, {"example_inputs": x[:2]}, arrange)


def tensorflow_network(images: Images, classes: int, epochs: int) -> Trained:
    """Build it of TensorFlow's functions, and train it by hand."""
    import tensorflow as tf

    tf.random.set_seed(0)
    count, height, width, channels = images.pixels.shape
    flat = 64 * (height // 4) * (width // 4)

    def initial(*shape: int) -> tuple[Any, Any]:
        spread = np.sqrt(2 / np.prod(shape[:-1]))
        return tf.Variable(tf.random.normal(shape, stddev=spread)), tf.Variable(tf.zeros(shape[-1]))

    class Network(tf.Module):
        """Weights and biases of each layer, and what is computed with them."""

        def __init__(self) -> None:
            super().__init__("network")
            self.first = initial(3, 3, channels, 32)
            self.second = initial(3, 3, 32, 64)
            self.third = initial(3, 3, 64, 64)
            self.dense = initial(flat, 64)
            self.last = initial(64, classes)

        def scores(self, pixels: Any, dropout: float = 0.0) -> Any:
            """Return what the softmax is taken of, shape (n, classes)."""
            x = tf.nn.max_pool2d(self.convolved(pixels, *self.first), 2, 2, "VALID")
            x = tf.nn.max_pool2d(self.convolved(x, *self.second), 2, 2, "VALID")
            x = tf.reshape(self.convolved(x, *self.third), (-1, flat))
            x = tf.nn.relu(x @ self.dense[0] + self.dense[1])
            return tf.nn.dropout(x, dropout) @ self.last[0] + self.last[1]

        def convolved(self, x: Any, weights: Any, biases: Any) -> Any:
            return tf.nn.relu(tf.nn.conv2d(x, weights, 1, "SAME") + biases)

        @tf.function(input_signature=[tf.TensorSpec((None, height, width, channels), name="x")])
        def __call__(self, pixels: Any) -> Any:
            return tf.nn.softmax(self.scores(pixels))

    network = Network()
    optimizer = tf.optimizers.Adam(_RATE)

    @tf.function
    def step(pixels: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            scores = network.scores(pixels, _DROPOUT)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
        gradients = tape.gradient(losses, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    data = tf.data.Dataset.from_tensor_slices((images.pixels, images.labels))
    for pixels, labels in data.shuffle(count, seed=0).batch(_BATCH).repeat(epochs):
        step(pixels, labels)
    return Trained(network, lambda pixels: network(pixels).numpy())


NETWORKS: dict[str, Callable[[Images, int, int], Trained]] = {
    "keras": keras_network,
    "torch": torch_network,
    "tensorflow": tensorflow_network,
}
"""Functions that train the network, by framework; called with images, classes and epochs."""
