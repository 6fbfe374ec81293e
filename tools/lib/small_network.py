"""The small network of make-network-training-fixture, and how PyTorch trains it.

Import only: it has no command line.
"""

import copy

import torch
from torch import nn


class Network(nn.Module):
    """(N, 3, 12, 12) in, (N, 4) logits out."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6, momentum=0.3)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.down = nn.Conv2d(6, 8, 1, stride=2, bias=False)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        x = torch.relu(self.bn2(self.conv2(x)) + self.down(x))
        x = nn.functional.relu6(self.grouped(self.depthwise(x)))
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def ten_steps(network, batch, make, options, mode, criterion):
    """The losses of ten steps from the network's weights on a batch, and the state after them."""
    student = copy.deepcopy(network).double().train()
    if mode == "frozen":
        student.bn1.eval(), student.bn2.eval()
    optimizer, losses = make(student.parameters(), **options), []
    for _ in range(10):
        optimizer.zero_grad()
        loss = criterion(student(batch.double()))
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    weights = {
        k: [round(float(e), 8) for e in v.flatten()] for k, v in student.state_dict().items()
        if not k.endswith("num_batches_tracked")}
    return {"bn": mode, "losses": losses, "weights": weights, **options}


def heat_maps(network, x):
    """Grad-CAM (Selvaraju et al. 2017) by autograd in float64: at the output of the network's last activation and
    at the block's before it, for three items and a class each.
    """
    maps = []
    for item, label in [(0, 1), (5, 3), (7, 0)]:
        precise = copy.deepcopy(network).double().eval()
        one = x[item:item + 1].double()
        start = nn.functional.max_pool2d(torch.relu(precise.bn1(precise.conv1(one))), 2)
        block = torch.relu(precise.bn2(precise.conv2(start)) + precise.down(start))
        last = nn.functional.relu6(precise.grouped(precise.depthwise(block)))
        for value in (block, last):
            value.retain_grad()
        logits = precise.fc(nn.functional.adaptive_avg_pool2d(last, 1).flatten(1))
        logits[0, label].backward()
        for depth, value in enumerate([last, block]):
            weights = value.grad.mean((2, 3), keepdim=True)
            heat = torch.relu((weights * value).sum(1))[0]
            maps.append({"item": item, "class": label, "depth": depth, "heat": heat.flatten().tolist()})
    return maps
