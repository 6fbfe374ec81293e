"""Networks whose derivatives are well conditioned on given pictures. Import only.

Where an activation lies within rounding of a relu's kink, two correct float32 implementations may
stand on either side of it, and a gradient that is a sum of few terms then differs in the second
digit: PyTorch's own float32 step is up to 3e-1 off its float64 step on random networks. So every
channel's bias is shifted until the kink lies in the middle of a gap between its activations.
"""

import torch
from lib import zoo
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

# Where the operators of nn.ReLU and nn.ReLU6 have no derivative.
_KINKS = {"relu": [0.0], "relu_": [0.0], "hardtanh": [0.0, 6.0], "hardtanh_": [0.0, 6.0]}


def calibrate(network: nn.Module, pictures: torch.Tensor) -> None:
    """Sets the statistics of all BatchNorms to those of `pictures`, so that frozen and training
    BatchNorms compute the same, and moves biases so that no relu's input is close to zero.

    In float64, in one pass: each layer sees what the layers before it now give.
    """
    norms = zoo.norms(network)
    hooks = [m.register_forward_hook(_take_statistics) for m in norms]
    separation = _Separation()
    hooks += [
        m.register_forward_hook(separation.remember)
        for m in network.modules()
        if isinstance(m, (nn.BatchNorm2d, nn.Conv2d, nn.Linear)) and m.bias is not None
    ]
    network.double()
    for norm in norms:
        norm.train()
    with torch.no_grad(), separation:
        network(pictures.double())
    for hook in hooks:
        hook.remove()
    network.float().eval()


def _take_statistics(norm: nn.BatchNorm2d, arguments, _) -> None:
    norm.running_mean.copy_(arguments[0].mean((0, 2, 3)))
    norm.running_var.copy_(arguments[0].var((0, 2, 3), unbiased=False))


class _Separation(TorchDispatchMode):
    """Shifts the input of every relu, and the bias that it comes from, a channel at a time."""

    def __init__(self):
        super().__init__()
        self.last = None

    def remember(self, module: nn.Module, *_) -> None:
        """The biases of the layer that ran last are the ones to move."""
        self.last = module

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        kinks = _KINKS.get(function.overloadpacket.__name__)
        if kinks is not None and self.last is not None:
            values = arguments[0]
            shift = -_clearest(values.transpose(0, 1).flatten(1), kinks)
            self.last.bias += shift
            values += shift.view(-1, *[1] * (values.dim() - 2))
        return function(*arguments, **(keywords or {}))


def _clearest(rows: torch.Tensor, kinks: list[float]) -> torch.Tensor:
    """For each row a number t in its middle half so that all t + kink are far from its elements."""
    rows = rows.sort(dim=1).values
    count = rows.shape[1]
    middle = rows[:, (count - 1) // 4 : count - (count - 1) // 4]
    candidates = (middle[:, 1:] + middle[:, :-1]) / 2
    room = torch.full_like(candidates, torch.inf)
    for kink in kinks:
        places = (candidates + kink).contiguous()
        after = torch.searchsorted(rows, places).clamp(0, count - 1)
        for index in (after, (after - 1).clamp(min=0)):
            room = torch.minimum(room, (rows.gather(1, index) - places).abs())
    return candidates.gather(1, room.argmax(dim=1, keepdim=True)).flatten()
