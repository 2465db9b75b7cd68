"""Trains small nets in PyTorch and exports them: the `.onnx` files and `samples.npz` beside this.

Written with torch 2.14.1, onnx 1.23.2 and onnxscript 0.7.2 (pip install torch onnx onnxscript):

    python export.py FOLDER_WITH_THE_FOUR_MNIST_FILES

`cnn` is the one of docs/pytorch.md. Those named `…_torchscript` come from the older exporter.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
IMAGES = 64  # in samples.npz
EPOCHS = 2


def cnn() -> nn.Module:
    """Convolutions with batch normalization, a flattened image, two dense layers."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(16 * 7 * 7, 16),
        nn.ReLU(),
        nn.Linear(16, 10),
    )


class Shared(nn.Module):
    """One residual block applied four times."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 5, stride=2, padding=2)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.stem(images)
        for _ in range(4):
            hidden = hidden + self.pointwise(self.depthwise(torch.relu(hidden)))
        return self.head(torch.relu(hidden).mean(dim=(2, 3)))


class Residual(nn.Module):
    """A residual block of two normalized convolutions."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for _ in range(3)])
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.pool(torch.relu(self.norms[0](self.stem(images))))
        inner = torch.relu(self.norms[1](self.first(hidden)))
        hidden = torch.relu(hidden + self.norms[2](self.second(inner)))
        return self.head(nn.functional.adaptive_avg_pool2d(hidden, 1).flatten(1))


def read(path: Path, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def split(folder: Path, name: str) -> tuple[Tensor, Tensor]:
    images = read(folder / f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    labels = read(folder / f"{name}-labels-idx1-ubyte.gz", 8)
    return torch.tensor(images / np.float32(255)), torch.tensor(labels.astype(np.int64))


def train(net: nn.Module, images: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    steps = EPOCHS * len(images) // 128
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(len(images), (128,))
        loss = nn.functional.cross_entropy(net(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def main() -> None:
    folder = Path(sys.argv[1])
    images, labels = split(folder, "train")
    held, expected = split(folder, "t10k")
    torch.set_num_threads(1)
    for name, make in {"cnn": cnn, "shared": Shared, "residual": Residual}.items():
        torch.manual_seed(0)
        net = make()
        train(net, images, labels)
        net.eval()
        with torch.no_grad():
            share = (net(held).argmax(1) == expected).float().mean()
        print(f"{name}: {share:.2%} of the test images", flush=True)
        sample = (held[:1],)
        torch.onnx.export(net, sample, HERE / f"{name}.onnx", external_data=False)
        torch.onnx.export(net, sample, HERE / f"{name}_torchscript.onnx", dynamo=False)
    np.savez_compressed(HERE / "samples.npz", x=images[:IMAGES].numpy(), y=labels[:IMAGES].numpy())


if __name__ == "__main__":
    main()
