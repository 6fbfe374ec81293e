"""docs/onnx-support.md from results of tools/onnx-conformance. Import only: it has no command line."""

import collections
import pathlib
import re

import onnx
from lib import conformance, conformance_probe

FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (64, 32, 16, 8)]


def _types(types: list[str]) -> str:
    """Element types in few words."""
    parts = []
    for title, group in (("floats", FLOATS), ("integers", INTEGERS), ("bool", ["bool"])):
        own = [name for name in group if name in types]
        parts += [title] if own == group else own
    return ", ".join(parts)


def render(
    results: list, probes: dict[str, conformance_probe.Probe], operators: pathlib.Path
) -> str:
    known = {}
    for row in operators.read_text().splitlines():
        if match := re.match(r"\| `(\w+)` \| .* \| (yes|—) \| (.*) \|$", row):
            for name in re.findall(r"(\w+)(?: (\d+–\d+))?(?:,|$)", match[3]):
                known[name[0]] = (match[1], name[1] or "1–28", "yes" if match[2] == "yes" else "no")
    functions = operators.read_text().rstrip().splitlines()[-1]
    for name, opsets in re.findall(r"(\w+)(?: (\d+–\d+))?[,.]", functions):
        known.setdefault(name, ("", opsets or "1–28", ""))
    lines = [
        "# ONNX support",
        "",
        "Written by `tools/onnx-conformance`, which runs ONNX's own backend tests through `graft compile` and "
        "`graft run`: those of Debian's libonnx-testdata and those of onnx "
        f"{onnx.__version__}. A test passes where all outputs agree to a relative 1e-3, as ONNX's own runner "
        "asks. Most node tests feed shapes, axes or weights as inputs of the network; Graft has to know these "
        "at compile time, and there they were made initializers.",
        "",
        "| tests | passed | refused | failed |",
        "|---|---|---|---|",
    ]
    for key in dict.fromkeys((r.set, r.folder) for r in results):
        own = collections.Counter(r.outcome for r in results if (r.set, r.folder) == key)
        lines.append(
            f"| {key[0]}: {key[1]} | {own['passed']} | {own['refused']} | {own['failed']} |")
    lines += [
        "",
        "## Operators",
        "",
        "Opsets are those of the model in which Graft reads the operator; tests are the node tests of one "
        "operator, of both sets. Operators without a row here are refused by name. Element types are those of "
        "the first operand for which Graft has kernels; floats are float32, float64, float16 and bfloat16, "
        "integers those of 8 to 64 bits with and without sign. They were found on the networks of the tests "
        "that pass, and so was whether an operator that is made of others trains; of these, some have no test that "
        "can tell.",
        "",
        "| operator | opsets | Graft's | element types | trains | tests passed | why others are refused |",
        "|---|---|---|---|---|---|---|",
    ]
    tests = collections.defaultdict(list)
    for result in results:
        if result.folder == "node" and len(result.operators) == 1:
            tests[result.operators[0]].append(result)
    for name in sorted(set(tests) | set(known)):
        own = tests[name]
        passed = sum(result.outcome == "passed" for result in own)
        if name not in known and passed == 0:
            continue
        opcode, opsets, trains = known.get(name, ("", "1–28", ""))
        found = probes.get(name)
        types = _types(found.types) if found else ""
        trains = trains or ("yes" if found and found.trains else "")
        reasons = collections.Counter(
            re.sub(rf"^{name}: ", "", r.reason) for r in own if r.outcome == "refused")
        text = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(2))
        lines.append(
            f"| {name} | {opsets} | {f'`{opcode}`' if opcode else 'others'} | {types} | {trains} | {passed} of {len(own)} | "
            + text.replace("|", "\\|") + " |")
    refused = sorted(name for name in tests if name not in known
                     and not any(r.outcome == "passed" for r in tests[name]))
    lines += ["", "## Refused by name", "", ", ".join(refused) + ".", ""]
    return "\n".join(lines)
