"""Makers of elementwise operators for random networks, each a function of a Cell that adds one node or a few.

Import only: it has no command line.
"""

import numpy as np
from lib import fuzz_truth as truth
from lib.fuzz_cell import Cell, Skip, Value

# Name of the ONNX operator → first opset, last opset, maker.
MAKERS: dict = {}
HALVES = ("f16", "bf16")


def maker(names: str, since: int = 7, until: int = 99):
    """Registers `function(cell, name)` for each name."""

    def register(function):
        for name in names.split():
            MAKERS.setdefault(name, []).append((since, until, function))
        return function

    return register


def floats(cell: Cell) -> tuple:
    return truth.FLOATS if cell.opset >= 13 else ("f32", "f64", "f16")


def numbers(cell: Cell, ints_since: int = 7, small_since: int = 14) -> tuple:
    """Types of arithmetic at the cell's opset."""
    types = floats(cell)
    if cell.opset >= ints_since:
        types += ("i32", "i64", "u32", "u64")
    if cell.opset >= small_since:
        types += ("i8", "u8", "i16", "u16")
    return types


def positive(cell: Cell, x: Value, least: float = 0.1) -> Value:
    """x, or |x| + least where x has smaller elements."""
    if x.array.min() >= least:
        return x
    return cell.emit("Add", [cell.emit("Abs", [x]), cell.scalar(least * 2, x.dtype)])


def bounded(cell: Cell, x: Value, limit: float, dtype_safe: bool = True) -> Value:
    """x, or a multiple of its tanh where it has elements beyond the limit."""
    if max(abs(a).max() for a in x.arrays) <= limit:
        return x
    return cell.emit("Mul", [cell.emit("Tanh", [x]), cell.scalar(limit * 0.9, x.dtype)])


def operand(cell: Cell, x: Value, exact: bool = False) -> Value:
    """A second operand for x: another value that broadcasts with it, or a weight."""

    def fits(v):
        try:
            whole = np.broadcast_shapes(v.shape, x.shape)
        except ValueError:
            return False
        # A batch meets a batch or 1.
        ours, theirs = ({i - o.rank for i in o.dynamic} for o in (x, v))
        alone = lambda o, i: -i > o.rank or o.shape[i] == 1  # noqa: E731
        return len(whole) <= 6 and all(i in theirs or alone(v, i) for i in ours) and all(i in ours for i in theirs)

    if cell.chance(0.5):
        others = [v for v in cell.values if v.dtype == x.dtype and fits(v) and (not exact or v.shape == x.shape)]
        if others:
            return cell.choose(others)
    if x.dynamic and exact:
        return x
    return cell.weight(x.shape if exact else constant_shape(cell, x), x.dtype)


def truths(cell: Cell) -> Value:
    """A boolean value, made by a comparison where there is none."""
    try:
        return cell.pick(("bool",))
    except Skip:
        x = cell.pick(("f32",))
        return cell.emit("Greater", [x, cell.weight([])], dtypes=["bool"])


def integers(cell: Cell, types) -> Value:
    """A value of an integer type, cast from a float where there is none."""
    try:
        return cell.pick(types)
    except Skip:
        x = cell.emit("Abs", [cell.emit("Mul", [cell.pick(("f32",)), cell.scalar(3.3)])])
        if max(a.max() for a in x.arrays) > 60:
            raise
        to = cell.choose(types)
        return cell.emit("Cast", [x], dtypes=[to], to=truth.ONNX[to])


def constant_shape(cell: Cell, x: Value) -> list[int]:
    """The shape of a weight that broadcasts to x."""
    shape = [1 if i in x.dynamic or cell.chance(0.3) else e for i, e in enumerate(x.shape)]
    return shape[cell.between(0, len(shape)) if cell.chance(0.4) else 0 :]


@maker("Relu Sigmoid Tanh Softsign Softplus Elu Selu LeakyRelu", 6)
@maker("Gelu", 20)
@maker("Mish", 18)
@maker("HardSwish", 14)
@maker("Swish", 24)
@maker("HardSigmoid ", 6)
@maker("ThresholdedRelu", 10)
@maker("Celu", 12)
@maker("Erf", 9)
@maker("Shrink", 9)
def activation(cell: Cell, name: str):
    types = ("f32", "f64", "f16", *(("bf16",) if cell.opset >= 22 else ()))
    if name in ("Relu", "Sigmoid", "Tanh", "Erf") and cell.opset >= 13:
        types = truth.FLOATS
    if name == "Relu" and cell.opset >= 14 and cell.chance(0.1):
        types = ("i32", "i64", "i8", "i16")
    if name == "Celu":
        types = ("f32",)
    x = cell.pick(types)
    if x.dtype in truth.FLOATS:
        x = bounded(cell, x, 30)
    alpha = round(float(cell.rng.uniform(0.05, 1.5)), 3) if cell.chance(0.6) else None
    attributes = {}
    if name in ("Elu", "LeakyRelu", "ThresholdedRelu", "Celu", "Swish", "HardSigmoid", "Selu"):
        attributes["alpha"] = alpha
    if name == "HardSigmoid":
        attributes["beta"] = round(float(cell.rng.uniform(0.1, 0.9)), 3) if cell.chance(0.5) else None
    if name == "Selu":
        attributes["gamma"] = round(float(cell.rng.uniform(1.1, 2)), 3) if cell.chance(0.5) else None
    if name == "Gelu":
        attributes["approximate"] = cell.choose([None, "none", "tanh"])
    if name == "Shrink":
        attributes = {"lambd": alpha, "bias": cell.choose([None, 0.25, -0.5])}
    cell.emit(name, [x], **attributes)


@maker("Abs Neg Sign", 9)
def integer_unary(cell: Cell, name: str):
    types = numbers(cell, 9, 9)
    if name == "Neg":
        types = tuple(t for t in types if not t.startswith("u"))
    if cell.opset < 13:
        types = tuple(t for t in types if t != "bf16")
    cell.emit(name, [cell.pick(types)])


@maker("Floor Ceil Sin Cos Atan Asinh Sinh Cosh", 9)
@maker("Round", 11)
def plain_unary(cell: Cell, name: str):
    types = floats(cell)
    if name not in ("Floor", "Ceil") and cell.opset < 22:
        types = ("f32", "f64", "f16")
    x = cell.pick(types)
    if name in ("Sinh", "Cosh"):
        x = bounded(cell, x, 6)
    if name in ("Floor", "Ceil", "Round") and cell.chance(0.5):
        x = cell.emit("Mul", [x, cell.scalar(cell.choose([3.0, 10.0, 0.25]), x.dtype)])
    cell.emit(name, [x])


@maker("Log Sqrt Reciprocal", 6)
@maker("Exp", 6)
@maker("Tan Asin Acos", 7)
@maker("Acosh Atanh", 9)
def limited_unary(cell: Cell, name: str):
    plain = name in ("Log", "Sqrt", "Reciprocal", "Exp")
    x = cell.pick(floats(cell) if plain or cell.opset >= 22 else ("f32", "f64", "f16"))
    if name in ("Log", "Sqrt", "Reciprocal"):
        x = positive(cell, x)
    elif name == "Exp":
        x = bounded(cell, x, 6)
    elif name == "Acosh":
        x = positive(cell, x, 1.1)
    else:
        x = bounded(cell, x, 1.3 if name == "Tan" else 0.95)
    cell.emit(name, [x])


@maker("Add Sub Mul Div", 7)
def arithmetic(cell: Cell, name: str):
    x = cell.pick(numbers(cell))
    y = operand(cell, x)
    if name == "Div":
        if x.dtype not in truth.FLOATS:
            y = cell.stored(cell.rng.integers(1, 5, constant_shape(cell, x)), x.dtype)
        else:
            y = positive(cell, y, 0.2)
    pair = [x, y] if cell.chance(0.6) or (name == "Div" and y.weight) else [y, x]
    if name == "Div" and pair[0] is y and x.dtype in truth.FLOATS:
        pair[1] = positive(cell, x, 0.2)
    if name == "Sub" and x.dtype.startswith("u"):
        raise Skip
    cell.emit(name, pair)


@maker("Add Sub Mul Div", 1, 6)
@maker("And Or Xor Equal Greater Less", 1, 6)
def old_arithmetic(cell: Cell, name: str):
    """Before opset 7: broadcasting only of the second operand, by attributes."""
    logical = name in ("And", "Or", "Xor")
    x = cell.pick(("bool",) if logical else ("i32", "i64", "bool") if name == "Equal" else ("f32", "f64", "f16"))
    inner = x.shape[1:] if x.dynamic else x.shape
    start = x.rank - len(inner)
    a = cell.between(0, len(inner))
    b = cell.between(a, len(inner))
    y = cell.weight(inner[a:b], x.dtype)
    if name == "Div":
        y = cell.stored(np.abs(y.array) + 0.2, x.dtype)
    attributes = {"broadcast": 1}
    if b < len(inner):
        attributes["axis"] = start + a
    if cell.chance(0.3):
        y, attributes = operand(cell, x, exact=True), {}
        if y.shape != x.shape or name == "Div":
            raise Skip
    out = x.dtype if name in ("Add", "Sub", "Mul", "Div") else "bool"
    cell.emit(name, [x, y], dtypes=[out], **attributes)


@maker("Sum Mean Max Min", 8)
def variadic(cell: Cell, name: str):
    many = name in ("Max", "Min") and cell.opset >= 12
    x = cell.pick(numbers(cell, 12, 99) if many else floats(cell))
    xs = [x] + [operand(cell, x) for _ in range(cell.between(0, 3))]
    if len({tuple(sorted(i - v.rank for i in v.dynamic)) for v in xs if v.dynamic}) > 1:
        raise Skip
    cell.emit(name, [xs[i] for i in cell.rng.permutation(len(xs))])


@maker("Pow", 7)
def power(cell: Cell, name: str):
    x = cell.pick(("f32", "f64", *(("f16",) if cell.opset >= 12 else ())))
    if cell.chance(0.5):
        y = cell.scalar(cell.choose([2.0, 3.0, 0.5, -1.0, -0.5, 1.0, 0.0, 1.7, 4.0]), x.dtype, cell.choose([(), (1,)]))
        integral = float(y.array.flat[0]).is_integer() and y.array.flat[0] >= 0
        cell.emit(name, [x if integral else positive(cell, x, 0.2), y])
    elif cell.chance(0.3) and cell.opset >= 12:
        y = cell.stored(cell.rng.integers(0, 4, constant_shape(cell, x)), cell.choose(["i32", "i64", "f32"]))
        cell.emit(name, [x, y])
    else:
        base = positive(cell, bounded(cell, x, 4), 0.2)
        cell.emit(name, [base, bounded(cell, operand(cell, base), 3)])


@maker("Mod", 10)
def remainder(cell: Cell, name: str):
    fmod = cell.chance(0.5)
    x = cell.pick(floats(cell) if fmod and cell.chance(0.6) else ("i32", "i64", "u32", "u64", "i8", "u8", "i16", "u16"))
    shape = constant_shape(cell, x)
    if x.dtype in truth.FLOATS:
        y = cell.stored(cell.rng.uniform(0.5, 2, shape) * cell.rng.choice([-1, 1], shape), x.dtype)
    else:
        signs = 1 if x.dtype.startswith("u") else cell.rng.choice([-1, 1], shape)
        y = cell.stored(cell.rng.integers(1, 6, shape) * signs, x.dtype)
    cell.emit(name, [x, y], fmod=1 if fmod else cell.choose([None, 0]))


@maker("PRelu", 7)
def prelu(cell: Cell, name: str):
    x = cell.pick(("f32", "f64", "f16"))
    shape = [1 if i in x.dynamic or cell.chance(0.4) else e for i, e in enumerate(x.shape)]
    cell.emit(name, [x, cell.weight(shape[cell.between(0, len(shape)) if cell.chance(0.4) else 0 :], x.dtype)])


@maker("Clip", 6)
def clip(cell: Cell, name: str):
    types = floats(cell)
    if cell.opset >= 12 and cell.chance(0.2):
        types = ("i32", "i64", "i8", "u8", "u32")
    x = cell.pick(types)
    low, high = cell.choose([(-0.5, 0.7), (0.0, 6.0), (-2.0, -0.25), (None, 0.5), (-0.3, None), (None, None)])
    if x.dtype not in truth.FLOATS:
        low, high = (None if b is None else int(abs(b) * 4) + (b == high) for b in (low, high))
    if cell.opset < 11:
        cell.emit(name, [x], min=low, max=high)
        return
    bounds = [None if b is None else cell.scalar(b, x.dtype) for b in (low, high)]
    cell.emit(name, [x, *bounds])


@maker("Equal", 7)
@maker("Greater Less", 7)
@maker("GreaterOrEqual LessOrEqual", 12)
def comparison(cell: Cell, name: str):
    types = ("f32", "f64", "f16")
    if name == "Equal":
        types = ("i32", "i64", "bool") + (types if cell.opset >= 11 else ())
    elif cell.opset >= 9:
        types = numbers(cell, 9, 9)
    if cell.opset < 13:
        types = tuple(t for t in types if t != "bf16")
    x = cell.pick(types)
    cell.emit(name, [x, operand(cell, x)], dtypes=["bool"])


@maker("And Or Xor", 7)
def logical(cell: Cell, name: str):
    x = truths(cell)
    cell.emit(name, [x, operand(cell, x)])


@maker("Not", 7)
def negation(cell: Cell, name: str):
    cell.emit(name, [truths(cell)])


@maker("Where", 9)
def where(cell: Cell, name: str):
    condition = truths(cell)

    def fits(v):
        return v.rank == condition.rank and v.shape == condition.shape and v.dynamic == condition.dynamic

    if cell.chance(0.5):
        x = cell.pick(tuple(truth.NUMPY), test=fits)
        pair = [x, operand(cell, x)]
        cell.emit(name, [condition, *(pair if cell.chance(0.5) else pair[::-1])], dtypes=[x.dtype])
    else:
        dtype = cell.choose(["f32", "f32", "i64", "u8", "f64"])
        shape = [1 if i in condition.dynamic or cell.chance(0.4) else e for i, e in enumerate(condition.shape)]
        cell.emit(name, [condition, cell.weight(shape, dtype), cell.weight([], dtype)], dtypes=[dtype])


@maker("BitwiseAnd BitwiseOr BitwiseXor", 18)
def bitwise(cell: Cell, name: str):
    x = integers(cell, ("i32", "i64", "u32", "u64", "i8", "u8", "i16", "u16"))
    cell.emit(name, [x, operand(cell, x)])


@maker("BitwiseNot", 18)
def bitwise_not(cell: Cell, name: str):
    cell.emit(name, [integers(cell, ("i32", "i64", "i8", "i16"))])


@maker("BitShift", 11)
def shift(cell: Cell, name: str):
    x = integers(cell, ("u8", "u16", "u32", "u64"))
    y = cell.stored(cell.rng.integers(0, 4, constant_shape(cell, x)), x.dtype)
    cell.emit(name, [x, y], direction=cell.choose(["LEFT", "RIGHT"]))


@maker("IsNaN", 9)
@maker("IsInf", 10)
def special(cell: Cell, name: str):
    x = cell.pick(("f32", "f64") if name == "IsInf" and cell.opset < 20 else ("f32", "f64", "f16"))
    # The logarithm of clipped numbers has infinities and no operator in between reads them.
    if cell.chance(0.7):
        x = cell.emit(
            "Log" if name == "IsNaN" else "Reciprocal", [cell.emit("Relu", [x]) if name == "IsInf" else x], limit=False
        )
    attributes = {}
    if name == "IsInf":
        attributes = {"detect_negative": cell.choose([None, 0, 1]), "detect_positive": cell.choose([None, 0, 1])}
    cell.emit(name, [x], dtypes=["bool"], **attributes)


@maker("Cast", 6)
def cast(cell: Cell, name: str):
    x = cell.pick(tuple(truth.NUMPY))
    types = [t for t in truth.NUMPY if t != x.dtype and (t != "bf16" or cell.opset >= 13)]
    to = cell.choose(types + ["f32"] * 4 + ["i64"])
    if x.dtype == "bf16" and cell.opset < 13:
        raise Skip
    if to.startswith("u") and x.array.dtype != np.bool_ and min(a.min() for a in x.arrays) < 0:
        x = cell.emit("Abs", [x])
    cell.emit(name, [x], dtypes=[to], to=truth.ONNX[to])


@maker("CastLike", 15)
def cast_like(cell: Cell, name: str):
    x, like = cell.pick(tuple(truth.NUMPY)), cell.pick(tuple(truth.NUMPY))
    if like.dtype.startswith("u") and x.array.dtype != np.bool_ and min(a.min() for a in x.arrays) < 0:
        raise Skip
    # The kept arrays have no narrow floats: computed as Cast.
    y = cell.emit("Cast", [x], dtypes=[like.dtype], to=truth.ONNX[like.dtype])
    cell.nodes[-1].op_type = "CastLike"
    del cell.nodes[-1].attribute[:]
    cell.nodes[-1].input.append(like.name)
    like.readers += 1
    if like.stored and all(like is not v for v in cell.values):
        raise Skip
    return y


@maker("Identity", 1)
def identity(cell: Cell, name: str):
    cell.emit(name, [cell.pick(tuple(truth.NUMPY))])


@maker("Dropout", 7)
def dropout(cell: Cell, name: str):
    x = cell.pick(("f32", "f64", "f16"))
    if cell.opset < 12:
        cell.emit(name, [x], ratio=cell.choose([None, 0.3]))
    else:
        cell.emit(name, [x, cell.scalar(0.4) if cell.chance(0.5) else None])
