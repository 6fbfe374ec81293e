"""ONNX's backend tests, and what Graft makes of one. Import only: it has no command line."""

import collections
import concurrent.futures
import dataclasses
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator

import ml_dtypes
import numpy as np
import onnx
from lib.graft import Failed, Graft
from onnx import numpy_helper
from onnx.backend.test.case import node as node_cases

DEBIAN = pathlib.Path("/usr/share/libonnx-testdata/data")
# What these draw is compared by type and shape alone.
DRAWING = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
# Which inputs of a test are made initializers, in the order in which it is tried: those from this one on.
BAKED = {"": None, "all but the first": 1, "all": 0}
# Folders of whole networks whose weights are on the internet are left out.
FOLDERS = ["node", "simple", "pytorch-converted", "pytorch-operator", "light"]


@dataclasses.dataclass
class Test:
    set: str
    folder: str
    name: str
    path: pathlib.Path


@dataclasses.dataclass
class Result(Test):
    operators: list[str]
    outcome: str  # passed, refused, failed
    reason: str = ""
    baked: str = ""  # which inputs were made initializers


def tests(name: str, work: pathlib.Path) -> Iterator[Test]:
    """The tests of a set: `debian`, or `newest` of the onnx package."""
    places = {folder: DEBIAN / folder for folder in FOLDERS}
    if name == "newest":
        data = pathlib.Path(onnx.__file__).parent / "backend/test/data"
        places = {folder: data / folder for folder in FOLDERS}
        places["node"] = generate(work / f"onnx-{onnx.__version__}") / "node"
    for folder, place in places.items():
        for path in sorted(place.glob("*/model.onnx")):
            if any(path.parent.glob("test_data_set_*")):
                yield Test(name, folder, path.parent.name.removeprefix("test_"), path.parent)


def generate(folder: pathlib.Path) -> pathlib.Path:
    """Writes the node tests of the installed onnx package, which has them as Python alone."""
    if folder.exists():
        return folder
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    for case in node_cases.collect_testcases(None):
        place = part / "node" / case.name
        for number, data in enumerate(case.data_sets):
            values = place / f"test_data_set_{number}"
            values.mkdir(parents=True)
            kinds = zip(("input", "output"), (case.model.graph.input, case.model.graph.output), data)
            for kind, declared, tensors in kinds:
                for index, (info, value) in enumerate(zip(declared, tensors)):
                    (values / f"{kind}_{index}.pb").write_bytes(_serialized(info, value))
        (place / "model.onnx").write_bytes(case.model.SerializeToString())
    part.rename(folder)
    return folder


def _serialized(info: onnx.ValueInfoProto, value) -> bytes:
    """A tensor; nothing for sequences and optionals, which are refused by their type."""
    if not info.type.HasField("tensor_type"):
        return b""
    if isinstance(value, onnx.TensorProto):
        return value.SerializeToString()
    return numpy_helper.from_array(np.asarray(value), info.name).SerializeToString()


def run(tests: Iterable[Test], graft: Graft, work: pathlib.Path, jobs: int) -> list[Result]:
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda test: _run(test, Graft(graft.executable), work), tests))


def counts(results: Iterable[Result]) -> str:
    of = collections.Counter(result.outcome for result in results)
    return f"{of['passed']} passed, {of['refused']} refused, {of['failed']} failed"


def reasons(results: Iterable[Result]) -> Iterator[str]:
    """Each reason of a refusal with its count, the most frequent first."""
    of = collections.Counter(result.reason for result in results if result.outcome == "refused")
    return (f"{count} × {reason}" for reason, count in of.most_common())


def _run(test: Test, graft: Graft, work: pathlib.Path) -> Result:
    model = onnx.load(test.path / "model.onnx")
    operators = sorted({node.op_type for node in model.graph.node})
    common = [test.set, test.folder, test.name, test.path, operators]
    first = ""
    for baked, start in BAKED.items():
        if start is not None and len(model.graph.input) <= start:
            continue
        with tempfile.TemporaryDirectory(dir=work) as folder:
            try:
                _check(test, model, start, graft, pathlib.Path(folder))
                return Result(*common, "passed", baked=baked)
            except Unsupported as error:
                first = first or str(error)
            except (Failed, AssertionError, ValueError, KeyError) as error:
                text = str(error)
                if not is_refusal(text):
                    return Result(*common, "failed", " ".join(text.split())[-300:], baked)
                first = first or _reason(text)
    return Result(*common, "refused", first)


class Unsupported(Exception):
    """What no tensor file holds: sequences, optionals, texts."""


def passed_model(result: Result) -> onnx.ModelProto:
    """The model of a test as it passed."""
    model = onnx.load(result.path / "model.onnx")
    start = BAKED[result.baked]
    return model if start is None else baked(result, model, [v.name for v in model.graph.input[start:]])


def baked(test: Test, model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """The model with these inputs as initializers, with the values of the first set."""
    baked = onnx.ModelProto()
    baked.CopyFrom(model)
    values = _tensors(test.path / "test_data_set_0", "input", model.graph.input)
    known = [name for name in values if name in names]
    held = {tensor.name for tensor in model.graph.initializer}
    baked.graph.initializer.extend(
        numpy_helper.from_array(values[name], name) for name in known if name not in held)
    inputs = [value for value in model.graph.input if value.name not in known]
    del baked.graph.input[:]
    baked.graph.input.extend(inputs)
    return baked


def _check(
    test: Test, model: onnx.ModelProto, start: int | None, graft: Graft, work: pathlib.Path
) -> None:
    """Compiles the model with its inputs from `start` on as initializers, and compares its outputs."""
    sets = sorted(test.path.glob("test_data_set_*"))
    if start is not None:
        # The values are the first set's: others would need networks of their own.
        sets = sets[:1]
    known = [] if start is None else [value.name for value in model.graph.input[start:]]
    onnx.save(baked(test, model, known) if known else model, work / "model.onnx")
    graft.call("compile", work / "model.onnx", "-o", work / "b.graft", "--tune", "off")
    if "nodes in training mode are read as in inference" in graft.told:
        raise Unsupported("training mode: read as in inference, with a warning")
    for data in sets:
        given = _tensors(data, "input", model.graph.input)
        found = graft.run(
            work / "b.graft", {name: given[name] for name in given if name not in known})
        for name, expected in _tensors(data, "output", model.graph.output).items():
            value = found[name]
            if value.dtype == np.dtype("V2"):  # bfloat16, as ml_dtypes writes it
                value = value.view(expected.dtype)
            assert value.dtype == expected.dtype, f"{name} is {value.dtype}, not {expected.dtype}"
            dtype_name = expected.dtype.name
            if expected.dtype.kind not in "biufc":
                value, expected = value.astype(np.float32), expected.astype(np.float32)
            if DRAWING & {node.op_type for node in model.graph.node}:
                assert value.shape == expected.shape, f"{name} is {value.shape}, not {expected.shape}"
                continue
            # Debian's reference truncates to bfloat16, newer ones round every step; Graft rounds to nearest, once.
            relative = 2**-6 if dtype_name == "bfloat16" else 1e-3
            np.testing.assert_allclose(value, expected, rtol=relative, atol=1e-7)


def _tensors(folder: pathlib.Path, kind: str, declared: Iterable) -> dict[str, np.ndarray]:
    values = {}
    for place, info in enumerate(declared):
        path = folder / f"{kind}_{place}.pb"
        if not path.exists():
            continue
        if not info.type.HasField("tensor_type"):
            raise Unsupported(f"a {info.type.WhichOneof('value')} as {kind}")
        tensor = onnx.TensorProto.FromString(path.read_bytes())
        if tensor.data_type == onnx.TensorProto.STRING:
            raise Unsupported("text tensors (STRING)")
        value = numpy_helper.to_array(tensor)
        declared_type = info.type.tensor_type.elem_type
        if declared_type == onnx.TensorProto.BFLOAT16 and value.dtype == np.uint16:
            value = value.view(ml_dtypes.bfloat16)  # Debian's tests have the bits of them
        values[info.name] = value
    return values


def is_refusal(text: str) -> bool:
    """A clear message is a refusal; what says that Graft contradicts itself, a signal or a wrong number is not."""
    return "exited with 1:" in text and "is a bug" not in text and "libmodel" not in text


def _reason(text: str) -> str:
    """The message without the file's name and the node's, which differ from test to test."""
    text = re.sub(r"^graft \w+ exited with 1: graft: ", "", text.replace("\n", " "))
    text = re.sub(r"^\S*\.onnx: ", "", text)
    text = re.sub(r'node "[^"]*" \((\w+)\): ', r"\1: ", text)
    text = re.sub(r"\s*\d+ nodes? cannot be compiled:", "", text).replace(
        "docs/operators.md lists the supported operators.", "")
    return " ".join(text.split())[:160]
