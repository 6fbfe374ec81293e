"""The `light` networks of the onnx wheel: real Caffe2 graphs (IR 3, opset 9, fixed batch) whose
weights are ConstantOfShape nodes, so that every picture gets the same output.

`fill` puts random weights in their place, under which a wrong kernel shows. Import only: it has no
command line.
"""

import pathlib
import shutil

import numpy as np
import onnx
from lib import inputs, ort
from onnx import helper, numpy_helper

_FOLDER = pathlib.Path(onnx.__file__).parent / "backend/test/data/light"


def copy(name: str, path: pathlib.Path) -> None:
    """The network as the wheel has it."""
    shutil.copyfile(_FOLDER / f"{name}.onnx", path)


def fill(name: str, path: pathlib.Path) -> None:
    """The network with seeded random weights as initializers that are inputs too, as IR 3 wants."""
    model = onnx.load(_FOLDER / f"{name}.onnx")
    graph, random = model.graph, np.random.RandomState(3)
    shapes = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    role = {n.input[i]: (n.op_type, i) for n in graph.node for i in range(1, len(n.input))}
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape, name = shapes[node.input[0]], node.output[0]
        value = _weight(*role.get(name, ("", 0)), shape, random)
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
        graph.input.append(
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape.tolist())
        )
    del graph.node[:]
    graph.node.extend(kept)
    _set_logits(model, path)


def _weight(
    operator: str, index: int, shape: np.ndarray, random: np.random.RandomState
) -> np.ndarray:
    if operator == "BatchNormalization":  # scale, bias, mean, variance
        if index in (1, 4):
            # A quarter's scale keeps sixteen residual blocks in a row from growing without bound.
            return random.uniform(0.5, 1.5, shape) * (0.25 if index == 1 else 1)
        return random.normal(0, 0.1, shape)
    if len(shape) < 2:
        return random.normal(0, 0.05, shape)
    fan_in = np.prod(shape[1:])
    return random.normal(0, np.sqrt(2 / fan_in), shape)


def _set_logits(model: onnx.ModelProto, path: pathlib.Path) -> None:
    """Scales the last Gemm so that its outputs on unlike pictures lie about 8 apart: then the
    Softmax behind it neither flattens nor saturates, and writes the file."""
    last = [n for n in model.graph.node if n.op_type == "Gemm"][-1]
    softmax, logits = list(model.graph.output), last.output[0]
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, None))
    onnx.save(model, path)
    outputs = ort.Session(path).run_each(inputs.as_caffe(inputs.unlike(224)))
    for tensor in model.graph.initializer:
        if tensor.name in last.input[1:]:
            value = numpy_helper.to_array(tensor) * np.float32(8 / inputs.spread(outputs))
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    del model.graph.output[:]
    model.graph.output.extend(softmax)
    onnx.save(model, path)
