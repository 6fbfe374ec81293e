"""PyTorch to ONNX as Graft likes it: BatchNorms kept, the batch axis free and called N.

Import only: it has no command line.
"""

import torch
from onnxscript import optimizer
from torch import nn


def export(
    network: nn.Module,
    example: torch.Tensor,
    path: str,
    opset: int,
    simplify: str = "constants",
    input_name: str = "input",
    output_name: str = "output",
    axis: int = 0,
) -> None:
    """Writes `network` (evaluation mode) for inputs shaped like `example` except in the batch, which is
    `axis` of input and output.

    Opsets up to 17 go through the TorchScript exporter, without its constant folding, which would
    merge each BatchNorm into its convolution. Newer opsets go through the dynamo
    exporter, and `simplify` says how much of its optimizer runs: `constants` folds constants alone;
    `none` leaves its shape arithmetic too; `all` is PyTorch's default, which folds BatchNorms.
    """
    network.eval()
    if opset <= 17:
        torch.onnx.export(
            network,
            (example,),
            path,
            dynamo=False,
            opset_version=opset,
            do_constant_folding=False,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes={input_name: {axis: "N"}, output_name: {axis: "N"}},
        )
        return
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        opset_version=opset,
        verbose=False,
        optimize=simplify == "all",
        input_names=[input_name],
        output_names=[output_name],
        dynamic_shapes=({axis: torch.export.Dim("N")},),
    )
    if simplify == "constants":
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
    program.save(path, external_data=False)
