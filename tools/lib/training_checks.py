"""What tools/verify-training checks of one network. Import only: it has no command line."""

import copy
import json
import pathlib

import numpy as np
import onnx
import torch
from lib import families, kinks, onnx_export, zoo
from lib.graft import Failed, Graft
from lib.report import Report
from lib.resnet20 import ResNet20
from onnx import numpy_helper
from torch import nn

CLASSICAL = ["resnet20", "resnet18", "vgg11_bn", "vgg11", "mobilenet_v2", "densenet121"]
# With what their constructors need for CLASSES classes and small pictures.
NEWER = {
    "efficientnet_b0": {"num_classes": 10},
    "mobilenet_v3_large": {"num_classes": 10},
    "convnext_tiny": {"num_classes": 10},
    "vit_b_16": {"num_classes": 10, "image_size": 64},
    "swin_t": {"num_classes": 10},
    "timm.seresnet50": {"num_classes": 10},
    "deeplabv3_mobilenet_v3_large": {"num_classes": 10},
    "unet_transposed": {},
}
NETWORKS = CLASSICAL + list(NEWER)
# These have no BatchNorm.
WITHOUT_NORMS = ["vgg11", "convnext_tiny", "vit_b_16", "swin_t"]
CLASSES = 10
ROOT = pathlib.Path(__file__).resolve().parents[2]
# An adaptive pool to 7x7 is exported only where it divides its input; two such pictures suffice.
SIZES = {"vgg11": 224, "vgg11_bn": 224, "resnet20": 32}
BATCHES = {"vgg11": 2, "vgg11_bn": 2}
# Changes differ by at most this share of the tensor's largest.
LIMIT = 1e-2
# Where PyTorch's float32 is further off its own float64, a comparison would say nothing.
CONDITION = 2e-3
# And so it does where float64 itself goes elsewhere from weights that are off by so much of their size,
# which is what rounding in a few layers amounts to.
PERTURBATION = 2e-6
# Of the network's largest change: what a gradient is that would be zero without rounding (a bias
# before a BatchNorm in training mode), in float64 and in float32.
ZERO, ROUNDING = 1e-9, 1e-4
# Of losses, absolute below 1: by how much ten steps may differ, and by how much at most PyTorch's own
# float32, and its float64 from near weights, differs from its float64 where they are compared. At larger
# rates activations cross kinks, and two correct implementations lose each other.
LOSS_LIMIT, LOSS_CONDITION = 1e-3, 2e-4
RATES = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]
OPTIMIZERS = {
    "sgd, momentum": (
        ["--optimizer", "sgd", "--momentum", 0.9],
        lambda p, rate: torch.optim.SGD(p, lr=rate, momentum=0.9),
    ),
    "adam": (
        ["--optimizer", "adam", "--weight-decay", 0.01],
        lambda p, rate: torch.optim.Adam(p, lr=rate, weight_decay=0.01),
    ),
    "adamw": (
        ["--optimizer", "adamw", "--weight-decay", 0.01],
        lambda p, rate: torch.optim.AdamW(p, lr=rate, weight_decay=0.01),
    ),
}


def pretrained() -> nn.Module:
    """The ResNet-20 of models/."""
    network = ResNet20(CLASSES)
    model = onnx.load(ROOT / "models/resnet20-cifar10.onnx")
    state = network.state_dict()
    for tensor in model.graph.initializer:
        if tensor.name in state:
            state[tensor.name] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    network.load_state_dict(state)
    return network


def create(name: str, pictures: torch.Tensor, mode: str) -> nn.Module:
    """The network with the weights that a step starts from, for CLASSES classes."""
    if name in NEWER:
        network = families.create(name, **NEWER[name])[0].eval()
        families.randomize(network)
    else:
        network = pretrained() if name == "resnet20" else zoo.create(name, CLASSES)
        if name != "resnet20":
            zoo.randomize(network)
    norms = zoo.norms(network)
    for module in network.modules():
        # The exporter drops dropout, and dropped blocks, from a network in evaluation mode.
        for chance in ("p", "drop_prob", "dropout"):
            if isinstance(getattr(module, chance, None), float):
                setattr(module, chance, 0.0)
        # torchvision's biases of VGG are zeros, of which the exporter keeps one of each size.
        if name == "vgg11" and isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.zeros_(module.bias)
    if norms:
        kinks.calibrate(network, pictures)
    for norm in norms if mode == "train" else []:
        # Statistics that have some way to move; a step in training mode does not use them.
        spread = norm.running_var.sqrt()
        norm.running_mean += spread * torch.randn_like(spread)
        norm.running_var *= torch.empty_like(spread).uniform_(0.5, 2)
    return network


def train(network, x, y, mode, optimizer, steps) -> list[float]:
    """The losses of PyTorch's steps on one batch."""
    network.train()
    if mode == "frozen":
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def changes(network: nn.Module, x, y, mode: str, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """What one step of SGD at rate 0.1 changes in each tensor, statistics included."""
    network = copy.deepcopy(network).to(dtype)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    train(network, x.to(dtype), y, mode, optimizer, 1)
    after = network.state_dict()
    found = {k: (after[k].double() - v.double()).numpy() for k, v in before.items()}
    return {k: v for k, v in found.items() if not k.endswith("num_batches_tracked") and v.any()}


def largest(change: np.ndarray) -> float:
    return float(np.abs(change).max())


class Comparison:
    """The changes that PyTorch makes in one mode, and how far from them others are."""

    def __init__(self, network: nn.Module, x, y, mode: str):
        self.single = changes(network, x, y, mode, torch.float32)
        self.double = changes(network, x, y, mode, torch.float64)
        self.scale = max(map(largest, self.double.values()))
        self.zeros = [k for k, v in self.double.items() if largest(v) < ZERO * self.scale]
        self.keys = [k for k in self.double if k not in self.zeros]
        self.rounding = self.furthest(self.single, self.double)[0]

    def furthest(self, found: dict, expected: dict) -> tuple[float, str]:
        """The largest difference of a tensor over PyTorch's largest change in it, and which."""
        return max(
            (largest(found[k] - expected[k]) / largest(self.single.get(k, self.double[k])), k)
            for k in self.keys
            if k in found and k in expected
        )

    def report(self, found: dict[str, np.ndarray], subject: str, report: Report) -> None:
        """Compares Graft's changes."""
        missing = [k for k in self.keys if k not in found]
        ratio, where = self.furthest(found, self.single)
        noise = max((largest(found[k]) / self.scale for k in self.zeros if k in found), default=0)
        report.check(
            ratio <= LIMIT and noise <= ROUNDING and not missing,
            subject,
            f"{len(self.keys)} tensors' changes differ by {ratio:.1e} of the largest ({where}); "
            f"from float64's by {self.furthest(found, self.double)[0]:.1e}, "
            f"PyTorch's own by {self.rounding:.1e}"
            + (f"; {len(self.zeros)} are rounding: {noise:.1e}" if self.zeros else "")
            + (f"; missing: {', '.join(missing)}" if missing else ""),
        )


def well_conditioned(name: str, size: int, batch: int, mode: str):
    """A network, pictures, their classes and PyTorch's changes: of ten seeds the first for which
    PyTorch's float32 is within CONDITION of its float64, and that of itself from near weights."""
    for seed in range(1, 11):
        torch.manual_seed(seed)
        x = zoo.smooth_pictures(size)[:batch]
        network = create(name, x, mode)
        with torch.no_grad():
            _, classes, *positions = network(x).shape
        y = torch.randint(0, classes, (batch, *positions))
        comparison = Comparison(network, x, y, mode)
        if comparison.rounding <= CONDITION and (
            not (kinks.separates_pools(network) or name in NEWER)
            or is_stable(network, x, y, mode, comparison)
        ):
            return network, x, y, comparison
    raise SystemExit(f"{name}: PyTorch's float32 is over {CONDITION} off its float64; more seeds")


def perturbed(network: nn.Module) -> nn.Module:
    """A copy in float64 whose weights are a little off."""
    nearby = copy.deepcopy(network).double()
    with torch.no_grad():
        for parameter in nearby.parameters():
            parameter *= 1 + PERTURBATION * torch.randn_like(parameter)
    return nearby


def is_stable(network: nn.Module, x, y, mode: str, comparison: Comparison) -> bool:
    """Whether PyTorch's float64 makes the same changes from weights that are a little off."""
    for _ in range(3):
        found = changes(perturbed(network), x, y, mode, torch.float64)
        if comparison.furthest(found, comparison.double)[0] > LIMIT / 2:
            return False
    return True


def initializers(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of an ONNX file by name; an Identity of one counts under its own name."""
    graph = onnx.load(path).graph
    tensors = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    return tensors


class Case:
    """A network as ONNX file and bundle with a batch of data, trained by Graft and by PyTorch."""

    def __init__(self, name: str, mode: str, size: int, batch: int, work: pathlib.Path, graft):
        size, batch = SIZES.get(name, size), min(batch, BATCHES.get(name, batch))
        self.name, self.mode, self.graft, self.folder = name, mode, graft, work / name / mode
        self.network, self.x, self.y, self.comparison = well_conditioned(name, size, batch, mode)
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        np.save(data / "x.npy", self.x.numpy())
        np.save(data / "y.npy", self.y.numpy())
        source, bundle = self.folder / "network.onnx", self.folder / "network.graft"
        onnx_export.export(self.network, torch.zeros(2, 3, size, size), str(source), 17)
        graft.call("compile", source, "-o", bundle, "--tune", "off")
        self.common = [
            *("finetune", bundle, "--data", data, "--head", "keep", "--unfreeze", "all"),
            *("--val-split", 0, "--batch-size", batch, "--schedule", "constant", "--bn", mode),
        ]

    def one_step(self, report: Report) -> None:
        """The change of every tensor."""
        tuned, file = self.folder / "one.graft", self.folder / "one.onnx"
        self.graft.call(*self.common, "--epochs", 1, "--lr", 0.1, "--momentum", 0, "-o", tuned)
        self.graft.call("export", tuned, "-o", file)
        before, after = self.network.state_dict(), initializers(file)
        found = {k: after[k] - v.double().numpy() for k, v in before.items() if k in after}
        self.comparison.report(found, f"{self.name}, BN {self.mode}", report)

    def ten_steps(self, label: str, report: Report) -> None:
        """The losses of an optimizer, at the largest rate at which a comparison says something."""
        options, make = OPTIMIZERS[label]
        for rate in RATES:
            expected, exact, near = (
                self._losses(network, lambda p, rate=rate: make(p, rate), dtype)
                for network, dtype in (
                    (self.network, torch.float32),
                    (self.network, torch.float64),
                    (perturbed(self.network), torch.float64),
                )
            )
            drift = max(apart(expected, exact), apart(near, exact))
            if drift <= LOSS_CONDITION:
                break
        tuned, metrics = self.folder / "ten.graft", self.folder / "ten.jsonl"
        self.graft.call(
            *(*self.common, "--epochs", 10, *options, "--lr", rate),
            *("--metrics", metrics, "-o", tuned),
        )
        found = [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]
        worst = apart(found, expected)
        report.check(
            worst <= LOSS_LIMIT and drift <= LOSS_CONDITION,
            f"{self.name}, BN {self.mode}, {label}, rate {rate:g}",
            f"losses of ten steps ({expected[0]:.4f} to {expected[-1]:.4f}) differ by {worst:.1e}, PyTorch's own "
            f"from float64's, and float64's from those of near weights, by at most {drift:.1e}",
        )

    def _losses(self, network: nn.Module, make, dtype: torch.dtype) -> list[float]:
        """PyTorch's."""
        network = copy.deepcopy(network).to(dtype)
        optimizer = make(network.parameters())
        return train(network, self.x.to(dtype), self.y, self.mode, optimizer, 10)


def apart(found: list[float], expected: list[float]) -> float:
    """The largest difference of two runs' losses, relative to those above 1."""
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(found, expected, strict=True))


def check(name: str, graft: Graft, work: pathlib.Path, batch: int, size: int, report: Report):
    """One step with BatchNorm frozen and training, then ten of each optimizer."""
    modes = ["frozen"] if name in WITHOUT_NORMS else ["frozen", "train"]
    for mode in modes:
        try:
            case = Case(name, mode, size, batch, work, graft)
            case.one_step(report)
            if mode == modes[-1]:
                for label in OPTIMIZERS:
                    case.ten_steps(label, report)
        except Failed as error:
            report.check(False, f"{name}, BN {mode}", str(error))
