"""torchvision's classifiers, with weights that make a numerical comparison mean something.

Import only: it has no command line. torchvision is installed without its compiled operators (they
are built for one torch version), so the two that its import registers are declared here first.
"""

import torch

_operators = torch.library.Library("torchvision", "DEF")
_operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from lib import inputs  # noqa: E402
from torch import nn  # noqa: E402
from torchvision import models  # noqa: E402

# Networks whose constructor takes arguments of its own: the auxiliary classifiers serve training
# alone, and torchvision's pretrained weights expect its input transform.
ARGUMENTS = {
    name: {"aux_logits": False, "transform_input": True, "init_weights": True}
    for name in ("googlenet", "inception_v3")
}
SIZES = {"inception_v3": 299}


def size(name: str) -> int:
    """Height and width of the pictures that a network was designed for."""
    return SIZES.get(name, 224)


def create(name: str, classes: int = 1000) -> nn.Module:
    """A classifier by torchvision's name in evaluation mode, with torchvision's initial weights."""
    if name not in models.list_models(module=models):
        raise SystemExit(
            f"no classifier {name} in torchvision; it has: "
            + " ".join(models.list_models(module=models))
        )
    arguments = {"num_classes": classes, **ARGUMENTS.get(name, {})}
    return models.get_model(name, weights=None, **arguments).eval()


def load(network: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Puts a saved state dictionary into `network`, without its auxiliary classifiers."""
    auxiliary = ("aux1.", "aux2.", "AuxLogits.")
    network.load_state_dict({k: v for k, v in state.items() if not k.startswith(auxiliary)})


def load_pretrained(network: nn.Module, name: str) -> None:
    """torchvision's own pretrained weights, from its cache or the network."""
    load(network, models.get_model_weights(name).DEFAULT.get_state_dict(progress=False))


def smooth_pictures(side: int) -> torch.Tensor:
    """8 pictures of unlike scale and mean, as smooth as photographs: (8, 3, side, side), from
    torch's generator. Deep layers average white noise away, and statistics of the little that is
    left would make a network amplify rounding errors (PyTorch's float32 resnet101 is then 1e-4 of
    the spread off its own float64, against 1e-5)."""
    scales = torch.tensor([0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 0.2, 0.8]).view(8, 1, 1, 1)
    means = torch.tensor([-2.0, -1.0, -0.3, 0.0, 0.5, 1.0, 1.8, 2.4]).view(8, 1, 1, 1)
    coarse = torch.randn(8, 3, 8, 8)
    pictures = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return pictures * scales + means


def seed(name: str, number: int = 1) -> nn.Module:
    """A network with random weights whose outputs differ between unlike pictures.

    With BatchNorm: torchvision's initial weights with random scales and biases of BatchNorm, then
    statistics from one pass in training mode over `smooth_pictures` (momentum 1 makes that pass
    the whole history).
    Without BatchNorm the default weights shrink the signal until the biases alone decide; He et
    al.'s initialization (arXiv:1502.01852, equation 10) keeps its size through every layer.
    """
    torch.manual_seed(number)
    network = create(name)
    randomize(network)
    for norm in norms(network):
        norm.train()
        norm.momentum = 1.0
    if norms(network):
        with torch.no_grad():
            network(smooth_pictures(size(name)))
    return network.eval()


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The BatchNorms of a network, in its order."""
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


def randomize(network: nn.Module) -> None:
    """Puts the random scales and biases of `seed`, or He's weights, into a new network."""
    for norm in norms(network):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.1)
    if not norms(network):
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.normal_(module.bias, std=0.05)


def seed_checked(name: str, number: int = 1) -> tuple[nn.Module, float]:
    """The network of `seed` and its spread on unlike pictures as a share of its largest output.

    Below a quarter two implementations could agree without computing the same thing: an error.
    """
    network = seed(name, number)
    with torch.inference_mode():
        outputs = network(torch.from_numpy(inputs.unlike(size(name), number))).numpy()
    share = inputs.spread(outputs) / float(abs(outputs).max())
    if share < 0.25:
        raise SystemExit(
            f"{name}: unlike pictures get outputs only {share:.2f} apart; try another seed"
        )
    return network, share
