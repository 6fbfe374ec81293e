"""Makers of the composite operators (attention, products by equation, resizing, losses, windows) for random
networks. Import only: it has no command line.
"""

import numpy as np
from lib.fuzz_cell import Cell, Skip
from lib.fuzz_elementwise import maker
from lib.fuzz_indexing import computed_indices
from lib.fuzz_layers import image


@maker("Attention", 23)
def attention(cell: Cell, name: str):
    """Three or four axes, grouped heads, masks, causal, soft cap; queries from an input."""
    heads = cell.choose([1, 2, 4])
    groups = cell.choose([1, 1, *(g for g in (2, 4) if heads % g == 0)])
    size, queries, keys = cell.choose([1, 2, 3, 8]), cell.choose([1, 3, 5, 8]), cell.choose([1, 3, 5, 7])
    value_size = cell.choose([size, size, 3])
    four = cell.chance(0.5)

    def tensor(length, count, width):
        shape = [3, count, length, width] if four else [3, length, count * width]
        return cell.input(shape)

    kv = heads // groups
    q, k, v = tensor(queries, heads, size), tensor(keys, kv, size), tensor(keys, kv, value_size)
    mask = None
    if cell.chance(0.5):
        shape = cell.choose([[queries, keys], [1, 1, queries, keys], [heads, queries, keys], [1, heads, queries, keys]])
        if cell.chance(0.5):
            allowed = cell.rng.random(shape) < 0.7
            allowed[..., 0] = True
            mask = cell.stored(allowed, "bool")
        else:
            mask = cell.weight(shape)
    found = {} if four else {"q_num_heads": heads, "kv_num_heads": kv}
    found["is_causal"] = cell.choose([None, None, 0, 1])
    found["scale"] = cell.choose([None, None, 0.5])
    found["softcap"] = cell.choose([None, None, 2.0])
    cell.emit(name, [q, k, v, mask], **found)


@maker("RotaryEmbedding", 23)
def rotary(cell: Cell, name: str):
    heads, length, size = cell.choose([1, 2, 3]), cell.choose([1, 3, 5]), cell.choose([2, 4, 8])
    four = cell.chance(0.5)
    x = cell.input([3, heads, length, size] if four else [3, length, heads * size])
    part = cell.choose([None, None, *([size // 2] if size > 2 else [])])
    width = (part or size) // 2
    angles = cell.rng.uniform(-3, 3, [cell.choose([length, 7]), width])
    tables = [cell.stored(f(angles), "f32") for f in (np.cos, np.sin)]
    if x.dynamic:
        base = cell.input([3, length], "f32")
        ids = computed_indices(cell, base, length)
    else:
        ids = cell.ints(cell.rng.integers(0, length, [x.shape[0], length]))
    cell.emit(
        name,
        [x, *tables, ids],
        interleaved=cell.choose([None, 0, 1]),
        rotary_embedding_dim=part,
        num_heads=None if four else heads,
    )


EQUATIONS = [
    "bij,jk->bik",
    "bij,bjk->bik",
    "bi,bi->b",
    "bij->bji",
    "bij->bi",
    "bij,bij->bij",
    "bij,kj->bik",
    "bi,j->bij",
    "bij,bkj->bik",
    "bii->bi",
    "bijk,kl->bijl",
    "...i,ij->...j",
    "bij,bjk",
    "bij,jk,kl->bil",
    "bhij,bhjk->bhik",
    "bij,ij->b",
    "bi,bj->bij",
    "bijk->bkji",
    "bij,i->bj",
]


@maker("Einsum", 12)
def einsum(cell: Cell, name: str):
    """An equation whose letter b is the batch."""
    equation = cell.choose(EQUATIONS)
    terms = equation.split("->")[0].split(",")
    extents = {letter: cell.choose([1, 2, 3, 5, 8]) for letter in "ijklh"} | {"b": 3}
    operands = []
    for place, term in enumerate(terms):
        term = term.replace("...", "b")
        shape = [extents[letter] for letter in term]
        operands.append(cell.input(shape) if "b" in term or place == 0 else cell.weight(shape))
    cell.emit(name, operands, equation=equation)


@maker("Resize", 10)
def resize(cell: Cell, name: str):
    x = image(cell, ranks=(3, 4, 4, 4), types=("f32",))
    n = x.rank - 2
    mode = cell.choose(["nearest", "linear"] + (["cubic"] if cell.opset >= 11 and n == 2 else []))
    outputs = [cell.between(1, 2 * e + 1) for e in x.shape[2:]]
    if cell.opset == 10:
        factors = [
            1.0,
            1.0,
            *(cell.choose([1.0, 2.0, 3.0, 0.5] if min(x.shape[2:]) > 1 else [1.0, 2.0]) for _ in range(n)),
        ]
        cell.emit(name, [x, cell.stored(np.array(factors), "f32")], mode=mode)
        return
    how = cell.choose(
        [None, "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
        + (["half_pixel_symmetric"] if cell.opset >= 19 else [])
    )
    found = {"mode": mode, "coordinate_transformation_mode": how}
    if mode == "nearest":
        found["nearest_mode"] = cell.choose([None, "floor", "ceil", "round_prefer_ceil", "round_prefer_floor"])
    if mode == "cubic":
        found["cubic_coeff_a"] = cell.choose([None, -0.5])
        found["exclude_outside"] = cell.choose([None, 0, 1])
    elif cell.opset >= 18 and mode == "linear" and cell.chance(0.2):
        found["antialias"] = 1
    roi = cell.stored(np.zeros(0), "f32") if cell.opset < 13 else None
    by_sizes = cell.chance(0.5)
    axes = list(range(2, x.rank)) if cell.opset >= 18 and (cell.chance(0.4) or by_sizes and x.dynamic) else None
    lead = 0 if axes else 2
    if by_sizes:
        if x.dynamic and not axes:
            raise Skip
        sizes = [*x.shape[:lead], *outputs]
        empty = cell.stored(np.zeros(0), "f32") if cell.opset < 13 else None
        cell.emit(name, [x, roi, empty, cell.ints(sizes)], axes=axes, **found)
    else:
        factors = [1.0] * lead + [
            cell.choose([1.0, 2.0, 3.0, 0.5, 1.5, 0.75] if min(x.shape[2:]) > 1 else [1.0, 2.0, 1.5]) for _ in range(n)
        ]
        cell.emit(name, [x, roi, cell.stored(np.array(factors), "f32")], axes=axes, **found)


@maker("Upsample", 7, 9)
def upsample(cell: Cell, name: str):
    x = image(cell, ranks=(4,), types=("f32",))
    factors = [1.0, 1.0, cell.choose([1.0, 2.0, 3.0]), cell.choose([1.0, 2.0, 3.0])]
    mode = cell.choose([None, "nearest", "linear"])
    if cell.opset < 9:
        cell.emit(name, [x], mode=mode, scales=factors)
    else:
        cell.emit(name, [x, cell.stored(np.array(factors), "f32")], mode=mode)


@maker("AffineGrid", 20)
def affine_grid(cell: Cell, name: str):
    deep = cell.chance(0.3)
    theta = cell.input([3, 3, 4] if deep else [3, 2, 3])
    if theta.dynamic:
        raise Skip
    size = cell.ints([theta.shape[0], 2, *(cell.choose([1, 2, 3, 5]) for _ in range(3 if deep else 2))])
    cell.emit(name, [theta, size], align_corners=cell.choose([None, 0, 1]))


@maker("NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss", 12)
def loss(cell: Cell, name: str):
    classes = cell.choose([2, 3, 5])
    more = [cell.choose([1, 2, 3]) for _ in range(cell.between(0, 2))]
    x = cell.input([3, classes, *more])
    base = cell.input([3, *more])
    target = computed_indices(cell, base, classes)
    weight = cell.stored(cell.rng.uniform(0.3, 2, classes), "f32") if cell.chance(0.5) else None
    kinds = ["none"] if x.dynamic else ["none", "sum", "mean", None]
    ignored = cell.choose([None, None, 0, 1])
    cell.emit(name, [x, target, weight], reduction=cell.choose(kinds), ignore_index=ignored)


@maker("HannWindow HammingWindow BlackmanWindow", 17)
def window(cell: Cell, name: str):
    x = cell.pick(("f32",), rank=(1, 2, 3), test=lambda v: v.rank - 1 in v.fixed and v.shape[-1] > 1)
    y = cell.emit(name, [cell.ints(x.shape[-1])], dtypes=["f32"], periodic=cell.choose([None, 0, 1]))
    cell.emit("Mul", [x, y])
