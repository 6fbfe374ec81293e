// The gradient of a convolution's weights.

import GraftDiagnostics
import GraftIR
import RealModule

/// dw[o, i, kh, kw] = Σ over n, h, w of dy[n, o, h, w] · x[n, i, h·stride + kh·dilation − pad, …].
///
/// Operands: x [batch, channels, height, width]; dy [batch, outputs, height', width'], the gradient of
/// the result of a ``Convolution`` with the same window and groups. Result: [outputs, channels / groups,
/// kernel height, kernel width].
///
/// - C1: x and dy have rank 4, one floating-point type and one batch.
/// - C2: channels and outputs are multiples of groups.
/// - C3: the window fits the padded image, and dy has the extents of the convolution's result.
public struct ConvolutionWeightGradient: RealOperator, GroupedConvolution {
  public static let opcode: Opcode = "convolution_weight_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "gradient of a convolution's weights"
  public static let operands: [OperandRule] = [.required("x"), .required("dy")]
  public static let resultNames = ["dw"]

  public var window: Window
  public var groups: Int

  public init(window: Window, groups: Int = 1) {
    self.window = window
    self.groups = groups
  }

  public init(attributes: Attributes) throws {
    window = try Window(attributes: attributes)
    groups = try attributes.int("groups", default: 1)
  }

  public var attributes: Attributes {
    var attributes = window.attributes
    if groups != 1 { attributes["groups"] = .int(groups) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let (x, dy) = (try operand(0, of: operands), try operand(1, of: operands))
    try requireReal("C1", x)
    try require(
      "C1", x.rank == 4 && dy.rank == 4 && x.dtype == dy.dtype && x.shape[0] == dy.shape[0],
      "x and dy must be images of one type and batch, found \(x) and \(dy)")
    try window.validate("C3")
    guard let channels = x.shape[1].constant, let outputs = dy.shape[1].constant,
      let height = x.shape[2].constant, let width = x.shape[3].constant
    else { throw GraftError(.invalidGraph, "x and dy must have constant channels and size [C1]") }
    try require(
      "C2", groups >= 1 && channels.isMultiple(of: groups) && outputs.isMultiple(of: groups),
      "\(channels) to \(outputs) channels do not divide into \(groups) groups")
    let extents = [
      Dimension(try window.resultExtent(height, axis: 0, label: "C3")),
      Dimension(try window.resultExtent(width, axis: 1, label: "C3")),
    ]
    try require(
      "C3", Array(dy.shape.dimensions[2...]) == extents,
      "dy must have the extents \(extents), found \(dy)")
    return [
      TensorType(x.dtype, TensorShape([outputs, channels / groups] + window.kernel))
    ]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (x, dy) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let (channels, height, width) = (x.shape[1], x.shape[2], x.shape[3])
    let (outputs, rows, columns) = (dy.shape[1], dy.shape[2], dy.shape[3])
    let (perGroup, outputsPerGroup) = (channels / groups, outputs / groups)
    var elements: [Scalar] = []
    elements.reserveCapacity(extents[0].reduce(1, *))
    forEachIndex(of: extents[0]) { index in
      let channel = index[0] / outputsPerGroup * perGroup + index[1]
      var sum: Scalar = 0
      for n in 0..<dy.shape[0] {
        for row in 0..<rows {
          let h = row * window.strides[0] - window.pads[0] + index[2] * window.dilations[0]
          guard h >= 0, h < height else { continue }
          let from = (n * channels + channel) * height + h
          let at = (n * outputs + index[0]) * rows + row
          for column in 0..<columns {
            let w = column * window.strides[1] - window.pads[1] + index[3] * window.dilations[1]
            guard w >= 0, w < width else { continue }
            sum += dy.elements[at * columns + column] * x.elements[from * width + w]
          }
        }
      }
      elements.append(sum)
    }
    return [try DenseTensor(shape: extents[0], elements: elements)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    let dy = elementCount(optionalOperand(1, of: operands))
    let taps = results.first?.shape.constants?.dropFirst() ?? []
    return OperatorCost(multiplyAdds: saturatingProduct([dy] + taps))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .reducing
  }

  public func border(ofOperand index: Int, types: [TensorType?]) -> (height: Int, width: Int) {
    index == 0 && window.pads.count == 4
      ? (max(window.pads[0], window.pads[2]), max(window.pads[1], window.pads[3])) : (0, 0)
  }
}
