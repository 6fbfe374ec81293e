"""What `benchmark-peers --finetune` measures. Import only: it has no command line."""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess

import onnx
import torch
from lib import benchmark, families, networks, onnx_export, performance_page, photographs, zoo
from lib.resnet20 import ResNet20
from onnx import numpy_helper

# Name, network, options, and whether a run as a whole or one of its steps is compared.
JOBS = [
    ("head only", "resnet18", {"unfreeze": "none", "bn": "frozen", "epochs": 10}, "run"),
    ("layer4 unfrozen", "resnet18", {"unfreeze": "layer4", "bn": "frozen", "epochs": 10}, "run"),
    ("everything", "resnet18", {"unfreeze": "all", "bn": "train", "epochs": 3}, "step"),
    ("everything", "resnet20", {"unfreeze": "all", "bn": "train", "epochs": 3}, "step"),
    ("head only", "convnext_tiny", {"unfreeze": "none", "bn": "frozen", "epochs": 10}, "run"),
    ("last stage unfrozen", "convnext_tiny", {"unfreeze": "features.7", "bn": "frozen", "epochs": 3}, "step"),
    ("everything", "convnext_tiny", {"unfreeze": "all", "bn": "frozen", "epochs": 2}, "step"),
    ("head only", "vit_b_16", {"unfreeze": "none", "bn": "frozen", "epochs": 10}, "run"),
    ("two blocks unfrozen", "vit_b_16",
     {"unfreeze": "encoder.layers.encoder_layer_10", "bn": "frozen", "epochs": 3}, "step"),
    ("everything", "vit_b_16", {"unfreeze": "all", "bn": "frozen", "epochs": 2}, "step"),
]
BATCHES = {"resnet18": 32, "resnet20": 100, "convnext_tiny": 16, "vit_b_16": 16}
PICTURES = {"resnet18": 400, "resnet20": 2000, "convnext_tiny": 96, "vit_b_16": 96}


def carry_out(arguments: argparse.Namespace, page: pathlib.Path | None) -> None:
    """Everything that the command line asks for; `page` is where the table goes."""
    names = arguments.networks or list(BATCHES)
    rows = measure(arguments.graft, arguments.work, arguments.threads, arguments.rounds, names)
    print(table(rows))
    if page:
        what = f"{arguments.threads} threads; PyTorch {torch.__version__}"
        conditions = performance_page.conditions(what, arguments.rounds, arguments.rounds)
        performance_page.replace(page, "finetune", f"{conditions}\n\n{table(rows)}")


def prepare(name: str, graft: str, work: pathlib.Path) -> None:
    """Weights for PyTorch, a bundle for Graft, and data for both."""
    if name == "resnet20":
        model = onnx.load(networks.RESNET20)
        tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        network = ResNet20()
        state = network.state_dict()
        for key in state:
            if key in tensors:
                state[key] = torch.from_numpy(tensors[key].copy())
        network.load_state_dict(state)
        shutil.copyfile(networks.RESNET20, work / f"{name}.onnx")
    else:
        if name in families.ALL:
            network, example = families.seed(name)
        else:
            network, example = zoo.seed(name), torch.zeros(2, 3, zoo.size(name), zoo.size(name))
        onnx_export.export(network, example, str(work / f"{name}.onnx"), 17, "constants")
    torch.save(network.state_dict(), work / f"{name}.pth")
    preset = "cifar10" if name == "resnet20" else "imagenet"
    command = [graft, "compile", work / f"{name}.onnx", "-o", work / f"{name}.graft"]
    subprocess.run([*map(str, command), "--preprocess", preset], check=True, capture_output=True)
    data = work / f"{name}-data"
    if name == "resnet20":
        photographs.make_small(data, PICTURES[name])
    else:
        photographs.make(data, PICTURES[name])


def own(graft: str, specification: dict, work: pathlib.Path) -> dict:
    """One run of Graft: the process as a whole."""
    output, metrics = work / "tuned.graft", work / "metrics.jsonl"
    command = [
        *(graft, "finetune", work / f"{specification['network']}.graft"),
        *("--data", specification["data"], "-o", output, "--val-split", 0),
        *("--unfreeze", specification["unfreeze"], "--bn", specification["bn"]),
        *("--epochs", specification["epochs"], "--batch-size", specification["batch"]),
        *("--lr", 0.001, "--schedule", "constant", "--threads", specification["threads"]),
        *("--metrics", metrics),
    ]
    measured = benchmark.run(command, specification["threads"])
    epochs = [json.loads(line) for line in metrics.read_text().splitlines()]
    # As PyTorch's: full batches of every epoch but the first, at the epoch's rate.
    steps = [specification["batch"] / epoch["images_per_second"] for epoch in epochs[1:]]
    shutil.rmtree(output)
    return {
        **measured,
        "step_seconds": steps,
        "loss": epochs[-1]["loss"],
    }


def measure(graft: str, work: pathlib.Path, threads: int, rounds: int, names: list[str]) -> list:
    """Every job's rows: medians over rounds in which the two take turns."""
    rows = []
    for network in dict.fromkeys(job[1] for job in JOBS if job[1] in names):
        prepare(network, graft, work)
    for label, network, settings, kind in JOBS:
        if network not in names:
            continue
        specification = {
            "network": network,
            "weights": str(work / f"{network}.pth"),
            "data": str(work / f"{network}-data"),
            "batch": BATCHES[network],
            "threads": threads,
            **settings,
        }
        graft_runs, torch_runs = [], []
        for _, contender in benchmark.turns(rounds, ["graft", "torch"]):
            benchmark.settle()
            if contender == "graft":
                graft_runs.append(own(graft, specification, work))
            else:
                torch_runs.append(benchmark.run_module("lib.peer_training", specification, work))
        key = "seconds" if kind == "run" else "step_seconds"
        times = [
            statistics.median(
                run[key] if kind == "run" else statistics.median(run[key]) for run in runs
            )
            for runs in (graft_runs, torch_runs)
        ]
        peaks = [max(run["peak_bytes"] for run in runs) for runs in (graft_runs, torch_runs)]
        losses = [statistics.median(run["loss"] for run in r) for r in (graft_runs, torch_runs)]
        row = {
            "job": f"{network}, {label}",
            "kind": kind,
            "batch": specification["batch"],
            "graft_seconds": times[0],
            "torch_seconds": times[1],
            "speedup": times[1] / times[0],
            "graft_peak_bytes": peaks[0],
            "torch_peak_bytes": peaks[1],
            "graft_loss": losses[0],
            "torch_loss": losses[1],
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def table(rows: list[dict]) -> str:
    """Markdown."""
    lines = [
        "| job | compared | Graft | PyTorch | times as fast | peak memory, MB | share |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        unit, scale = ("s", 1) if row["kind"] == "run" else ("ms", 1000)
        memory = row["graft_peak_bytes"], row["torch_peak_bytes"]
        lines.append(
            f"| {row['job']}, batch {row['batch']} | {row['kind']} "
            f"| {scale * row['graft_seconds']:.1f} {unit} | {scale * row['torch_seconds']:.1f} {unit} "
            f"| {row['speedup']:.2f} | {memory[0] / 1e6:.0f} / {memory[1] / 1e6:.0f} "
            f"| {memory[0] / memory[1]:.2f} |"
        )
    return "\n".join(lines)
