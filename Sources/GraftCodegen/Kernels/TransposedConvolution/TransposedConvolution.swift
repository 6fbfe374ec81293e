// What a transposed convolution needs beside the convolution of its phases: their weights, and putting them
// together.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let transposedConvolution = KernelFamily(
    name: "transposed-convolution",
    rules: [
      .emitting(InterleavePhases.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(PhaseWeights.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
    ])
}

extension Lowering {
  mutating func lower(_ operation: InterleavePhases, _ node: Node) throws {
    try moveRows(node, name: "interleave_phases", Templates.interleavePhases) { x, y in
      [
        "banner": "[\(y.channels), \(y.height), \(y.width)] of which \(operation.strides) images "
          + "are every n-th row and column.",
        "stride_height": "\(operation.strides[0])", "stride_width": "\(operation.strides[1])",
        "offset_height": "\(operation.offsets[0])", "offset_width": "\(operation.offsets[1])",
        "group_blocks": "\(y.channels / operation.groups / y.block)",
      ]
    }
  }

  mutating func lower(_ operation: PhaseWeights, _ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    try requireFloat([input, output])
    guard let w = type(input).shape.constants, let y = type(output).shape.constants,
      w.count == 4, y.count == 4
    else { throw GraftError(.unsupported, "weights of a constant shape, found \(type(input))") }
    let kernel = try library.add(
      "phase_weights_f32_\(w[2])x\(w[3])_\(w[0])to\(y[0])",
      algorithm: "output by output, threads split outputs"
    ) { name in
      try Templates.phaseWeights.render([
        "banner":
          "Weights \(w) of a transposed convolution, strides \(operation.strides), as \(y) of "
          + "a convolution.",
        "name": name, "group_channels": "\(y[1])", "group_outputs": "\(w[1])",
        "kernel_height": "\(w[2])", "kernel_width": "\(w[3])", "taps_height": "\(y[2])",
        "taps_width": "\(y[3])", "stride_height": "\(operation.strides[0])",
        "stride_width": "\(operation.strides[1])",
        "dilation_height": "\(operation.dilations[0])",
        "dilation_width": "\(operation.dilations[1])",
      ])
    }
    try emit(kernel, [address(input), address(output)], units: WorkUnits(fixed: y[0]))
  }
}

extension Templates {
  static let interleavePhases = Template(
    "interleave_phases.c", PackageResources.interleave_phases_c_in)
  static let phaseWeights = Template("phase_weights.c", PackageResources.phase_weights_c_in)
}
