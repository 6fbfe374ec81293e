"""Whether an output is what the network computes. Import only: it has no command line.

The tolerance of each element follows from how far noise of the size of rounding errors, added after every
operation, moves it: where that is far (cancellation, a step of Floor or Sign near by), so is the tolerance.
"""

import numpy as np
from lib import fuzz_truth as truth
from lib.fuzz_cell import disturbed
from lib.fuzz_pack import Made
from onnx import numpy_helper

# Errors of a few operations that the noise of one run may miss, in units in the last place.
UNITS = 16


def tolerance(expected: np.ndarray, noisy: list[np.ndarray], dtype: str) -> np.ndarray:
    """For each element the largest difference that rounding explains."""
    with np.errstate(all="ignore"):
        finite = expected[np.isfinite(expected)]
        spread = float(finite.max() - finite.min()) if finite.size else 0.0
        moved = np.max([np.abs(n - expected) for n in noisy], axis=0)
        moved = np.where(np.isnan(moved), 0, moved)
        usual = float(np.quantile(moved, 0.75)) if moved.size else 0.0
        unit = truth.UNIT[dtype] / 2
        return 32 * moved + 8 * usual + UNITS * unit * (np.abs(expected) + spread) + truth.TINY[dtype]


def differs(found: np.ndarray, expected: np.ndarray, noisy: list[np.ndarray], dtype: str) -> str:
    """Nothing, or what is wrong with `found`."""
    if found.shape != expected.shape:
        return f"shape {list(found.shape)}, not {list(expected.shape)}"
    if expected.size == 0:
        return ""
    if expected.dtype != np.float64:
        wrong = found != expected
        for n in noisy:
            wrong &= n == expected
        return f"{int(wrong.sum())} of {wrong.size} elements" if wrong.any() else ""
    unsure = np.zeros(expected.shape, bool)
    for n in noisy:
        unsure |= np.isfinite(n) != np.isfinite(expected)
    with np.errstate(all="ignore"):
        special = ~np.isfinite(expected) | ~np.isfinite(found)
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        allowed = tolerance(expected, noisy, dtype)
        off = np.where(special, ~same, ~(np.abs(found - expected) <= allowed)) & ~unsure
        if not off.any():
            return ""
        if (off & special).any():
            return f"{int((off & special).sum())} of {off.size} elements are NaN or infinite in one only"
        ratio = np.where(off, np.abs(found - expected) / np.maximum(allowed, 1e-300), 0)
        at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
        return (
            f"{int(off.sum())} of {off.size} elements, {found[at]:.9g} is not {expected[at]:.9g}"
            f" ({ratio[at]:.3g} tolerances)"
        )


def kept(array: np.ndarray, dtype: str) -> np.ndarray:
    """An array that a program wrote, as arrays are kept here."""
    if array.dtype == np.dtype("V2"):
        array = array.view(truth.NUMPY["bf16"])
    return array.astype(np.float64) if dtype in truth.FLOATS else array


def evaluate(made: Made, batch: int, opset: int, seed: int | None = None, inputs=None) -> dict:
    """Every value of the cell by name; with a seed, with noise."""
    rng = None if seed is None else np.random.default_rng(seed)
    values = {w.name: kept(numpy_helper.to_array(w), truth.NAMES[w.data_type]) for w in made.weights}
    values |= {n: kept(a, made.types[n]) for n, a in (inputs or made.inputs[batch]).items()}
    for proto in made.nodes:
        if proto.op_type == "CastLike":
            results = [truth.cast(values[proto.input[0]], truth.ONNX[made.types[proto.output[0]]])]
        else:
            results = truth.Node(proto, opset)(*(values[n] if n else None for n in proto.input))
        for name, result in zip(proto.output, results):
            values[name] = result if rng is None else disturbed(result, proto.op_type, made.types[name], rng)
    return values


class Judge:
    """Compares outputs of one cell with the truth, first with the noise of its construction, then with more."""

    def __init__(self, made: Made, opset: int):
        self.made, self.opset, self._more = made, opset, {}

    def wrong(self, name: str, found: np.ndarray, batch: int) -> str:
        expected, noisy = self.made.outputs[batch][name]
        dtype = self.made.types[name]
        if found.dtype != np.dtype("V2") and found.dtype != truth.NUMPY[dtype]:
            return f"type {found.dtype}, not {dtype}"
        found = kept(found, dtype)
        said = differs(found, expected, [noisy], dtype)
        if not said or said.startswith("shape"):
            return said
        if batch not in self._more:
            self._more[batch] = [evaluate(self.made, batch, self.opset, seed) for seed in range(12)]
        return differs(found, expected, [noisy, *(m[name] for m in self._more[batch])], dtype)

    def apart(self, name: str, found: np.ndarray, other: np.ndarray, batch: int) -> str:
        """What differs between two programs' outputs, by the same tolerance."""
        expected, noisy = self.made.outputs[batch][name]
        dtype = self.made.types[name]
        if found.shape != other.shape or found.dtype != other.dtype:
            return f"{found.dtype}{list(found.shape)}, not {other.dtype}{list(other.shape)}"
        if other.shape != expected.shape:
            return differs(kept(found, dtype), kept(other, dtype), [kept(other, dtype)], dtype)
        moved = [kept(other, dtype)] if expected.dtype != np.float64 else [kept(other, dtype) + (noisy - expected)]
        return differs(kept(found, dtype), kept(other, dtype), moved, dtype)
