"""What tools/verify-quantized measures. Import only: it has no command line."""

import argparse
import hashlib
import os
import pathlib
import shutil

import numpy as np
import onnx
from lib import ort, peer_quantization
from lib.graft import Graft
from lib.report import Report

# As `graft compile` has them, its default first.
CALIBRATORS = ["minmax", "percentile", "entropy", "mse"]
# QuantizationOptions.mostItems.
MOST_ITEMS = 512
# Points of top-1 that Graft's default may lose more than onnxruntime.
LIMIT = 0.5
FLOAT32, PEER = "float32", "onnxruntime int8"


class Run:
    """One network: its bundles, its images and its accuracies."""

    def __init__(self, model: pathlib.Path, graft: Graft, arguments: argparse.Namespace):
        self.model, self.graft, self.options = model, graft, arguments
        # Networks of the same name must not use each other's files.
        digest = hashlib.sha256(str(model.resolve()).encode()).hexdigest()[:8]
        self.folder = arguments.work / f"{model.stem}-{digest}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def measure(self) -> dict[str, float]:
        """Top-1 in per cent of float32, of int8 by each calibrator, and of onnxruntime's int8."""
        float32 = self._compile("float32")
        found = {FLOAT32: self._evaluate(float32)}
        choose(self.options.data / "train", self.folder / "chosen", self.options.items)
        items = self._preprocess(float32, self.folder / "chosen") / "x.npy"
        for method in CALIBRATORS:
            options = ("--precision", "int8", "--calibrate", items, "--calibrator", method)
            found[method] = self._evaluate(self._compile(method, *options))
        quantized = self.folder / "quantized.onnx"
        peer_quantization.onnxruntime(self.model, np.load(items), quantized)
        test = self._preprocess(float32, self.options.data / "test")
        found[PEER] = top1(quantized, test)
        return found

    def _compile(self, name: str, *options) -> pathlib.Path:
        bundle = self.folder / f"{name}.graft"
        common = ("--preprocess", self.options.preprocess, "--tune", "off")
        self.graft.call("compile", self.model, "-o", bundle, *common, *options)
        return bundle

    def _evaluate(self, bundle: pathlib.Path) -> float:
        score = self.graft.json("evaluate", bundle, "--data", self.options.data / "test", "--json")
        return 100 * score["top1"]

    def _preprocess(self, bundle: pathlib.Path, data: pathlib.Path) -> pathlib.Path:
        output = self.folder / f"{data.name}-inputs"
        self.graft.call("preprocess", bundle, "--data", data, "--output-dir", output)
        return output


def choose(data: pathlib.Path, to: pathlib.Path, count: int) -> None:
    """Links `count` images of data/CLASS in `to`, evenly chosen over the classes in order."""
    images = sorted(file for file in data.glob("*/*") if file.is_file())
    if not images:
        raise SystemExit(f"{data} has no images in class folders")
    count = min(count, len(images))
    for index in range(count):
        image = images[index * len(images) // count]
        (to / image.parent.name).mkdir(parents=True, exist_ok=True)
        os.symlink(image.resolve(), to / image.parent.name / image.name)


def top1(model: pathlib.Path, test: pathlib.Path) -> float:
    """Accuracy in per cent of a file in onnxruntime on what `graft preprocess` wrote."""
    session = ort.Session(model)
    images, labels = np.load(test / "x.npy", mmap_mode="r"), np.load(test / "y.npy")
    right = 0
    for start in range(0, len(images), 100):
        scores = session.run_each(np.ascontiguousarray(images[start : start + 100]))
        right += int((scores.argmax(1) == labels[start : start + 100]).sum())
    return 100 * right / len(labels)


def last_scale(graph: onnx.GraphProto) -> float:
    """The scale of the quantized value nearest to the first output."""
    data = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            data[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    made = {name: node for node in graph.node for name in node.output}
    node = made[graph.output[0].name]
    while node.op_type != "DequantizeLinear":
        node = made[node.input[0]]
    return float(data[node.input[1]])


def check(name: str, found: dict[str, float], report: Report) -> None:
    """Graft's default calibrator against onnxruntime."""
    more = found[PEER] - found[CALIBRATORS[0]]
    texts = [f"{column} {value:.2f} %" for column, value in found.items()]
    report.check(more <= LIMIT, name, ", ".join(texts))


def table(rows: list[tuple[str, dict[str, float]]]) -> str:
    """Markdown: a row a network."""
    heads = ["network", "float32", *(f"Graft int8, {c}" for c in CALIBRATORS), PEER]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, found in rows:
        reference = found[FLOAT32]
        cells = [f"{reference:.2f} %"]
        cells += [f"{found[c]:.2f} % ({found[c] - reference:+.2f})" for c in [*CALIBRATORS, PEER]]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)
