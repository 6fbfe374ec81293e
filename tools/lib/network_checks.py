"""What tools/verify-networks asks of one compiled network. Import only: it has no command line."""

import pathlib

import numpy as np
import onnx
from lib import inputs, ort
from lib.graft import Failed, Graft
from lib.report import Report
from safetensors.numpy import load_file

AGREEMENT = 1e-4
ARENA = 1.05
GONE = {"batch_normalization", "relu", "identity", "dropout", "shape", "constant"}


class Network:
    """One case of lib/networks.py: its pictures, onnxruntime's outputs, and its compiled bundle."""

    def __init__(self, stem: str, folder: pathlib.Path, graft: Graft):
        self.stem, self.model, self.graft = stem, folder / f"{stem}.onnx", graft
        self.bundle = folder / f"{stem}.graft"
        self.session = ort.Session(self.model)
        batches = [
            [np.load(folder / f"{stem}.{b}.{kind}.npy") for b in ("b1", "b3")]
            for kind in ("input", "expected")
        ]
        self.pictures, self.expected = [np.concatenate(parts) for parts in batches]
        self.fixed = isinstance(self.session.input_shape[0], int)
        # The light networks give every picture the same output: there the largest one is the unit.
        self.unit = inputs.spread(self.expected) or float(abs(self.expected).max())

    def run(self, pictures: np.ndarray, *options) -> np.ndarray:
        """The first output of one `graft run`."""
        outputs = self.graft.run(self.bundle, {self.session.input_name: pictures}, *options)
        return outputs[self.session.output_name]


def agreement(network: Network, report: Report) -> None:
    """max |graft - onnxruntime| / spread, at batch 1 and 3, one by one where that is fixed."""
    slices = [slice(i, i + 1) for i in range(4)] if network.fixed else [slice(0, 1), slice(1, 4)]
    for part in slices:
        expected = network.expected[part]
        got = network.run(network.pictures[part])
        error = (
            float(abs(got - expected).max()) / network.unit
            if got.shape == expected.shape
            else np.inf
        )
        report.check(
            error <= AGREEMENT,
            network.stem,
            f"batch {len(expected)}: differs by {error:.1e} of the spread {network.unit:.3g}",
        )


def bits(network: Network, report: Report) -> None:
    """The same bits at 1 and 2 threads, and wherever a picture stands in a batch of 2 or more."""
    one = [network.run(network.pictures[:1], "--threads", n) for n in (1, 2)]
    report.check(np.array_equal(*one), network.stem, "batch 1: same bits at 1 and 2 threads")
    if network.fixed:
        return
    four = [network.run(network.pictures, "--threads", n) for n in (1, 2)]
    report.check(np.array_equal(*four), network.stem, "batch 4: same bits at 1 and 2 threads")
    turned = network.run(network.pictures[::-1].copy())[::-1]
    pair = network.run(network.pictures[1:3])
    same = np.array_equal(four[0], turned) and np.array_equal(four[0][1:3], pair)
    report.check(same, network.stem, "same bits in every position of batches of 2 and 4")


def memory(network: Network, report: Report) -> None:
    """The planned arena against the greatest sum of live bytes."""
    plan = network.graft.json("dump", network.bundle, "--stage", "memory", "--format", "json")
    ratio = plan["arena_bytes"] / plan["lower_bound_bytes"]
    report.check(
        ratio <= ARENA,
        network.stem,
        f"arena {plan['arena_bytes']} B is {ratio:.3f} of its lower bound",
    )


def operators(network: Network, report: Report) -> None:
    """What the passes must leave none of; in ResNets and VGGs, where every Relu follows a layer."""
    if not network.stem.startswith(("resnet", "vgg", "light_resnet", "light_vgg", "open_nsfw")):
        return
    graph = network.graft.json("dump", network.bundle, "--stage", "optimized", "--format", "json")
    opcodes = _opcodes(graph)
    found = [opcode for opcode in opcodes if opcode.removeprefix("graft.") in GONE]
    report.check(
        opcodes and not found,
        network.stem,
        f"optimized graph of {len(opcodes)} nodes keeps {len(found)} of {', '.join(sorted(GONE))}",
    )


def _opcodes(item) -> list[str]:
    if isinstance(item, list):
        return [opcode for part in item for opcode in _opcodes(part)]
    if isinstance(item, dict):
        own = [
            v for k, v in item.items() if k in ("op", "opcode", "operator") and isinstance(v, str)
        ]
        return own + _opcodes([v for v in item.values() if isinstance(v, (dict, list))])
    return []


def weights(network: Network, report: Report) -> None:
    """PyPI's safetensors on the bundle's weights: each tensor as the ONNX file has it, bit by bit, but for those
    inside of operators that are lowered to others, which the file does not name."""
    stored = load_file(network.bundle / "weights.safetensors")
    graph = onnx.load(network.model).graph
    original = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    made = {name for node in graph.node for name in node.output}
    computed = [name for name in stored if name not in original and name in made]
    original |= ort.constants(network.model, computed)
    different = [
        name
        for name, value in stored.items()
        if name in original
        and (
            (value.dtype, value.shape) != (original[name].dtype, original[name].shape)
            or value.tobytes() != original[name].tobytes()
        )
    ]
    missing = sorted(_parameters(network.model) - stored.keys())
    report.check(
        stored and not different and not missing,
        network.stem,
        f"weights.safetensors: {len(stored)} tensors ({len(computed)} computed), "
        f"{len(different)} differ {different[:2]}, {len(missing)} missing {missing[:2]}",
    )


def export(network: Network, report: Report) -> None:
    """The exported file: valid, named as the original, and the same numbers in onnxruntime."""
    path = network.bundle.with_suffix(".exported.onnx")
    network.graft.call("export", network.bundle, "-o", path)
    try:
        onnx.checker.check_model(str(path))
        names = [_parameters(p) for p in (network.model, path)]
        missing = sorted(names[0] - names[1])
        report.check(
            not missing,
            network.stem,
            f"exported: valid, lacks {len(missing)} of {len(names[0])} names {missing[:2]}",
        )
        error = (
            float(abs(ort.Session(path).run_each(network.pictures) - network.expected).max())
            / network.unit
        )
        report.check(
            error <= AGREEMENT,
            network.stem,
            f"exported, in onnxruntime: differs by {error:.1e} of the spread",
        )
    finally:
        path.unlink(missing_ok=True)


def _parameters(path: pathlib.Path) -> set[str]:
    """Names of the float tensors in use; scalars are bounds and factors that exporters made up."""
    graph = onnx.load(path).graph
    used = {name for node in graph.node for name in node.input}
    floats = [i for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT and np.prod(i.dims) > 1]
    return {i.name for i in floats if i.name in used}


def verify(
    stem: str, folder: pathlib.Path, graft: Graft, checks: list[str], report: Report
) -> None:
    """Compiles one case and runs the named checks; a failure hides no other network's result."""
    try:
        network = Network(stem, folder, graft)
        graft.call("compile", network.model, "-o", network.bundle, "--tune", "off")
        print(f"       {stem}: compiled in {graft.seconds:.1f} s", flush=True)
        for check in checks:
            CHECKS[check](network, report)
    except Exception as error:
        report.check(False, stem, str(error) if isinstance(error, Failed) else repr(error))


CHECKS = {
    "agreement": agreement,
    "bits": bits,
    "memory": memory,
    "operators": operators,
    "weights": weights,
    "export": export,
}
