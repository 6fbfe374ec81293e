// Two-dimensional convolution, with the bias, residual and activation that passes fuse into it.
// ONNX Conv, opsets 1, 11, 22 (same semantics); https://onnx.ai/onnx/operators/onnx__Conv.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = activation(x ∗ w + bias + residual), the cross-correlation of deep learning.
///
/// Operands: x [batch, channels, height, width]; w [outputs, channels / groups, kernel height, kernel
/// width]; bias [outputs]; residual of the result's shape [batch, outputs, height', width'].
///
/// - C1: x and w have rank 4 and the same floating-point type.
/// - C2: channels = groups · w's second extent; outputs is a multiple of groups.
/// - C3: bias has one element for each output.
/// - C4: the window fits the padded image.
/// - C5: residual has the result's type.
/// - C6: channels, height, width and all extents of w are constant.
public struct Convolution: RealOperator, ONNXExportable, ActivationFusing, GroupedConvolution {
  public static let opcode: Opcode = "convolution"
  public static let group = OperatorGroup.convolution
  public static let summary = "2-D convolution with optional bias, residual and activation"
  public static let operands: [OperandRule] = [
    .required("x"), .required("w", .weight), .optional("bias", .bias),
    .optional("residual", .residual),
  ]

  /// [height, width]
  public var strides: [Int]
  /// [top, left, bottom, right]
  public var pads: [Int]
  /// [height, width]
  public var dilations: [Int]
  public var groups: Int
  public var activation: Activation

  public init(
    strides: [Int] = [1, 1], pads: [Int] = [0, 0, 0, 0], dilations: [Int] = [1, 1],
    groups: Int = 1, activation: Activation = .none
  ) {
    self.strides = strides
    self.pads = pads
    self.dilations = dilations
    self.groups = groups
    self.activation = activation
  }

  public init(attributes: Attributes) throws {
    strides = try attributes.ints("strides")
    pads = try attributes.ints("pads")
    dilations = try attributes.ints("dilations", default: [1, 1])
    groups = try attributes.int("groups", default: 1)
    activation = try attributes.activation()
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["strides": .ints(strides), "pads": .ints(pads)]
    if dilations != [1, 1] { attributes["dilations"] = .ints(dilations) }
    if groups != 1 { attributes["groups"] = .int(groups) }
    attributes.set(activation)
    return attributes
  }

  /// The window for weights of type `w`.
  /// - Throws: ``GraftError`` if C1 or C6 does not hold for w.
  public func window(_ w: TensorType) throws -> Window {
    try Window(
      weights: w, strides: strides, pads: pads, dilations: dilations, labels: ("C1", "C6", "C4"))
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
      let width = x.shape[3].constant, let outputs = w.shape[0].constant,
      let groupChannels = w.shape[1].constant
    else {
      throw GraftError(.invalidGraph, "x must have constant channels and size, found \(x) [C6]")
    }
    try require(
      "C2",
      groups >= 1 && channels.isMultiple(of: groups) && channels / groups == groupChannels
        && outputs.isMultiple(of: groups),
      "\(channels) channels in \(groups) groups do not match weights \(w.shape)")
    if let bias = optionalOperand(2, of: operands) {
      try require(
        "C3", bias.dtype == x.dtype && bias.shape == TensorShape([outputs]),
        "bias must be \(x.dtype.rawValue)[\(outputs)], found \(bias)")
    }
    let result = TensorType(
      x.dtype,
      [
        x.shape[0], Dimension(outputs),
        Dimension(try window.resultExtent(height, axis: 0, label: "C4")),
        Dimension(try window.resultExtent(width, axis: 1, label: "C4")),
      ])
    if let residual = optionalOperand(3, of: operands) {
      try require(
        "C5", residual.dtype == result.dtype && residual.shape == result.shape,
        "residual must be \(result), found \(residual)")
    }
    return [result]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let x = try tensor(0, of: operands)
    let w = try tensor(1, of: operands)
    let bias = optionalTensor(2, of: operands)
    let residual = optionalTensor(3, of: operands)
    let shape = extents[0]
    let (channels, height, width) = (x.shape[1], x.shape[2], x.shape[3])
    let (outputs, groupChannels, kernelHeight, kernelWidth) =
      (w.shape[0], w.shape[1], w.shape[2], w.shape[3])
    let outputsPerGroup = outputs / groups
    var y = DenseTensor<Scalar>(shape: shape, repeating: 0)
    x.elements.withUnsafeBufferPointer { x in
      w.elements.withUnsafeBufferPointer { w in
        y.elements.withUnsafeMutableBufferPointer { y in
          var position = 0
          for image in 0..<shape[0] {
            for output in 0..<outputs {
              let firstChannel = output / outputsPerGroup * groupChannels
              for row in 0..<shape[2] {
                for column in 0..<shape[3] {
                  var sum: Scalar = bias?.elements[output] ?? 0
                  for channel in 0..<groupChannels {
                    let plane = ((image * channels) + firstChannel + channel) * height
                    let weights = (output * groupChannels + channel) * kernelHeight
                    for i in 0..<kernelHeight {
                      let sourceRow = row * strides[0] - pads[0] + i * dilations[0]
                      guard sourceRow >= 0, sourceRow < height else { continue }
                      for j in 0..<kernelWidth {
                        let sourceColumn = column * strides[1] - pads[1] + j * dilations[1]
                        guard sourceColumn >= 0, sourceColumn < width else { continue }
                        sum +=
                          x[(plane + sourceRow) * width + sourceColumn]
                          * w[(weights + i) * kernelWidth + j]
                      }
                    }
                  }
                  if let residual { sum += residual.elements[position] }
                  y[position] = sum
                  position += 1
                }
              }
            }
          }
        }
      }
    }
    y.elements = activation(y.elements)
    return [y]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    guard let w = optionalOperand(1, of: operands)?.shape.constants, w.count == 4,
      let result = results.first, let pixels = try? result.shape.extents(batch: 1)
    else { return OperatorCost(multiplyAdds: 0) }
    return OperatorCost(multiplyAdds: saturatingProduct(pixels + w[1...]))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  public func border(ofOperand index: Int, types: [TensorType?]) -> (height: Int, width: Int) {
    index == 0 && pads.count == 4
      ? (max(pads[0], pads[2]), max(pads[1], pads[3])) : (0, 0)
  }

  public static let onnx: [ONNXBinding] = [
    ONNXBinding("Conv") { node in
      let weights = try node.input(1).type.shape
      guard weights.rank >= 3, let extents = weights.constants else {
        throw GraftError(.invalidModel, "the weights must have rank 4, found \(weights)")
      }
      let kernel = Array(extents[2...])
      if let stated = try node.optionalInts("kernel_shape"), stated != kernel {
        throw GraftError(.invalidModel, "kernel_shape \(stated) does not match weights \(weights)")
      }
      let window = try Window.read(node, kernel: kernel)
      let hasBias = node.optionalInput(2) != nil
      return ImportedOperator(
        Convolution(
          strides: window.strides, pads: window.pads, dilations: window.dilations,
          groups: try node.int("group", default: 1)),
        operands: hasBias ? [0, 1, 2] : [0, 1])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    guard activation == .none, optionalOperand(3, of: operands) == nil else {
      throw GraftError(.unsupported, "ONNX has no convolution with a fused residual or activation")
    }
    let kernel = try window(operand(1, of: operands)).kernel
    return ExportedOperator(
      "Conv",
      attributes: [
        ("dilations", .ints(dilations)), ("group", .int(groups)), ("kernel_shape", .ints(kernel)),
        ("pads", .ints(pads)), ("strides", .ints(strides)),
      ],
      inputs: (0..<min(operands.count, 3)).map { operands[$0] == nil ? .absent : .operand($0) })
  }
}

/// A convolution, or the gradient of one's weights, of x [batch, channels, height, width].
public protocol GroupedConvolution: Operator {
  var groups: Int { get }
}

extension Convolution: PaddingFolding {
  public func folding(
    pads added: [Int], of value: Double, isNonNegative: Bool
  ) -> (any Operator)? {
    guard value == 0 else { return nil }
    var convolution = self
    convolution.pads = zip(pads, added).map { $0 + $1 }
    return convolution
  }
}

extension Convolution: DifferentiableOperator {
  /// dx is the convolution of dy, with zeros between its pixels where the stride is not 1, with the
  /// transposed weights (Dumoulin and Visin 2016, chapter 4); dw a sum of products of dy and x.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let dy = try builder.incoming(through: activation)
    let (x, w) = (try builder.operand(0), try builder.operand(1))
    if builder.wants(0) {
      try builder.setGradient(of: 0, try inputGradient(dy, x: x, w: w, &builder))
    }
    if builder.wants(1) {
      let window = try window(builder.type(of: w))
      try builder.setGradient(
        of: 1,
        try builder.apply(ConvolutionWeightGradient(window: window, groups: groups), [x, dy]))
    }
    if builder.wants(2) {
      try builder.setGradient(of: 2, try builder.apply(ReduceSum(axes: [0, 2, 3]), [dy]))
    }
    if builder.wants(3) { try builder.setGradient(of: 3, dy) }
  }

  private func inputGradient(
    _ dy: ValueID, x: ValueID, w: ValueID, _ builder: inout GradientBuilder
  ) throws -> ValueID {
    let window = try window(builder.type(of: w))
    let (image, result) = (builder.shape(of: x), builder.shape(of: dy))
    let turned = try builder.apply(TransposeWeights(groups: groups), [w])
    var transposed = Convolution(dilations: dilations, groups: groups)
    guard
      let sizes = try? zip([2, 3], 0..<2).map({ axis, index -> (Int, Int) in
        guard let extent = image[axis].constant, let pixels = result[axis].constant else {
          throw GraftError(.unsupported, "an image without a constant size")
        }
        return (extent, (pixels - 1) * strides[index] + 1)
      })
    else { throw GraftError(.unsupported, "an image without a constant size") }
    let spread = sizes.map(\.1)
    if window.kernel == [1, 1], pads == [0, 0, 0, 0], strides != [1, 1] {
      // One tap only: zeros inserted after the product are not multiplied.
      let product = try builder.apply(transposed, [dy, turned])
      return try builder.apply(
        InsertZeros(strides: strides, extents: sizes.map(\.0)), [product])
    }
    for axis in 0..<2 {
      transposed.pads[axis] = window.reach(axis) - 1 - pads[axis]
      transposed.pads[axis + 2] =
        sizes[axis].0 + window.reach(axis) - 1 - spread[axis] - transposed.pads[axis]
    }
    var gradient =
      strides == [1, 1]
      ? dy : try builder.apply(InsertZeros(strides: strides, extents: spread), [dy])
    if transposed.pads.contains(where: { $0 < 0 }) {
      // Gradients of padding are dropped.
      let starts = (0..<2).map { max(0, -transposed.pads[$0]) }
      let extents = (0..<2).map { spread[$0] - starts[$0] - max(0, -transposed.pads[$0 + 2]) }
      guard extents.allSatisfy({ $0 > 0 }) else {
        throw GraftError(
          .unsupported,
          "the gradient of a convolution with negative pads \(pads) that remove the whole image")
      }
      gradient = try builder.apply(
        Slice(axes: [2, 3], starts: starts, extents: extents, steps: [1, 1]), [gradient])
      transposed.pads = transposed.pads.map { max(0, $0) }
    }
    return try builder.apply(transposed, [gradient, turned])
  }
}

extension Convolution {
  /// Each group loses equally many channels and outputs; with one channel in each, groups go with their channel.
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    guard let w = relations.type(ofOperand: 1)?.shape.constants, w.count == 4, groups > 0 else {
      return
    }
    let outputs = relations.channels(ofOperand: 1, axis: 0)
    let x = relations.channels(ofOperand: 0, axis: 1)
    if groups > 1, w[1] == 1 {
      let perChannel = w[0] / groups
      relations.unite(outputs, x?.flatMap { Array(repeating: $0, count: perChannel) })
    } else {
      relations.unite(partsOf: x, groups)
      relations.unite(partsOf: outputs, groups)
      if let x { relations.unite(Array(x.prefix(w[1])), relations.channels(ofOperand: 1, axis: 1)) }
    }
    for (index, axis) in [(2, 0), (3, 1)] where relations.type(ofOperand: index) != nil {
      relations.unite(outputs, relations.channels(ofOperand: index, axis: axis))
    }
    relations.set(outputs, ofResult: 0, axis: 1)
  }

  public func keeping(_ channels: KeptChannels) -> any Operator {
    guard groups > 1, let kept = channels.operand(0, axis: 1), kept.count == groups else {
      return self
    }
    var convolution = self
    convolution.groups = kept.count(where: \.self)
    return convolution
  }
}
