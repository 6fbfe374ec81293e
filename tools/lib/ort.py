"""onnxruntime, the reference that Graft's numbers are compared with.

Import only: it has no command line.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime


class Session:
    """A network with one picture input; its first output is what counts."""

    def __init__(self, model: pathlib.Path):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self.input_name = self._session.get_inputs()[0].name
        self.input_shape = self._session.get_inputs()[0].shape
        self.output_name = self._session.get_outputs()[0].name

    def run(self, pictures: np.ndarray) -> np.ndarray:
        """The first output for one batch."""
        return self._session.run([self.output_name], {self.input_name: pictures})[0]

    def run_each(self, pictures: np.ndarray) -> np.ndarray:
        """The first output for a batch; picture by picture where the file fixes the batch."""
        if isinstance(self.input_shape[0], int):
            return np.concatenate([self.run(pictures[i : i + 1]) for i in range(len(pictures))])
        return self.run(pictures)


def constants(path: pathlib.Path, names: list[str]) -> dict[str, np.ndarray]:
    """What the file's nodes compute from constants alone, by the names of their outputs."""
    if not names:
        return {}
    model = onnx.load(path)
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in present)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    shapes = {i.name: [d if isinstance(d, int) else 1 for d in i.shape] for i in session.get_inputs()}
    feed = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return dict(zip(names, session.run(names, feed)))
