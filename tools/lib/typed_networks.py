"""The small networks of make-typed-training-fixture, with a batch for each.

Import only: it has no command line.
"""

import torch
from torch import nn


class Embedding(nn.Module):
    """Ids (N, 5) in, of which 0 has a row of its own; (N, 3) logits out."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.position = nn.Parameter(torch.randn(5, 6) * 0.3)
        self.absent = nn.Parameter(torch.randn(6))
        self.layer, self.fc = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, ids):
        x = torch.where((ids == 0).unsqueeze(-1), self.absent, self.embedding(ids))
        return self.fc(torch.relu(self.layer(x + self.position)).mean(1))


class Pictures(nn.Module):
    """Pixels (N, 3, 8, 8) of 0 to 255 in, (N, 3) logits out."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3, stride=2), nn.Linear(6, 3)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, x):
        x = (x.to(self.mean.dtype) / 255 - self.mean) / self.std
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


def layers(outputs: int, *end: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs), *end)


def cases() -> list:
    """Name, network, batch, answers and loss of each."""
    torch.manual_seed(11)
    cross_entropy, binary = nn.functional.cross_entropy, nn.functional.binary_cross_entropy
    classes, x = torch.arange(12) % 3, torch.randn(12, 4)
    ids = torch.randint(0, 11, (12, 5))
    pixels = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8)
    several = torch.randint(0, 2, (12, 3)).float()
    one = torch.arange(12) % 2
    return [
        ("ids", Embedding(), ids, classes, cross_entropy),
        ("pixels", Pictures(), pixels, classes, cross_entropy),
        ("halves", layers(3).half(), x.half(), classes, cross_entropy),
        ("labels", layers(3, nn.Sigmoid()), x, several, lambda p, y: binary(p, y.double())),
        ("binary", layers(1, nn.Sigmoid()), x, one, lambda p, y: binary(p[:, 0], y.double())),
    ]
