"""SHA-256 of what compiled networks compute, for tools/record-bits. Import only: it has no command line."""

import hashlib
import json
import pathlib
import shutil

import numpy as np
import onnx
import torch
from lib import networks, onnx_export, training_checks, zoo
from lib.graft import Failed, Graft
from lib.ort import Session
from onnx import numpy_helper

OPTIMIZERS = {
    "sgd": ["--optimizer", "sgd", "--momentum", 0.9, "--weight-decay", 0.001],
    "adam": ["--optimizer", "adam"],
    "adamw": ["--optimizer", "adamw", "--weight-decay", 0.01],
}
# What trains, beside everything: the last part of a network, and a new head alone.
PARTS = {
    "everything": ["--head", "keep", "--unfreeze", "all"],
    "tail": ["--head", "keep", "--unfreeze", "last:3"],
    "head": ["--head", "linear", "--unfreeze", "none"],
}
SIDE = {"vgg11": 224, "vgg11_bn": 224, "resnet20": 32}
# VGG's untrained classifier diverges at the rate that suits the others.
RATE = {"vgg11": 1e-6, "vgg11_bn": 1e-6}


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, element types, shapes and bytes, in the order of names."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype} {array.shape}\n".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


class Recorder:
    """Collects digests by the name of what was computed; a command that fails is an entry too."""

    def __init__(self, graft: Graft, work: pathlib.Path, target: str, output: pathlib.Path):
        self.graft, self.work, self.target, self.output = graft, work, target, output
        self.digests: dict[str, str] = {}

    def outputs(self, stem: str) -> None:
        """Outputs of one network of lib/networks.py at batch 1 and 3, or one by one where that is fixed."""
        networks.prepare(stem, self.work)
        bundle, model = self.work / f"{stem}.graft", self.work / f"{stem}.onnx"
        session = Session(model)

        def compute(batch: str) -> str:
            pictures = np.load(self.work / f"{stem}.{batch}.input.npy")
            parts = [pictures]
            if isinstance(session.input_shape[0], int):
                parts = [pictures[i : i + 1] for i in range(len(pictures))]
            runs = [self.graft.run(bundle, {session.input_name: part}) for part in parts]
            return digest({f"{i} {k}": v for i, run in enumerate(runs) for k, v in run.items()})

        compiled = self._compile(stem, model, bundle)
        for batch in ("b1", "b3") if compiled else ():
            self._record(f"{stem} {batch}", lambda batch=batch: compute(batch))
        shutil.rmtree(bundle, ignore_errors=True)

    def training(self, name: str) -> None:
        """Tuned weights of one network of lib/training_checks.py."""
        side = SIDE.get(name, 64)
        batch = training_checks.BATCHES.get(name, 8)
        folder = self.work / "training" / name
        data, model, bundle = folder / "data", folder / "network.onnx", folder / "network.graft"
        if not model.exists():
            self._make_training(name, side, batch, folder)
        if not self._compile(f"training {name}", model, bundle):
            return
        for part, what in PARTS.items():
            for statistics in ("frozen", "train") if part == "everything" else ("frozen",):
                for optimizer, how in OPTIMIZERS.items() if part == "everything" else [
                    ("sgd", OPTIMIZERS["sgd"])
                ]:
                    command = [
                        *("finetune", bundle, "--data", data, *what, "--bn", statistics, *how),
                        *("--val-split", 0, "--batch-size", max(1, batch // 2), "--epochs", 2),
                        *("--lr", RATE.get(name, 1e-3)),
                    ]
                    self._record(
                        f"training {name} {part} bn {statistics} {optimizer}",
                        lambda command=command: self._tuned(command, folder),
                    )
        shutil.rmtree(bundle, ignore_errors=True)

    def _tuned(self, command: list, folder: pathlib.Path) -> str:
        tuned, file = folder / "tuned.graft", folder / "tuned.onnx"
        shutil.rmtree(tuned, ignore_errors=True)
        file.unlink(missing_ok=True)
        self.graft.call(*command, "-o", tuned)
        self.graft.call("export", tuned, "-o", file)
        tensors = onnx.load(file).graph.initializer
        found = digest({tensor.name: numpy_helper.to_array(tensor) for tensor in tensors})
        shutil.rmtree(tuned, ignore_errors=True)
        file.unlink()
        return found

    def _compile(self, label: str, model: pathlib.Path, bundle: pathlib.Path) -> bool:
        shutil.rmtree(bundle, ignore_errors=True)
        command = ("compile", model, "-o", bundle, "--tune", "off", "--target", self.target)
        try:
            self.graft.call(*command)
            return True
        except Failed as error:
            self.digests[label] = f"failed: {error}"
            print(f"{label}: {error}", flush=True)
            return False

    def _record(self, label: str, compute) -> None:
        try:
            self.digests[label] = compute()
        except Failed as error:
            self.digests[label] = f"failed: {error}"
        print(f"{label}: {self.digests[label][:200]}", flush=True)
        self.output.write_text(json.dumps(self.digests, indent=1, sort_keys=True) + "\n")

    def _make_training(self, name: str, side: int, batch: int, folder: pathlib.Path) -> None:
        data = folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(1)
        pictures = zoo.smooth_pictures(side)[:batch]
        classes = torch.arange(batch) % training_checks.CLASSES
        np.save(data / "x.npy", pictures.numpy())
        np.save(data / "y.npy", classes.numpy())
        network = training_checks.create(name, pictures, "frozen")
        partial = folder / "partial.onnx"
        onnx_export.export(network, torch.zeros(2, 3, side, side), str(partial), 17)
        partial.rename(folder / "network.onnx")
