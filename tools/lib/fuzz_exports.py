"""Exported files, plain and fused, in onnxruntime: passes off and on. Import only: it has no command line.

One export has all cells of a pack; those that onnxruntime did not run before the export are left out by pruning.
"""

import numpy as np
import onnx
from lib import fuzz_known, fuzz_programs
from lib.fuzz_pack import Made
from lib.graft import Failed


class NoArray(Exception):
    """onnxruntime has no way in for arrays of bfloat16."""


KINDS = {"export": [], "fused export": ["--fused"]}


def pruned(model: onnx.ModelProto, outputs: set[str]) -> onnx.ModelProto:
    """The part of a model that some of its outputs need."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    needed, nodes = set(outputs), []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            nodes.insert(0, node)
            needed |= set(node.input)
    for field, kept in (
        ("node", nodes),
        ("output", [o for o in model.graph.output if o.name in outputs]),
        ("input", [i for i in model.graph.input if i.name in needed]),
        ("initializer", [i for i in model.graph.initializer if i.name in needed]),
        ("value_info", [v for v in model.graph.value_info if v.name in needed]),
    ):
        del getattr(part.graph, field)[:]
        getattr(part.graph, field).extend(kept)
    return part


def exported(runner, cells: list[Made], kind: str) -> onnx.ModelProto | str:
    """The runner's bundle as a model, or graft's error."""
    path = runner.folder / "e.onnx"
    try:
        runner.graft.call("export", runner.bundle, "-o", path, *KINDS[kind])
    except Failed as error:
        return str(error)
    return onnx.load(path)


def run(model: onnx.ModelProto, cells: list[Made], everyone: list[Made], batch: int):
    """onnxruntime's outputs by name, and pairs of a cell whose part it refuses or the checker finds invalid and
    what they say. A cell may read the batch size of an input of another of `everyone`."""
    given = {n: np.ascontiguousarray(a) for c in everyone for n, a in c.inputs[batch].items()}
    try:
        return _outputs(model, cells, batch, given), []
    except Exception:
        found, refused = {}, []
        for cell in cells:
            try:
                found |= _outputs(model, [cell], batch, given)
            except NoArray:
                continue
            except Exception as error:
                if any(words in str(error) for words in fuzz_known.REFUSALS):
                    continue
                refused.append((cell, " ".join(str(error).split())[:300]))
        return found, refused


def _outputs(model: onnx.ModelProto, cells: list[Made], batch: int, given: dict) -> dict:
    part = pruned(model, {name for cell in cells for name in cell.outputs[batch]})
    onnx.checker.check_model(part)
    runs = fuzz_programs.session(part)
    feed = {i.name: given[i.name] for i in runs.get_inputs()}
    if any(array.dtype.kind == "V" for array in feed.values()):
        raise NoArray
    names = [o.name for o in runs.get_outputs()]
    return dict(zip(names, runs.run(names, feed)))
