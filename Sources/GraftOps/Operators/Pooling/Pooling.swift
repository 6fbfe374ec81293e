// Shared code of max_pool and average_pool: the sliding window, its type rules, its evaluation and its
// ONNX attributes.

import GraftDiagnostics
import GraftIR
import RealModule

/// A reduction over a window that slides over height and width of x [batch, channels, height, width].
///
/// - C1: x has rank 4, a floating-point type and constant height and width.
/// - C2: kernel, strides and dilations have two positive entries, pads four that are not negative.
/// - C3: pads are smaller than the effective kernel extent, so that no window contains only padding.
/// - C4: the window fits the padded image.
public protocol Pooling: RealOperator, ONNXExportable, QuantizableElementwise {
  var window: Window { get }
  /// Whether the last window of a row or column may pass the end of the padded image.
  var ceil: Bool { get }
}

extension Pooling {
  public static var operands: [OperandRule] { [.required("x")] }
  public static var group: OperatorGroup { .pooling }
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    relations.carry(axis: 1, axis: 1)
  }

  /// A window of one element that moves by one is nothing.
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    node.keepsType && window.kernel == [1, 1] && window.strides == [1, 1] ? .operand(0) : nil
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try require("C1", x.rank == 4, "x must have rank 4, found \(x)")
    try requireReal("C1", x)
    guard let height = x.shape[2].constant, let width = x.shape[3].constant else {
      throw GraftError(.invalidGraph, "x must have a constant height and width, found \(x) [C1]")
    }
    try window.validate("C2")
    for axis in 0..<2 {
      let reach = window.reach(axis)
      try require(
        "C3", window.pads[axis] < reach && window.pads[axis + 2] < reach,
        "pads \(window.pads) must be smaller than the effective kernel extent \(reach)")
    }
    return [
      TensorType(
        x.dtype,
        [
          x.shape[0], x.shape[1],
          Dimension(try window.resultExtent(height, axis: 0, ceil: ceil, label: "C4")),
          Dimension(try window.resultExtent(width, axis: 1, ceil: ceil, label: "C4")),
        ])
    ]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    let taps = window.kernel.map { max($0, 1) }
    return OperatorCost(multiplyAdds: saturatingProduct([elementCount(results.first)] + taps))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  /// Reduces each window with `combine` from `initial`, then calls `finish` with the reduction, the
  /// number of elements inside the image, and [height, width] of the window's part that is inside
  /// the padded image.
  func reduceWindows<Scalar>(
    _ x: DenseTensor<Scalar>, to extents: [Int], initial: Scalar,
    combine: (Scalar, Scalar) -> Scalar, finish: (Scalar, Int, Int) -> Scalar
  ) -> DenseTensor<Scalar> {
    let (height, width) = (x.shape[2], x.shape[3])
    let rows = (0..<extents[2]).map { taps(at: $0, extent: height, axis: 0) }
    let columns = (0..<extents[3]).map { taps(at: $0, extent: width, axis: 1) }
    var y: [Scalar] = []
    y.reserveCapacity(extents.reduce(1, *))
    for plane in 0..<(extents[0] * extents[1]) {
      let base = plane * height * width
      for row in rows {
        for column in columns {
          var value = initial
          for i in row.inside {
            for j in column.inside { value = combine(value, x.elements[base + i * width + j]) }
          }
          y.append(
            finish(value, row.count * column.count, row.padded * column.padded))
        }
      }
    }
    var result = DenseTensor<Scalar>(shape: [0], repeating: initial)
    result.shape = extents
    result.elements = y
    return result
  }

  /// One window along one axis: the positions inside the image, and how many taps are inside the image
  /// with its padding.
  private func taps(
    at index: Int, extent: Int, axis: Int
  ) -> (inside: StrideTo<Int>, count: Int, padded: Int) {
    let (kernel, dilation) = (window.kernel[axis], window.dilations[axis])
    let start = index * window.strides[axis] - window.pads[axis]
    /// The number of taps before `limit`.
    func taps(before limit: Int) -> Int {
      limit <= start ? 0 : min(kernel, (limit - start - 1) / dilation + 1)
    }
    let (first, end) = (taps(before: 0), taps(before: extent))
    return (
      stride(from: start + first * dilation, to: start + end * dilation, by: dilation), end - first,
      taps(before: extent + window.pads[axis + 2])
    )
  }

  /// The attributes that ONNX gives both.
  var onnxAttributes: [(name: String, value: ONNXAttributeValue)] {
    var attributes: [(name: String, value: ONNXAttributeValue)] = [
      ("ceil_mode", .int(ceil ? 1 : 0)), ("kernel_shape", .ints(window.kernel)),
      ("pads", .ints(window.pads)), ("strides", .ints(window.strides)),
    ]
    if window.dilations != [1, 1] { attributes.append(("dilations", .ints(window.dilations))) }
    return attributes
  }
}

extension Window {
  /// The window of an ONNX pool.
  static func readPool(_ node: ONNXNode) throws -> Window {
    try read(node, kernel: node.requiredInts("kernel_shape"))
  }
}
