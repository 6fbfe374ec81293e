"""Makes a cell that differs small, and saves it. Import only: it has no command line."""

import pathlib
import re

import numpy as np
import onnx
from lib import fuzz_pack
from lib import fuzz_truth as truth
from lib.fuzz_compare import evaluate
from lib.fuzz_pack import Made
from lib.fuzz_run import Difference
from onnx import helper

# Attempts for one finding.
TRIES = 60


def rebuilt(made: Made, opset: int, nodes: list, outputs: list[str], inputs: dict) -> Made | None:
    """A cell of what `outputs` need, from `inputs[batch][name]`; None where it is invalid."""
    needed, used = set(outputs), []
    for node in reversed(nodes):
        if needed & set(node.output) and not all(o in next(iter(inputs.values())) for o in node.output):
            used.insert(0, node)
            needed |= set(node.input)
    given = {b: {n: a for n, a in arrays.items() if n in needed} for b, arrays in inputs.items()}
    first = next(iter(given.values()))
    if not used or not first or any(o in first for o in outputs):
        return None
    weights = [w for w in made.weights if w.name in needed and w.name not in first]
    result = Made(made.prefix, used, weights, given, {}, made.types, [], [])
    try:
        for batch in given:
            clean, noisy = (evaluate(result, batch, opset, seed) for seed in (None, 0))
            result.outputs[batch] = {o: (clean[o], noisy[o]) for o in outputs}
    except Exception:
        return None
    result.declared_inputs = [_declared(n, made, [g[n] for g in given.values()]) for n in first]
    result.declared_outputs = [_declared(o, made, [v[o][0] for v in result.outputs.values()]) for o in outputs]
    return result


def _declared(name: str, made: Made, arrays: list[np.ndarray]) -> onnx.ValueInfoProto:
    shape = [e if all(a.shape[i] == e for a in arrays) else "N" for i, e in enumerate(arrays[0].shape)]
    return helper.make_tensor_value_info(name, truth.ONNX[made.types[name]], shape)


def smaller(made: Made, opset: int):
    """Cells with less: one output, an earlier output, a later input, a node or extent less."""
    names = list(next(iter(made.outputs.values())))
    inputs = made.inputs
    values = {b: evaluate(made, b, opset) for b in inputs}
    if len(names) > 1:
        for name in names:
            yield rebuilt(made, opset, made.nodes, [name], inputs)
    produced = [o for n in made.nodes for o in n.output]
    for name in produced:
        if name not in names or len(names) > 1:
            yield rebuilt(made, opset, made.nodes, [name], inputs)
    for name in reversed(produced):
        if name not in names:
            dtype = truth.NUMPY[made.types[name]]
            cut = {b: inputs[b] | {name: values[b][name].astype(dtype)} for b in inputs}
            yield rebuilt(made, opset, made.nodes, names, cut)
    for place, node in enumerate(made.nodes):
        for source in node.input:
            if source and _alike(source, node.output[0], made, values):
                yield rebuilt(made, opset, _without(made.nodes, place, source), names, inputs)
    for name, array in next(iter(inputs.values())).items():
        for axis in range(array.ndim):
            if any(a[name].shape[axis] != array.shape[axis] for a in inputs.values()):
                continue
            for extent in {1, array.shape[axis] // 2} - {0, array.shape[axis]}:
                less = {b: a | {name: np.take(a[name], range(extent), axis)} for b, a in inputs.items()}
                yield rebuilt(made, opset, made.nodes, names, less)


def _alike(source: str, target: str, made: Made, values: dict) -> bool:
    return made.types.get(source) == made.types[target] and all(
        source in v and v[source].shape == v[target].shape for v in values.values()
    )


def _without(nodes: list, place: int, source: str) -> list:
    """The nodes without one, whose readers read `source`."""
    gone, changed = nodes[place].output[0], []
    for number, node in enumerate(nodes):
        if number != place:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [source if i == gone else i for i in node.input]
            changed.append(copy)
    return changed


def reduced(difference: Difference, again) -> Difference:
    """The smallest cell found for which `again(cell)` gives a difference of the same kind."""
    best, tries, progress = difference, 0, True
    while progress and tries < TRIES:
        progress = False
        for made in smaller(best.made, best.opset):
            if made is None or tries >= TRIES or _size(made) >= _size(best.made):
                continue
            tries += 1
            found = again(made)
            if found is not None:
                best, progress = found, True
                break
    return best


def _size(made: Made) -> tuple:
    arrays = next(iter(made.inputs.values())).values()
    return len(made.nodes), len(made.outputs[next(iter(made.outputs))]), len(made.inputs), sum(a.size for a in arrays)


def save(difference: Difference, folder: pathlib.Path, seed: str) -> pathlib.Path:
    """NAME.onnx, NAME.x-*.npy, NAME.y-*.npy and NAME.txt in the folder of findings."""
    folder.mkdir(parents=True, exist_ok=True)
    made = difference.made
    operators = "-".join(dict.fromkeys(n.op_type for n in made.nodes))[:60]
    stem = f"{re.sub(r'[^a-z]+', '-', difference.kind)}.{operators}.{seed}"
    path = folder / f"{stem}.onnx"
    onnx.save(fuzz_pack.model([made], difference.opset), path)
    batch = difference.batch if difference.batch in made.inputs else next(iter(made.inputs))
    arguments = []
    for name, array in made.inputs[batch].items():
        np.save(folder / f"{stem}.{name}.npy", array)
        arguments.append(f"--input {name}={stem}.{name}.npy")
    for name, (expected, _) in made.outputs[batch].items():
        np.save(folder / f"{stem}.expected.{name}.npy", expected)
    (folder / f"{stem}.txt").write_text(
        f"{difference.kind}: {difference.text}\nopset {difference.opset}, output {difference.name}, batch {batch}\n"
        f"graft compile {path.name} -o {stem}.graft {' '.join(difference.options)} && "
        f"graft run {stem}.graft {' '.join(arguments)} --output-dir {stem}.out\n\n"
        + onnx.printer.to_text(fuzz_pack.model([made], difference.opset))
    )
    return path
