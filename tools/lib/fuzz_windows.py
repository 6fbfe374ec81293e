"""Convolutions and pools in float64, of any number of spatial axes. Import only: it has no command line."""

import copy
import itertools

import numpy as np


def window(node, spatial: tuple, kernel: tuple):
    """Strides, dilations, begins, ends and output extents of a convolution or pool."""
    n = len(kernel)
    strides = node.get("strides") or [1] * n
    dilations = node.get("dilations") or [1] * n
    pads = list(node.get("pads") or [0] * 2 * n)
    mode = node.get("auto_pad", "NOTSET")
    outputs = []
    for i in range(n):
        reach = (kernel[i] - 1) * dilations[i] + 1
        if mode.startswith("SAME"):
            out = -(-spatial[i] // strides[i])
            total = max(0, (out - 1) * strides[i] + reach - spatial[i])
            pads[i] = (total + (mode == "SAME_LOWER")) // 2
            pads[i + n] = total - pads[i]
        elif mode == "VALID":
            pads[i] = pads[i + n] = 0
        span = spatial[i] + pads[i] + pads[i + n] - reach
        out = span // strides[i] + 1
        if node.get("ceil_mode", 0):
            out = -(-span // strides[i]) + 1
            if (out - 1) * strides[i] >= spatial[i] + pads[i]:
                out -= 1
        outputs.append(out)
    return strides, dilations, pads[:n], pads[n:], outputs


def patches(x: np.ndarray, node, kernel: tuple, fill: float):
    """x [n, c, s…] → its windows [n, c, outputs…, kernel…] with `fill` outside."""
    n = len(kernel)
    strides, dilations, begins, ends, outputs = window(node, x.shape[2:], kernel)
    reach = [(outputs[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(n)]
    after = [max(0, reach[i] - begins[i] - x.shape[2 + i]) for i in range(n)]
    padded = np.pad(x, [(0, 0), (0, 0), *zip(begins, after)], constant_values=fill)
    s = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        (*x.shape[:2], *outputs, *kernel),
        (*s[:2], *(s[2 + i] * strides[i] for i in range(n)), *(s[2 + i] * dilations[i] for i in range(n))),
    )


def conv(node, x, w, b=None):
    """Conv: x [n, c, s…], w [o, c / groups, k…]."""
    n, groups = w.ndim - 2, node.get("group", 1)
    seen = patches(x, node, w.shape[2:], 0.0)
    seen = seen.reshape(x.shape[0], groups, -1, *seen.shape[2:])
    grouped = w.reshape(groups, -1, *w.shape[1:])
    space, taps = "wxyz"[:n], "ijk"[:n]
    y = np.einsum(f"ngc{space}{taps},goc{taps}->ngo{space}", seen, grouped, optimize=True)
    y = y.reshape(x.shape[0], -1, *y.shape[3:])
    return y if b is None else y + b.reshape(-1, *[1] * n)


def conv_transpose(node, x, w, b=None):
    """ConvTranspose: x [n, c, s…], w [c, o / groups, k…]: every tap of the kernel adds a strided image."""
    n, groups = w.ndim - 2, node.get("group", 1)
    kernel, strides = w.shape[2:], node.get("strides") or [1] * n
    dilations, more = node.get("dilations") or [1] * n, node.get("output_padding") or [0] * n
    whole = [(x.shape[2 + i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 + more[i] for i in range(n)]
    begins, outputs = _transposed_pads(node, x.shape[2:], strides, whole)
    parts = x.reshape(x.shape[0], groups, -1, *x.shape[2:])
    taps = w.reshape(groups, -1, *w.shape[1:])
    y = np.zeros((x.shape[0], groups, w.shape[1], *whole))
    for tap in itertools.product(*map(range, kernel)):
        at = tuple(slice(t * d, t * d + (e - 1) * s + 1, s) for t, d, e, s in zip(tap, dilations, x.shape[2:], strides))
        y[(..., *at)] += np.einsum("ngc...,gco->ngo...", parts, taps[(..., *tap)])
    y = y.reshape(x.shape[0], -1, *whole)
    pads = [(0, 0), (0, 0)] + [(max(0, -b), max(0, b + o - e)) for b, o, e in zip(begins, outputs, whole)]
    y = np.pad(y, pads)
    y = y[(..., *(slice(max(0, b), max(0, b) + o) for b, o in zip(begins, outputs)))]
    return y if b is None else y + b.reshape(-1, *[1] * n)


def _transposed_pads(node, extents: tuple, strides: list, whole: list):
    """What a transposed convolution takes off at the beginning of each axis, and what is left."""
    n, mode = len(whole), node.get("auto_pad", "NOTSET")
    stated = node.get("output_shape")
    if stated is None and mode in ("NOTSET", "VALID"):
        pads = (node.get("pads") if mode == "NOTSET" else None) or [0] * 2 * n
        return pads[:n], [e - pads[i] - pads[i + n] for i, e in enumerate(whole)]
    outputs = list(stated[-n:]) if stated is not None else [e * s for e, s in zip(extents, strides)]
    begins = []
    for e, o in zip(whole, outputs):
        total = max(0, e - o)
        # The larger half is at the end for SAME_UPPER, else at the beginning.
        begins.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
    return begins, outputs


def max_pool(node, x):
    """MaxPool; the indices are not made."""
    if len(node.proto.output) > 1:
        return None
    kernel = tuple(node.get("kernel_shape"))
    return patches(x, node, kernel, -np.inf).max(axis=tuple(range(-len(kernel), 0)))


def average_pool(node, x):
    """AveragePool: with count_include_pad it counts the pads, never what ceil_mode adds."""
    kernel = tuple(node.get("kernel_shape"))
    axes = tuple(range(-len(kernel), 0))
    counted = np.ones((1, 1, *x.shape[2:]))
    if node.get("count_include_pad", 0):
        _, _, begins, ends, _ = window(node, x.shape[2:], kernel)
        padded = np.pad(np.ones_like(counted), [(0, 0), (0, 0), *zip(begins, ends)], constant_values=1)
        crop = copy.copy(node)
        crop.attributes = node.attributes | {"pads": [0] * 2 * len(kernel), "auto_pad": "NOTSET"}
        outputs = patches(x, node, kernel, 0.0).shape[2 : 2 + len(kernel)]
        counts = patches_to(padded, crop, kernel, outputs).sum(axis=axes)
    else:
        counts = patches(counted, node, kernel, 0.0).sum(axis=axes)
    return patches(x, node, kernel, 0.0).sum(axis=axes) / counts


def patches_to(x: np.ndarray, node, kernel: tuple, outputs: tuple):
    """As `patches`, of an image that has its pads, for a given number of windows."""
    strides, dilations, *_ = window(node, x.shape[2:], kernel)
    reach = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(outputs, strides, kernel, dilations)]
    padded = np.pad(x, [(0, 0), (0, 0), *((0, max(0, r - e)) for r, e in zip(reach, x.shape[2:]))])
    s = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        (*x.shape[:2], *outputs, *kernel),
        (*s[:2], *(a * b for a, b in zip(s[2:], strides)), *(a * b for a, b in zip(s[2:], dilations))),
    )


def lp_pool(node, x):
    kernel, p = tuple(node.get("kernel_shape")), node.get("p", 2)
    powers = np.abs(patches(x, node, kernel, 0.0)) ** p
    return powers.sum(axis=tuple(range(-len(kernel), 0))) ** (1 / p)
