// The sliding window that convolutions and pools share: kernel, strides, pads and dilations in height
// and width, their ONNX attributes with auto_pad, and the extent of the result.

import GraftDiagnostics
import GraftIR

/// A window sliding over height and width.
public struct Window: Hashable, Sendable {
  /// [height, width]
  public var kernel: [Int]
  /// [height, width]
  public var strides: [Int]
  /// [top, left, bottom, right]
  public var pads: [Int]
  /// [height, width]
  public var dilations: [Int]

  public init(
    kernel: [Int], strides: [Int] = [1, 1], pads: [Int] = [0, 0, 0, 0], dilations: [Int] = [1, 1]
  ) {
    self.kernel = kernel
    self.strides = strides
    self.pads = pads
    self.dilations = dilations
  }

  /// The window of a convolution, or of the one of which another is the transpose, with weights of type `w`.
  /// - Throws: ``GraftError`` that cites a label: `rank` if w has not rank 4, `constant` if its shape is not
  ///   constant, `validity` if the lists do not have the right lengths and signs.
  init(
    weights w: TensorType, strides: [Int], pads: [Int], dilations: [Int],
    labels: (rank: String, constant: String, validity: String)
  ) throws {
    try require(labels.rank, w.rank == 4, "w must have rank 4, found \(w)")
    let extents = w.shape.constants
    try require(labels.constant, extents != nil, "w must have a constant shape, found \(w)")
    self.init(
      kernel: Array((extents ?? [])[2...]), strides: strides, pads: pads, dilations: dilations)
    try validate(labels.validity)
  }

  /// The maximum kernel extent, stride, pad or dilation.
  static let largest = 1 << 20

  /// Checks the lengths and signs of the lists.
  func validate(_ label: String) throws {
    try require(
      label, kernel.count == 2 && strides.count == 2 && pads.count == 4 && dilations.count == 2,
      "the window must have two spatial axes: kernel \(kernel), strides \(strides), pads \(pads), "
        + "dilations \(dilations)")
    let positive = kernel + strides + dilations
    try require(
      label,
      positive.allSatisfy { (1...Self.largest).contains($0) }
        && pads.allSatisfy { (0...Self.largest).contains($0) },
      "kernel \(kernel), strides \(strides), dilations \(dilations) must be positive and pads "
        + "\(pads) not negative")
  }

  /// The effective kernel extent (with dilation) along `axis` (0 height, 1 width).
  public func reach(_ axis: Int) -> Int { (kernel[axis] - 1) * dilations[axis] + 1 }

  /// The extent of the result along `axis`: ⌊(extent + pads − reach) / stride⌋ + 1, or with
  /// `ceil` rounded up, less a last window that would start inside the end padding.
  func resultExtent(_ extent: Int, axis: Int, ceil: Bool = false, label: String) throws -> Int {
    let room = extent + pads[axis] + pads[axis + 2] - reach(axis)
    try require(
      label, room >= 0,
      "the effective kernel extent \(reach(axis)) exceeds the \(axis == 0 ? "height" : "width") "
        + "\(extent) with pads \(pads[axis]) and \(pads[axis + 2])")
    guard ceil else { return room / strides[axis] + 1 }
    let rounded = (room + strides[axis] - 1) / strides[axis] + 1
    return (rounded - 1) * strides[axis] >= extent + pads[axis] ? rounded - 1 : rounded
  }

  /// Reads `kernel`, `strides`, `pads` and `dilations`.
  init(attributes: Attributes) throws {
    kernel = try attributes.ints("kernel")
    strides = try attributes.ints("strides")
    pads = try attributes.ints("pads")
    dilations = try attributes.ints("dilations", default: [1, 1])
  }

  /// The window as attributes; dilations only if they are not 1.
  var attributes: Attributes {
    var attributes: Attributes = [
      "kernel": .ints(kernel), "strides": .ints(strides), "pads": .ints(pads),
    ]
    if dilations != [1, 1] { attributes["dilations"] = .ints(dilations) }
    return attributes
  }

  /// Reads strides, pads, dilations and auto_pad of an ONNX node whose first input is an image.
  static func read(_ node: ONNXNode, kernel: [Int], ceil: Bool = false) throws -> Window {
    var window = Window(kernel: kernel)
    let axes = kernel.count
    guard axes == 2 else {
      throw GraftError(
        .unsupported, "\(axes) spatial axes, Graft supports two (batch, channels, height, width)")
    }
    window.strides = try node.optionalInts("strides") ?? [1, 1]
    window.dilations = try node.optionalInts("dilations") ?? [1, 1]
    window.pads = try node.optionalInts("pads") ?? [0, 0, 0, 0]
    try window.validate("ONNX")
    // Nothing lies between the elements of a window that has one.
    for axis in kernel.indices where kernel[axis] == 1 { window.dilations[axis] = 1 }
    let mode = try node.string("auto_pad", default: "NOTSET")
    switch mode {
    case "NOTSET", "": break
    case "VALID": window.pads = [0, 0, 0, 0]
    case "SAME_UPPER", "SAME_LOWER":
      let shape = try node.input(0).type.shape
      guard shape.rank == 4, let height = shape[2].constant, let width = shape[3].constant else {
        throw GraftError(.unsupported, "auto_pad needs a constant height and width, found \(shape)")
      }
      for (axis, extent) in [height, width].enumerated() {
        let stride = window.strides[axis]
        let result = (extent + stride - 1) / stride
        let total = max(0, (result - 1) * stride + window.reach(axis) - extent)
        let small = total / 2
        window.pads[axis] = mode == "SAME_UPPER" ? small : total - small
        window.pads[axis + 2] = total - window.pads[axis]
      }
    default:
      throw GraftError(.invalidModel, "auto_pad \(mode.quotedForDisplay) is not in ONNX")
    }
    return window
  }
}
