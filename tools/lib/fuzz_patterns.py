"""Makers of chains of operators that passes look for: folded normalizations and padding, residuals, decomposed
activations, channel shuffles, transposes around other operators, slices that are joined. Each chain also appears
with one part changed so that the pass must leave it. Import only: it has no command line.
"""

import numpy as np
from lib import fuzz_truth as truth
from lib.fuzz_cell import Cell, Skip, Value
from lib.fuzz_elementwise import MAKERS, maker, operand
from lib.fuzz_layers import image

ACTIVATIONS = [
    "Relu",
    "Sigmoid",
    "Tanh",
    "LeakyRelu",
    "Elu",
    "Clip",
    "HardSigmoid",
    "Softplus",
    "Softsign",
    "HardSwish",
    "Gelu",
    "Mish",
    "ThresholdedRelu",
    "Selu",
    "Celu",
    "Swish",
]


def plain(cell: Cell, name: str, x: Value) -> Value:
    """An activation of x, with its default attributes."""
    if not any(since <= cell.opset <= until for since, until, _ in MAKERS[name]):
        raise Skip
    if name == "Clip":
        if cell.opset < 11:
            return cell.emit(name, [x], min=0.0, max=6.0)
        return cell.emit(name, [x, cell.scalar(0.0), cell.scalar(cell.choose([1.0, 6.0]))])
    return cell.emit(name, [x])


def square_conv(cell: Cell, x: Value, outputs: int, kernel: int, stride: int = 1, pads: bool = True) -> Value:
    """A convolution that keeps the extents at stride 1."""
    n = x.rank - 2
    if min(x.shape[2:]) < 1:
        raise Skip
    w = cell.weight([outputs, x.shape[1], *[kernel] * n], x.dtype, (x.shape[1] * kernel**n) ** -0.5)
    b = cell.weight([outputs], x.dtype) if cell.chance(0.5) else None
    found = {"strides": [stride] * n} if stride > 1 else {}
    return cell.emit("Conv", [x, w, b], pads=[kernel // 2 if pads else 0] * 2 * n, **found)


def per_channel(cell: Cell, x: Value) -> Value:
    """A weight for each channel, as a factor or term of an image."""
    return cell.weight([x.shape[1], *[1] * (x.rank - 2)] if cell.chance(0.7) else [1, x.shape[1], *[1] * (x.rank - 2)])


def channel_step(cell: Cell, x: Value) -> Value:
    """One operator on channels that can fold into a convolution."""
    how = cell.choose(["bn", "bn", "mul", "add", "sub", "div", "scalar"])
    if how == "bn":
        c = x.shape[1]
        variance = cell.stored(cell.rng.uniform(0.3, 2, c), "f32")
        return cell.emit("BatchNormalization", [x, *(cell.weight([c]) for _ in range(3)), variance])
    if how == "div":
        return cell.emit("Div", [x, cell.stored(np.abs(per_channel(cell, x).array) + 0.3, "f32")])
    if how == "scalar":
        return cell.emit(cell.choose(["Mul", "Add"]), [x, cell.scalar(1.7)])
    pair = [x, per_channel(cell, x)]
    return cell.emit({"mul": "Mul", "add": "Add", "sub": "Sub"}[how], pair if cell.chance(0.7) else pair[::-1])


@maker("Block", 7)
def block(cell: Cell, name: str):
    """Convolution, channel steps, residual, activation, in the orders that networks have them."""
    x = image(cell, ranks=(4, 4, 4, 3, 5), types=("f32",))
    c = x.shape[1]
    before = x
    if cell.chance(0.3):
        before = channel_step(cell, before)
        if cell.chance(0.5):
            before = plain(cell, cell.choose(ACTIVATIONS[:6]), before)
    y = square_conv(cell, before, c if cell.chance(0.7) else cell.choose([4, 8, 16]), cell.choose([1, 3, 3, 5]))
    for _ in range(cell.between(0, 2)):
        y = channel_step(cell, y)
    if cell.chance(0.5) and y.shape == x.shape:
        y = cell.emit("Add", [y, x] if cell.chance(0.5) else [x, y])
    if cell.chance(0.8):
        y = plain(cell, cell.choose(ACTIVATIONS), y)
    if cell.chance(0.4):
        square_conv(cell, y, cell.choose([1, 3, 8]), cell.choose([1, 3]))


@maker("Decomposed", 9)
def decomposed(cell: Cell, name: str):
    """An activation written as several nodes."""
    x = cell.pick(("f32", "f32", "f32", "f64", "f16"), rank=(2, 3, 4))

    def number(value):
        return cell.scalar(value, x.dtype)

    def pair(op, a, b):
        return cell.emit(op, [a, b] if cell.chance(0.6) or op == "Div" else [b, a])

    how = cell.choose(["silu", "hard_swish", "hard_swish", "gelu", "mish", "softsign", "quick", "leaky", "tanh_gelu"])
    off = cell.choose([1.0, 1.0, 1.0, 1.1])
    if how in ("silu", "quick"):
        inner = x if how == "silu" else cell.emit("Mul", [x, number(1.702)])
        y = pair("Mul", x, cell.emit("Sigmoid", [inner]))
    elif how == "hard_swish":
        inside = pair("Add", x, number(3.0 * off))
        clipped = (
            cell.emit("Clip", [inside, number(0.0), number(6.0)])
            if cell.opset >= 11
            else cell.emit("Clip", [inside], min=0.0, max=6.0)
        )
        if cell.chance(0.5):
            y = cell.emit("Div", [pair("Mul", x, clipped), number(6.0)])
        else:
            y = pair("Mul", x, pair("Mul", clipped, number(1 / 6)))
    elif how == "gelu":
        inside = cell.emit("Div", [x, number(2**0.5 * off)])
        y = pair("Mul", pair("Mul", x, pair("Add", cell.emit("Erf", [inside]), number(1.0))), number(0.5))
    elif how == "tanh_gelu":
        cube = cell.emit("Pow", [x, number(3.0)])
        inside = pair("Mul", pair("Add", x, pair("Mul", cube, number(0.044715))), number(0.7978845608 * off))
        y = pair("Mul", pair("Mul", x, pair("Add", cell.emit("Tanh", [inside]), number(1.0))), number(0.5))
    elif how == "mish":
        y = pair("Mul", x, cell.emit("Tanh", [cell.emit("Softplus", [x])]))
    elif how == "softsign":
        y = cell.emit("Div", [x, pair("Add", cell.emit("Abs", [x]), number(off))])
    else:
        y = cell.emit("Max", [x, pair("Mul", x, number(0.1 * off))])
    if cell.chance(0.3):
        cell.emit("Add", [y, x])


@maker("Shuffle", 7)
def shuffle(cell: Cell, name: str):
    """Channel shuffle, or something like it."""
    x = image(cell, ranks=(4,), types=("f32", "f64", "f16"))
    groups = cell.choose(g for g in range(1, x.shape[1] + 1) if x.shape[1] % g == 0)
    lead = [0] if x.dynamic else [x.shape[0]]
    parts = cell.emit("Reshape", [x, cell.ints([*lead, groups, x.shape[1] // groups, *x.shape[2:]])])
    order = [0, 2, 1, 3, 4] if cell.chance(0.8) else [0, 2, 1, 4, 3]
    turned = cell.emit("Transpose", [parts], perm=order)
    cell.emit("Reshape", [turned, cell.ints([*lead, *x.shape[1:]])])


@maker("Turned", 7)
def turned(cell: Cell, name: str):
    """An operator between two transposes that may cancel."""
    x = cell.pick(("f32", "f32", "f32", "f64", "i64", "i32"), rank=(3, 4))
    order = [0, *(1 + cell.rng.permutation(x.rank - 1)).tolist()]
    y = cell.emit("Transpose", [x], perm=order)
    for _ in range(cell.between(1, 2)):
        if x.dtype != "f32" or cell.chance(0.5):
            other = operand(cell, y) if cell.chance(0.7) else cell.weight([y.shape[-1]], y.dtype)
            y = cell.emit(cell.choose(["Add", "Mul", "Sub"]), [y, other] if cell.chance(0.7) else [other, y])
        elif cell.chance(0.4):
            axes = [cell.choose(range(1, y.rank))]
            named = {"axes": axes} if cell.opset < 18 else {}
            y = cell.emit("ReduceMean", [y] + ([] if named else [cell.ints(axes)]), keepdims=1, **named)
        else:
            y = plain(cell, cell.choose(ACTIVATIONS[:6]), y)
    cell.emit("Transpose", [y], perm=np.argsort(order).tolist() if cell.chance(0.8) else order)


@maker("Padded", 11)
def padded(cell: Cell, name: str):
    """A pad before a convolution or pool, and channels padded after subsampling."""
    x = image(cell, ranks=(4, 4, 3), types=("f32",))
    n = x.rank - 2
    if cell.chance(0.3) and n == 2:
        y = x
        for axis in (2, 3):
            y = cell.emit("Slice", [y, cell.ints([0]), cell.ints([2**31 - 1]), cell.ints([axis]), cell.ints([2])])
        more = [0, cell.between(0, 4), 0, 0]
        y = cell.emit("Pad", [y, cell.ints(more + [0, cell.between(1, 4), 0, 0])])
        other = operand(cell, y, exact=True)
        cell.emit("Add", [y, other])
        return
    pads = [0, 0, *(cell.between(0, 2) for _ in range(n))]
    ends = [0, 0, *(cell.between(0, 2) for _ in range(n))]
    number = cell.choose([None, None, 0.0, 0.5])
    y = cell.emit(
        "Pad",
        [x, cell.ints(pads + ends), None if number is None else cell.scalar(number)],
        mode=cell.choose([None, "constant", "constant", "edge"]),
    )
    how = cell.choose(["Conv", "Conv", "MaxPool", "AveragePool", "LpPool"])
    if min(y.shape[2:]) < 3:
        raise Skip
    if how == "Conv":
        square_conv(cell, y, cell.choose([1, 4, 8]), 3, cell.choose([1, 2]), cell.chance(0.5))
    else:
        counted = cell.choose([None, 0, 1]) if how == "AveragePool" else None
        cell.emit(
            how,
            [y],
            kernel_shape=[3] * n,
            strides=[cell.choose([1, 2])] * n,
            pads=[cell.choose([0, 1])] * 2 * n,
            count_include_pad=counted,
        )


@maker("Joined", 11)
def joined(cell: Cell, name: str):
    """Slices of channels, scaled each for itself, joined again; or a split whose parts add up."""
    x = image(cell, ranks=(4,), types=("f32",))
    c = x.shape[1]
    cut = cell.between(1, c - 1) if c > 1 else None
    if cut is None:
        raise Skip
    parts = []
    for low, high in ((0, cut), (cut, c)):
        y = cell.emit("Slice", [x, cell.ints([low]), cell.ints([high]), cell.ints([1])])
        for _ in range(cell.between(0, 2)):
            y = channel_step(cell, y)
        parts.append(y)
    cell.emit("Concat", parts if cell.chance(0.8) else parts[::-1], axis=1)


@maker("Scaled", 8)
def scaled(cell: Cell, name: str):
    """Steps per channel on images of other types, which kernels for float32 must not take."""
    x = image(cell, ranks=(4, 4, 3), types=("f64", "f16", "i32", "i64", "bf16"))
    if x.dtype == "f32":
        if cell.opset < 9:
            raise Skip
        to = cell.choose(["f64", "f16", "i32", "i64"])
        x = cell.emit("Cast", [x], dtypes=[to], to=truth.ONNX[to])
    for _ in range(cell.between(1, 3)):
        shape = cell.choose([[x.shape[1], *[1] * (x.rank - 2)], [1, x.shape[1], *[1] * (x.rank - 2)], [1], []])
        pair = [x, cell.weight(shape, x.dtype)]
        x = cell.emit(cell.choose(["Mul", "Add", "Sub"]), pair if cell.chance(0.7) else pair[::-1])
    if x.dtype in truth.FLOATS and cell.chance(0.5):
        cell.emit(cell.choose(["Abs", "Tanh", "Exp"]), [cell.emit("Tanh", [x])])


SATURATING = [
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Softsign",
    "Mish",
    "Gelu",
    "Elu",
    "Selu",
    "Celu",
    "HardSigmoid",
    "HardSwish",
    "Swish",
    "Erf",
    "Atan",
    "Asinh",
    "Sin",
    "Cos",
    "Softmax",
    "LogSoftmax",
    "ReduceLogSumExp",
    "LayerNormalization",
    "Exp",
    "Relu",
    "LpNormalization",
    "InstanceNormalization",
]


@maker("Large", 7)
def large(cell: Cell, name: str):
    """Numbers from very small to where exponentials overflow, for what has a limit there."""
    op = cell.choose(SATURATING)
    x = cell.input(
        [3, cell.choose([1, 3, 5, 17]), cell.choose([3, 8, 16, 33])], cell.choose(["f32", "f32", "f32", "f64"])
    )
    factor = cell.choose([1e-12, 1e-4, 10.0, 40.0, 300.0])
    x.arrays = [truth.widened(a * factor, x.dtype) for a in x.arrays]
    if op == "Exp":
        x = cell.emit("Neg", [cell.emit("Abs", [x])])
    if op == "LpNormalization" and factor < 1e-6:
        raise Skip
    if op in ("LayerNormalization", "InstanceNormalization"):
        if factor < 10 or cell.opset < 17 or x.dtype != "f32":
            raise Skip
        extent = x.shape[-1] if op.startswith("L") else x.shape[1]
        cell.emit(op, [x, cell.weight([extent]), cell.weight([extent])])
    elif op in ("Softmax", "LogSoftmax"):
        cell.emit(op, [x], axis=2)
    elif op == "ReduceLogSumExp":
        cell.emit(op, [x, cell.ints([2])] if cell.opset >= 18 else [x], axes=None if cell.opset >= 18 else [2])
    else:
        plain(cell, op, x)


@maker("Twice", 7)
def twice(cell: Cell, name: str):
    """The same node twice, and a value that several read."""
    x = cell.pick(("f32",), rank=(2, 3, 4))
    op = cell.choose(["Relu", "Sigmoid", "Tanh", "Exp", "Neg", "Softsign"])
    if op == "Exp":
        x = cell.emit("Tanh", [x])
    a, b = cell.emit(op, [x]), cell.emit(op, [x])
    y = cell.emit(cell.choose(["Add", "Mul", "Sub"]), [a, b])
    cell.emit("Add", [y, a])


@maker("Pooled", 9)
def pooled(cell: Cell, name: str):
    """Means and pools over whole images, flattened, before a Gemm."""
    x = image(cell, ranks=(4,), types=("f32",))
    how = cell.choose(["ReduceMean", "AveragePool", "MaxPool", "GlobalAveragePool", "ReduceMax"])
    if how.startswith("Reduce"):
        keep = cell.choose([0, 1])
        if cell.opset < 18:
            y = cell.emit(how, [x], axes=[2, 3], keepdims=keep)
        else:
            y = cell.emit(how, [x, cell.ints([2, 3])], keepdims=keep)
    elif how.startswith("Global"):
        y = cell.emit(how, [x])
    else:
        y = cell.emit(how, [x], kernel_shape=list(x.shape[2:]))
    if y.rank == 4:
        y = cell.emit("Flatten", [y], axis=1)
    columns = cell.choose([1, 3, 10])
    y = cell.emit(
        "Gemm", [y, cell.weight([columns, y.shape[1]], scale=y.shape[1] ** -0.5), cell.weight([columns])], transB=1
    )
    if cell.chance(0.5):
        cell.emit(cell.choose(["Relu", "Softmax", "Sigmoid"]), [y])


@maker("SelfAttention", 9)
def self_attention(cell: Cell, name: str):
    """Attention as exporters write it, over [batch, length, width]."""
    length, heads, size = cell.choose([1, 3, 5, 8, 19]), cell.choose([1, 2]), cell.choose([2, 4, 8])
    # Windows are part of the batch, and some have a mask of their own; others have positions before the batch.
    windows = cell.choose([1, 1, 2])
    positions_first = windows == 1 and cell.chance(0.3)
    x = cell.input([3, windows * length, heads * size])
    width = heads * size
    if windows > 1:
        x = cell.emit("Reshape", [x, cell.ints([-1, length, width])])
    if positions_first:
        x = cell.emit("Transpose", [x], perm=[1, 0, 2])
    sizes = [length, -1, heads, size] if positions_first else [-1, length, heads, size]

    def split(order):
        y = cell.emit("MatMul", [x, cell.weight([width, width], scale=width**-0.5)])
        if cell.chance(0.5):
            y = cell.emit("Add", [cell.weight([width]), y])
        if positions_first:
            order = [{0: 1, 1: 0}.get(axis, axis) for axis in order]
        return cell.emit("Transpose", [cell.emit("Reshape", [y, cell.ints(sizes)])], perm=order)

    q, k = split([0, 2, 1, 3]), split([0, 2, 3, 1])
    scales = cell.choose(["scores", "both", "q"])
    if scales != "scores":
        q = cell.emit("Mul", [q, cell.scalar(size ** (-0.5 if scales == "q" else -0.25))])
    if scales == "both":
        k = cell.emit("Mul", [cell.scalar(size**-0.25), k])
    scores = cell.emit("MatMul", [q, k])
    if scales == "scores":
        scores = cell.emit("Div", [scores, cell.scalar(size**0.5)])
    if cell.chance(0.5):
        scores = cell.emit("Add", [scores, cell.weight([1, cell.choose([1, heads]), length, length])])
    if windows > 1:
        shape = [-1, windows, heads, length, length]
        scores = cell.emit("Add", [
            cell.emit("Reshape", [scores, cell.ints(shape)]), cell.weight([1, windows, 1, length, length])])
        scores = cell.emit("Reshape", [scores, cell.ints([-1, heads, length, length])])
    shares = cell.emit("Softmax", [scores], axis=3 if cell.opset < 13 else -1)
    y = cell.emit("MatMul", [shares, split([0, 2, 1, 3])])
    y = cell.emit("Transpose", [y], perm=[2, 0, 1, 3] if positions_first else [0, 2, 1, 3])
    joined = [length, -1, width] if positions_first else [-1, length, width]
    y = cell.emit("MatMul", [cell.emit("Reshape", [y, cell.ints(joined)]), cell.weight([width, 5])])
    y = cell.emit("Add", [y, cell.weight([5])])
    if positions_first:
        y = cell.emit("Transpose", [y], perm=[1, 0, 2])
    if windows > 1:
        cell.emit("Reshape", [y, cell.ints([-1, windows * length, 5])])


# Chosen more often than others: what networks are made of, and what seldom finds an operand.
WEIGHTS = {
    name: 3
    for name in (
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "Attention",
        "SelfAttention",
        "LayerNormalization",
        "Where",
        "OneHot",
        "RMSNormalization",
        "Swish",
        "Gelu",
        "ScatterElements",
        "EyeLike",
        "AffineGrid",
        "RotaryEmbedding",
    )
}
WEIGHTS |= {"Block": 6, "Padded": 3, "Turned": 3, "Joined": 2, "Large": 2, "Decomposed": 3, "Pooled": 2}
WEIGHTS |= {
    name: 2
    for name in ("GatherND", "ScatterND", "GatherElements", "CenterCropPad", "CumSum", "TopK", "Resize", "Range")
}
