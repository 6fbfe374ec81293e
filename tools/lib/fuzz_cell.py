"""One small random network under construction: every node is computed as it is added, so shapes, ranges and
validity are known. Import only: it has no command line.

A cell is computed in several worlds at once: batch 3 and, if the batch is dynamic, batch 1; each as it is and
with noise of the size of rounding errors after each operation that rounds. How far the noise moves a result is
how well conditioned it is.
"""

import dataclasses

import numpy as np
import onnx
from lib import fuzz_truth as truth
from onnx import helper, numpy_helper

# Operators whose results are exact.
EXACT = set(
    "Relu Max Min Abs Neg Identity Dropout Flatten Reshape Squeeze Unsqueeze Transpose Concat Split Slice"
    " Gather GatherElements GatherND ScatterND ScatterElements Scatter Pad Expand Tile DepthToSpace SpaceToDepth MaxPool"
    " GlobalMaxPool ReduceMax ReduceMin TopK Compress CenterCropPad Trilu Where Floor Ceil Round Sign"
    " ArgMax ArgMin OneHot Hardmax EyeLike Cast CastLike Clip ThresholdedRelu ConstantOfShape Constant".split()
)
# Those whose rounding errors are relative to the largest term of a sum, not to the result.
SUMS = set(
    "Conv ConvTranspose Gemm MatMul Einsum Attention AveragePool GlobalAveragePool ReduceMean ReduceSum Sum"
    " Mean CumSum BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization"
    " MeanVarianceNormalization Resize Upsample AffineGrid RotaryEmbedding LRN ReduceLogSum ReduceLogSumExp"
    " LogSoftmax SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss HannWindow HammingWindow BlackmanWindow".split()
)
LARGEST = {"f32": 1e4, "f64": 1e4, "f16": 300, "bf16": 1e4, "i8": 100, "u8": 200}


class Skip(Exception):
    """The chosen operator does not fit what the cell has."""


@dataclasses.dataclass
class Value:
    """A tensor of the cell: one array a world; `weight` where no input reaches it."""

    name: str
    dtype: str
    arrays: list
    weight: bool = False
    stored: bool = False
    readers: int = 0

    @property
    def array(self) -> np.ndarray:
        return self.arrays[0]

    @property
    def shape(self) -> tuple:
        return self.arrays[0].shape

    @property
    def rank(self) -> int:
        return self.arrays[0].ndim

    @property
    def dynamic(self) -> list[int]:
        """The axes that the batch changes."""
        other = self.arrays[-1].shape
        return [i for i, extent in enumerate(self.shape) if extent != other[i]]

    @property
    def fixed(self) -> list[int]:
        return [i for i in range(self.rank) if i not in self.dynamic]

    @property
    def declared(self) -> list:
        """The shape for a ValueInfoProto."""
        return ["N" if i in self.dynamic else extent for i, extent in enumerate(self.shape)]


class Cell:
    """Values, nodes and weights; makers of operators add to it and raise Skip where they cannot."""

    def __init__(self, rng: np.random.Generator, opset: int, dynamic: bool):
        self.rng, self.opset, self.dynamic = rng, opset, dynamic
        self.values: list[Value] = []
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[Value] = []
        # Batch and whether it has noise, for each world. The last one shows what is dynamic.
        self.worlds = [(3, False), (3, True), (1, True), (1, False)] if dynamic else [(0, False), (0, True)]
        self._count = 0

    # Choices.

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def choose(self, items):
        items = list(items)
        if not items:
            raise Skip
        return items[int(self.rng.integers(len(items)))]

    def between(self, low: int, high: int) -> int:
        """A random integer, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def size(self) -> int:
        return self.choose([1, 2, 3, 4, 5, 7, 8, 16, 17])

    # Values.

    def name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def sample(self, shape, dtype: str, scale: float = 1.0) -> np.ndarray:
        """Random elements: normal for floats, small integers."""
        if dtype == "bool":
            return self.rng.random(shape) < 0.5
        if dtype in truth.FLOATS:
            return truth.widened(self.rng.standard_normal(shape) * scale, dtype)
        low = 0 if dtype.startswith("u") else -6
        return self.rng.integers(low, 7, shape).astype(truth.NUMPY[dtype])

    def input(self, shape, dtype: str = "f32", axis: int = 0) -> Value:
        """A new input; with a dynamic batch extent `axis` of `shape` stands for it."""

        def whole(batch):
            return (*shape[:axis], batch, *shape[axis + 1 :]) if batch else shape

        arrays = {b: self.sample(whole(b), dtype) for b, _ in self.worlds}
        value = Value(self.name("x"), dtype, [arrays[b] for b, _ in self.worlds])
        self.inputs.append(value)
        self.values.append(value)
        return value

    def stored(self, array: np.ndarray, dtype: str) -> Value:
        """An initializer."""
        array = truth.widened(array, dtype)
        return Value(self.name("w"), dtype, [array] * len(self.worlds), weight=True, stored=True)

    def weight(self, shape, dtype: str = "f32", scale: float = 1.0) -> Value:
        return self.stored(self.sample(shape, dtype, scale), dtype)

    def ints(self, numbers, dtype: str = "i64") -> Value:
        return self.stored(np.asarray(numbers), dtype)

    def scalar(self, number, dtype: str = "f32", shape=()) -> Value:
        return self.stored(np.full(shape, number), dtype)

    def pick(self, dtypes=truth.FLOATS, rank=None, test=None) -> Value:
        """A value of the cell, a recent one more often."""
        found = [
            v
            for v in self.values
            if v.dtype in dtypes and (rank is None or v.rank in rank) and v.array.size > 0 and (test is None or test(v))
        ]
        if not found:
            raise Skip
        weights = np.array([2.0 ** (-v.readers) + 0.1 for v in found])
        return found[int(self.rng.choice(len(found), p=weights / weights.sum()))]

    # Nodes.

    def emit(self, op: str, inputs, outputs: int = 1, dtypes=None, limit=True, **attributes):
        """Adds a node; returns its value, or the list of them. Skips where it is invalid or leaves the range."""
        inputs = list(inputs)
        while inputs and inputs[-1] is None:
            inputs.pop()
        if dtypes is None:
            dtypes = [inputs[0].dtype] * outputs
        attributes = {k: v for k, v in attributes.items() if v is not None}
        if self.opset < 7 and op in ("Add", "Sub", "Mul", "Div") and inputs[0].shape != inputs[1].shape:
            attributes["broadcast"] = 1
        names = [self.name("v") for _ in range(outputs)]
        proto = helper.make_node(
            op, [i.name if i is not None else "" for i in inputs], names, self.name("n"), **attributes
        )
        node = truth.Node(proto, self.opset)
        arrays = [[] for _ in names]
        for place, (_, noisy) in enumerate(self.worlds):
            try:
                results = node(*(None if i is None else i.arrays[place] for i in inputs))
            except Skip:
                raise
            except Exception as error:
                raise Skip(f"{op}: {error!r}") from error
            for kept, dtype, result in zip(arrays, dtypes, results):
                kept.append(disturbed(result, op, dtype, self.rng) if noisy else result)
        weight = all(i is None or i.weight for i in inputs)
        values = [Value(n, d, a, weight) for n, d, a in zip(names, dtypes, arrays)]
        for value in values:
            self._check(op, value, limit)
        self.nodes.append(proto)
        for i in inputs:
            if i is not None:
                i.readers += 1
                if i.stored and all(i is not v for v in self.values):
                    self.values.append(i)
        self.values += values
        return values[0] if outputs == 1 else values

    def _check(self, op: str, value: Value, limit: bool) -> None:
        for array in value.arrays:
            if array.dtype != (np.float64 if value.dtype in truth.FLOATS else truth.NUMPY[value.dtype]):
                raise Skip(f"{op}: {array.dtype} is not {value.dtype}")
            if array.size > 20000 or array.ndim > 6:
                raise Skip("too large")
            if limit and array.dtype != np.bool_ and array.size:
                with np.errstate(all="ignore"):
                    top = np.abs(array.astype(np.float64)).max()
                if not top <= LARGEST.get(value.dtype, 30000):
                    raise Skip("out of range")
        shapes = {a.shape for (b, _), a in zip(self.worlds, value.arrays) if b in (0, 3)}
        if len(shapes) != 1 or value.arrays[0].ndim != value.arrays[-1].ndim:
            raise Skip("the shape depends on rounding")

    def drop(self, position: int, count_values: int) -> None:
        """Takes back the nodes and values that were added since."""
        for node in self.nodes[position:]:
            for value in self.values:
                value.readers -= list(node.input).count(value.name)
        del self.nodes[position:]
        del self.values[count_values:]

    # Finished.

    def outputs(self) -> list[Value]:
        """What no node reads, and some that others read too."""
        made = {name for node in self.nodes for name in node.output}
        last = [v for v in self.values if v.name in made and not v.weight]
        return [v for v in last if v.readers == 0 or self.chance(0.1)]


def disturbed(array: np.ndarray, op: str, dtype: str, rng) -> np.ndarray:
    """The array with noise as rounding makes it; exact results stay."""
    if array.dtype != np.float64 or array.size == 0:
        return array
    if op in EXACT and not (op in ("Cast", "CastLike") and dtype in ("f16", "bf16")):
        return array
    size = np.abs(array)
    if op in SUMS:
        with np.errstate(all="ignore"):
            size = size + np.sqrt(np.mean(array**2))
    if op in ("Elu", "Selu", "Celu"):
        # exp(x) - 1, as the specification writes it.
        size = size + 1
    return array + truth.UNIT[dtype] * size * rng.uniform(-1, 1, array.shape)


def proto_of(value: Value, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value.array, truth.NUMPY[value.dtype], order="C"), name)
