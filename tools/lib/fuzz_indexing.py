"""Makers of operators with indices: gather, scatter, one-hot. Import only: it has no command line."""

import numpy as np
from lib import fuzz_truth as truth
from lib.fuzz_cell import Cell, Skip, Value
from lib.fuzz_elementwise import maker
from lib.fuzz_movement import product, types


def constant_indices(cell: Cell, shape, extent: int) -> Value:
    """Indices within an axis, negative ones from opset 11 on."""
    low = -extent if cell.opset >= 11 and cell.chance(0.5) else 0
    return cell.ints(cell.rng.integers(low, extent, shape), cell.choose(["i64", "i32"]))


def computed_indices(cell: Cell, x: Value, extent: int) -> Value:
    """Indices that depend on an input: |round(x)| mod the extent, where x allows it."""
    if x.dtype not in ("i64", "i32"):
        x = cell.emit("Cast", [cell.emit("Mul", [x, cell.scalar(3.3, x.dtype)])], dtypes=["i64"], to=truth.ONNX["i64"])
    if cell.opset < 10:
        raise Skip
    return cell.emit("Mod", [cell.emit("Abs", [x]), cell.scalar(extent, x.dtype)])


@maker("Gather", 1)
def gather(cell: Cell, name: str):
    if cell.chance(0.35):
        # A table that is looked up.
        extent = cell.choose([2, 5, 11])
        ids = computed_indices(cell, cell.pick(("i64", "i32", "f32"), rank=(1, 2, 3)), extent)
        table = cell.weight([extent, *(cell.between(1, 5) for _ in range(cell.between(0, 2)))])
        cell.emit(name, [table, ids], dtypes=["f32"], axis=cell.choose([None, 0]))
        return
    x = cell.pick(types(cell), rank=(1, 2, 3, 4))
    axis = cell.choose(x.fixed)
    shape = cell.choose([(), (1,), (3,), (2, 2), (5,)])
    cell.emit(
        name,
        [x, constant_indices(cell, shape, x.shape[axis])],
        axis=axis - x.rank if cell.opset >= 11 and cell.chance(0.3) else axis,
    )


@maker("GatherElements", 11)
def gather_elements(cell: Cell, name: str):
    x = cell.pick(types(cell), rank=(1, 2, 3, 4))
    axis = cell.choose(x.fixed)
    if cell.chance(0.5):

        def fits(v):
            return v.shape == x.shape and v.dynamic == x.dynamic

        indices = computed_indices(cell, cell.pick(("i64", "i32", "f32"), test=fits), x.shape[axis])
    else:
        if x.dynamic:
            raise Skip
        shape = [cell.between(1, e) for e in x.shape]
        shape[axis] = cell.between(1, 5)
        indices = constant_indices(cell, shape, x.shape[axis])
    cell.emit(name, [x, indices], axis=cell.choose([axis, axis - x.rank]))


@maker("ScatterElements", 11)
@maker("Scatter", 9, 10)
def scatter_elements(cell: Cell, name: str):
    how = cell.choose([None, None, "add", "mul", "max", "min"]) if cell.opset >= 18 else None
    x = cell.pick(("f32", "f32", "f64", "i64", "i32") + (() if how else ("f16", "u8", "bool")), rank=(1, 2, 3))
    if x.dynamic:
        raise Skip
    axis = cell.choose(range(x.rank))
    shape = [cell.between(1, e) for e in x.shape]
    if how:
        indices = constant_indices(cell, shape, x.shape[axis])
    else:
        order = np.stack(
            [cell.rng.permutation(x.shape[axis])[: shape[axis]] for _ in range(product(shape) // shape[axis])]
        )
        others = [e for i, e in enumerate(shape) if i != axis]
        indices = cell.ints(np.moveaxis(order.reshape(*others, shape[axis]), -1, axis))
    updates = cell.weight(shape, x.dtype)
    if cell.chance(0.5):
        updates = cell.emit("Slice" if cell.opset >= 10 else "Skip", [x, cell.ints([0] * x.rank), cell.ints(shape)])
    cell.emit(
        name,
        [x, indices, updates],
        axis=axis - x.rank if cell.chance(0.3) and cell.opset >= 11 else axis,
        reduction=how,
    )


@maker("ScatterND", 11)
def scatter_nd(cell: Cell, name: str):
    how = (
        cell.choose([None, None, "add", "mul"] + (["max", "min"] if cell.opset >= 18 else []))
        if cell.opset >= 16
        else None
    )
    x = cell.pick(("f32", "f32", "f64", "i64", "i32") + (() if how else ("u8", "bool")), rank=(1, 2, 3))
    if x.dynamic:
        raise Skip
    depth = cell.between(1, x.rank)
    lead = x.shape[:depth]
    count = cell.between(1, product(lead))
    flat = cell.rng.integers(0, product(lead), count) if how else cell.rng.permutation(product(lead))[:count]
    indices = np.stack(np.unravel_index(flat, lead), axis=-1)
    updates = cell.weight([count, *x.shape[depth:]], x.dtype)
    cell.emit(name, [x, cell.ints(indices), updates], reduction=how)


@maker("GatherND", 11)
def gather_nd(cell: Cell, name: str):
    x = cell.pick(types(cell), rank=(1, 2, 3, 4))
    batch = 1 if cell.opset >= 12 and x.rank > 1 and not x.dynamic and cell.chance(0.4) else 0
    if x.dynamic:
        raise Skip
    depth = cell.between(1, x.rank - batch)
    shape = [*x.shape[:batch], cell.between(1, 4)]
    columns = [cell.rng.integers(-e if cell.chance(0.3) else 0, e, shape) for e in x.shape[batch : batch + depth]]
    cell.emit(name, [x, cell.ints(np.stack(columns, axis=-1))], batch_dims=batch if cell.opset >= 12 else None)


@maker("OneHot", 9)
def one_hot(cell: Cell, name: str):
    depth = cell.choose([1, 2, 5, 7])
    ids = computed_indices(cell, cell.pick(("i64", "i32", "f32"), rank=(1, 2, 3)), depth)
    dtype = cell.choose(["f32", "f32", "i64"])
    axis = cell.choose([None, -1, *range(1 if ids.dynamic else 0, ids.rank + 1)])
    values = cell.stored(np.array([0, 1]) if cell.chance(0.5) else np.array([-2, 3]), dtype)
    cell.emit(name, [ids, cell.ints(depth if cell.chance(0.5) else [depth]), values], dtypes=[dtype], axis=axis)
