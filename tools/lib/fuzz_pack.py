"""Many cells in one ONNX file. Import only: it has no command line."""

import dataclasses

import numpy as np
import onnx
from lib import fuzz_truth as truth
from lib.fuzz_cell import Cell, Skip, Value, proto_of
from onnx import helper


@dataclasses.dataclass
class Made:
    """A finished cell under its prefix: ONNX parts, inputs, and the truth and noise of its outputs.

    `inputs[b]` and `outputs[b]` are by name for batch b (0 for a fixed one): arrays for inputs, pairs of
    (as it is, with noise) for outputs.
    """

    prefix: str
    nodes: list
    weights: list
    inputs: dict
    outputs: dict
    types: dict
    declared_inputs: list
    declared_outputs: list

    @property
    def operators(self) -> list[str]:
        return sorted({node.op_type for node in self.nodes})


def finish(cell: Cell, prefix: str, training: bool = False) -> Made:
    """Names everything with the prefix and keeps what reaches an output. Raises Skip without outputs.

    A training step can only use float32 outputs with a row for each item.
    """
    outputs = cell.outputs()
    if training:
        outputs = [
            v
            for v in outputs
            if v.dtype == "f32" and v.dynamic == [0] and v.shape[0] == 3 and v.array.size and np.ptp(v.array) > 1e-3
        ]
    if not outputs:
        raise Skip
    needed, nodes = {v.name for v in outputs}, []
    for node in reversed(cell.nodes):
        if needed & set(node.output):
            nodes.insert(0, node)
            needed |= set(node.input)
    renamed = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = prefix + node.name
        copy.input[:] = [prefix + n if n else "" for n in node.input]
        copy.output[:] = [prefix + n for n in node.output]
        renamed.append(copy)
    inputs = [v for v in cell.inputs if v.name in needed]
    if not inputs:
        raise Skip
    stored = [v for v in cell.values if v.stored and v.name in needed]
    if cell.opset >= 9 and cell.chance(0.25) and not training:
        # As exporters write them: nodes in the place of initializers.
        nodes = [
            helper.make_node("Constant", [], [prefix + v.name], f"{prefix}{v.name}.constant", value=proto_of(v, ""))
            for v in stored
        ]
        renamed, stored = nodes + renamed, []
    batches = [3, 1] if cell.dynamic else [0]
    at = {b: [i for i, (batch, _) in enumerate(cell.worlds) if batch == b] for b in batches}
    at = {b: sorted(places, key=lambda i: cell.worlds[i][1]) for b, places in at.items()}
    return Made(
        prefix,
        renamed,
        [proto_of(v, prefix + v.name) for v in stored],
        {b: {prefix + v.name: v.arrays[p[0]].astype(truth.NUMPY[v.dtype]) for v in inputs} for b, p in at.items()},
        {b: {prefix + v.name: (v.arrays[p[0]], v.arrays[p[1]]) for v in outputs} for b, p in at.items()},
        {prefix + v.name: v.dtype for v in [*cell.values, *inputs]},
        [info(v, prefix) for v in inputs],
        [info(v, prefix) for v in outputs],
    )


def info(value: Value, prefix: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(prefix + value.name, truth.ONNX[value.dtype], value.declared)


def model(cells: list[Made], opset: int) -> onnx.ModelProto:
    """The cells side by side."""
    parts = [[], [], [], []]
    for cell in cells:
        for part, more in zip(parts, (cell.nodes, cell.declared_inputs, cell.declared_outputs, cell.weights)):
            part += more
    nodes, inputs, outputs, weights = parts
    if opset < 9:
        # Up to IR 3 initializers had to be inputs too.
        inputs = inputs + [helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in weights]
    graph = helper.make_graph(nodes, "fuzz", inputs, outputs, weights)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if opset < 9 else 8 if opset < 21 else 10
    )
