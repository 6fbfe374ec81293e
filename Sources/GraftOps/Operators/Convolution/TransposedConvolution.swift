// Two-dimensional transposed convolution, with the bias and activation that passes fuse into it.
// ONNX ConvTranspose, opsets 1, 11, 22 (same semantics); https://onnx.ai/onnx/operators/onnx__ConvTranspose.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = activation(xᵀ + bias): every pixel of x adds the kernel, times its value, to y, strides apart (Dumoulin
/// and Visin 2016, chapter 4). The height of y is stride · (height − 1) + reach + output pad − pads, with
/// reach = (kernel height − 1) · dilation + 1; its width likewise.
///
/// Operands: x [batch, channels, height, width]; w [channels, outputs / groups, kernel height, kernel width];
/// bias [outputs].
///
/// - C1: x and w have rank 4 and the same floating-point type.
/// - C2: channels is w's first extent and a multiple of groups.
/// - C3: bias has one element for each output.
/// - C4: y has at least one row and column; output pads are smaller than the stride or the dilation.
/// - C5: channels, height, width and all extents of w are constant.
public struct TransposedConvolution: RealOperator, ONNXExportable, ActivationFusing {
  public static let opcode: Opcode = "convolution_transpose"
  public static let group = OperatorGroup.convolution
  public static let summary = "2-D transposed convolution with optional bias and activation"
  public static let operands: [OperandRule] = [
    .required("x"), .required("w", .weight), .optional("bias", .bias),
  ]

  /// [height, width]
  public var strides: [Int]
  /// Rows and columns of y that are left out: [top, left, bottom, right]
  public var pads: [Int]
  /// [height, width]
  public var dilations: [Int]
  /// Rows and columns that y has more at its end: [height, width]
  public var outputPads: [Int]
  public var groups: Int
  public var activation: Activation

  public init(
    strides: [Int] = [1, 1], pads: [Int] = [0, 0, 0, 0], dilations: [Int] = [1, 1],
    outputPads: [Int] = [0, 0], groups: Int = 1, activation: Activation = .none
  ) {
    self.strides = strides
    self.pads = pads
    self.dilations = dilations
    self.outputPads = outputPads
    self.groups = groups
    self.activation = activation
  }

  public init(attributes: Attributes) throws {
    strides = try attributes.ints("strides")
    pads = try attributes.ints("pads")
    dilations = try attributes.ints("dilations", default: [1, 1])
    outputPads = try attributes.ints("output_pads", default: [0, 0])
    groups = try attributes.int("groups", default: 1)
    activation = try attributes.activation()
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["strides": .ints(strides), "pads": .ints(pads)]
    if dilations != [1, 1] { attributes["dilations"] = .ints(dilations) }
    if outputPads != [0, 0] { attributes["output_pads"] = .ints(outputPads) }
    if groups != 1 { attributes["groups"] = .int(groups) }
    attributes.set(activation)
    return attributes
  }

  /// The window of the convolution of which this is the transpose, for weights of type `w`.
  /// - Throws: ``GraftError`` if C1, C4 or C5 does not hold.
  public func window(_ w: TensorType) throws -> Window {
    try Window(
      weights: w, strides: strides, pads: pads, dilations: dilations, labels: ("C1", "C5", "C4"))
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let w = try operand(1, of: operands)
    try require("C1", x.rank == 4, "x must have rank 4, found \(x)")
    try require(
      "C1", x.dtype == w.dtype && x.dtype.isFloatingPoint,
      "x and w must have one floating-point type, found \(x) and \(w)")
    let window = try window(w)
    guard let channels = x.shape[1].constant, let height = x.shape[2].constant,
      let width = x.shape[3].constant, let wChannels = w.shape[0].constant,
      let groupOutputs = w.shape[1].constant
    else {
      throw GraftError(.invalidGraph, "x must have constant channels and size, found \(x) [C5]")
    }
    try require(
      "C2", groups >= 1 && channels == wChannels && channels.isMultiple(of: groups),
      "\(channels) channels in \(groups) groups do not match weights \(w.shape)")
    try require(
      "C4",
      outputPads.count == 2
        && (0..<2).allSatisfy { (0..<max(strides[$0], dilations[$0])).contains(outputPads[$0]) },
      "output pads \(outputPads) must be smaller than the strides \(strides) or dilations")
    let sizes = try [height, width].enumerated().map { axis, extent -> Dimension in
      guard (1...Window.largest).contains(extent) else {
        throw GraftError(.unsupported, "an image of \(height)x\(width)")
      }
      let size =
        strides[axis] * (extent - 1) + window.reach(axis) + outputPads[axis] - pads[axis]
        - pads[axis + 2]
      try require("C4", size > 0, "pads \(pads) leave nothing of the result")
      return Dimension(size)
    }
    let (outputs, overflow) = groupOutputs.multipliedReportingOverflow(by: groups)
    try require("C2", !overflow && outputs > 0, "the weights have no outputs")
    if let bias = optionalOperand(2, of: operands) {
      try require(
        "C3", bias.dtype == x.dtype && bias.shape == TensorShape([outputs]),
        "bias must be \(x.dtype.rawValue)[\(outputs)], found \(bias)")
    }
    return [TensorType(x.dtype, TensorShape([x.shape[0], Dimension(outputs)] + sizes))]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let x = try tensor(0, of: operands)
    let w = try tensor(1, of: operands)
    let bias = optionalTensor(2, of: operands)
    let shape = extents[0]
    let (channels, height, width) = (x.shape[1], x.shape[2], x.shape[3])
    let (groupOutputs, kernelHeight, kernelWidth) = (w.shape[1], w.shape[2], w.shape[3])
    let groupChannels = channels / groups
    var y = DenseTensor<Scalar>(shape: shape, repeating: 0)
    let plane = shape[2] * shape[3]
    for image in 0..<shape[0] {
      for channel in 0..<channels {
        let group = channel / groupChannels
        for output in 0..<groupOutputs {
          let to = (image * shape[1] + group * groupOutputs + output) * plane
          let taps = (channel * groupOutputs + output) * kernelHeight * kernelWidth
          for row in 0..<height {
            for column in 0..<width {
              let value = x.elements[((image * channels + channel) * height + row) * width + column]
              for i in 0..<kernelHeight {
                let h = row * strides[0] - pads[0] + i * dilations[0]
                guard (0..<shape[2]).contains(h) else { continue }
                for j in 0..<kernelWidth {
                  let v = column * strides[1] - pads[1] + j * dilations[1]
                  guard (0..<shape[3]).contains(v) else { continue }
                  y.elements[to + h * shape[3] + v] +=
                    value * w.elements[taps + i * kernelWidth + j]
                }
              }
            }
          }
        }
      }
    }
    if let bias, plane > 0 {
      for position in y.elements.indices {
        y.elements[position] += bias.elements[position / plane % shape[1]]
      }
    }
    y.elements = activation(y.elements)
    return [y]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    guard let w = optionalOperand(1, of: operands)?.shape.constants, w.count == 4,
      let x = optionalOperand(0, of: operands), let pixels = try? x.shape.extents(batch: 1)
    else { return OperatorCost(multiplyAdds: 0) }
    return OperatorCost(multiplyAdds: saturatingProduct(pixels + w[1...]))
  }

  public static let onnx: [ONNXBinding] = [
    ONNXBinding("ConvTranspose") { node in
      let weights = try node.input(1).type.shape
      guard weights.rank == 4, let extents = weights.constants else {
        throw GraftError(
          .unsupported, "\(max(0, weights.rank - 2)) spatial axes, Graft supports one and two")
      }
      let kernel = Array(extents[2...])
      if let stated = try node.optionalInts("kernel_shape"), stated != kernel {
        throw GraftError(.invalidModel, "kernel_shape \(stated) does not match weights \(weights)")
      }
      var operation = TransposedConvolution(
        strides: try node.optionalInts("strides") ?? [1, 1],
        pads: try node.optionalInts("pads") ?? [0, 0, 0, 0],
        dilations: try node.optionalInts("dilations") ?? [1, 1],
        outputPads: try node.optionalInts("output_padding") ?? [0, 0],
        groups: try node.int("group", default: 1))
      let window = try operation.window(try node.input(1).type)
      guard operation.outputPads.count == 2,
        operation.outputPads.allSatisfy({ (0...Window.largest).contains($0) })
      else { throw GraftError(.invalidModel, "output_padding must have two numbers") }
      try operation.choosePads(node, window)
      return ImportedOperator(
        operation, operands: node.optionalInput(2) != nil ? [0, 1, 2] : [0, 1])
    }
  ]

  /// Pads from `output_shape` or `auto_pad`: what the result without pads has too much, halved; the larger half is
  /// at the end for SAME_UPPER, else at the start.
  private mutating func choosePads(_ node: ONNXNode, _ window: Window) throws {
    let mode = try node.string("auto_pad", default: "NOTSET")
    let stated = try node.optionalInts("output_shape")
    guard ["NOTSET", "", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(mode) else {
      throw GraftError(.invalidModel, "auto_pad \(mode.quotedForDisplay) is not in ONNX")
    }
    if mode == "VALID" { pads = [0, 0, 0, 0] }
    guard stated != nil || mode.hasPrefix("SAME") else { return }
    let x = try node.input(0).type.shape
    for axis in 0..<2 {
      guard x.rank == 4, let extent = x[axis + 2].constant, (1...Window.largest).contains(extent)
      else {
        throw GraftError(.unsupported, "pads need a constant height and width, found \(x)")
      }
      let whole = strides[axis] * (extent - 1) + window.reach(axis) + outputPads[axis]
      let size = stated.map { $0.count == 4 ? $0[axis + 2] : $0.count == 2 ? $0[axis] : 0 }
      let wanted = size ?? extent * strides[axis]
      guard (1...(1 << 40)).contains(wanted) else {
        throw GraftError(.invalidModel, "a result of \(wanted) rows or columns")
      }
      let total = whole - wanted
      guard total >= 0 else {
        // A result that is larger than the input reaches is zeros at its end.
        guard wanted - whole < max(strides[axis], dilations[axis]) else {
          throw GraftError(.unsupported, "a result of \(wanted) rows or columns, not \(whole)")
        }
        (pads[axis], pads[axis + 2]) = (0, 0)
        outputPads[axis] += wanted - whole
        continue
      }
      let small = total / 2
      pads[axis] = mode == "SAME_UPPER" ? small : total - small
      pads[axis + 2] = total - pads[axis]
    }
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    guard activation == .none else {
      throw GraftError(.unsupported, "ONNX has no transposed convolution with a fused activation")
    }
    let kernel = try window(operand(1, of: operands)).kernel
    return ExportedOperator(
      "ConvTranspose",
      attributes: [
        ("dilations", .ints(dilations)), ("group", .int(groups)), ("kernel_shape", .ints(kernel)),
        ("output_padding", .ints(outputPads)), ("pads", .ints(pads)), ("strides", .ints(strides)),
      ],
      inputs: operands.indices.map { operands[$0] == nil ? .absent : .operand($0) })
  }
}

extension TransposedConvolution: DifferentiableOperator {
  /// dx is the convolution of dy with w, dw the weight gradient of that convolution.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let dy = try builder.incoming(through: activation)
    let (x, w) = (try builder.operand(0), try builder.operand(1))
    let window = try window(builder.type(of: w))
    guard (0..<2).allSatisfy({ outputPads[$0] < strides[$0] }) else {
      throw GraftError(
        .unsupported, "the gradient of a transposed convolution with output pads \(outputPads)")
    }
    if builder.wants(0) {
      let convolution = Convolution(
        strides: strides, pads: pads, dilations: dilations, groups: groups)
      try builder.setGradient(of: 0, try builder.apply(convolution, [dy, w]))
    }
    if builder.wants(1) {
      try builder.setGradient(
        of: 1,
        try builder.apply(ConvolutionWeightGradient(window: window, groups: groups), [dy, x]))
    }
    if builder.wants(2) {
      try builder.setGradient(of: 2, try builder.apply(ReduceSum(axes: [0, 2, 3]), [dy]))
    }
  }
}

extension TransposedConvolution {
  /// In several groups, all channels stay.
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    guard groups == 1 else { return }
    if let x = relations.channels(ofOperand: 0, axis: 1) {
      relations.unite(x, relations.channels(ofOperand: 1, axis: 0))
    }
    let outputs = relations.channels(ofOperand: 1, axis: 1)
    if relations.type(ofOperand: 2) != nil {
      relations.unite(outputs, relations.channels(ofOperand: 2, axis: 0))
    }
    relations.set(outputs, ofResult: 0, axis: 1)
  }
}
