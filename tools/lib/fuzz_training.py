"""Cells as one training step: the gradients of `graft finetune` against central differences in float64.

Import only: it has no command line. All cells read columns of one input x [N, columns]; their outputs, scaled to
about 1 and joined, go through one Gemm, the head. So the gradient that reaches a cell is known in closed form, and
the derivative of each cell along a direction of its weights needs that cell alone.
"""

import dataclasses
import shutil

import numpy as np
import onnx
from lib import fuzz_known, fuzz_programs
from lib.fuzz_compare import evaluate
from lib.fuzz_pack import Made
from lib.fuzz_programs import Crashed
from lib.fuzz_run import Difference, Runner, valid
from lib.graft import Failed
from onnx import helper, numpy_helper

CLASSES, ROWS = 4, 3
# Relative to the length of the gradient: what float32 may lose over a few operations.
TOLERANCE = 3e-4
STEP = 1e-4
DIRECTIONS = 2


@dataclasses.dataclass
class Step:
    """A network of cells as an ONNX file, with its data."""

    model: onnx.ModelProto
    x: np.ndarray
    # From the scores' columns to those of all outputs, and where each output's begin: name, scale, shape.
    head: np.ndarray
    joined: list

    def upstream(self, residual: np.ndarray) -> dict:
        """The gradient of the mean squared error by each output of each cell, from scores less targets."""
        back = 2 / residual.size * residual @ self.head.T
        found, start = {}, 0
        for name, scale, shape in self.joined:
            size = int(np.prod(shape[1:]))
            found[name] = (back[:, start : start + size] * scale).reshape(shape)
            start += size
        return found


def built(cells: list[Made], opset: int, seed: int) -> Step:
    """Joins the cells."""
    rng = np.random.default_rng([seed, len(cells)])
    nodes, weights, columns, joined = [], [], [], []
    at = 0
    for cell in cells:
        for name, array in cell.inputs[ROWS].items():
            flat = array.reshape(ROWS, -1)
            columns.append(flat)
            nodes += _taken(name, at, array.shape, opset, weights)
            at += flat.shape[1]
        nodes += cell.nodes
        weights += cell.weights
        for name, (value, _) in cell.outputs[ROWS].items():
            scale = 1 / max(1.0, float(np.abs(value).max()))
            weights.append(numpy_helper.from_array(np.float32(scale), f"scale.{name}"))
            nodes.append(helper.make_node("Mul", [name, f"scale.{name}"], [f"scaled.{name}"], f"scaled.{name}"))
            nodes.append(helper.make_node("Flatten", [f"scaled.{name}"], [f"flat.{name}"], f"flat.{name}", axis=1))
            joined.append((name, float(np.float32(scale)), value.shape))
    head = rng.standard_normal((sum(int(np.prod(j[2][1:])) for j in joined), CLASSES)).astype(np.float32)
    weights.append(numpy_helper.from_array(head, "head.weight"))
    weights.append(numpy_helper.from_array(rng.standard_normal(CLASSES).astype(np.float32), "head.bias"))
    nodes.append(helper.make_node("Concat", [f"flat.{j[0]}" for j in joined], ["features"], "join", axis=1))
    nodes.append(helper.make_node("Gemm", ["features", "head.weight", "head.bias"], ["scores"], "head"))
    graph = helper.make_graph(
        nodes,
        "fuzz",
        [helper.make_tensor_value_info("x", 1, ["N", at])],
        [helper.make_tensor_value_info("scores", 1, ["N", CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10)
    return Step(model, np.concatenate(columns, axis=1).astype(np.float32), head.astype(np.float64), joined)


def _taken(name: str, at: int, shape: tuple, opset: int, weights: list) -> list:
    """Nodes that give a cell's input from columns of x."""
    size = int(np.prod(shape[1:]))

    def ints(kind, numbers):
        weights.append(numpy_helper.from_array(np.array(numbers, np.int64), f"{kind}.{name}"))
        return f"{kind}.{name}"

    if opset < 10:
        take = helper.make_node(
            "Slice", ["x"], [f"columns.{name}"], f"columns.{name}", axes=[1], starts=[at], ends=[at + size]
        )
    else:
        take = helper.make_node(
            "Slice",
            ["x", ints("from", [at]), ints("to", [at + size]), ints("axis", [1])],
            [f"columns.{name}"],
            f"columns.{name}",
        )
    return [
        take,
        helper.make_node("Reshape", [f"columns.{name}", ints("shape", [-1, *shape[1:]])], [name], f"shaped.{name}"),
    ]


def derivative(cell: Made, opset: int, upstream: dict, direction: dict, nudge: int = 0) -> float | None:
    """Of the loss along a direction of the weights; None where two step sizes disagree, near a kink."""
    rng = np.random.default_rng(nudge)
    inputs = {
        n: a.astype(np.float64) * (1 + bool(nudge) * 3e-7 * rng.uniform(-1, 1, a.shape))
        for n, a in cell.inputs[ROWS].items()
    }
    parameters = _parameters(cell)

    def loss(step):
        moved = []
        for weight in cell.weights:
            array = numpy_helper.to_array(weight)
            if weight.name in direction:
                array = array.astype(np.float64) + step * direction[weight.name]
            if nudge and weight.name in parameters:
                array = array * (1 + 3e-7 * rng.uniform(-1, 1, array.shape))
            moved.append((weight.name, array))
        found = _values(cell, opset, inputs, dict(moved))
        return sum(float((found[n] * g).sum()) for n, g in upstream.items())

    def central(step):
        state = rng.bit_generator.state
        up = loss(step)
        rng.bit_generator.state = state
        down = loss(-step)
        rng.bit_generator.state = state
        return (up - down) / (2 * step)

    wide, narrow = central(STEP), central(STEP / 4)
    if not np.isfinite(wide) or abs(wide - narrow) > 2e-5 * abs(narrow) + 1e-7:
        return None
    return narrow


def _parameters(cell: Made) -> set[str]:
    """The float32 weights that are numbers of the network, not sizes."""
    sizes = {n for node in cell.nodes if node.op_type in ("Resize", "Upsample", "Range") for n in node.input[1:]}
    return {w.name for w in cell.weights if w.data_type == onnx.TensorProto.FLOAT} - sizes


def _values(cell: Made, opset: int, inputs: dict, weights: dict) -> dict:
    """As `evaluate`, with float64 weights in the place of the cell's."""
    bare = dataclasses.replace(cell, weights=[], types=cell.types)
    given = inputs | {n: a.astype(np.float64) if a.dtype.kind in "fV" else a for n, a in weights.items()}
    types = cell.types | {w.name: cell.types.get(w.name, "f32") for w in cell.weights}
    bare = dataclasses.replace(bare, types=types)
    return evaluate(bare, ROWS, opset, None, given)


class Trainer:
    """Runs training steps through a Runner's graft."""

    def __init__(self, runner: Runner):
        self.runner, self.graft, self.folder = runner, runner.graft, runner.folder
        self.checked = self.near_kinks = 0
        # Operands that did not train although the loss depends on them.
        self.untrained: dict[str, int] = {}

    def check(self, cells: list[Made], opset: int, options: list[str], seed: int) -> list[Difference]:
        counts = self.runner.counts
        cells = valid([c for c in cells if _fits(c, opset)], opset, counts)
        found = []
        while cells:
            step = built(cells, opset, seed)
            onnx.save(step.model, self.folder / "t.onnx")
            try:
                self.graft.call(
                    "dump", self.folder / "t.onnx", "--stage", "training", "--head", "keep", "--unfreeze", "all"
                )
                changed, residual = self._trained(step, options, seed)
                break
            except (Failed, Crashed) as error:
                names = fuzz_programs.refused(str(error))
                bad = [c for c in cells if c.prefix in names]
                if not bad:
                    return found + [Difference("training", c, opset, str(error)[:400], options) for c in cells[:1]]
                for cell in bad:
                    said = "training: " + fuzz_programs.reason(str(error))
                    counts.reasons[said] += 1
                    counts.examples.setdefault(said, f"{cell.prefix} opset {opset}: {error}")
                    if fuzz_known.is_fault(str(error)):
                        found.append(Difference("training", cell, opset, str(error)[:400], options))
                counts.refused += len(bad)
                cells = [c for c in cells if c.prefix not in names]
        for cell in cells:
            said = self._wrong(cell, opset, step.upstream(residual), changed)
            if said:
                found.append(Difference("training", cell, opset, said, options, "", ROWS))
        counts.compared += len(cells)
        return found

    def _trained(self, step: Step, options: list[str], seed: int) -> tuple[dict, np.ndarray]:
        """The gradient of each weight by name, which is what one step of SGD at rate 1 takes off, for targets
        about 1 from the scores; and the scores less the targets."""
        data, bundle, tuned = self.folder / "data", self.folder / "t.graft", self.folder / "tuned.graft"
        for path in (data, bundle, tuned, self.folder / "tuned.graft.checkpoint"):
            shutil.rmtree(path, ignore_errors=True)
        data.mkdir()
        np.save(data / "x.npy", step.x)
        self.graft.call("compile", self.folder / "t.onnx", "-o", bundle, *options)
        scores = self.graft.run(bundle, {"x": step.x})["scores"]
        y = (scores + np.random.default_rng(seed).standard_normal(scores.shape)).astype(np.float32)
        np.save(data / "y.npy", y)
        self.graft.call(
            "finetune",
            bundle,
            "--data",
            data,
            "-o",
            tuned,
            "--head",
            "keep",
            "--unfreeze",
            "all",
            "--loss",
            "mse",
            "--val-split",
            0,
            "--epochs",
            1,
            "--batch-size",
            ROWS,
            "--lr",
            1,
            "--momentum",
            0,
            "--schedule",
            "constant",
        )
        before, after = (self._weights(path) for path in (bundle, tuned))
        changed = {
            n: before[n].astype(np.float64) - a
            for n, a in after.items()
            if n in before and a.dtype == np.float32 and (before[n] != a).any()
        }
        return changed, scores.astype(np.float64) - y

    def _weights(self, bundle) -> dict:
        path = self.folder / "w.onnx"
        self.graft.call("export", bundle, "-o", path)
        return {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}

    def _wrong(self, cell: Made, opset: int, upstream: dict, changed: dict) -> str:
        """The first weight whose gradient differs."""
        upstream = {n: upstream[n] for n in cell.outputs[ROWS]}
        parameters = _parameters(cell)
        for weight in cell.weights:
            if weight.name not in parameters or not weight.dims:
                continue
            array = numpy_helper.to_array(weight)
            gradient = changed.get(weight.name, np.zeros(array.shape))
            said = self._along(cell, opset, upstream, weight.name, array, gradient, weight.name in changed)
            if said:
                return said
        return ""

    def _along(self, cell, opset, upstream, name, array, gradient, trained) -> str:
        rng = np.random.default_rng(len(name) + array.size)
        for _ in range(DIRECTIONS):
            direction = rng.standard_normal(array.shape)
            expected = derivative(cell, opset, upstream, {name: direction})
            if expected is None:
                self.near_kinks += 1
                continue
            found = float((gradient * direction).sum())
            size = np.linalg.norm(direction)
            allowed = TOLERANCE * max(np.linalg.norm(gradient) * size, abs(expected))
            allowed += 4e-7 * np.linalg.norm(array) * size / np.sqrt(array.size) + 1e-6
            self.checked += 1
            if abs(found - expected) <= allowed:
                continue
            if not trained:
                self._note(cell, name)
                return ""
            near = [derivative(cell, opset, upstream, {name: direction}, nudge) for nudge in range(1, 9)]
            if any(n is None for n in near):
                self.near_kinks += 1
                continue
            allowed += 16 * max(abs(n - expected) for n in near)
            if abs(found - expected) > allowed:
                off = abs(found - expected) / allowed
                return f"gradient of {name} along a direction is {found:.7g}, not {expected:.7g} ({off:.3g} tolerances)"
        return ""

    def _note(self, cell: Made, name: str) -> None:
        for node in cell.nodes:
            if name in node.input:
                key = f"{node.op_type} operand {list(node.input).index(name)}"
                self.untrained[key] = self.untrained.get(key, 0) + 1
                return


def _fits(cell: Made, opset: int) -> bool:
    """Whether all inputs are rows of float32, and the float64 values are known to be right."""
    return (
        ROWS in cell.inputs
        and all(a.dtype == np.float32 and a.ndim and a.shape[0] == ROWS for a in cell.inputs[ROWS].values())
        and not fuzz_known.excuses("reference", cell, opset)
    )
