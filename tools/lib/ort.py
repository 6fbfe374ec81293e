"""onnxruntime, the reference that Graft's numbers are compared with.

Import only: it has no command line.
"""

import pathlib

import numpy as np
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
