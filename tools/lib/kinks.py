"""Networks whose derivatives are well conditioned on given pictures. Import only.

Where an activation lies within rounding of a relu's kink, two correct float32 implementations may
stand on either side of it, and a gradient that is a sum of few terms then differs in the second
digit: PyTorch's own float32 step is up to 3e-1 off its float64 step on random networks. So every
channel's bias is shifted until the kink lies in the middle of a gap between its activations.

A max-pool passes a gradient to the largest element of each window, and of millions of windows some
have two that are equal to rounding. No bias changes that; so each filter before a max-pool is the one
of several random ones whose two largest are furthest apart where they are closest.
"""

import torch
from lib import zoo
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

# Where activations have no derivative.
_KINKS = {
    "relu": [0.0], "relu_": [0.0], "hardtanh": [0.0, 6.0], "hardtanh_": [0.0, 6.0],
    "hardswish": [-3.0, 3.0], "hardswish_": [-3.0, 3.0],
    "hardsigmoid": [-3.0, 3.0], "hardsigmoid_": [-3.0, 3.0],
}
# Filters to choose from.
_CANDIDATES = 24


def calibrate(network: nn.Module, pictures: torch.Tensor) -> None:
    """Sets the statistics of all BatchNorms to those of `pictures`, so that frozen and training
    BatchNorms compute the same, moves biases so that no relu's input is close to zero, and chooses
    filters so that the two largest elements of no max-pool's window are close. Only rising functions
    may lie between such filters and the pool: BatchNorms' scales must be positive.

    In float64, in one pass: each layer sees what the layers before it now give.
    """
    norms = zoo.norms(network)
    hooks = [m.register_forward_hook(_take_statistics) for m in norms]
    hooks += [
        convolution.register_forward_pre_hook(_ChooseFilters(pool))
        for convolution, pool in _pooled(network, pictures)
    ]
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


def separates_pools(network: nn.Module) -> bool:
    """Whether `calibrate` has max-pools to look after."""
    has_pools = any(isinstance(m, nn.MaxPool2d) for m in network.modules())
    return has_pools and bool(zoo.norms(network))


def _take_statistics(norm: nn.BatchNorm2d, arguments, _) -> None:
    norm.running_mean.copy_(arguments[0].mean((0, 2, 3)))
    norm.running_var.copy_(arguments[0].var((0, 2, 3), unbiased=False))


def _pooled(
    network: nn.Module, pictures: torch.Tensor
) -> list[tuple[nn.Conv2d, nn.MaxPool2d]]:
    """Each max-pool with the convolution that runs last before it."""
    found, convolutions = [], []

    def remember(module, *_):
        if isinstance(module, nn.Conv2d):
            convolutions.append(module)
        else:
            found.append((convolutions[-1], module))

    hooks = [
        m.register_forward_hook(remember)
        for m in network.modules()
        if isinstance(m, (nn.Conv2d, nn.MaxPool2d))
    ]
    with torch.no_grad():
        network(pictures)
    for hook in hooks:
        hook.remove()
    return found


class _ChooseFilters:
    """Before a convolution runs: gives each of its outputs a filter after which the pool has no near
    ties, as a share of the output's deviation."""

    def __init__(self, pool: nn.MaxPool2d):
        self.pool = pool

    def __call__(self, convolution: nn.Conv2d, arguments) -> None:
        best = torch.full((convolution.out_channels,), -torch.inf, dtype=torch.float64)
        chosen = convolution.weight.clone()
        for number in range(_CANDIDATES):
            if number > 0:
                convolution.weight.copy_(torch.randn_like(chosen) * chosen.std())
            # Without hooks: those of the network are for its own run.
            images = convolution._conv_forward(*arguments, convolution.weight, convolution.bias)
            gaps = self._closest(images) / images.std((0, 2, 3))
            better = gaps > best
            best[better] = gaps[better]
            chosen[better] = convolution.weight[better]
        convolution.weight.copy_(chosen)

    def _closest(self, images: torch.Tensor) -> torch.Tensor:
        """For each channel how near the two largest elements of a window come."""
        pads = [self.pool.padding] * 4
        padded = nn.functional.pad(images, pads, value=-torch.inf)
        size, step = self.pool.kernel_size, self.pool.stride
        windows = padded.unfold(2, size, step).unfold(3, size, step).flatten(4)
        largest = windows.topk(2, dim=4).values
        return (largest[..., 0] - largest[..., 1]).amin((0, 2, 3))


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
    """For each row a number t so that all t + kink are far from its elements: in its middle half, unless that
    is one number repeated, as after a convolution of a channel that a relu has made mostly zero."""
    rows = rows.sort(dim=1).values.contiguous()
    count = rows.shape[1]
    candidates = (rows[:, 1:] + rows[:, :-1]) / 2
    room = torch.full_like(candidates, torch.inf)
    for kink in kinks:
        places = (candidates + kink).contiguous()
        after = torch.searchsorted(rows, places).clamp(0, count - 1)
        for index in (after, (after - 1).clamp(min=0)):
            room = torch.minimum(room, (rows.gather(1, index) - places).abs())
    middle = torch.zeros_like(room)
    middle[:, (count - 1) // 4 : count - 1 - (count - 1) // 4] = 1
    near = rows.std(dim=1, keepdim=True) * 1e-4
    has_room = (room * middle).amax(dim=1, keepdim=True) > near
    best = torch.where(has_room, room * middle, room).argmax(dim=1, keepdim=True)
    return candidates.gather(1, best).flatten()
