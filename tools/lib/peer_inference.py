"""A peer's side of `benchmark-peers`, a process of its own.

usage: python -m lib.peer_inference JOB.json

Compares the peer's output with the expected one, and only where it is right times calls. Prints one
JSON object: `error` (of the spread), and `median_ms`, `min_ms`, `runs`, `before_bytes`: this process's
memory before the peer was imported, which is Python's and NumPy's own.
"""

import json
import pathlib
import re
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

# A call of the network, and what reads the output of the last call.
Peer = tuple[Callable[[], object], Callable[[], np.ndarray]]


def onnxruntime(job: dict, pictures: np.ndarray, expected: np.ndarray) -> Peer:
    """Input and output bound once, so that a call copies neither."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    given = ort.OrtValue.ortvalue_from_numpy(pictures)
    result = ort.OrtValue.ortvalue_from_numpy(np.zeros_like(expected))
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, given)
    binding.bind_ortvalue_output(session.get_outputs()[0].name, result)
    return lambda: session.run_with_iobinding(binding), result.numpy


def openvino(job: dict, pictures: np.ndarray, expected: np.ndarray) -> Peer:
    """Compiled for the very shape, in float32, each thread on a core of its own."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(job["model"])
    model.reshape({0: list(pictures.shape)})
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(job["threads"]),
        "ENABLE_CPU_PINNING": True,
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(pictures, shared_memory=True))
    return request.infer, lambda: request.get_output_tensor().data


def ncnn(job: dict, pictures: np.ndarray, expected: np.ndarray) -> Peer:
    """Image by image: in its own batches ncnn is no faster (resnet18, 8 images: 151 ms, not 146)."""
    import ncnn

    net = ncnn.Net()
    for name in dir(net.opt):
        if name.startswith(("use_fp16", "use_bf16", "use_int8")):
            setattr(net.opt, name, False)
    net.opt.num_threads = job["threads"]
    model = job["model"]
    if net.load_param(f"{model}.param") != 0 or net.load_model(f"{model}.bin") != 0:
        raise SystemExit(f"ncnn cannot load {model}.param and {model}.bin")
    given = [ncnn.Mat(picture).clone() for picture in pictures]
    entry, leaving = net.input_names()[0], net.output_names()[0]
    results = [ncnn.Mat() for _ in given]

    def call() -> None:
        for index, picture in enumerate(given):
            extractor = net.create_extractor()
            extractor.input(entry, picture)
            status, results[index] = extractor.extract(leaving)
            if status != 0:
                raise SystemExit(f"ncnn's extract returned {status}")

    return call, lambda: np.stack([np.array(result) for result in results])


def resident_peak() -> int:
    """The most memory that this process had resident up to now, in bytes."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


def timed(call: Callable[[], object], seconds: float) -> dict:
    """As `graft bench` does it: a tenth of the time to warm up, then calls, at least 5."""
    end = time.perf_counter() + seconds / 10
    call()
    while time.perf_counter() < end:
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return {"median_ms": statistics.median(times), "min_ms": min(times), "runs": len(times)}


job = json.loads(pathlib.Path(sys.argv[1]).read_text())
pictures, expected = np.load(job["input"]), np.load(job["expected"])
before = resident_peak()
peers = {"onnxruntime": onnxruntime, "openvino": openvino, "ncnn": ncnn}
call, output = peers[job["peer"]](job, pictures, expected)
call()
error = float(abs(output().reshape(expected.shape) - expected).max()) / job["spread"]
measured = {"error": error, "before_bytes": before}
if error <= job["tolerance"]:
    measured |= timed(call, job["seconds"])
print(json.dumps(measured))
