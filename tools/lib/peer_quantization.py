"""The int8 networks of other runtimes, made from the same calibration items as Graft's.

Import only: it has no command line. onnxruntime and nncf are imported where they are needed: neither is
in every environment of tools/.
"""

import contextlib
import io
import logging
import pathlib
import tempfile

import numpy as np


def onnxruntime(
    model: pathlib.Path,
    items: np.ndarray,
    to: pathlib.Path,
    form: str = "QDQ",
    activations: str = "QUInt8",
    weights: str = "QInt8",
) -> None:
    """Writes `model`, a network with one input, as QuantizeLinear and DequantizeLinear around float32
    operators (QDQ), which onnxruntime fuses to int8 kernels, or as operators on integers (QOperator):
    activations uint8 or int8 with the smallest and largest value on `items`, weights int8 with a scale
    for each channel or uint8 with one for all."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization import shape_inference

    name = onnx.load(model, load_external_data=False).graph.input[0].name

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.rest = iter(items)

        def get_next(self) -> dict | None:
            item = next(self.rest, None)
            return None if item is None else {name: item[None]}

    with tempfile.TemporaryDirectory(dir=to.parent) as folder, _quiet():
        prepared, made = f"{folder}/prepared.onnx", pathlib.Path(folder, "made.onnx")
        shape_inference.quant_pre_process(model, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            made,
            Reader(),
            quant_format=quantization.QuantFormat[form],
            per_channel=weights == "QInt8",
            activation_type=quantization.QuantType[activations],
            weight_type=quantization.QuantType[weights],
        )
        made.rename(to)


def openvino(model: pathlib.Path, items: np.ndarray, to: pathlib.Path) -> None:
    """Writes `model` as OpenVINO's own tool quantizes it: `to` ends in .xml, the weights are beside it."""
    import nncf
    import openvino as ov

    ranges = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    nncf.set_log_level(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=to.parent) as folder, _quiet():
        dataset = nncf.Dataset(list(items[:, None]))
        network = nncf.quantize(
            ov.Core().read_model(model),
            dataset,
            subset_size=len(items),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=ranges
            ),
        )
        made = pathlib.Path(folder, "made.xml")
        ov.save_model(network, made, compress_to_fp16=False)
        made.with_suffix(".bin").rename(to.with_suffix(".bin"))
        made.rename(to)


@contextlib.contextmanager
def _quiet():
    """Without progress bars and warnings, which say nothing about the result."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
