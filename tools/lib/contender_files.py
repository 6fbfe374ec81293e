"""What `benchmark-peers` measures: precisions, their contenders and networks, and the contenders' files.

Import only: it has no command line.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from lib import families, inputs, networks, peer_quantization
from lib.graft import Failed, Graft

# Graft's side of every comparison, and its own float32 beside int8.
GRAFT, GRAFT_FLOAT32 = "graft", "graft float32"


@dataclasses.dataclass(frozen=True)
class Precision:
    """One table of docs/performance.md: what is compared in it, and on which networks."""

    name: str
    own: list[str]
    peers: list[str]
    # Packages whose versions results belong to: what makes a peer's files decides its speed as well.
    packages: list[str]
    networks: list[str]
    # The part of the page, the chart's file and the folder of results.
    part: str
    title: str

    def settings(self, network: str) -> list[tuple[int, int]]:
        """The batches and threads at which a network is measured where nothing else is asked for;
        resnet20's pictures are 32 x 32."""
        return [(1, 1), (1, 2), (64 if network == "resnet20" else 8, 2)]


FLOAT32 = Precision(
    name="float32",
    own=[GRAFT],
    peers=["onnxruntime", "openvino", "ncnn"],
    packages=["onnxruntime", "openvino", "ncnn", "pnnx"],
    networks=[
        *("resnet18", "resnet50", "vgg16", "resnet34", "resnet101", "vgg11", "vgg16_bn", "vgg19"),
        *("alexnet", "mobilenet_v2", "shufflenet_v2_x1_0", "squeezenet1_1", "googlenet"),
        *("inception_v3", "densenet121", "resnet20"),
    ],
    part="inference",
    title="Inference",
)
INT8 = Precision(
    name="int8",
    own=[GRAFT, GRAFT_FLOAT32],
    peers=["onnxruntime", "openvino"],
    packages=["onnxruntime", "onnx", "openvino", "nncf"],
    networks=[
        *("resnet18", "resnet50", "vgg16", "mobilenet_v2", "shufflenet_v2_x1_0", "squeezenet1_1"),
        *("densenet121", "googlenet", "inception_v3", "efficientnet_b0"),
    ],
    part="inference-int8",
    title="int8",
)
PRECISIONS = {precision.name: precision for precision in (FLOAT32, INT8)}


class Files:
    """Networks and peers' files in `work`/models, bundles in a folder of results that belongs to this
    machine, this build of Graft, the versions of the peers and, for int8, the calibration items."""

    def __init__(self, graft: str, work: pathlib.Path, precision: Precision, machine: str):
        self.graft, self.precision = Graft(graft), precision
        self.versions = {name: _version(name) for name in precision.packages}
        conditions = {
            "machine": machine,
            "graft": hashlib.sha256(pathlib.Path(graft).read_bytes()).hexdigest(),
            **self.versions,
        }
        if precision is INT8:
            self.calibration = hashlib.sha256(
                b"".join(inputs.for_calibration(32, smooth).tobytes() for smooth in (False, True))
            ).hexdigest()
            conditions["calibration"] = self.calibration
        self.models = work / "models"
        self.folder = work / f"{precision.part}-{_key(conditions)}"
        for folder in (self.models, self.folder):
            folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "conditions.json").write_text(json.dumps(conditions, indent=1))

    def network(self, name: str) -> pathlib.Path:
        """The ONNX file, which has inputs and onnxruntime's float32 outputs beside it."""
        stem = name if name == "resnet20" else f"{name}-opset17"
        networks.prepare(stem, self.models)
        return self.models / f"{stem}.onnx"

    def prepare(self, contender: str, network: str) -> pathlib.Path:
        """The file or bundle that a contender runs, made where it is not there yet."""
        model, quantized = self.network(network), self.precision is INT8
        if contender == GRAFT:
            options = ["--precision", "int8", "--calibrate", self.items(network)] if quantized else []
            return self._bundle(model, self.folder / f"{network}.graft", options)
        if contender == GRAFT_FLOAT32:
            return self._bundle(model, self.folder / f"{network}.float32.graft", [])
        if quantized:
            return self._quantized(contender, network, model)
        if contender == "ncnn":
            converted = self.models / f"{network}.ncnn-{self.versions['pnnx']}"
            if not converted.with_name(f"{converted.name}.bin").exists():
                _convert(model, converted, self.inputs_of(network)[0][:1].shape)
            return converted
        return model

    def inputs_of(self, network: str, batch: int = 4) -> tuple[np.ndarray, np.ndarray]:
        """A batch of the four pictures, repeated as needed, and onnxruntime's float32 outputs for them."""
        names = [self.network(network).with_suffix(f".{part}") for part in ("b1", "b3")]
        given, expected = (
            np.concatenate([np.load(f"{name}.{kind}.npy") for name in names])
            for kind in ("input", "expected")
        )
        chosen = np.arange(batch) % len(given)
        return given[chosen], expected[chosen]

    def items(self, network: str) -> pathlib.Path:
        """The calibration items of all contenders, like the pictures that the network is measured on."""
        side, smooth = self.inputs_of(network)[0].shape[-1], network in families.ALL
        kind = "smooth" if smooth else "noise"
        path = self.models / f"calibration-{side}-{kind}-{self.calibration[:12]}.npy"
        if not path.exists():
            np.save(path, inputs.for_calibration(side, smooth))
        return path

    def _bundle(self, model: pathlib.Path, bundle: pathlib.Path, options: list) -> pathlib.Path:
        if not bundle.exists():
            self.graft.call("compile", model, "-o", bundle, *options)
        return bundle

    def _quantized(self, peer: str, network: str, model: pathlib.Path) -> pathlib.Path:
        makers = {
            "onnxruntime": (peer_quantization.onnxruntime, "onnx", ("onnxruntime", "onnx")),
            "openvino": (peer_quantization.openvino, "xml", ("openvino", "nncf")),
        }
        make, extension, packages = makers[peer]
        key = _key([self.calibration, *(self.versions[name] for name in packages)])
        path = self.models / f"{network}.{peer}-int8-{key}.{extension}"
        if not path.exists():
            try:
                make(model, np.load(self.items(network)), path)
            except Exception as error:
                raise Failed(f"cannot be quantized: {type(error).__name__}: {error}") from error
        return path


def _key(conditions) -> str:
    return hashlib.sha256(json.dumps(conditions).encode()).hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _convert(model: pathlib.Path, to: pathlib.Path, shape: tuple[int, ...]) -> None:
    """ONNX to ncnn's two files in float32, which are put at `to` with .param and .bin added."""
    program = pathlib.Path(sys.executable).with_name("pnnx")
    if not program.exists():
        raise Failed("pnnx, which converts networks for it, is not installed")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(model, f"{folder}/model.onnx")
        extents = ",".join(map(str, shape))
        command = [program, "model.onnx", f"inputshape=[{extents}]", "fp16=0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        made = [pathlib.Path(folder, f"model.ncnn.{kind}") for kind in ("param", "bin")]
        if done.returncode != 0 or not all(file.exists() for file in made):
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise Failed(f"pnnx cannot convert it: {said[-1] if said else done.returncode}")
        for file in made:
            shutil.move(file, f"{to}{file.suffix}")
