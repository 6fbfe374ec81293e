"""What is known to differ and is not Graft's fault, and findings that are still open.

Import only: it has no command line.
"""

from lib.fuzz_pack import Made

# Operator, condition on the node and the opset, reason. Where a cell has such a node and only the named
# program differs, that is no difference; Graft is compared with the other.
FAULTS = {
    "onnxruntime": [
        ("MaxPool", lambda n, *_: _same_and_dilated(n), "auto_pad SAME takes the kernel without its dilations"),
        ("AveragePool", lambda n, *_: _same_and_dilated(n), "auto_pad SAME takes the kernel without its dilations"),
        ("LpPool", lambda n, *_: _same_and_dilated(n), "auto_pad SAME takes the kernel without its dilations"),
        (
            "LpPool",
            lambda n, *_: attribute(n, "auto_pad", "").startswith("SAME"),
            "auto_pad SAME crops where the stride is larger than the kernel",
        ),
        (
            "Resize",
            lambda n, *_: attribute(n, "mode", "nearest") == "nearest",
            "nearest takes coordinates in float32, which may lie on the other side of a whole number",
        ),
        (
            "AffineGrid",
            lambda n, *_: attribute(n, "align_corners", 0) == 1,
            "align_corners puts an axis of one element at 1; PyTorch, which the specification cites, at 0",
        ),
        (
            "Resize",
            lambda n, *_: attribute(n, "coordinate_transformation_mode") == "align_corners" and len(n.input) < 4,
            "align_corners takes the resized length as a whole number, not input times scale",
        ),
        (
            "Shrink",
            lambda n, _, types: types[n.input[0]] == "f64",
            "float64 is computed in float32",
        ),
        ("ReduceLogSumExp", lambda *_: True, "infinite above 88, where the exponential overflows"),
    ],
    "reference": [
        (
            "Resize",
            lambda n, *_: attribute(n, "coordinate_transformation_mode") == "pytorch_half_pixel",
            "pytorch_half_pixel of one element reads at -1/2, not at 0",
        ),
    ],
}


# Words of onnxruntime's refusals of valid exports.
REFUSALS = {
    "Pad should be smaller than kernel": "pools with pads of the kernel's size, which dilated ones may need",
}

# Conditions that are left out while their finding is open: name → condition on a cell and the opset.
OPEN_FINDINGS = {}


def attribute(node, name, default=None):
    for a in node.attribute:
        if a.name == name:
            from onnx import helper

            value = helper.get_attribute_value(a)
            return value.decode() if isinstance(value, bytes) else value
    return default


def _same_and_dilated(node) -> bool:
    return attribute(node, "auto_pad", "").startswith("SAME") and max(attribute(node, "dilations", [1])) > 1


def excuses(program: str, made: Made, opset: int) -> str:
    """The reason why a difference of `program` is known; nothing if it is not."""
    for operator, condition, reason in FAULTS[program]:
        if any(n.op_type == operator and condition(n, opset, made.types) for n in made.nodes):
            return f"{program}: {operator}: {reason}"
    return ""


def is_open(made: Made, opset: int) -> str:
    """The name of the open finding that the cell would show again."""
    return next((name for name, holds in OPEN_FINDINGS.items() if holds(made, opset)), "")


# Words of errors that no valid network should cause, and of those that are open findings.
INTERNAL_ERRORS = [
    "inconsistency",
    "a bug",
    "clang",
    "while running the pass",
    "has role",
    "operands must have one type",
]
OPEN_ERRORS = {}


def is_fault(said: str) -> bool:
    """Whether an error is a finding, not a refusal."""
    return any(word in said for word in INTERNAL_ERRORS) and not any(word in said for word in OPEN_ERRORS)
