"""Training of the demo's network: ``python -m sardonyx.tools.train_demo``, needs torch, sklearn.

It writes ``data/digits.onnx`` and ``data/digits.npz`` (the images it never saw). The data are the
1797 handwritten digits of 8×8 pixels, values 0 to 16, that scikit-learn ships: the test half of
"Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI repository, 1998,
licence CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data"
EPOCHS = 60
HELD_OUT = 0.25


def main() -> None:
    """Train, measure on the held-out images, and write both files."""
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    torch.manual_seed(0)
    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    x, held_x, y, held_y = train_test_split(
        images, digits.target, test_size=HELD_OUT, stratify=digits.target, random_state=0
    )
    network = _network()
    _train(network, torch.from_numpy(x).float(), torch.from_numpy(y))
    network.eval()
    with torch.no_grad():
        guesses = network(torch.from_numpy(held_x).float()).argmax(1).numpy()
    print(f"accuracy on {len(held_y)} held-out images: {np.mean(guesses == held_y):.4f}")
    DATA.mkdir(exist_ok=True)
    np.savez_compressed(DATA / "digits.npz", images=held_x, labels=held_y.astype(np.uint8))
    _export(network, torch.from_numpy(held_x[:2]).float())


def _network() -> Any:
    from torch import nn

    class Residual(nn.Module):
        """Two convolutions around a shortcut."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.first_norm = nn.BatchNorm2d(channels)
            self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.second_norm = nn.BatchNorm2d(channels)

        def forward(self, x: Any) -> Any:
            """Return ``relu(x + f(x))``, of the shape of x."""
            inner = self.first_norm(self.first(x)).relu()
            return (x + self.second_norm(self.second(inner))).relu()

    class Digits(nn.Module):
        """Pixels from 0 to 16, shape (n, 1, 8, 8), to the probabilities of ten digits."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 16, 3, padding=1, bias=False)
            self.stem_norm = nn.BatchNorm2d(16)
            self.widen = nn.Conv2d(16, 32, 3, padding=1, bias=False)
            self.widen_norm = nn.BatchNorm2d(32)
            self.block = Residual(32)
            self.drop = nn.Dropout(0.3)
            self.classify = nn.Linear(32, 10)

        def scores(self, pixels: Any) -> Any:
            """Return what the softmax is taken of."""
            x = self.stem_norm(self.stem(pixels / 16)).relu()
            x = self.widen_norm(self.widen(x)).relu()
            x = nn.functional.max_pool2d(x, 2)
            x = self.block(x)
            return self.classify(self.drop(x.mean((2, 3))))

        def forward(self, pixels: Any) -> Any:
            """Return probabilities, shape (n, 10)."""
            return self.scores(pixels).softmax(1)

    return Digits()


def _train(network: Any, images: Any, labels: Any) -> None:
    import torch

    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    batches = -(-len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=EPOCHS * batches)
    network.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(64):
            shift = [int(step) for step in torch.randint(-1, 2, (2,))]
            moved = torch.roll(images[batch], shift, (2, 3))
            loss = torch.nn.functional.cross_entropy(network.scores(moved), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _export(network: Any, example: Any) -> None:
    import onnx_ir
    import torch
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    # Unoptimized, so that there is something left to do for the demo.
    program = torch.onnx.export(
        network,
        (example,),
        input_names=["pixels"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("images")},),
        opset_version=18,
        optimize=False,
    )
    assert program is not None  # it is only None in the exporter that torch no longer uses
    ClearMetadataAndDocStringPass()(program.model)  # stack traces, with paths of this machine
    onnx_ir.save(program.model, DATA / "digits.onnx")


if __name__ == "__main__":
    main()
