"""Makers of operators that move, select and create elements, for random networks.

Import only: it has no command line.
"""

import numpy as np
from lib import fuzz_truth as truth
from lib.fuzz_cell import Cell, Skip
from lib.fuzz_elementwise import maker
from lib.fuzz_layers import image

ANY = tuple(truth.NUMPY)
MOST = ("f32", "f32", "f32", "f64", "f16", "i64", "i32", "u8", "bool")


def types(cell: Cell, since_13: bool = True) -> tuple:
    """All types that the movement operators have at the cell's opset, float32 first."""
    return tuple(t for t in MOST + ANY if t != "bf16" or cell.opset >= 13)


def product(numbers) -> int:
    return int(np.prod(list(numbers), dtype=np.int64))


@maker("Reshape", 1)
def reshape(cell: Cell, name: str):
    x = cell.pick(types(cell))
    if x.dynamic and x.dynamic != [0]:
        raise Skip
    inner = list(x.shape[1:] if x.dynamic else x.shape)
    count = product(inner)
    shape = []
    for _ in range(cell.between(0, 3)):
        shape.append(cell.choose(d for d in range(1, count + 1) if count % d == 0))
        count //= shape[-1]
    shape.append(count)
    lead = [cell.choose([0, -1])] if x.dynamic else []
    if cell.chance(0.3) and -1 not in lead:
        shape[cell.between(0, len(shape) - 1)] = -1
    if x.dynamic and x.shape[0] == 3 and cell.chance(0.15) and shape[0] > 0:
        lead, shape = [], [-1, *shape[1:]]
    target = lead + shape
    if len(target) > 5:
        raise Skip
    if cell.opset < 5:
        cell.emit(name, [x], shape=target)
    else:
        cell.emit(name, [x, cell.ints(target)])


@maker("Flatten", 1)
def flatten(cell: Cell, name: str):
    x = cell.pick(types(cell) if cell.opset >= 9 else ("f32", "f64", "f16"), rank=(1, 2, 3, 4))
    axis = cell.choose([None, *range(0, x.rank + 1), *(range(-x.rank, 0) if cell.opset >= 11 else ())])
    cell.emit(name, [x], axis=axis)


@maker("Squeeze", 1)
def squeeze(cell: Cell, name: str):
    x = cell.pick(types(cell))
    ones = [i for i in x.fixed if x.shape[i] == 1]
    if not ones:
        raise Skip
    axes = sorted(cell.rng.permutation(ones)[: cell.between(1, len(ones))].tolist())
    if cell.opset >= 11:
        axes = [a - x.rank if cell.chance(0.3) else a for a in axes]
    whole = not x.dynamic and cell.chance(0.2)
    if cell.opset < 13:
        cell.emit(name, [x], axes=None if whole else axes)
    else:
        cell.emit(name, [x, None if whole else cell.ints(axes)])


@maker("Unsqueeze", 1)
def unsqueeze(cell: Cell, name: str):
    x = cell.pick(types(cell), rank=(0, 1, 2, 3))
    count = cell.between(1, 2)
    rank = x.rank + count
    axes = sorted(cell.rng.permutation(rank)[:count].tolist())
    if x.dynamic and 0 in axes and cell.chance(0.9):
        raise Skip
    if cell.opset >= 11 and cell.chance(0.3):
        axes = [a - rank for a in axes]
    if cell.opset < 13:
        cell.emit(name, [x], axes=axes)
    else:
        cell.emit(name, [x, cell.ints(axes)])


@maker("Transpose", 1)
def transpose(cell: Cell, name: str):
    x = cell.pick(types(cell), rank=(1, 2, 3, 4, 5))
    order = cell.rng.permutation(x.rank).tolist()
    if x.dynamic and cell.chance(0.8):
        order = [0] + [o for o in order if o != 0]
    cell.emit(name, [x], perm=None if cell.chance(0.1) else order)


@maker("Concat", 4)
def concat(cell: Cell, name: str):
    x = cell.pick(types(cell), rank=(1, 2, 3, 4, 5))
    axis = cell.choose(x.fixed)

    def fits(v):
        return (
            v.dtype == x.dtype
            and v.rank == x.rank
            and v.dynamic == x.dynamic
            and all(a == b for i, (a, b) in enumerate(zip(v.shape, x.shape)) if i != axis)
        )

    others = [v for v in cell.values if fits(v)]
    xs = [x] + [cell.choose(others) for _ in range(cell.between(0, 2))]
    if not x.dynamic and cell.chance(0.5):
        shape = list(x.shape)
        shape[axis] = cell.between(1, 4)
        xs.insert(cell.between(0, len(xs)), cell.weight(shape, x.dtype))
    cell.emit(name, xs, axis=axis - x.rank if cell.opset >= 11 and cell.chance(0.3) else axis)


@maker("Split", 2)
def split(cell: Cell, name: str):
    x = cell.pick(types(cell), rank=(1, 2, 3, 4))
    axis = cell.choose(x.fixed)
    extent = x.shape[axis]
    count = cell.between(1, min(4, extent))
    cuts = np.sort(cell.rng.permutation(np.arange(1, extent))[: count - 1])
    sizes = np.diff([0, *cuts, extent]).tolist()
    axis = axis - x.rank if cell.opset >= 11 and cell.chance(0.3) else axis
    if cell.chance(0.4) and (extent % count == 0 or cell.opset >= 18):
        cell.emit(name, [x], count, axis=axis, num_outputs=count if cell.opset >= 18 else None)
    elif cell.opset < 13:
        cell.emit(name, [x], count, axis=axis, split=sizes)
    else:
        cell.emit(name, [x, cell.ints(sizes)], count, axis=axis)


@maker("Slice", 1)
def slices(cell: Cell, name: str):
    x = cell.pick(types(cell), rank=(1, 2, 3, 4, 5))
    axes = sorted(cell.rng.permutation(x.fixed)[: cell.between(1, max(1, len(x.fixed)))].tolist())
    starts, ends, steps = [], [], []
    for a in axes:
        extent = x.shape[a]
        low = cell.between(0, extent - 1)
        high = cell.between(low + 1, extent)
        step = cell.choose([1, 1, 1, 2, 3]) if cell.opset >= 10 else 1
        if cell.opset >= 10 and cell.chance(0.25):
            step, low, high = -step, high - 1, (low - 1 if low > 0 else -extent - 1)
        elif cell.chance(0.2):
            high = cell.choose([extent + 5, 2**31 - 1, 2**62 if cell.opset >= 10 else 1000])
        if cell.chance(0.3) and low > 0:
            low -= extent
        starts.append(low), ends.append(high), steps.append(step)
    if not axes:
        raise Skip
    if cell.opset < 10:
        cell.emit(name, [x], starts=starts, ends=ends, axes=axes)
        return
    if cell.opset >= 11:
        axes = [a - x.rank if cell.chance(0.2) else a for a in axes]
    kind = cell.choose(["i64", "i32"]) if all(abs(e) < 2**31 for e in ends) else "i64"
    plain = all(s == 1 for s in steps) and cell.chance(0.5)
    cell.emit(
        name,
        [
            x,
            cell.ints(starts, kind),
            cell.ints(ends, kind),
            cell.ints(axes, kind),
            None if plain else cell.ints(steps, kind),
        ],
    )


@maker("Pad", 2)
def pad(cell: Cell, name: str):
    # Zero pads on the batch axis.
    x = cell.pick(types(cell) if cell.opset >= 13 else ("f32", "f64", "f16"), rank=(1, 2, 3, 4, 5))
    mode = cell.choose([None, "constant", "reflect", "edge"] + (["wrap"] if cell.opset >= 19 else []))
    begins, ends = [0] * x.rank, [0] * x.rank
    for i in x.fixed:
        top = {"reflect": x.shape[i] - 1, "wrap": x.shape[i]}.get(mode, 3)
        if cell.chance(0.6):
            begins[i], ends[i] = cell.between(0, max(0, min(3, top))), cell.between(0, max(0, min(3, top)))
        if mode in (None, "constant") and cell.chance(0.15) and x.shape[i] > 2:
            begins[i] = -1
    number = cell.choose([0, 1.5, -2]) if mode in (None, "constant") else None
    if x.dtype not in truth.FLOATS and number is not None:
        number = {"bool": True}.get(x.dtype, abs(int(number)))
    if cell.opset < 11:
        cell.emit(name, [x], mode=mode, pads=begins + ends, value=None if number is None else float(number))
        return
    value = cell.scalar(number, x.dtype) if number and mode in (None, "constant") else None
    if cell.opset >= 18 and cell.chance(0.4):
        axes = cell.rng.permutation(x.fixed).tolist()
        if not axes:
            raise Skip
        pads = [begins[a] for a in axes] + [ends[a] for a in axes]
        cell.emit(name, [x, cell.ints(pads), value, cell.ints(axes)], mode=mode)
    else:
        cell.emit(name, [x, cell.ints(begins + ends), value], mode=mode)


@maker("Expand", 8)
def expand(cell: Cell, name: str):
    x = cell.pick(types(cell))
    shape = [cell.between(2, 4) if e == 1 and i in x.fixed and cell.chance(0.6) else e for i, e in enumerate(x.shape)]
    shape = [1 if cell.chance(0.3) or i in x.dynamic else e for i, e in enumerate(shape)]
    if not x.dynamic and cell.chance(0.3):
        shape = [cell.between(1, 3), *shape]
    cell.emit(name, [x, cell.ints(shape)])


@maker("Tile", 6)
def tile(cell: Cell, name: str):
    x = cell.pick(types(cell), rank=(1, 2, 3, 4))
    repeats = [1 if i in x.dynamic else cell.choose([1, 1, 2, 3]) for i in range(x.rank)]
    cell.emit(name, [x, cell.ints(repeats)])


@maker("DepthToSpace SpaceToDepth", 1)
def space(cell: Cell, name: str):
    x = image(cell, ranks=(4,), types=("f32", "f32", "f64", "f16"))
    block = cell.choose([2, 2, 3])
    deep = name == "DepthToSpace"
    if deep and x.shape[1] % block**2 or not deep and (x.shape[2] % block or x.shape[3] % block):
        shape = [3, block**2 * cell.between(1, 3), 3, 5] if deep else [3, 3, block * 3, block * 2]
        x = cell.input(shape)
    mode = cell.choose([None, "DCR", "CRD"]) if deep and cell.opset >= 11 else None
    cell.emit(name, [x], blocksize=block, mode=mode)


@maker("Trilu", 14)
def trilu(cell: Cell, name: str):
    x = cell.pick(MOST, rank=(2, 3, 4), test=lambda v: v.rank - 1 in v.fixed and v.rank - 2 in v.fixed)
    k = cell.ints(cell.between(-3, 3)) if cell.chance(0.6) else None
    cell.emit(name, [x, k], upper=cell.choose([None, 0, 1]))


@maker("CenterCropPad", 18)
def center(cell: Cell, name: str):
    x = cell.pick(("f32", "f32", "i64", "u8"), rank=(1, 2, 3, 4))
    axes = sorted(cell.rng.permutation(x.fixed)[: cell.between(1, max(1, len(x.fixed)))].tolist())
    if not axes:
        raise Skip
    cell.emit(name, [x, cell.ints([cell.between(1, x.shape[a] + 3) for a in axes])], axes=axes)


@maker("Compress", 9)
def compress(cell: Cell, name: str):
    x = cell.pick(types(cell), rank=(1, 2, 3, 4))
    axis = cell.choose([None, *x.fixed]) if not x.dynamic else cell.choose(x.fixed)
    extent = x.array.size if axis is None else x.shape[axis]
    chosen = cell.rng.random(cell.between(1, extent)) < 0.6
    chosen[0] = True
    cell.emit(name, [x, cell.stored(chosen, "bool")], axis=axis)


@maker("EyeLike", 9)
def eye(cell: Cell, name: str):
    x = cell.pick(("f32", "i64", "i32", "f64"), rank=(2,), test=lambda v: not v.dynamic and not v.weight)
    dtype = cell.choose(["f32", "i64", "f64"])
    y = cell.emit(name, [x], dtypes=[dtype], dtype=truth.ONNX[dtype], k=cell.choose([None, 1, -1, 2]))
    cell.emit("Add" if cell.opset >= 7 else "Skip", [y, cell.emit("Cast", [x], dtypes=[dtype], to=truth.ONNX[dtype])])


@maker("ConstantOfShape", 9)
def constant_of_shape(cell: Cell, name: str):
    x = cell.pick(("f32", "i64"), rank=(1, 2, 3))
    shape = cell.emit("Shape", [x], dtypes=["i64"]) if x.dynamic else cell.ints(x.shape)
    value = cell.stored(np.array([1.5 if x.dtype == "f32" else 2]), x.dtype)
    from lib.fuzz_cell import proto_of

    filled = cell.emit(name, [shape], dtypes=[x.dtype], value=proto_of(value, ""))
    cell.emit("Mul", [x, filled])


@maker("Shape", 1)
def shape_chain(cell: Cell, name: str):
    """What exporters write: a shape's extents, gathered and joined, as the target of a Reshape."""
    x = cell.pick(("f32",), rank=(2, 3, 4))
    if x.dynamic and x.dynamic != [0] or cell.opset < 7:
        raise Skip
    if cell.opset >= 15 and cell.chance(0.5):
        first = cell.emit(name, [x], dtypes=["i64"], start=0, end=1)
    else:
        whole = cell.emit(name, [x], dtypes=["i64"])
        first = cell.emit("Gather", [whole, cell.ints([0])], axis=0)
    target = cell.emit("Concat", [first, cell.ints([-1])], axis=0)
    cell.emit("Reshape", [x, target])


@maker("Size", 1)
def size(cell: Cell, name: str):
    x = cell.pick(("f32",), test=lambda v: not v.dynamic)
    if cell.opset < 7:
        raise Skip
    count = cell.emit(name, [x], dtypes=["i64"])
    number = cell.emit("Cast", [count], dtypes=["f32"], to=truth.ONNX["f32"])
    cell.emit("Div", [x, number])


@maker("Range", 11)
def number_range(cell: Cell, name: str):
    x = cell.pick(("f32", "i64"), rank=(1, 2, 3, 4), test=lambda v: v.rank - 1 in v.fixed)
    start, step = cell.choose([(0, 1), (1, 2), (10, -1)])
    ends = start + step * x.shape[-1]
    numbers = [cell.scalar(n, x.dtype) for n in (start, ends, step)]
    cell.emit("Add", [x, cell.emit(name, numbers)])
