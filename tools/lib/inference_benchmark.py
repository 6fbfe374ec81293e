"""What `benchmark-peers` measures without --finetune. Import only: it has no command line.

A measurement is one network at one batch and number of threads, by all contenders of a precision. Each
has a file of raw results that is written after every run, in the folder of lib/contender_files.py: what
was interrupted goes on, and the table is made of all that is there.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
from lib import benchmark, inference_report, inputs, ort, performance_page
from lib.contender_files import GRAFT_FLOAT32, INT8, PRECISIONS, Files, Precision
from lib.graft import Failed

# Of what unlike pictures make to the output: beyond float32's rounding in any order, below reduced
# precision's and any wrong kernel's.
TOLERANCE = 1e-3
# In int8 nothing is exact: as much as twice onnxruntime's own error on the same pictures, and this where
# that is smaller. A wrong kernel's error is about 1.
INT8_TOLERANCE = 0.05


def carry_out(arguments: argparse.Namespace, page: pathlib.Path | None) -> None:
    """Everything that the command line asks for; `page` is where table and chart go."""
    precision = PRECISIONS[arguments.precision]
    peers = precision.peers if arguments.peers is None else arguments.peers
    if unknown := set(peers) - set(precision.peers):
        known = ", ".join(precision.peers)
        sys.exit(f"no peer {', '.join(sorted(unknown))} in {precision.name}; there are {known}")
    names = arguments.networks or precision.networks
    files = Files(arguments.graft, arguments.work, precision, performance_page.processor())
    inference = Inference(files, peers, arguments.seconds)
    if arguments.prepare:
        for network in names:
            for contender in inference.contenders:
                try:
                    files.prepare(contender, network)
                except Failed as error:
                    print(f"{network}: {contender}: {error}", flush=True)
            print(f"{network}: ready", flush=True)
        return
    inference.measure_peak()
    for network in names:
        for batch, threads in arguments.settings or precision.settings(network):
            record = inference.measure(network, batch, threads, arguments.rounds)
            print(inference_report.line(record), flush=True)
    records = inference.records()
    text = inference_report.table(records, precision, inference.peak())
    print(text)
    if page:
        _publish(inference, records, text, page)


def _publish(inference: "Inference", records: list[dict], text: str, page: pathlib.Path) -> None:
    """The text into the page, in the place of this kind of machine, and the chart beside it."""
    kind = performance_page.kind()
    precision = inference.precision
    quantized = precision is INT8
    shown = [*precision.peers, "nncf"]
    what = [f"{p} {v}" for p, v in inference.files.versions.items() if p in shown]
    what.append(f"a core's peak {inference.peak():.0f} GFLOP/s")
    # In float32 onnxruntime is what the others are compared with.
    errors = inference_report.largest_errors(records, [] if quantized else ["onnxruntime"])
    worst = ", ".join(f"{inference_report.NAMES[c]} {e:.0e}" for c, e in errors.items())
    reference = "onnxruntime's float32 output" if quantized else "onnxruntime's output"
    parts = [
        performance_page.conditions("; ".join(what), *inference_report.rounds(records)),
        text,
        f"Largest difference from {reference}, as a share of the spread: {worst}.",
    ]
    if busy := inference_report.busy_runs(records):
        parts.append(f"{busy} runs began while the machine was busy with something else.")
    parts += missing(records, precision)
    picture = page.with_name(f"{precision.part}-{kind}.png")
    title = f"{precision.title} at batch 1 on 2 threads, {performance_page.processor()}"
    if inference_report.chart(records, precision, picture, title):
        parts.append(
            f"![Graft's time as a share of its peers', batch 1, 2 threads]({picture.name})"
        )
    performance_page.replace(page, f"{precision.part} {kind}", "\n\n".join(parts))


def missing(records: list[dict], precision: Precision) -> list[str]:
    """A line with what of the usual was not measured; none where all was."""
    done = {(r["network"], r["batch"], r["threads"]) for r in records}
    lacking: dict[str, list[str]] = {}
    for network in precision.networks:
        places = [f"{b}/{t}" for b, t in precision.settings(network) if (network, b, t) not in done]
        if places:
            lacking.setdefault(" and ".join(places), []).append(network)
    texts = [f"at {places} {', '.join(names)}" for places, names in lacking.items()]
    return [f"Not measured (batch/threads): {'; '.join(texts)}."] if texts else []


class Inference:
    """The contenders on this machine and their results."""

    def __init__(self, files: Files, peers: list[str], seconds: float):
        self.files, self.precision, self.seconds = files, files.precision, seconds
        self.graft, self.folder = files.graft, files.folder
        self.contenders = [*self.precision.own, *peers]

    # Measuring

    def measure(self, network: str, batch: int, threads: int, rounds: int) -> dict:
        """One measurement's results, with the rounds that were missing; written as they come."""
        path = self.folder / f"{network}-b{batch}-t{threads}.json"
        if path.exists():
            record = json.loads(path.read_text())
        else:
            record = self._record(network, batch, threads)
        failed: set[str] = set()
        for number, contender in benchmark.turns(rounds, self.contenders):
            entry = record["contenders"].setdefault(contender, {"rounds": []})
            if contender in failed or ("failed" not in entry and len(entry["rounds"]) > number):
                continue
            try:
                entry["rounds"].append(self._run(contender, entry, record))
                entry.pop("failed", None)
            except Failed as error:
                entry["failed"] = str(error)
                failed.add(contender)
            path.write_text(json.dumps(record, indent=1))
        return record

    def _record(self, network: str, batch: int, threads: int) -> dict:
        model = self.files.network(network)
        graph = self.graft.json("dump", model, "--stage", "import", "--format", "json")
        counted = ("convolution", "gemm", "matmul")
        return {
            "network": network,
            "batch": batch,
            "threads": threads,
            "multiply_adds": sum(
                node.get("multiply_adds", 0) for node in graph["nodes"] if node["opcode"] in counted
            ),
            "input": graph["inputs"][0]["name"],
            "tolerance": self._tolerance(network, batch),
            "contenders": {},
        }

    def _tolerance(self, network: str, batch: int) -> float:
        """The largest error of a contender that is timed."""
        if self.precision is not INT8:
            return TOLERANCE
        try:
            session = ort.Session(self.files.prepare("onnxruntime", network))
        except Failed:
            return INT8_TOLERANCE
        pictures, expected = self.files.inputs_of(network, batch)
        error = float(abs(session.run_each(pictures) - expected).max())
        return max(INT8_TOLERANCE, 2 * error / self._spread(network))

    def _spread(self, network: str) -> float:
        return inputs.spread(self.files.inputs_of(network)[1])

    def _run(self, contender: str, entry: dict, record: dict) -> dict:
        """One process of one contender, its output compared before it is timed."""
        network, batch, threads = record["network"], record["batch"], record["threads"]
        file = self.files.prepare(contender, network)
        pictures, expected = self.files.inputs_of(network, batch)
        spread = self._spread(network)
        exact = contender == GRAFT_FLOAT32
        tolerance = TOLERANCE if exact else record.get("tolerance", TOLERANCE)
        if contender in self.precision.own:
            if "error" not in entry:
                (output,) = self.graft.run(
                    file, {record["input"]: pictures}, "--threads", threads
                ).values()
                entry["error"] = float(abs(output - expected).max()) / spread
            _hold(entry["error"], tolerance)
            quiet = benchmark.settle()
            options = ("--batch", batch, "--threads", threads, "--seconds", self.seconds, "--json")
            run = benchmark.run([self.graft.executable, "bench", file, *options], threads)
            figures = json.loads(run["output"])
            return {**figures, "peak_bytes": run["peak_bytes"], "quiet": quiet}
        np.save(self.folder / "input.npy", pictures)
        np.save(self.folder / "expected.npy", expected)
        job = {
            "peer": contender,
            "model": str(file),
            "input": str(self.folder / "input.npy"),
            "expected": str(self.folder / "expected.npy"),
            "spread": spread,
            "tolerance": tolerance,
            "threads": threads,
            "seconds": self.seconds,
        }
        quiet = benchmark.settle()
        run = benchmark.run_module("lib.peer_inference", job, self.folder)
        entry["error"] = max(entry.get("error", 0), run["error"])
        _hold(run["error"], tolerance)
        kept = ("median_ms", "min_ms", "runs", "before_bytes", "peak_bytes")
        return {**{key: run[key] for key in kept}, "quiet": quiet}

    # What came of it

    def records(self) -> list[dict]:
        """All measurements of this machine, build and versions, in the networks' order."""
        found = [json.loads(path.read_text()) for path in self.folder.glob("*-b*-t*.json")]
        order = {name: index for index, name in enumerate(self.precision.networks)}

        def place(record: dict) -> tuple:
            name = record["network"]
            return order.get(name, len(order)), name, record["batch"], record["threads"]

        return sorted(found, key=place)

    def peak(self) -> float:
        """The most GFLOP/s seen of one core."""
        path = self.folder / "peak.json"
        return json.loads(path.read_text()) if path.exists() else 0.0

    def measure_peak(self) -> None:
        """Looks once more: a virtual machine's clock is not always the same."""
        benchmark.settle()
        limits = self.graft.json("bench", "--machine", "--threads", 1, "--json")
        (self.folder / "peak.json").write_text(json.dumps(max(self.peak(), limits["gflops"])))


def _hold(error: float, tolerance: float) -> None:
    if not error <= tolerance:  # nor NaN
        raise Failed(
            f"wrong: its output is {error:.1e} of the spread off onnxruntime's float32 output, "
            f"at most {tolerance:.1e} is right"
        )
