"""Training in PyTorch: backward passes on autograd's threads, and two trainers in threads."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import nn
from torch.cuda import nvtx


class Scale(torch.autograd.Function):
    """An identity whose backward opens a range on the thread that runs it."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value * 1.0

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        with nvtx.range("custom backward"):
            return gradient * 1.0


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(64 * 16 * 16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(Scale.apply(self.features(images).flatten(1)))


def train(name: str, steps: int) -> None:
    model = Net().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images = torch.randn(64, 3, 32, 32, device="cuda")
    labels = torch.randint(0, 10, (64,), device="cuda")
    for step in range(steps):
        with nvtx.range(f"{name} step {step}"):
            with nvtx.range("forward"):
                loss = nn.functional.cross_entropy(model(images), labels)
            with nvtx.range("backward"):
                optimizer.zero_grad()
                loss.backward()
            with nvtx.range("optimizer"):
                optimizer.step()
    torch.cuda.current_stream().synchronize()


def train_on_own_stream(name: str) -> None:
    with torch.cuda.stream(torch.cuda.Stream()):
        train(name, 3)


def main() -> None:
    torch.manual_seed(0)
    with nvtx.range("alone"):
        train("main", 8)
    with nvtx.range("together"):
        threads = [
            threading.Thread(target=train_on_own_stream, args=(f"thread {number}",))
            for number in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
