"""What one ONNX node computes, in float64: onnx's reference implementation, and own code where that has
none, follows another opset or is slow. Import only: it has no command line.

Arrays of every floating-point type are float64 here; integers and booleans keep their types.
"""

import functools
import itertools
import math

import ml_dtypes
import numpy as np
import onnx
from lib import fuzz_windows as windows
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops import load_op

T = onnx.TensorProto
NUMPY = {
    "f32": np.float32,
    "f64": np.float64,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "i64": np.int64,
    "i32": np.int32,
    "i16": np.int16,
    "i8": np.int8,
    "u64": np.uint64,
    "u32": np.uint32,
    "u16": np.uint16,
    "u8": np.uint8,
    "bool": np.bool_,
}
ONNX = {
    "f32": T.FLOAT,
    "f64": T.DOUBLE,
    "f16": T.FLOAT16,
    "bf16": T.BFLOAT16,
    "i64": T.INT64,
    "i32": T.INT32,
    "i16": T.INT16,
    "i8": T.INT8,
    "u64": T.UINT64,
    "u32": T.UINT32,
    "u16": T.UINT16,
    "u8": T.UINT8,
    "bool": T.BOOL,
}
NAMES = {code: name for name, code in ONNX.items()}
FLOATS = ("f32", "f64", "f16", "bf16")
# The rounding of one operation, twice a unit in the last place.
UNIT = {"f32": 2.4e-7, "f64": 4e-16, "f16": 2e-3, "bf16": 1.6e-2}

# Below these, the spacing of the type no longer follows the magnitude.
TINY = {"f32": 1e-37, "f64": 1e-300, "f16": 1.2e-7, "bf16": 1e-37}


def widened(array: np.ndarray, dtype: str) -> np.ndarray:
    """The array as it is kept here: rounded to `dtype`, floating-point elements as float64."""
    array = np.asarray(array).astype(NUMPY[dtype])
    return array.astype(np.float64) if dtype in FLOATS else array


def cast(x: np.ndarray, code: int) -> np.ndarray:
    """Cast: floats to integers by truncation, to narrower floats by rounding to nearest."""
    name = NAMES[code]
    if name == "bool":
        return x != 0
    with np.errstate(all="ignore"):
        if name in ("f32", "f64"):
            return x.astype(np.float64)
        if name == "bf16":
            return x.astype(np.float32).astype(NUMPY[name]).astype(np.float64)
        return widened(np.trunc(x) if x.dtype == np.float64 and name != "f16" else x, name)


class Node:
    """A node that runs. `attributes` are Python values; absent optional inputs are None."""

    def __init__(self, proto: onnx.NodeProto, opset: int):
        self.proto, self.opset, self.op = proto, opset, proto.op_type
        self.attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        self._reference = None

    def __call__(self, *inputs) -> list[np.ndarray]:
        own = OWN.get(self.op)
        with np.errstate(all="ignore"):
            results = own(self, *inputs) if own else None
            if results is None:
                results = self._implementation(inputs).run(*inputs)
        if isinstance(results, np.ndarray) or np.isscalar(results):
            results = [results]
        results = [None if r is None else np.asarray(r) for r in results]
        return [
            r.astype(np.float64) if r is not None and (r.dtype.kind == "f" or r.dtype.kind == "V") else r
            for r in results
        ]

    def get(self, name: str, default=None):
        """An attribute; text as str."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def _implementation(self, inputs):
        if self._reference is None:
            types = [
                helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(i.dtype), i.shape)
                if i is not None
                else onnx.TypeProto()
                for i in inputs
            ]
            kind = load_op(
                "", self.op, self.opset, node=self.proto, input_types=types, evaluator_cls=ReferenceEvaluator
            )
            self._reference = kind(
                self.proto,
                {
                    "log": lambda *_: None,
                    "opsets": {"": self.opset},
                    "verbose": 0,
                    "new_ops": {},
                    "existing_functions": {},
                    "evaluator_cls": ReferenceEvaluator,
                },
            )
        return self._reference


# Functions and old forms.


def flat_softmax(node: Node, x):
    """Softmax, LogSoftmax and Hardmax before opset 13, over all axes from `axis` on."""
    if node.opset >= 13:
        return None
    axis = node.get("axis", 1) % max(x.ndim, 1)
    rows = x.reshape(int(np.prod(x.shape[:axis])), -1)
    if node.op == "Hardmax":
        y = np.eye(rows.shape[1])[rows.argmax(axis=1)]
    else:
        y = rows - rows.max(axis=1, keepdims=True)
        y = y - np.log(np.exp(y).sum(axis=1, keepdims=True))
        y = np.exp(y) if node.op == "Softmax" else y
    return y.reshape(x.shape)


def aligned(node: Node, a, b):
    """A binary operator before opset 7: b's axes lie at `axis` of a."""
    if node.opset >= 7 or not node.get("broadcast", 0) or "axis" not in node.attributes:
        return a, b
    axis = node.get("axis") % a.ndim
    return a, b.reshape(b.shape + (1,) * (a.ndim - axis - b.ndim))


def binary(function):
    return lambda node, a, b: function(*aligned(node, a, b))


def divide(a, b):
    if a.dtype.kind == "f":
        return a / b
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def variadic(function):
    return lambda node, *xs: functools.reduce(function, xs)


def lrn(node: Node, x):
    """LRN: the sum over floor((size - 1) / 2) channels before and ceil((size - 1) / 2) after."""
    size, channels = node.get("size"), x.shape[1]
    squares = np.stack(
        [(x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(axis=1) for c in range(channels)], axis=1
    )
    return x / (node.get("bias", 1.0) + node.get("alpha", 1e-4) / size * squares) ** node.get("beta", 0.75)


def group_norm(node: Node, x, scale, bias):
    """GroupNormalization: scale and bias per group until opset 20, then per channel."""
    groups = node.get("num_groups")
    rows = x.reshape(x.shape[0], groups, -1)
    rows = rows - rows.mean(axis=2, keepdims=True)
    rows = rows / np.sqrt((rows**2).mean(axis=2, keepdims=True) + node.get("epsilon", 1e-5))
    if node.opset < 21:
        y = rows * scale[:, None] + bias[:, None]
        return y.reshape(x.shape)
    shape = (-1, *[1] * (x.ndim - 2))
    return rows.reshape(x.shape) * scale.reshape(shape) + bias.reshape(shape)


def instance_norm(node: Node, x, scale, bias):
    axes, shape = tuple(range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    y = x - x.mean(axis=axes, keepdims=True)
    y = y / np.sqrt((y**2).mean(axis=axes, keepdims=True) + node.get("epsilon", 1e-5))
    return y * scale.reshape(shape) + bias.reshape(shape)


def layer_norm(node: Node, x, scale, bias=None):
    if len(node.proto.output) > 1:
        return None
    axes = tuple(range(node.get("axis", -1) % x.ndim, x.ndim))
    y = x - x.mean(axis=axes, keepdims=True)
    y = y / np.sqrt((y**2).mean(axis=axes, keepdims=True) + node.get("epsilon", 1e-5)) * scale
    return y if bias is None else y + bias


def rms_norm(node: Node, x, scale):
    axes = tuple(range(node.get("axis", -1) % x.ndim, x.ndim))
    return x / np.sqrt((x**2).mean(axis=axes, keepdims=True) + node.get("epsilon", 1e-5)) * scale


def mean_variance(node: Node, x):
    axes = tuple(node.get("axes") or (0, 2, 3))
    y = x - x.mean(axis=axes, keepdims=True)
    variance = (y**2).mean(axis=axes, keepdims=True)
    if (variance < 1e-3 * (x**2).mean(axis=axes, keepdims=True)).any():
        # The specification's formula is a difference of squares, without an epsilon below the root.
        raise ValueError("the variance is lost in rounding")
    return y / (np.sqrt(variance) + 1e-9)


def batch_norm(node: Node, x, scale, bias, mean, variance):
    shape = (-1, *[1] * (x.ndim - 2))
    mean, variance, scale, bias = (v.reshape(shape) for v in (mean, variance, scale, bias))
    return (x - mean) / np.sqrt(variance + node.get("epsilon", 1e-5)) * scale + bias


def gelu(node: Node, x):
    if node.get("approximate", "none") == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


def lp_normalization(node: Node, x):
    axis, p = node.get("axis", -1), node.get("p", 2)
    norm = np.linalg.norm(x, ord=p, axis=axis, keepdims=True)
    return x / np.where(norm == 0, 1, norm)


def eye_like(node: Node, x):
    return cast(np.eye(*x.shape, k=node.get("k", 0)), node.get("dtype", T.FLOAT))


def constant_of_shape(node: Node, shape):
    value = node.attributes.get("value")
    if value is None:
        return np.zeros(tuple(shape))
    array = numpy_helper.to_array(value)
    array = array.astype(np.float64) if array.dtype.kind in "fV" else array
    return np.full(tuple(shape), array[0], dtype=array.dtype)


def constant(node: Node):
    if "value" not in node.attributes:
        return None
    array = numpy_helper.to_array(node.attributes["value"])
    return array.astype(np.float64) if array.dtype.kind in "fV" else array


def cosine_window(a0: float, a1: float, a2: float):
    def run(node: Node, size):
        n = int(size) if node.get("periodic", 1) else int(size) - 1
        t = 2 * np.pi * np.arange(int(size)) / n
        y = a0 - a1 * np.cos(t) + a2 * np.cos(2 * t)
        return cast(y, node.get("output_datatype", T.FLOAT))

    return run


def affine_grid(node: Node, theta, size):
    """AffineGrid, as PyTorch's affine_grid: the place of an axis of one element is 0."""
    places = []
    for extent in size[2:]:
        steps = np.arange(extent)
        edge = -1 + 2 * steps / max(extent - 1, 1) if extent > 1 else np.zeros(1)
        places.append(edge if node.get("align_corners", 0) else (2 * steps + 1) / extent - 1)
    axes = np.meshgrid(*places, indexing="ij")
    grid = np.stack([*axes[::-1], np.ones_like(axes[0])], axis=-1)
    return np.einsum("...k,nik->n...i", grid, theta)


def scatter_old(node: Node, x, indices, updates):
    y, axis = x.copy(), node.get("axis", 0)
    for place in itertools.product(*map(range, indices.shape)):
        at = list(place)
        at[axis] = indices[place]
        y[tuple(at)] = updates[place]
    return y


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def hard_sigmoid(x, alpha=0.2, beta=0.5):
    return np.clip(alpha * x + beta, 0, 1)


def clip(node: Node, x, *bounds):
    """Clip before opset 11, by attributes."""
    if node.opset >= 11:
        return None
    return np.clip(x, node.get("min", -np.inf), node.get("max", np.inf))


def prelu(node: Node, x, slope):
    if node.opset < 7 and slope.ndim == 1 and slope.size > 1:
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))
    return np.where(x < 0, x * slope, x)


OWN = {
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "MaxPool": windows.max_pool,
    "AveragePool": windows.average_pool,
    "LpPool": windows.lp_pool,
    "Softmax": flat_softmax,
    "LogSoftmax": flat_softmax,
    "Hardmax": flat_softmax,
    "Add": binary(np.add),
    "Sub": binary(np.subtract),
    "Mul": binary(np.multiply),
    "Div": binary(divide),
    "Pow": None,
    "PRelu": prelu,
    "And": binary(np.logical_and),
    "Or": binary(np.logical_or),
    "Xor": binary(np.logical_xor),
    "Equal": binary(np.equal),
    "Greater": binary(np.greater),
    "Less": binary(np.less),
    "Sum": variadic(np.add),
    "Max": variadic(np.maximum),
    "Min": variadic(np.minimum),
    "Mean": lambda node, *xs: functools.reduce(np.add, xs) / len(xs),
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "MeanVarianceNormalization": mean_variance,
    "BatchNormalization": batch_norm,
    "LRN": lrn,
    "LpNormalization": lp_normalization,
    "Gelu": gelu,
    "EyeLike": eye_like,
    "ConstantOfShape": constant_of_shape,
    "Constant": constant,
    "Cast": lambda node, x: cast(x, node.get("to") if node.opset >= 6 else T.DataType.Value(node.get("to"))),
    "HannWindow": cosine_window(0.5, 0.5, 0.0),
    "BlackmanWindow": cosine_window(0.42, 0.5, 0.08),
    "HammingWindow": cosine_window(25 / 46, 21 / 46, 0.0),
    "Scatter": scatter_old,
    "AffineGrid": affine_grid,
    "Clip": clip,
    "Dropout": lambda node, x, *_: x,
    "Identity": lambda node, x: x,
    "HardSwish": lambda node, x: x * hard_sigmoid(x, 1 / 6, 0.5),
    "Erf": lambda node, x: np.vectorize(math.erf, otypes=[float])(x),
    "Mish": lambda node, x: x * np.tanh(softplus(x)),
    "Swish": lambda node, x: x * sigmoid(node.get("alpha", 1.0) * x),
    "HardSigmoid": lambda node, x: hard_sigmoid(x, node.get("alpha", 0.2), node.get("beta", 0.5)),
    "Sigmoid": lambda node, x: sigmoid(x),
    "Softplus": lambda node, x: softplus(x),
    "Softsign": lambda node, x: x / (1 + np.abs(x)),
    "Celu": lambda node, x: np.where(x > 0, x, node.get("alpha", 1.0) * np.expm1(x / node.get("alpha", 1.0))),
    "Selu": lambda node, x: (
        node.get("gamma", 1.0507009873554804934193349852946)
        * np.where(x > 0, x, node.get("alpha", 1.6732632423543772848170429916717) * np.expm1(x))
    ),
    "Elu": lambda node, x: np.where(x > 0, x, node.get("alpha", 1.0) * np.expm1(x)),
    "GlobalMaxPool": lambda node, x: x.max(axis=tuple(range(2, x.ndim)), keepdims=True),
    "GlobalAveragePool": lambda node, x: x.mean(axis=tuple(range(2, x.ndim)), keepdims=True),
    "GlobalLpPool": lambda node, x: (
        (np.abs(x) ** node.get("p", 2)).sum(axis=tuple(range(2, x.ndim)), keepdims=True) ** (1 / node.get("p", 2))
    ),
}
OWN = {name: function for name, function in OWN.items() if function}
