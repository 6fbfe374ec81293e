"""The programs that are compared: graft with a time limit, and onnxruntime. Import only: it has no command line."""

import os
import pathlib
import re
import shutil
import subprocess
import time

import numpy as np
import onnxruntime
from lib import fuzz_pack
from lib.fuzz_pack import Made
from lib.graft import Failed, Graft

# Seconds after which a command hangs.
LIMIT = 300


class Crashed(Exception):
    """graft ended by a signal, or did not end."""


class LimitedGraft(Graft):
    """As Graft; a signal or a hang is no refusal."""

    def call(self, *arguments) -> str:
        start = time.time()
        try:
            done = subprocess.run(
                [self.executable, *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT
            )
        except subprocess.TimeoutExpired as error:
            raise Crashed(f"graft {arguments[0]} did not end within {LIMIT} s") from error
        self.seconds, self.told = time.time() - start, done.stderr
        if done.returncode < 0 or done.returncode > 64:
            raise Crashed(f"graft {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        if done.returncode:
            raise Failed(done.stderr.strip())
        return done.stdout


def optimize_less(folder: pathlib.Path) -> None:
    """Lets graft call clang with -O1 for -O2 from now on."""
    clang = os.environ.get("GRAFT_CLANG") or shutil.which("clang")
    script = folder.resolve() / "clang-O1"
    script.write_text(
        f'#!/bin/sh\nfor a; do shift; [ "$a" = -O2 ] && a=-O1; set -- "$@" "$a"; done\nexec {clang} "$@"\n'
    )
    script.chmod(0o755)
    os.environ["GRAFT_CLANG"] = str(script)


def refused(message: str) -> set[str]:
    """The prefixes of the cells that an error names."""
    return set(re.findall(r'"(c\d+\.)', message))


def reason(message: str) -> str:
    """The message without what differs from case to case."""
    lines = message.splitlines()
    text = next((line for line in lines if re.search(r'"c\d+\.', line)), lines[0])
    text = re.sub(r"^\s*(graft: \S+: )?(node )?\"c\d+\.\w+\"[: ]*", "", text)
    text = re.sub(r'"c\d+\.(\w)\w*"', r'"\1"', re.sub(r"%\d+", "%", text))
    text = re.sub(r"\[[-0-9N, ]*\]", "[…]", text)
    return re.sub(r"(?<![a-z])-?\d+(\.\d+)?N?", "#", text)[:150]


def session(model) -> onnxruntime.InferenceSession:
    """A session without onnxruntime's own optimizations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = model if isinstance(model, (str, bytes)) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def peers(cells: list[Made], opset: int, batches: list[int]) -> dict:
    """onnxruntime's outputs by batch and name; of the cells that it implements."""
    found = {b: {} for b in batches}
    try:
        return _outputs(cells, opset, found)
    except Exception:
        for cell in cells:
            try:
                own = _outputs([cell], opset, {b: {} for b in batches})
                for b in batches:
                    found[b] |= own[b]
            except Exception:
                continue
    return found


def _outputs(cells: list[Made], opset: int, found: dict) -> dict:
    if any(c.types[n] == "bf16" for c in cells for n in [*c.inputs[next(iter(found))], *c.outputs[next(iter(found))]]):
        # It has no way in or out for bfloat16 as an array.
        raise ValueError
    runs = session(fuzz_pack.model(cells, opset))
    names = [o.name for o in runs.get_outputs()]
    for batch in found:
        feed = {n: np.ascontiguousarray(a) for c in cells for n, a in c.inputs[batch].items()}
        found[batch] |= dict(zip(names, runs.run(names, feed)))
    return found
