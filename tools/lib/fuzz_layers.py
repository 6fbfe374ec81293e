"""Makers of linear operators, pools, normalizations and reductions for random networks.

Import only: it has no command line.
"""

import numpy as np
from lib.fuzz_cell import Cell, Skip, Value
from lib.fuzz_elementwise import maker, positive

LINEAR = ("f32", "f32", "f32", "f16")


def image(cell: Cell, ranks=(3, 4, 4, 4, 5), types=("f32", "f16")) -> Value:
    """A value of [batch, channels, …] with a fixed image, made by a reshape where there is none."""
    rank = cell.choose(ranks)

    def fits(v):
        return v.rank == rank and all(i == 0 for i in v.dynamic)

    try:
        return cell.pick(types, test=fits)
    except Skip:
        channels = cell.choose([1, 2, 3, 4, 6, 8, 16, 17, 24, 32])
        extents = [1, 3, 5, 7, 8, 11, 14] if channels > 8 else [1, 3, 5, 7, 8, 11, 14, 17, 23]
        shape = [3, channels, *(cell.choose(extents) for _ in range(rank - 2))]
        if rank == 5:
            shape[1:] = [cell.choose([1, 2, 4]), *(cell.choose([1, 3, 4, 5]) for _ in range(3))]
        return cell.input(shape, "f32")


def windows(cell: Cell, x: Value, pool: bool, dilated: bool = True) -> dict:
    """kernel_shape, strides, pads, dilations, auto_pad for the image x."""
    n = x.rank - 2
    kernel = [min(cell.choose([1, 2, 3, 3, 5, 7]), 3 if n == 3 else 9) for _ in range(n)]
    if cell.chance(0.5):
        kernel = [kernel[0]] * n
    found = {"kernel_shape": kernel}
    if cell.chance(0.6):
        found["strides"] = [cell.choose([1, 2, 2, 3]) for _ in range(n)]
    if dilated and cell.chance(0.25):
        found["dilations"] = [cell.choose([1, 2, 3]) for _ in range(n)]
    how = cell.choose(["none", "pads", "pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if how == "pads":
        found["pads"] = [cell.between(0, k - 1 if pool else k) for k in kernel * 2]
        if cell.chance(0.5):
            found["pads"] = [k // 2 for k in kernel * 2]
    elif how != "none":
        found["auto_pad"] = how
    _checked(x, found, pool)
    return found


def _checked(x: Value, found: dict, pool: bool) -> None:
    """Windows larger than the image and its pads have no result."""
    n = x.rank - 2
    dilations = found.get("dilations", [1] * n)
    pads = found.get("pads", [0] * 2 * n)
    for i in range(n):
        reach = (found["kernel_shape"][i] - 1) * dilations[i] + 1
        same = found.get("auto_pad", "").startswith("SAME")
        if reach > x.shape[2 + i] + pads[i] + pads[i + n] and not same:
            raise Skip
        if pool and same and reach > x.shape[2 + i] * 2:
            raise Skip


@maker("Conv", 1)
def conv(cell: Cell, name: str):
    x = image(cell)
    if cell.opset < 11 and x.dtype != "f32" and cell.chance(0.5):
        raise Skip
    channels = x.shape[1]
    group = cell.choose([1, 1, 1, *(g for g in range(1, channels + 1) if channels % g == 0)])
    outputs = group * cell.choose([1, 1, 2, 3, 4, 8]) if group > 1 else cell.choose([1, 2, 3, 5, 8, 16, 17, 33])
    found = windows(cell, x, pool=False)
    kernel = found["kernel_shape"]
    fan = channels // group * int(np.prod(kernel))
    w = cell.weight([outputs, channels // group, *kernel], x.dtype, fan**-0.5)
    if cell.chance(0.4):
        del found["kernel_shape"]
    b = cell.weight([outputs], x.dtype) if cell.chance(0.6) else None
    cell.emit(name, [x, w, b], group=group if group > 1 or cell.chance(0.5) else None, **found)


@maker("ConvTranspose", 1)
def conv_transpose(cell: Cell, name: str):
    x = image(cell, ranks=(3, 4, 4))
    n, channels = x.rank - 2, x.shape[1]
    group = cell.choose([1, 1, *(g for g in (1, 2, 3, channels) if channels % g == 0)])
    kernel = [cell.choose([1, 2, 3, 4, 5]) for _ in range(n)]
    strides = [cell.choose([1, 2, 2, 3]) for _ in range(n)] if cell.chance(0.7) else None
    found = {"strides": strides, "group": group if group > 1 else None}
    if cell.chance(0.2):
        found["dilations"] = [cell.choose([1, 2]) for _ in range(n)]
    how = cell.choose(["none", "pads", "pads", "SAME_UPPER", "SAME_LOWER", "output_shape"])
    if how == "pads":
        found["pads"] = [cell.between(0, k - 1) for k in kernel * 2]
        if strides and cell.chance(0.5):
            found["output_padding"] = [cell.between(0, s - 1) for s in strides]
    elif how == "output_shape":
        found["output_shape"] = [x.shape[2 + i] * (strides or [1] * n)[i] for i in range(n)]
        if any(
            o > (x.shape[2 + i] - 1) * (strides or [1] * n)[i] + kernel[i] for i, o in enumerate(found["output_shape"])
        ):
            raise Skip
        found["auto_pad"] = cell.choose([None, "SAME_UPPER", "SAME_LOWER"])
    elif how != "none":
        # Kernels shorter than the stride would need negative pads, of which the specification says nothing.
        if any((k - 1) * d + 1 < s for k, d, s in zip(kernel, found.get("dilations", [1] * n), strides or [1] * n)):
            raise Skip
        found["auto_pad"] = how
    w = cell.weight([channels, cell.choose([1, 2, 3, 8]), *kernel], x.dtype, (channels * np.prod(kernel)) ** -0.5)
    b = cell.weight([w.shape[1] * group], x.dtype) if cell.chance(0.5) else None
    cell.emit(name, [x, w, b], **found)


@maker("MaxPool AveragePool", 1)
@maker("LpPool", 2)
def pool(cell: Cell, name: str):
    x = image(cell, types=("f32", "f64", "f16") if cell.chance(0.1) else ("f32",))
    dilated = name == "MaxPool" and cell.opset >= 10 or cell.opset >= (19 if name == "AveragePool" else 18)
    found = windows(cell, x, pool=True, dilated=dilated)
    if cell.opset >= (18 if name == "LpPool" else 10) and cell.chance(0.3) and "auto_pad" not in found:
        found["ceil_mode"] = 1
    if name == "AveragePool" and cell.opset >= 7 and cell.chance(0.5):
        found["count_include_pad"] = 1
    if name == "LpPool":
        found["p"] = cell.choose([None, 1, 2, 3])
    y = cell.emit(name, [x], **found)
    if y.array.size == 0 or not np.isfinite(y.array).all():
        raise Skip


@maker("GlobalMaxPool GlobalAveragePool", 1)
@maker("GlobalLpPool", 2)
def global_pool(cell: Cell, name: str):
    x = image(cell, types=("f32", "f64", "f16") if cell.chance(0.1) else ("f32",))
    cell.emit(name, [x], p=cell.choose([None, 1, 2, 3]) if name == "GlobalLpPool" else None)


@maker("Gemm", 1)
def gemm(cell: Cell, name: str):
    try:
        x = cell.pick(LINEAR, rank=(2,))
    except Skip:
        x = cell.emit("Flatten", [cell.pick(("f32",), rank=(3, 4), test=lambda v: v.dynamic in ([], [0]))], axis=1)
    trans_a = 1 if cell.chance(0.2) and not x.dynamic else None
    rows, depth = x.shape[::-1] if trans_a else x.shape
    if depth != (x.shape[0] if trans_a else x.shape[1]) or (x.dynamic and 1 in x.dynamic):
        raise Skip
    columns = cell.choose([1, 2, 3, 5, 8, 10, 17, 33])
    trans_b = cell.choose([None, 0, 1, 1])
    w = cell.weight([columns, depth] if trans_b else [depth, columns], x.dtype, depth**-0.5)
    shapes = [(columns,), (1, columns), (1, 1), ()] + ([] if x.dynamic else [(rows, columns), (rows, 1)])
    bias = cell.weight(cell.choose(shapes), x.dtype) if cell.chance(0.7) or cell.opset < 11 else None
    attributes = {"alpha": cell.choose([None, 0.5, 2.0]), "beta": cell.choose([None, None, 0.25]) if bias else None}
    if cell.opset < 7:
        if bias is not None and len(bias.shape) != 1:
            raise Skip
        attributes["broadcast"] = 1
    if x.weight and cell.chance(0.8):
        raise Skip
    cell.emit(name, [x, w, bias], transA=trans_a, transB=trans_b, **attributes)


@maker("MatMul", 1)
def matmul(cell: Cell, name: str):
    x = cell.pick(LINEAR, rank=(1, 2, 3, 4))
    if x.rank - 1 in x.dynamic:
        raise Skip
    depth = x.shape[-1]
    if cell.chance(0.3):

        def fits(v):
            if v.rank < 2 or x.rank < 2 or v.shape[-2] != depth or v.rank - 2 in v.dynamic or x.rank != v.rank:
                return False
            return x.shape[:-2] == v.shape[:-2] and x.rank > 2 and x.dynamic == v.dynamic

        cell.emit(name, [x, cell.pick((x.dtype,), test=fits)])
        return
    if cell.chance(0.25) and x.rank >= 2 and x.rank - 2 not in x.dynamic:
        other = cell.emit("Transpose", [x], perm=[*range(x.rank - 2), x.rank - 1, x.rank - 2])
        cell.emit(name, [x, other] if cell.chance(0.5) else [other, x])
        return
    lead = [e for i, e in enumerate(x.shape[:-2]) if i not in x.dynamic] if cell.chance(0.2) else []
    shape = [*lead, depth, cell.choose([1, 2, 3, 5, 8, 16, 33])] if cell.chance(0.9) else [depth]
    left = cell.chance(0.15) and x.rank >= 2 and x.rank - 2 not in x.dynamic
    if left:
        shape = [cell.choose([1, 2, 3, 8]), x.shape[-2]]
    w = cell.weight(shape, x.dtype, depth**-0.5)
    cell.emit(name, [w, x] if left else [x, w])


@maker("BatchNormalization", 7)
def batch_normalization(cell: Cell, name: str):
    x = image(cell, ranks=(2, 3, 4, 4, 5), types=("f32",))
    channels = x.shape[1]
    scale, bias, mean = (cell.weight([channels]) for _ in range(3))
    variance = cell.stored(cell.rng.uniform(0.3, 2, channels), "f32")
    cell.emit(name, [x, scale, bias, mean, variance], epsilon=cell.choose([None, 1e-3]))


@maker("InstanceNormalization", 6)
def instance_normalization(cell: Cell, name: str):
    x = image(cell, types=("f32",))
    if np.prod(x.shape[2:]) < 3:
        raise Skip
    cell.emit(name, [x, cell.weight([x.shape[1]]), cell.weight([x.shape[1]])], epsilon=cell.choose([None, 1e-3]))


@maker("GroupNormalization", 18)
def group_normalization(cell: Cell, name: str):
    x = image(cell, types=("f32",))
    groups = cell.choose(g for g in range(1, x.shape[1] + 1) if x.shape[1] % g == 0)
    if x.array[0].size // groups < 3:
        raise Skip
    size = groups if cell.opset < 21 else x.shape[1]
    cell.emit(name, [x, cell.weight([size]), cell.weight([size])], num_groups=groups)


@maker("LayerNormalization", 17)
@maker("RMSNormalization", 23)
def layer_normalization(cell: Cell, name: str):
    x = cell.pick(("f32", "f32", "f16"), rank=(2, 3, 4))
    axis = cell.choose(range(1 if x.dynamic else 0, x.rank))
    row = x.shape[axis:]
    if np.prod(row) < 3 or any(a >= axis for a in x.dynamic):
        raise Skip
    operands = [x, cell.weight(row, x.dtype)]
    if name == "LayerNormalization" and cell.chance(0.7):
        operands.append(cell.weight(row, x.dtype))
    cell.emit(
        name,
        operands,
        axis=None if axis == x.rank - 1 and cell.chance(0.5) else cell.choose([axis, axis - x.rank]),
        epsilon=cell.choose([None, 1e-3]),
    )


@maker("MeanVarianceNormalization", 9)
def mean_variance(cell: Cell, name: str):
    x = image(cell, ranks=(4,), types=("f32",))
    axes = cell.choose([[2, 3], [1, 2, 3]] + ([] if x.dynamic else [None, [0, 2, 3]]))
    if np.prod([x.shape[a] for a in axes or (0, 2, 3)]) < 3:
        raise Skip
    cell.emit(name, [x], axes=axes)


@maker("LpNormalization", 1)
def lp_normalization(cell: Cell, name: str):
    x = cell.pick(("f32", "f64"), rank=(1, 2, 3, 4))
    axis = cell.choose(x.fixed)
    cell.emit(name, [x], axis=cell.choose([axis, axis - x.rank]), p=cell.choose([None, 1, 2]))


@maker("LRN", 1)
def lrn(cell: Cell, name: str):
    x = image(cell, ranks=(3, 4, 4), types=("f32",))
    cell.emit(
        name,
        [x],
        size=cell.choose([1, 3, 5]),
        alpha=cell.choose([None, 0.01, 0.5]),
        beta=cell.choose([None, 0.5]),
        bias=cell.choose([None, 2.0]),
    )


@maker("Softmax LogSoftmax Hardmax", 1)
def softmax(cell: Cell, name: str):
    x = cell.pick(("f32", "f32", "f64", "f16"), rank=(1, 2, 3, 4))
    if cell.opset < 13:
        axis = cell.choose(range(1 if x.dynamic else 0, x.rank))
        if any(a >= axis for a in x.dynamic):
            raise Skip
    else:
        axis = cell.choose(x.fixed)
    low = cell.opset >= 11
    cell.emit(name, [x], axis=cell.choose([axis, axis - x.rank] if low else [axis]))


@maker(
    "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp"
    " ReduceSumSquare",
    1,
)
def reduction(cell: Cell, name: str):
    types = ("f32", "f32", "f64", "f16", "i32", "i64", "u32", "u64")
    if name in ("ReduceMax", "ReduceMin") and cell.opset >= 12:
        types += ("i8", "u8") + (("bool",) if cell.opset >= 20 else ())
    if name in ("ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"):
        types = ("f32", "f32", "f64", "f16")
    x = cell.pick(types, rank=(1, 2, 3, 4, 5))
    if name == "ReduceLogSum":
        x = positive(cell, x)
    fixed = x.fixed
    axes = sorted(cell.rng.permutation(fixed)[: cell.between(1, len(fixed))].tolist()) if fixed else []
    if not axes or name == "ReduceProd" and np.prod([x.shape[a] for a in axes]) > 40:
        raise Skip
    if cell.opset >= 11:
        axes = [a - x.rank if cell.chance(0.3) else a for a in axes]
    keep = cell.choose([None, 0, 1])
    whole = not x.dynamic and cell.chance(0.1)
    if cell.opset >= (13 if name == "ReduceSum" else 18):
        noop = cell.choose([None, None, 0, 1])
        cell.emit(name, [x, None if whole and not noop else cell.ints(axes)], keepdims=keep, noop_with_empty_axes=noop)
    else:
        cell.emit(name, [x], axes=None if whole else axes, keepdims=keep)


@maker("ArgMax ArgMin", 1)
def arg(cell: Cell, name: str):
    x = cell.pick(("f32", "f32", "f64", "i32", "i64", "u8", "i8"), rank=(1, 2, 3, 4))
    axis = cell.choose(x.fixed)
    last = cell.choose([None, 0, 1]) if cell.opset >= 12 else None
    cell.emit(
        name,
        [x],
        dtypes=["i64"],
        axis=cell.choose([axis, axis - x.rank]) if cell.opset >= 11 else axis,
        keepdims=cell.choose([None, 0, 1]),
        select_last_index=last,
    )


@maker("TopK", 1)
def top_k(cell: Cell, name: str):
    x = cell.pick(("f32", "f32", "f64", *(("i32", "i64") if cell.opset >= 11 else ())), rank=(1, 2, 3, 4))
    axis = cell.choose(x.fixed)
    k = cell.between(1, x.shape[axis])
    axis = cell.choose([None, axis]) if axis == x.rank - 1 else axis
    types = [x.dtype, "i64"]
    if cell.opset < 10:
        cell.emit(name, [x], 2, types, axis=axis, k=k)
        return
    newer = cell.opset >= 11
    cell.emit(
        name,
        [x, cell.ints([k])],
        2,
        types,
        axis=axis,
        largest=cell.choose([None, 0, 1]) if newer else None,
        sorted=cell.choose([None, 1]) if newer else None,
    )


@maker("CumSum", 11)
def cumulative(cell: Cell, name: str):
    x = cell.pick(("f32", "f32", "f64", "i32", "i64"), rank=(1, 2, 3, 4))
    axis = cell.choose(x.fixed)
    cell.emit(
        name,
        [x, cell.ints(cell.choose([axis, axis - x.rank]), cell.choose(["i32", "i64"]))],
        exclusive=cell.choose([None, 0, 1]),
        reverse=cell.choose([None, 0, 1]),
    )
