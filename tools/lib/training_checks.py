"""What tools/verify-training checks of one network. Import only: it has no command line."""

import copy
import json
import pathlib

import numpy as np
import onnx
import torch
from lib import onnx_export, zoo
from lib.graft import Failed, Graft
from lib.report import Report
from lib.resnet20 import ResNet20
from onnx import numpy_helper
from torch import nn

NETWORKS = ["resnet20", "resnet18", "vgg11_bn", "vgg11", "mobilenet_v2", "densenet121"]
CLASSES = 10
ROOT = pathlib.Path(__file__).resolve().parents[2]
# An adaptive pool to 7x7 is exported only where it divides its input.
SIZES = {"vgg11": 224, "vgg11_bn": 224, "resnet20": 32}


def create(name: str, size: int) -> nn.Module:
    """The network with the weights that the step starts from, for CLASSES classes."""
    torch.manual_seed(1)
    if name == "resnet20":
        network = ResNet20(CLASSES)
        model = onnx.load(ROOT / "models/resnet20-cifar10.onnx")
        state = network.state_dict()
        for tensor in model.graph.initializer:
            if tensor.name in state:
                state[tensor.name] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        network.load_state_dict(state)
        return network
    network = zoo.models.get_model(name, weights=None, num_classes=CLASSES)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            network.train()(torch.randn(8, 3, size, size))
    for norm in norms:
        norm.momentum = 0.1
    for module in network.modules():
        # The exporter drops dropout from a network in evaluation mode.
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def train(network, x, y, normalization, optimizer, steps):
    """The losses of PyTorch's steps on one batch."""
    network.train()
    if normalization == "frozen":
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def initializers(path: pathlib.Path) -> dict:
    """The tensors of an ONNX file by name; an Identity of one counts under its own name."""
    graph = onnx.load(path).graph
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    return tensors


def check(name: str, graft: Graft, work: pathlib.Path, batch: int, size: int, report: Report):
    """One step with BatchNorm frozen and training, then ten of each optimizer."""
    size = SIZES.get(name, size)
    network = create(name, size)
    random = np.random.default_rng(3)
    x = random.standard_normal((batch, 3, size, size)).astype(np.float32)
    y = random.integers(0, CLASSES, batch)
    folder = work / name
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    np.save(data / "x.npy", x)
    np.save(data / "y.npy", y)
    source = folder / "network.onnx"
    onnx_export.export(network, torch.zeros(2, 3, size, size), str(source), 17)
    bundle = folder / "network.graft"
    graft.call("compile", source, "-o", bundle)
    common = [
        *("finetune", bundle, "--data", data, "--head", "keep", "--unfreeze", "all"),
        *("--val-split", 0, "--batch-size", batch, "--schedule", "constant"),
    ]
    inputs, answers = torch.from_numpy(x), torch.from_numpy(y)
    modes = ["frozen", "train"] if any(
        isinstance(m, nn.BatchNorm2d) for m in network.modules()) else ["frozen"]
    for mode in modes:
        theirs = copy.deepcopy(network)
        before = {k: v.clone().numpy() for k, v in theirs.state_dict().items()}
        optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
        train(theirs, inputs, answers, mode, optimizer, 1)
        after = {k: v.numpy() for k, v in theirs.state_dict().items()}
        tuned = folder / f"one-{mode}.graft"
        try:
            graft.call(
                *common, "--bn", mode, "--epochs", 1, "--lr", 0.1, "--momentum", 0, "-o", tuned)
            graft.call("export", tuned, "-o", folder / "tuned.onnx")
        except Failed as error:
            report.check(False, f"{name}, BN {mode}", str(error))
            continue
        ours = initializers(folder / "tuned.onnx")
        worst, where, missing = 0.0, "", []
        for key, old in before.items():
            change = after[key].astype(np.float64) - old
            if key.endswith("num_batches_tracked") or not np.abs(change).max() > 0:
                continue
            if key not in ours:
                missing.append(key)
                continue
            difference = np.abs(ours[key].astype(np.float64) - old - change).max()
            ratio = difference / np.abs(change).max()
            if ratio > worst:
                worst, where = ratio, key
        report.check(
            worst <= 1e-2 and not missing, f"{name}, BN {mode}",
            f"changes differ by {worst:.1e} of the largest ({where})"
            + (f"; missing: {', '.join(missing)}" if missing else ""))
    for label, options, make in [
        ("sgd, momentum", ["--optimizer", "sgd", "--lr", 0.01, "--momentum", 0.9],
         lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
        ("adam", ["--optimizer", "adam", "--lr", 1e-4, "--weight-decay", 0.01],
         lambda p: torch.optim.Adam(p, lr=1e-4, weight_decay=0.01)),
        ("adamw", ["--optimizer", "adamw", "--lr", 1e-4, "--weight-decay", 0.01],
         lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.01)),
    ]:
        mode = modes[-1]
        theirs = copy.deepcopy(network)
        expected = train(theirs, inputs, answers, mode, make(theirs.parameters()), 10)
        try:
            graft.call(
                *common, "--bn", mode, "--epochs", 10, *options, "--metrics",
                folder / "metrics.jsonl", "-o", folder / "ten.graft")
        except Failed as error:
            report.check(False, f"{name}, {label}", str(error))
            continue
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        found = [json.loads(line)["loss"] for line in lines]
        worst = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(found, expected, strict=True))
        report.check(
            worst <= 1e-3, f"{name}, {label}",
            f"losses of ten steps differ by {worst:.1e} ({expected[0]:.3f} to {expected[-1]:.3f})")
