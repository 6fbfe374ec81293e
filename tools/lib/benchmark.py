"""What the benchmarks have in common: a quiet machine, a process for each run, turns.

Import only: it has no command line.
"""

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

from lib.graft import Failed

TOOLS = pathlib.Path(__file__).resolve().parents[1]


def settle() -> bool:
    """Waits until the machine does little else, at most a minute; whether that came about."""
    return any(_busy(0.25) < 0.1 for _ in range(240))


def _busy(seconds: float) -> float:
    """The share of the cores' time that is not idle during the next `seconds`."""

    def ticks() -> list[int]:
        with open("/proc/stat") as file:
            return [int(field) for field in file.readline().split()[1:9]]

    before = ticks()
    time.sleep(seconds)
    passed = [after - first for after, first in zip(ticks(), before)]
    return 1 - sum(passed[3:5]) / max(1, sum(passed))  # idle, and waiting for a disk


def turns(rounds: int, contenders: list[str]) -> Iterator[tuple[int, str]]:
    """Round and contender, each round beginning with the next contender."""
    for number in range(rounds):
        first = number % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            yield number, contender


def run(command: list, threads: int) -> dict:
    """One command, waited for: its `seconds`, `peak_bytes` and standard `output`."""
    launcher = [sys.executable, "-S", TOOLS / "lib/measured_process.py"]
    done = subprocess.run(
        [*map(str, launcher), *map(str, command)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        cwd=TOOLS,
    )
    if done.returncode != 0:
        said = done.stderr.strip()[-2000:]
        raise Failed(said or f"{command[0]} exited with {done.returncode} and said nothing")
    return json.loads(done.stdout)


def run_module(module: str, job: dict, work: pathlib.Path) -> dict:
    """One run of a module of tools/lib that reads `job` from a file and prints a JSON object.

    What it prints stands above what was measured from outside.
    """
    path = work / "job.json"
    path.write_text(json.dumps(job))
    measured = run([sys.executable, "-m", module, path], job["threads"])
    return {**measured, **json.loads(measured["output"].splitlines()[-1])}
