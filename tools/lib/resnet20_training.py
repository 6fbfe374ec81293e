"""What training ResNet-20 needs beside its loop: pictures as uint8 tensors, augmentation, scoring,
cycles of the learning rate, checkpoints.

Import only: it has no command line.
"""

import dataclasses
import itertools
import os
from collections.abc import Iterator

import torch
from lib import cifar
from torch import nn

BATCH = 128


def normalize(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 3, H, W) to float32 as the cifar10 preset has it, in channels-last memory."""
    mean = torch.from_numpy(cifar.MEAN).view(1, 3, 1, 1)
    std = torch.from_numpy(cifar.STD).view(1, 3, 1, 1)
    scaled = (pictures.float() / 255 - mean) / std
    return scaled.contiguous(memory_format=torch.channels_last)


def augment(pictures: torch.Tensor, shift: int, random: torch.Generator) -> torch.Tensor:
    """Each picture moved by up to `shift` pixels (black comes in) and mirrored half of the time."""
    count, _, height, width = pictures.shape
    padded = nn.functional.pad(pictures, [shift] * 4)
    top, left = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=random)
    mirrored = torch.rand(count, 1, generator=random) < 0.5
    rows = top + torch.arange(height)
    across = torch.arange(width)
    columns = left + torch.where(mirrored, width - 1 - across, across)
    index = torch.arange(count).view(-1, 1, 1, 1)
    channels = torch.arange(3).view(1, -1, 1, 1)
    return normalize(padded[index, channels, rows[:, None, :, None], columns[:, None, None, :]])


def accuracy(network: nn.Module, pictures: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of pictures whose greatest logit is their label's."""
    network.eval()
    right = 0
    with torch.inference_mode():
        for part, expected in zip(pictures.split(500), labels.split(500), strict=True):
            right += (network(normalize(part)).argmax(1) == expected).sum().item()
    return right / len(labels)


def load(archive: str, split: str) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Pictures (N, 3, 32, 32) uint8, labels (N,), class names of one split of the archive."""
    pictures, labels, classes, _ = cifar.load(archive, split)
    return torch.from_numpy(pictures).permute(0, 3, 1, 2), torch.from_numpy(labels), classes


@dataclasses.dataclass
class Cycle:
    """Epochs `first` up to `end` under one rise and fall of the learning rate (OneCycleLR)."""

    first: int
    end: int
    peak: float
    shift: int

    def begin(self, network: nn.Module, steps: int) -> dict:
        """A new optimizer and its schedule; `steps` is the number of batches in an epoch."""
        optimizer = torch.optim.SGD(
            network.parameters(), self.peak / 2, 0.9, weight_decay=5e-4, nesterov=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.peak, total_steps=(self.end - self.first) * steps, pct_start=0.25
        )
        return {"optimizer": optimizer, "schedule": schedule}


def plan(text: str) -> Iterator[tuple[int, int, Cycle]]:
    """Each epoch, the number of all epochs, and the epoch's cycle, from EPOCHS:PEAK:SHIFT,…"""
    lengths, peaks, shifts = zip(*(part.split(":") for part in text.split(",")), strict=True)
    ends = list(itertools.accumulate(map(int, lengths)))
    for first, end, peak, shift in zip([0, *ends], ends, peaks, shifts, strict=False):
        cycle = Cycle(first, end, float(peak), int(shift))
        for epoch in range(first, end):
            yield epoch, ends[-1], cycle


def save(path: str, epoch: int, **parts) -> None:
    """Writes a checkpoint whole or not at all: everything that goes on after `epoch`."""
    state = {name: part.state_dict() for name, part in parts.items()}
    torch.save({**state, "epoch": epoch}, path + ".new")
    os.replace(path + ".new", path)


def resume(path: str, **parts) -> int:
    """Puts a checkpoint into the parts; returns how many epochs are behind it, 0 without one."""
    if not os.path.exists(path):
        return 0
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["epoch"]
