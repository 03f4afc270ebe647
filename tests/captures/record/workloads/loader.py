"""Training with data loader workers (forked, then spawned), pinned memory, non-blocking copies."""

from __future__ import annotations

import torch
from torch import nn
from torch.cuda import nvtx
from torch.utils.data import DataLoader, Dataset


class Noise(Dataset):
    def __len__(self) -> int:
        return 8 * 256

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        generator = torch.Generator().manual_seed(index)
        return torch.randn(1024, generator=generator), index % 10


def train(context: str) -> None:
    model = nn.Sequential(nn.Linear(1024, 2048), nn.GELU(), nn.Linear(2048, 10)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    loader = DataLoader(
        Noise(), batch_size=256, num_workers=2, pin_memory=True, multiprocessing_context=context
    )
    with nvtx.range(f"epoch {context}"):
        for features, labels in loader:
            with nvtx.range("copy"):
                features = features.cuda(non_blocking=True)
                labels = labels.cuda(non_blocking=True)
            with nvtx.range("step"):
                loss = nn.functional.cross_entropy(model(features), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        torch.cuda.synchronize()


def main() -> None:
    torch.manual_seed(0)
    train("fork")
    train("spawn")


if __name__ == "__main__":
    main()
