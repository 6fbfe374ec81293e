"""Random cells and packs of them, from a seed. Import only: it has no command line.

The modules that are imported and not used register their makers.
"""

import numpy as np
from lib import fuzz_functions, fuzz_indexing, fuzz_layers, fuzz_movement, fuzz_patterns  # noqa: F401
from lib.fuzz_cell import Cell, Skip
from lib.fuzz_elementwise import MAKERS
from lib.fuzz_pack import Made, finish

OPSETS = [7, 8, 9, 10, 11, 11, 12, 13, 13, 14, 15, 16, 17, 17, 18, 18, 19, 20, 21, 22, 23, 23, 24, 24, 25, 26, 28]
OLD = [1, 2, 3, 4, 5, 6]
TYPES = ["f32"] * 16 + "f64 f16 bf16 i64 i64 i32 i32 u8 i8 bool bool u32 u64 i16 u16".split()


def opset(rng: np.random.Generator) -> int:
    return int(rng.choice(OLD if rng.random() < 0.06 else OPSETS))


def add(cell: Cell, name: str) -> bool:
    """Tries one operator; leaves the cell as it was where that fails."""
    fitting = [f for since, until, f in MAKERS[name] if since <= cell.opset <= until]
    if not fitting:
        return False
    before = len(cell.nodes), len(cell.values), len(cell.inputs)
    try:
        cell.choose(fitting)(cell, name)
        return True
    except (Skip, ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):
        cell.drop(*before[:2])
        del cell.inputs[before[2] :]
        return False


def start(cell: Cell, training: bool) -> None:
    """One to three inputs; for training float32."""
    for number in range(cell.choose([1, 1, 1, 2, 2, 3])):
        dtype = "f32" if training else cell.choose(TYPES)
        if dtype == "bf16" and cell.opset < 13:
            dtype = "f32"
        rank = cell.choose([1, 2, 2, 3, 3, 4, 4, 4, 5])
        if cell.dynamic or number == 0:
            rank = max(rank, 1)
        small = [1, 2, 3, 5, 7, 8] if rank > 2 else [1, 3, 5, 7, 8, 16, 17, 33]
        shape = [cell.choose(small) for _ in range(rank)]
        if np.prod(shape) > 3000:
            shape = [min(e, 3) for e in shape]
        if rank < 3 and cell.chance(0.1):
            shape[-1] = cell.choose([64, 100, 257, 1031])
        if number and cell.chance(0.4):
            dtype, shape = cell.inputs[0].dtype, cell.inputs[0].shape
        inner = cell.dynamic and not training and len(shape) > 1 and cell.chance(0.06)
        cell.input(shape, dtype, 1 if inner else 0)


def made(
    rng: np.random.Generator, opset: int, dynamic: bool, prefix: str, names: list[str], training: bool = False
) -> Made | None:
    """A cell of the given operators and a few more, in random order; None where too little fits."""
    cell = Cell(rng, opset, dynamic)
    start(cell, training)
    wanted = cell.between(1, 8)
    tries = 0
    while len(cell.nodes) < wanted and tries < 40:
        tries += 1
        add(cell, names[int(rng.integers(len(names)))])
    if not cell.nodes:
        return None
    try:
        return finish(cell, prefix, training)
    except Skip:
        return None


def names_at(opset: int, only: set[str] | None = None) -> list[str]:
    """The operators that have makers at an opset."""
    return [
        n
        for n, makers in MAKERS.items()
        if (only is None or n in only) and any(since <= opset <= until for since, until, _ in makers)
    ]


def pack(
    seed: int, number: int, count: int, only: set[str] | None = None, training: bool = False
) -> tuple[list[Made], int, bool]:
    """Pack `number` of a run: `count` cells, their opset, and whether their batch is dynamic."""
    rng = np.random.default_rng([seed, number])
    version, dynamic = opset(rng), bool(rng.random() < 0.6)
    if training:
        version, dynamic = max(version, 9), True
    while not names_at(version, only):
        version = int(rng.integers(version + 1, 29)) if version < 28 else 7
    names = [n for n in names_at(version, only) for _ in range(fuzz_patterns.WEIGHTS.get(n, 1))]
    if training:
        # It drops elements there, at random.
        names = [n for n in names if n != "Dropout"]
    cells, tries = [], 0
    while len(cells) < count and tries < 4 * count:
        tries += 1
        child = np.random.default_rng([seed, number, tries])
        cell = made(child, version, dynamic, f"c{len(cells)}.", names, training)
        if cell is not None:
            cells.append(cell)
    return cells, version, dynamic
