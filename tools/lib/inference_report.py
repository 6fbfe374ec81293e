"""The table and the chart of `benchmark-peers`, from raw results. Import only: it has no command line."""

import math
import pathlib
import statistics
from collections.abc import Callable

from lib.contender_files import GRAFT, GRAFT_FLOAT32, INT8, Precision

# How contenders are called where people read.
NAMES = {
    GRAFT: "Graft",
    GRAFT_FLOAT32: "Graft float32",
    "onnxruntime": "onnxruntime",
    "openvino": "OpenVINO",
    "ncnn": "ncnn",
}
# A column's head, and a record's cell in it.
Column = tuple[str, Callable[[dict], str]]


def median(record: dict, contender: str) -> float | None:
    """Milliseconds: the median of the rounds' medians; None for one that failed or has no round."""
    entry = record["contenders"].get(contender, {"rounds": []})
    if "failed" in entry or not entry["rounds"]:
        return None
    return statistics.median(run["median_ms"] for run in entry["rounds"])


def fastest(record: dict) -> tuple[str, float] | None:
    """The fastest peer and its milliseconds."""
    own = (GRAFT, GRAFT_FLOAT32)
    times = [(p, median(record, p)) for p in record["contenders"] if p not in own]
    return min(((p, t) for p, t in times if t is not None), key=lambda x: x[1], default=None)


def share(record: dict, other: str | None = None) -> float | None:
    """Graft's time as a share of another contender's, or of the fastest peer's."""
    own, best = median(record, GRAFT), fastest(record)
    time = median(record, other) if other else best and best[1]
    return own / time if own and time else None


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


def table(records: list[dict], precision: Precision, peak: float) -> str:
    """Markdown: a row a measurement, then what failed and why. `peak` is GFLOP/s of a core."""
    there = [c for c in NAMES if any(c in r["contenders"] for r in records)]
    peers = [c for c in there if c not in precision.own]
    columns = [(key, lambda r, key=key: str(r[key])) for key in ("network", "batch", "threads")]
    if precision is INT8:
        columns += _int8_columns(there, peers)
    else:
        columns += _float32_columns(peers, peak)
    lines = ["| " + " | ".join(head for head, _ in columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(cell(r) for _, cell in columns) + " |" for r in records]
    return "\n".join(lines + failures(records))


def _time_columns(contenders: list[str], unit: str) -> list[Column]:
    return [(f"{NAMES[c]}{unit}", lambda r, c=c: _time(r, c)) for c in contenders]


def _float32_columns(peers: list[str], peak: float) -> list[Column]:
    def minimum(record: dict) -> str:
        runs = record["contenders"][GRAFT]["rounds"]
        return _digits(min((run["min_ms"] for run in runs), default=None))

    def of_peak(record: dict) -> str:
        own = median(record, GRAFT)
        if not own or not peak:
            return "–"
        rate = 2e-6 * record["multiply_adds"] * record["batch"] / own
        return f"{rate / peak / record['threads']:.0%}"

    def memory(record: dict, cell: Callable[[float, float], str]) -> str:
        peaks = [peak_bytes(record, c) for c in (GRAFT, "onnxruntime")]
        return cell(*peaks) if record["batch"] == 1 and all(peaks) else ""

    return [
        *_time_columns([GRAFT], ", ms"),
        ("min", lambda r: minimum(r) if median(r, GRAFT) else "–"),
        *_time_columns(peers, ", ms"),
        ("÷ fastest", lambda r: _ratio(share(r))),
        ("÷ onnxruntime", lambda r: _ratio(share(r, "onnxruntime"))),
        ("of peak", of_peak),
        ("memory, MB", lambda r: memory(r, lambda own, _: f"{own / 1e6:.0f}")),
        ("÷ onnxruntime's", lambda r: memory(r, lambda own, other: f"{own / other:.2f}")),
    ]


def _int8_columns(there: list[str], peers: list[str]) -> list[Column]:
    judged = [c for c in there if c != GRAFT_FLOAT32]

    def errors(record: dict) -> str:
        found = [record["contenders"].get(c, {}).get("error") for c in judged]
        return " / ".join("–" if e is None else f"{100 * e:.1f}" for e in found)

    return [
        *_time_columns([GRAFT], " int8, ms"),
        *_time_columns([GRAFT_FLOAT32], ", ms"),
        *_time_columns(peers, " int8, ms"),
        ("int8 ÷ float32", lambda r: _ratio(share(r, GRAFT_FLOAT32))),
        ("÷ fastest", lambda r: _ratio(share(r))),
        (f"errors, %: {' / '.join(NAMES[c] for c in judged)}", errors),
    ]


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


def largest_errors(records: list[dict], left_out: list[str]) -> dict[str, float]:
    """The largest error of all who were right, in the outputs' spread."""
    found: dict[str, float] = {}
    for record in records:
        for contender, entry in record["contenders"].items():
            if contender not in left_out and "failed" not in entry and "error" in entry:
                found[contender] = max(found.get(contender, 0), entry["error"])
    return found


def chart(records: list[dict], precision: Precision, path: pathlib.Path, title: str) -> bool:
    """Writes a PNG with two bars a network at batch 1 and 2 threads; False without such a record."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars: list[tuple[str, str | None]] = [
        ("the fastest peer's time", None),
        ("onnxruntime's time", "onnxruntime"),
    ]
    if precision is INT8:
        bars = [("the fastest peer's int8 time", None), ("its own float32 time", GRAFT_FLOAT32)]
    chosen = [
        r
        for r in records
        if (r["batch"], r["threads"]) == (1, 2) and all(share(r, other) for _, other in bars)
    ]
    if not chosen:
        return False
    figure, axes = pyplot.subplots(figsize=(7, 1.3 + 0.36 * len(chosen)), dpi=120)
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # where 1 is near
    colors = ["#1f5fa8", "#9bbfe0"]
    for index, ((label, other), color) in enumerate(zip(bars, colors)):
        values = [share(record, other) for record in chosen]
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
    axes.set_xlim(0, 1.12 * max(1, *(share(r, other) for r in chosen for _, other in bars)))
    axes.set_xlabel("Graft's time as a share of the other's: shorter is faster", fontsize=8)
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


def _time(record: dict, contender: str) -> str:
    """The fastest peer is in bold."""
    entry = record["contenders"].get(contender)
    if entry and "failed" in entry:
        return "failed"
    time, best = median(record, contender), fastest(record)
    if time is None:
        return "–"
    return f"**{_digits(time)}**" if best and best[0] == contender else _digits(time)


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _digits(value: float | None) -> str:
    """Three significant digits, never an exponent."""
    if not value:
        return "–"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"
