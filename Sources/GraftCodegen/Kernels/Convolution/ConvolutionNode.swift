// The properties of a convolution node for all families: extents, layouts, fused operators.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A convolution: x, w, bias?, residual? → y. If y is blocked, the border of x must be at least as large as
/// the pads; the residual has the layout of y.
struct ConvolutionNode {
  let input: ValueID
  let weight: ValueID
  let bias: ValueID?
  let addend: ValueID?
  let output: ValueID
  let shape: ConvolutionShape
  let x: ImageGeometry
  let y: ImageGeometry
  let residual: ImageGeometry?
  let activation: Activation
  let target: Target
  /// Whether factors may be rounded to bfloat16.
  let roundsFactors: Bool

  /// - Throws: ``GraftError`` if the layouts are not those that a kernel can read and write.
  init(_ operation: Convolution, _ node: Node, _ context: SelectionContext) throws {
    input = try node.requiredOperand(0)
    weight = try node.requiredOperand(1)
    (bias, addend) = (node.operand(2), node.operand(3))
    output = try node.requiredResult()
    try context.graph.requireFloat([input, weight, output])
    x = try ImageGeometry(context.type(input))
    y = try ImageGeometry(context.type(output))
    let window = try operation.window(context.type(weight))
    shape = ConvolutionShape(
      channels: x.channels, height: x.height, width: x.width, outputs: y.channels,
      resultHeight: y.height, resultWidth: y.width, window: window, groups: operation.groups)
    target = context.target
    roundsFactors = context.roundsFactors
    try ImageGeometry.check(x: x, y: y, window: window, lanes: target.lanes)
    let y = y
    residual = try addend.map { try Self.residualGeometry(context.type($0), like: y) }
    activation = operation.activation
  }

  var lanes: Int { target.lanes }
  /// Whether the input has channel block 1.
  var isPlanar: Bool { x.block == 1 }
  /// Whether the result has channel block 1.
  var isPlain: Bool { y.block == 1 }

  /// Whether some families read blocks of channels, or planes, and write blocks.
  var isBlocked: Bool { !isPlain && !isDepthwise }
  var isDepthwise: Bool { !isPlain && !isPlanar && shape.isDepthwise }

  var site: ConvolutionSite {
    ConvolutionSite(
      shape, isPlanar: isPlanar, images: y.images, form: roundsFactors ? "bfloat16" : nil)
  }

  /// The geometry of a residual, which must be blocked like the result.
  private static func residualGeometry(
    _ type: TensorType, like y: ImageGeometry
  ) throws -> ImageGeometry {
    let geometry = try ImageGeometry(type)
    guard geometry.block == y.block else {
      throw GraftError(
        .inconsistency, "the residual \(type) has another channel block than the result")
    }
    return geometry
  }
}

extension ImageGeometry {
  /// Requires layouts that a convolution of x to y can read and write.
  static func check(x: ImageGeometry, y: ImageGeometry, window: Window, lanes: Int) throws {
    if x.block == 1 && y.block == 1 && !y.hasBorder { return }
    guard y.block == lanes, x.block == lanes || x.block == 1 else {
      throw GraftError(
        .inconsistency,
        "no kernel reads blocks of \(x.block) channels and writes \(y.block)")
    }
    guard x.borderHeight >= max(window.pads[0], window.pads[2]),
      x.borderWidth >= max(window.pads[1], window.pads[3])
    else {
      throw GraftError(
        .inconsistency,
        "a border of \(x.borderHeight)x\(x.borderWidth) is too small for pads \(window.pads)")
    }
  }
}
