"""The element types that Graft takes for an operator, and whether its gradient is known: both by asking Graft
for the graph of a network of that operator alone. Import only: it has no command line."""

import collections
import concurrent.futures
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterable

import onnx
from lib import conformance
from lib.graft import Failed, Graft
from onnx import TensorProto, helper, numpy_helper

TYPES = {
    "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16, "int64": TensorProto.INT64, "int32": TensorProto.INT32,
    "int16": TensorProto.INT16, "int8": TensorProto.INT8, "uint64": TensorProto.UINT64,
    "uint32": TensorProto.UINT32, "uint16": TensorProto.UINT16, "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}
ONNX = {"float": "float32", "double": "float64"}
# Tests of one operator that are tried, the smallest files first.
TRIED = 8


@dataclasses.dataclass
class Probe:
    types: list[str]  # of the first operand
    trains: bool  # an operand of float32 has a gradient


def probe(
    results: Iterable[conformance.Result], graft: Graft, work: pathlib.Path, jobs: int
) -> dict[str, Probe]:
    """What holds for each operator that passes a node test of its own."""
    tests = collections.defaultdict(list)
    for result in results:
        if result.outcome == "passed" and result.folder == "node" and len(result.operators) == 1:
            tests[result.operators[0]].append(result)

    def one(operator: str) -> Probe:
        own = Graft(graft.executable)
        with tempfile.TemporaryDirectory(dir=work) as folder:
            return _probe(tests[operator], own, pathlib.Path(folder) / "model.onnx")

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return dict(zip(tests, pool.map(one, tests)))


def _probe(tests: list[conformance.Result], graft: Graft, file: pathlib.Path) -> Probe:
    types, trains = set(), False
    tests = sorted(tests, key=lambda test: (test.path / "model.onnx").stat().st_size)
    for test in tests:
        model = conformance.passed_model(test)
        if len(model.graph.node) != 1 or not model.graph.node[0].input or not model.graph.input:
            continue
        types.add(_name(_own_type(model)))
    for test in tests[:TRIED]:
        model = conformance.passed_model(test)
        if len(model.graph.node) != 1 or not model.graph.node[0].input or not model.graph.input:
            continue
        for name in _allowed(model) - types:
            if _takes(_retyped(model, name), graft, file, "compile", "-o", f"{file}.graft", "--tune", "off"):
                types.add(name)
        if not trains and (training := _training(test)):
            trains = _takes(
                training, graft, file, "dump", "--stage", "training", "--unfreeze", "all", "--classes", "2",
                "--head", training.graph.node[-1].output[0])
    return Probe([name for name in TYPES if name in types], trains)


def _takes(
    model: onnx.ModelProto, graft: Graft, file: pathlib.Path, command: str, *options: str
) -> bool:
    onnx.save(model, file)
    try:
        graft.call(command, file, *options)
        return True
    except Failed as error:
        if not conformance.is_refusal(str(error)):
            raise
        return False


def _name(number: int) -> str:
    return next((name for name, value in TYPES.items() if value == number), "")


def _own_type(model: onnx.ModelProto) -> int:
    return next(
        value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.initializer]
        if value.name == model.graph.node[0].input[0]) if _is_input(model) else 0


def _is_input(model: onnx.ModelProto) -> bool:
    return any(value.name == model.graph.node[0].input[0] for value in model.graph.input)


def _schema(model: onnx.ModelProto) -> onnx.defs.OpSchema:
    node = model.graph.node[0]
    opset = next(o.version for o in model.opset_import if o.domain == node.domain)
    return onnx.defs.get_schema(node.op_type, opset, node.domain)


def _allowed(model: onnx.ModelProto) -> set[str]:
    """The element types that ONNX allows for the first operand."""
    if not _is_input(model):
        return set()
    found = {text.removeprefix("tensor(").removesuffix(")") for text in _schema(model).inputs[0].types}
    return {ONNX.get(name, name) for name in found} & set(TYPES)


def _retyped(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The network with another type for all operands and results that have the type of the first operand."""
    schema, number = _schema(model), TYPES[name]
    variable = schema.inputs[0].type_str
    node = model.graph.node[0]
    places = [(schema.inputs, node.input), (schema.outputs, node.output)]
    names = {
        value for formals, values in places for place, value in enumerate(values)
        if formals[min(place, len(formals) - 1)].type_str == variable}
    own = onnx.ModelProto()
    own.CopyFrom(model)
    for value in [*own.graph.input, *own.graph.output]:
        if value.name in names:
            value.type.tensor_type.elem_type = number
    for tensor in own.graph.initializer:
        if tensor.name in names:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(
                numpy_helper.from_array(array.astype(helper.tensor_dtype_to_np_dtype(number)), tensor.name))
    return own


def _training(test: conformance.Result) -> onnx.ModelProto | None:
    """The operator on a batch that a trained weight scales, as its first operand of float32 that is a batch, with
    constants for all others; None if it has no such operand."""
    model = onnx.load(test.path / "model.onnx")
    given = next(
        (value for value in model.graph.input
         if value.type.tensor_type.elem_type == TensorProto.FLOAT
         and len(value.type.tensor_type.shape.dim) > 1 and value.name in model.graph.node[0].input), None)
    if given is None:
        return None
    own = conformance.baked(test, model, {value.name for value in model.graph.input} - {given.name})
    node, given = own.graph.node[0], own.graph.input[0]
    given.type.tensor_type.shape.dim[0].dim_param = "N"
    del own.graph.output[:]
    own.graph.output.append(helper.make_empty_tensor_value_info(node.output[0]))
    own.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    own.graph.initializer.append(helper.make_tensor("scaled.weight", TensorProto.FLOAT, [1], [0.5]))
    scale = helper.make_node("Mul", [given.name, "scaled.weight"], ["scaled"], "scaled")
    node.input[list(node.input).index(given.name)] = "scaled"
    nodes = [scale, node]
    del own.graph.node[:]
    own.graph.node.extend(nodes)
    return own
