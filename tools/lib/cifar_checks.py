"""CIFAR-10 networks on the 10,000 JPEG test pictures: accuracy and logits against onnxruntime.

Import only: it has no command line.
"""

import pathlib
import zipfile

import numpy as np
from lib import cifar, ort
from lib.graft import Failed, Graft
from lib.report import Report


def verify(
    models: list[pathlib.Path],
    archive: pathlib.Path,
    work: pathlib.Path,
    graft: Graft,
    report: Report,
) -> None:
    """Every model: top-1 through `graft evaluate`, then logits by batch and thread count."""
    try:
        _verify(models, archive, work, graft, report)
    except Exception as error:
        report.check(False, "cifar10", str(error) if isinstance(error, Failed) else repr(error))


def _verify(
    models: list[pathlib.Path],
    archive: pathlib.Path,
    work: pathlib.Path,
    graft: Graft,
    report: Report,
) -> None:
    pictures, labels, _, _ = cifar.load(str(archive), "test")
    data = cifar.normalize(pictures)
    folder = work / "cifar10/test"
    if not folder.exists():
        with zipfile.ZipFile(archive) as file:
            file.extractall(work / "cifar10", [n for n in file.namelist() if n.startswith("test/")])
    for i, model in enumerate(models):
        name, bundle = f"{model.parent.name}/{model.stem}", work / f"cifar10-{i}.graft"
        graft.call("compile", model, "-o", bundle, "--preprocess", "cifar10")
        session = ort.Session(model)
        expected = np.concatenate([session.run(part) for part in np.split(data, 20)])
        right = int((expected.argmax(1) == labels).sum())
        for threads in (1, 2):
            score = graft.json("evaluate", bundle, "--data", folder, "--json", "--threads", threads)
            got = round(score["top1"] * score["images"])
            report.check(
                score["images"] == len(labels) and abs(got - right) <= 1,
                name,
                f"{threads} threads: {got} of {score['images']} right, onnxruntime {right}",
            )
        _logits(name, bundle, session, data, expected, graft, report)


def _logits(name, bundle, session, data, expected, graft, report) -> None:
    largest = float(abs(expected).max())
    for batch in (1, 7, 64):
        for threads in (1, 2):
            outputs = graft.run(bundle, {session.input_name: data[:batch]}, "--threads", threads)
            error = float(abs(outputs[session.output_name] - expected[:batch]).max()) / largest
            report.check(
                error <= 1e-4,
                name,
                f"batch {batch}, {threads} threads: logits differ by {error:.1e} of the largest",
            )
