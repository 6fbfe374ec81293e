"""What `benchmark-peers` measures without --finetune. Import only: it has no command line.

A measurement is one network at one batch and number of threads, by all contenders. Each has a file
of raw results that is written after every run, in a folder that belongs to this machine, this build of
Graft and these versions of the peers: what was interrupted goes on, and the table is made of all that
is there.
"""

import argparse
import hashlib
import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from lib import benchmark, inference_report, inputs, networks, performance_page
from lib.graft import Failed, Graft

PEERS = ["onnxruntime", "openvino", "ncnn"]
# What is measured beside the peers themselves decides their speed as well.
VERSIONED = [*PEERS, "pnnx"]
NETWORKS = ["resnet18", "resnet50", "vgg16", "resnet34", "resnet101", "vgg11", "vgg16_bn", "vgg19"]
NETWORKS += ["alexnet", "mobilenet_v2", "shufflenet_v2_x1_0", "squeezenet1_1", "googlenet"]
NETWORKS += ["inception_v3", "densenet121", "resnet20"]
# Batch and threads; resnet20's pictures are 32 x 32.
SETTINGS = [(1, 1), (1, 2), (8, 2)]
SMALL_SETTINGS = [(1, 1), (1, 2), (64, 2)]
# Of what unlike pictures make to the output: beyond float32's rounding in any order, below reduced
# precision's and any wrong kernel's.
TOLERANCE = 1e-3


def settings(network: str) -> list[tuple[int, int]]:
    """The batches and threads at which a network is measured where nothing else is asked for."""
    return SMALL_SETTINGS if network == "resnet20" else SETTINGS


def carry_out(arguments: argparse.Namespace, page: pathlib.Path | None) -> None:
    """Everything that the command line asks for; `page` is where table and chart go."""
    peers = PEERS if arguments.peers is None else arguments.peers
    if unknown := set(peers) - set(PEERS):
        sys.exit(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    names = arguments.networks or NETWORKS
    inference = Inference(arguments.graft, arguments.work, peers, arguments.seconds)
    if arguments.prepare:
        for network in names:
            for contender in inference.contenders:
                try:
                    inference.prepare(contender, network)
                except Failed as error:
                    print(f"{network}: {contender}: {error}", flush=True)
            print(f"{network}: ready", flush=True)
        return
    inference.measure_peak()
    for network in names:
        for batch, threads in arguments.settings or settings(network):
            record = inference.measure(network, batch, threads, arguments.rounds)
            print(inference_report.line(record), flush=True)
    records = inference.records()
    text = inference_report.table(records, inference.peak())
    print(text)
    if page:
        _publish(inference, records, text, page)


def _publish(inference: "Inference", records: list[dict], text: str, page: pathlib.Path) -> None:
    """The text into the page, in the place of this kind of machine, and the chart beside it."""
    kind = performance_page.kind()
    what = [f"{p} {v}" for p, v in inference.versions.items() if p in PEERS]
    what.append(f"a core's peak {inference.peak():.0f} GFLOP/s")
    errors = inference_report.largest_errors(records)
    worst = ", ".join(f"{inference_report.NAMES[c]} {e:.0e}" for c, e in errors.items())
    parts = [
        performance_page.conditions("; ".join(what), *inference_report.rounds(records)),
        text,
        f"Largest difference from onnxruntime's output, as a share of the spread: {worst}.",
    ]
    if busy := inference_report.busy_runs(records):
        parts.append(f"{busy} runs began while the machine was busy with something else.")
    parts += missing(records)
    picture = page.with_name(f"inference-{kind}.png")
    title = f"Inference at batch 1 on 2 threads, {performance_page.processor()}"
    if inference_report.chart(records, picture, title):
        parts.append(
            f"![Graft's time as a share of its peers', batch 1, 2 threads]({picture.name})"
        )
    performance_page.replace(page, f"inference {kind}", "\n\n".join(parts))


def missing(records: list[dict]) -> list[str]:
    """A line with what of the usual was not measured; none where all was."""
    done = {(r["network"], r["batch"], r["threads"]) for r in records}
    lacking: dict[str, list[str]] = {}
    for network in NETWORKS:
        places = [f"{b}/{t}" for b, t in settings(network) if (network, b, t) not in done]
        if places:
            lacking.setdefault(" and ".join(places), []).append(network)
    texts = [f"at {places} {', '.join(names)}" for places, names in lacking.items()]
    return [f"Not measured (batch/threads): {'; '.join(texts)}."] if texts else []


class Inference:
    """The contenders on this machine, their files and their results in `work`."""

    def __init__(self, graft: str, work: pathlib.Path, peers: list[str], seconds: float):
        self.graft, self.seconds = Graft(graft), seconds
        self.contenders = ["graft", *peers]
        self.models = work / "models"
        digest = hashlib.sha256(pathlib.Path(graft).read_bytes()).hexdigest()
        self.versions = {name: _version(name) for name in VERSIONED}
        conditions = {"machine": performance_page.processor(), "graft": digest, **self.versions}
        key = hashlib.sha256(json.dumps(conditions).encode()).hexdigest()[:12]
        self.folder = work / f"inference-{key}"
        for folder in (self.models, self.folder):
            folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "conditions.json").write_text(json.dumps(conditions, indent=1))

    # Files

    def prepare(self, contender: str, network: str) -> pathlib.Path:
        """The file or bundle that a contender runs, made where it is not there yet."""
        model = self.models / f"{_stem(network)}.onnx"
        networks.prepare(_stem(network), self.models)
        if contender == "graft":
            bundle = self.folder / f"{network}.graft"
            if not bundle.exists():
                self.graft.call("compile", model, "-o", bundle)
            return bundle
        if contender == "ncnn":
            converted = self.models / f"{network}.ncnn-{self.versions['pnnx']}"
            if not converted.with_name(f"{converted.name}.bin").exists():
                _convert(model, converted, inputs_of(self.models, network)[0][:1].shape)
            return converted
        return model

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
        networks.prepare(_stem(network), self.models)
        model = self.models / f"{_stem(network)}.onnx"
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
            "contenders": {},
        }

    def _run(self, contender: str, entry: dict, record: dict) -> dict:
        """One process of one contender, its output compared before it is timed."""
        network, batch, threads = record["network"], record["batch"], record["threads"]
        file = self.prepare(contender, network)
        pictures, expected = inputs_of(self.models, network, batch)
        spread = inputs.spread(inputs_of(self.models, network)[1])
        if contender == "graft":
            if "error" not in entry:
                (output,) = self.graft.run(
                    file, {record["input"]: pictures}, "--threads", threads
                ).values()
                entry["error"] = float(abs(output - expected).max()) / spread
            _hold(entry["error"])
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
            "tolerance": TOLERANCE,
            "threads": threads,
            "seconds": self.seconds,
        }
        quiet = benchmark.settle()
        run = benchmark.run_module("lib.peer_inference", job, self.folder)
        entry["error"] = max(entry.get("error", 0), run["error"])
        _hold(run["error"])
        kept = ("median_ms", "min_ms", "runs", "before_bytes", "peak_bytes")
        return {**{key: run[key] for key in kept}, "quiet": quiet}

    # What came of it

    def records(self) -> list[dict]:
        """All measurements of this machine, build and versions, in the order of NETWORKS."""
        found = [json.loads(path.read_text()) for path in self.folder.glob("*-b*-t*.json")]
        order = {name: index for index, name in enumerate(NETWORKS)}

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


def inputs_of(models: pathlib.Path, network: str, batch: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A batch of the four pictures, repeated as needed, and onnxruntime's outputs for them."""
    names = [models / f"{_stem(network)}.{part}" for part in ("b1", "b3")]
    given, expected = (
        np.concatenate([np.load(f"{name}.{kind}.npy") for name in names])
        for kind in ("input", "expected")
    )
    chosen = np.arange(batch) % len(given)
    return given[chosen], expected[chosen]


def _stem(network: str) -> str:
    return network if network == "resnet20" else f"{network}-opset17"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _hold(error: float) -> None:
    if not error <= TOLERANCE:  # nor NaN
        raise Failed(f"wrong: its output is {error:.1e} of the spread off onnxruntime's")


def _convert(model: pathlib.Path, to: pathlib.Path, shape: tuple[int, ...]) -> None:
    """ONNX to ncnn's two files in float32, which are put at `to` with .param and .bin added."""
    program = pathlib.Path(sys.executable).with_name("pnnx")
    if not program.exists():
        raise Failed("pnnx, which converts networks for it, is not installed")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(model, f"{folder}/model.onnx")
        extents = ",".join(map(str, shape))
        command = [program, "model.onnx", f"inputshape=[{extents}]", "fp16=0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        made = [pathlib.Path(folder, f"model.ncnn.{kind}") for kind in ("param", "bin")]
        if done.returncode != 0 or not all(file.exists() for file in made):
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise Failed(f"pnnx cannot convert it: {said[-1] if said else done.returncode}")
        for file in made:
            shutil.move(file, f"{to}{file.suffix}")
