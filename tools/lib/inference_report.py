"""The table and the chart of `benchmark-peers`, from raw results. Import only: it has no command line."""

import math
import pathlib
import statistics

# How contenders are called where people read.
NAMES = {"graft": "Graft", "onnxruntime": "onnxruntime", "openvino": "OpenVINO", "ncnn": "ncnn"}


def median(record: dict, contender: str) -> float | None:
    """Milliseconds: the median of the rounds' medians; None for one that failed or has no round."""
    entry = record["contenders"].get(contender, {"rounds": []})
    if "failed" in entry or not entry["rounds"]:
        return None
    return statistics.median(run["median_ms"] for run in entry["rounds"])


def fastest(record: dict) -> tuple[str, float] | None:
    """The fastest peer and its milliseconds."""
    times = [(p, median(record, p)) for p in record["contenders"] if p != "graft"]
    return min(((p, t) for p, t in times if t is not None), key=lambda x: x[1], default=None)


def ratios(record: dict) -> tuple[float | None, float | None]:
    """Graft's time as a share of the fastest peer's and of onnxruntime's."""
    own, best, reference = (
        median(record, "graft"),
        fastest(record),
        median(record, "onnxruntime"),
    )
    return (
        own / best[1] if own and best else None,
        own / reference if own and reference else None,
    )


def peak_bytes(record: dict, contender: str) -> float | None:
    """A contender's memory; of a peer without what Python and NumPy took before it was imported."""
    if median(record, contender) is None:
        return None
    runs = record["contenders"][contender]["rounds"]
    return statistics.median(run["peak_bytes"] - run.get("before_bytes", 0) for run in runs)


def rounds(records: list[dict]) -> tuple[int, int]:
    """The fewest and the most rounds that a number comes from, of contenders that did not fail."""
    entries = [entry for record in records for entry in record["contenders"].values()]
    counts = [len(entry["rounds"]) for entry in entries if "failed" not in entry]
    return min(counts, default=0), max(counts, default=0)


def busy_runs(records: list[dict]) -> int:
    """How many of the runs began although the machine had not come to rest."""
    entries = [entry for record in records for entry in record["contenders"].values()]
    return sum(not run["quiet"] for entry in entries for run in entry["rounds"])


def line(record: dict) -> str:
    """A measurement in one line, to watch while others go on."""
    times = [
        f"{contender} {'failed' if time is None else _digits(time) + ' ms'}"
        for contender in record["contenders"]
        for time in [median(record, contender)]
    ]
    setting = f"{record['network']}, batch {record['batch']}, {record['threads']} threads"
    return f"{setting}: {', '.join(times)}"


def table(records: list[dict], peak: float) -> str:
    """Markdown: a row a measurement, then what failed and why. `peak` is GFLOP/s of a core."""
    peers = [p for p in NAMES if any(p in r["contenders"] for r in records) and p != "graft"]
    heads = ["network", "batch", "threads", "Graft, ms", "min", *(NAMES[p] + ", ms" for p in peers)]
    heads += ["÷ fastest", "÷ onnxruntime", "of peak", "memory, MB", "÷ onnxruntime's"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for record in records:
        own, best = median(record, "graft"), fastest(record)
        cells = [record["network"], str(record["batch"]), str(record["threads"])]
        cells.append(_time(record, "graft", False))
        minimum = min((r["min_ms"] for r in record["contenders"]["graft"]["rounds"]), default=None)
        cells.append(_digits(minimum) if own else "–")
        cells += [_time(record, p, best is not None and best[0] == p) for p in peers]
        cells += ["–" if ratio is None else f"{ratio:.2f}" for ratio in ratios(record)]
        share = 2e-6 * record["multiply_adds"] * record["batch"] / own if own and peak else None
        cells.append("–" if share is None else f"{share / peak / record['threads']:.0%}")
        memory = [peak_bytes(record, c) for c in ("graft", "onnxruntime")]
        if record["batch"] == 1 and all(memory):
            cells += [f"{memory[0] / 1e6:.0f}", f"{memory[0] / memory[1]:.2f}"]
        else:
            cells += ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines + failures(records))


def failures(records: list[dict]) -> list[str]:
    """A line for each contender that failed, with its reason and where."""
    where: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for contender, entry in record["contenders"].items():
            if "failed" in entry:
                reason = " ".join(entry["failed"].split("\n")[-1].split())[:200].replace("|", "\\|")
                place = f"{record['network']} {record['batch']}/{record['threads']}"
                where.setdefault((contender, reason), []).append(place)
    lines = [
        f"- {NAMES.get(contender, contender)} failed on {', '.join(places)}: {reason}"
        for (contender, reason), places in where.items()
    ]
    return ["", *lines] if lines else []


def largest_errors(records: list[dict]) -> dict[str, float]:
    """The largest error of all who were right, onnxruntime left out, in the outputs' spread."""
    found: dict[str, float] = {}
    for record in records:
        for contender, entry in record["contenders"].items():
            if contender != "onnxruntime" and "failed" not in entry and "error" in entry:
                found[contender] = max(found.get(contender, 0), entry["error"])
    return found


def chart(records: list[dict], path: pathlib.Path, title: str) -> bool:
    """Writes a PNG with two bars a network at batch 1 and 2 threads; False without such a record."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    chosen = [r for r in records if (r["batch"], r["threads"]) == (1, 2) and all(ratios(r))]
    if not chosen:
        return False
    figure, axes = pyplot.subplots(figsize=(7, 1.3 + 0.36 * len(chosen)), dpi=120)
    labels = ["the fastest peer's time", "onnxruntime's time"]
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # where 1 is near
    colors = ["#1f5fa8", "#9bbfe0"]
    for index, (label, color) in enumerate(zip(labels, colors)):
        values = [ratios(record)[index] for record in chosen]
        places = [row + 0.38 * (index - 0.5) for row in range(len(chosen))]
        axes.barh(places, values, 0.36, label=label, color=color)
        for place, value in zip(places, values):
            axes.text(value + 0.01, place, f"{value:.2f}", va="center", fontsize=7, bbox=ground)
    axes.axvline(1, color="#444444", linewidth=1, linestyle="--")
    axes.set_yticks(
        range(len(chosen)),
        [f"{r['network']} (vs {NAMES[fastest(r)[0]]})" for r in chosen],
        fontsize=8,
    )
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlim(0, 1.12 * max(1, *(max(ratios(record)) for record in chosen)))
    axes.set_xlabel("Graft's time as a share of the peer's: shorter is faster", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title(title, fontsize=9, loc="left", pad=26)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.4}
    axes.legend(ncols=2, fontsize=8, frameon=False, **place)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)
    return True


def _time(record: dict, contender: str, bold: bool) -> str:
    entry = record["contenders"].get(contender)
    if entry and "failed" in entry:
        return "failed"
    time = median(record, contender)
    if time is None:
        return "–"
    return f"**{_digits(time)}**" if bold else _digits(time)


def _digits(value: float | None) -> str:
    """Three significant digits, never an exponent."""
    if not value:
        return "–"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"
