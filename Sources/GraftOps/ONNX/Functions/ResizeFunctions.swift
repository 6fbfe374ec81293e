// ONNX Resize and Upsample: each axis by itself is a product with a matrix of interpolation weights, or with the
// nearest element a choice of indices.

import Foundation
import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  /// ONNX Resize, opsets 10, 11, 13, 18, 19; https://onnx.ai/onnx/operators/onnx__Resize.html
  static let resize = ONNXFunction("Resize", since: 10) { f in
    let x = try f.input(0)
    let hasRegion = f.node.opset >= 11
    let axes =
      try f.node.optionalInts("axes").map { try $0.map { try x.shape.axis($0) } }
      ?? Array(0..<x.rank)
    let scales = try f.node.constantReals(hasRegion ? 2 : 1, named: "scales") ?? []
    let sizes = hasRegion ? try f.node.constantIntegers(3, named: "sizes") ?? [] : []
    guard scales.isEmpty != sizes.isEmpty else {
      throw GraftError(.invalidModel, "it needs either scales or sizes")
    }
    guard max(scales.count, sizes.count) == axes.count, Set(axes).count == axes.count else {
      throw GraftError(.invalidModel, "scales or sizes have no number for each of axes \(axes)")
    }
    var interpolation = try Interpolation(f.node)
    interpolation.region = hasRegion ? try f.node.constantReals(1, named: "roi") ?? [] : []
    guard interpolation.region.allSatisfy({ abs($0) <= 1e6 }) else {
      throw GraftError(
        .invalidModel, "roi has \(interpolation.region), expected numbers about 0 to 1")
    }
    var targets = try axes.enumerated().map { index, axis in
      // The batch stays as it is.
      let isKept = !sizes.isEmpty && sizes[index].isBatch && sizes[index] == x.shape[axis]
      guard sizes.isEmpty || isKept || !sizes[index].isBatch else {
        throw GraftError(.unsupported, "the size \(sizes[index]) of axis \(axis)")
      }
      return try ResizedAxis(
        axis, of: x.shape, scale: isKept ? 1 : scales.isEmpty ? nil : scales[index],
        size: isKept || sizes.isEmpty ? nil : sizes[index].constant, place: index,
        of: axes.count)
    }
    if !sizes.isEmpty {
      try ResizedAxis.keepAspectRatio(
        &targets, try f.node.string("keep_aspect_ratio_policy", default: "stretch"))
    }
    return [try f.resized(x, targets, interpolation)]
  }

  /// ONNX Upsample, opsets 1, 7, 9; https://onnx.ai/onnx/operators/onnx__Upsample.html
  static let upsamples = [
    ONNXFunction("Upsample", opsets: 1...9) { f in
      let x = try f.input(0)
      let scales: [Double]
      switch f.node.opset {
      case ..<7:
        scales = [
          1, 1, try f.node.float("height_scale", default: 1),
          try f.node.float("width_scale", default: 1),
        ]
      case 7, 8: scales = try f.node.optionalFloats("scales") ?? []
      default: scales = try f.node.constantReals(1, named: "scales") ?? []
      }
      guard scales.count == x.rank else {
        throw GraftError(.invalidModel, "scales have no number for each axis of \(x.type)")
      }
      var mode = try f.node.string("mode", default: "nearest")
      if mode == "bilinear" { mode = "linear" }
      let targets = try scales.enumerated().map {
        try ResizedAxis($0, of: x.shape, scale: $1, size: nil, place: $0, of: x.rank)
      }
      return [try f.resized(x, targets, try Interpolation(mode: mode))]
    }
  ]
}

/// One axis before and after.
private struct ResizedAxis {
  let axis: Int
  let from: Int
  var to: Int
  /// Positions of the result for one of the operand.
  var scale: Double
  /// Where `roi` has the axis's start; its end stands `regionEnd` further.
  let regionStart: Int
  let regionEnd: Int

  init(
    _ axis: Int, of shape: TensorShape, scale: Double?, size: Int?, place: Int, of count: Int
  ) throws {
    self.axis = axis
    regionStart = place
    regionEnd = place + count
    guard let from = shape[axis].constant else {
      // The batch stays.
      guard scale ?? 1 == 1, size == nil else {
        throw GraftError(.unsupported, "axis \(axis) of \(shape), the batch, is resized")
      }
      (self.from, to, self.scale) = (0, 0, 1)
      return
    }
    self.from = from
    let extent = scale.map { (Double(from) * $0).rounded(.down) } ?? Double(size ?? 0)
    guard extent >= 1, extent <= Double(Window.largest), from >= 1 else {
      throw GraftError(.invalidModel, "axis \(axis) of \(shape) would have the extent \(extent)")
    }
    to = Int(extent)
    self.scale = scale ?? Double(to) / Double(from)
  }

  static func keepAspectRatio(_ axes: inout [ResizedAxis], _ policy: String) throws {
    let ratios = axes.map(\.scale)
    let common: Double?
    switch policy {
    case "stretch": return
    case "not_larger": common = ratios.min()
    case "not_smaller": common = ratios.max()
    default: throw GraftError(.invalidModel, "keep_aspect_ratio_policy \(policy.quotedForDisplay)")
    }
    guard let common else { return }
    for index in axes.indices {
      axes[index].scale = common
      let extent = (common * Double(axes[index].from)).rounded()
      guard extent >= 1 && extent <= Double(Window.largest) || axes[index].from == 0 else {
        throw GraftError(.invalidModel, "axis \(axes[index].axis) would have the extent \(extent)")
      }
      axes[index].to = Int(extent)
    }
  }
}

/// How positions of the result are mapped and what is computed there.
private struct Interpolation {
  var mode: String
  var coordinates: String
  var nearest: String
  var cubicCoefficient = -0.75
  var excludesOutside = false
  var antialiases = false
  var region: [Double] = []
  var extrapolation = 0.0

  /// As Upsample has it.
  init(mode: String) throws {
    (self.mode, coordinates, nearest) = (mode, "asymmetric", "floor")
    try check()
  }

  init(_ node: ONNXNode) throws {
    mode = try node.string("mode", default: "nearest")
    let isOld = node.opset < 11
    coordinates = try node.string(
      "coordinate_transformation_mode", default: isOld ? "asymmetric" : "half_pixel")
    nearest = try node.string("nearest_mode", default: isOld ? "floor" : "round_prefer_floor")
    cubicCoefficient = try node.float("cubic_coeff_a", default: -0.75)
    excludesOutside = try node.flag("exclude_outside", default: false)
    antialiases = try node.flag("antialias", default: false)
    extrapolation = try node.float("extrapolation_value", default: 0)
    try check()
  }

  private func check() throws {
    for (value, known) in [
      (mode, ["nearest", "linear", "cubic"]),
      (
        coordinates,
        [
          "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
          "tf_half_pixel_for_nn", "tf_crop_and_resize",
        ]
      ), (nearest, ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    ] where !known.contains(value) {
      throw GraftError(
        .unsupported, "\(value.quotedForDisplay), expected one of \(known.joined(separator: ", "))")
    }
  }

  /// The position in the operand of position `index` of the result.
  func position(_ index: Int, _ axis: ResizedAxis) throws -> Double {
    let (i, from, to) = (Double(index), Double(axis.from), Double(axis.to))
    switch coordinates {
    case "half_pixel": return (i + 0.5) / axis.scale - 0.5
    case "half_pixel_symmetric":
      let adjustment = to / (axis.scale * from)
      return from / 2 * (1 - adjustment) + (i + 0.5) / axis.scale - 0.5
    case "pytorch_half_pixel": return axis.to > 1 ? (i + 0.5) / axis.scale - 0.5 : 0
    case "align_corners":
      // As ONNX's own tests have it: where scales are given the extent is not rounded.
      let extent = axis.scale * from
      return axis.to > 1 ? i * (from - 1) / (extent - 1) : 0
    case "tf_half_pixel_for_nn": return (i + 0.5) / axis.scale
    case "tf_crop_and_resize":
      guard region.indices.contains(axis.regionEnd) else {
        throw GraftError(.invalidModel, "roi has no range for each axis")
      }
      let (start, end) = (region[axis.regionStart], region[axis.regionEnd])
      return axis.to > 1
        ? start * (from - 1) + i * (end - start) * (from - 1) / (to - 1)
        : 0.5 * (start + end) * (from - 1)
    default: return i / axis.scale
    }
  }

  /// For each position of the result whether it lies in the image; nil where all do or the operator extends it.
  func inside(_ axis: ResizedAxis) throws -> [Int]? {
    guard coordinates == "tf_crop_and_resize" else { return nil }
    let inside = try (0..<axis.to).map { index -> Int in
      (0...Double(axis.from - 1)).contains(try position(index, axis)) ? 1 : 0
    }
    return inside.contains(0) ? inside : nil
  }

  /// The element that position `index` of the result is nearest to.
  func nearestIndex(_ index: Int, _ axis: ResizedAxis) throws -> Int {
    let position = try position(index, axis)
    let rounded =
      switch nearest {
      case "round_prefer_floor": (position - 0.5).rounded(.up)
      case "round_prefer_ceil": (position + 0.5).rounded(.down)
      case "floor": position.rounded(.down)
      default: position.rounded(.up)
      }
    return Int(min(max(rounded, 0), Double(axis.from - 1)))
  }

  /// The weights of all elements of the operand at position `index` of the result.
  func weights(_ index: Int, _ axis: ResizedAxis) throws -> [Double] {
    let position = try position(index, axis)
    // Antialiasing widens the filter where the image shrinks.
    let width = antialiases ? max(1, 1 / axis.scale) : 1
    let reach = (mode == "linear" ? 1.0 : 2.0) * width
    let isExact = width == 1
    // A position far outside of the image gets the element at its edge.
    let near = min(max(position, -1 - reach), Double(axis.from) + reach)
    let first = Int((near - reach).rounded(.down)) + (isExact ? 1 : 0)
    let last = Int((near + reach).rounded(isExact ? .down : .up))
    var row = Array(repeating: 0.0, count: axis.from)
    var sum = 0.0
    for place in first...max(first, last) {
      let weight = filter((Double(place) - near) / width)
      let isInside = row.indices.contains(place)
      guard isInside || !excludesOutside else { continue }
      row[min(max(place, 0), axis.from - 1)] += weight
      sum += weight
    }
    if excludesOutside || antialiases, sum != 0 { row = row.map { $0 / sum } }
    return row
  }

  private func filter(_ distance: Double) -> Double {
    let (d, a) = (abs(distance), cubicCoefficient)
    guard mode == "cubic" else { return max(0, 1 - d) }
    // Keys 1981, equation 4 with coefficient a.
    if d <= 1 { return ((a + 2) * d - (a + 3)) * d * d + 1 }
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0
  }
}

extension FunctionBuilder {
  /// The largest matrix of interpolation weights.
  private static let largestMatrix = 1 << 24

  fileprivate mutating func resized(
    _ x: Term, _ axes: [ResizedAxis], _ interpolation: Interpolation
  ) throws -> Term {
    var y = x
    // The region of tf_crop_and_resize can change what stands at an axis that keeps its extent.
    let isCrop = interpolation.coordinates == "tf_crop_and_resize"
    for axis in axes where axis.from > 0 && (axis.scale != 1 || axis.to != axis.from || isCrop) {
      if interpolation.mode == "nearest" {
        let indices = try (0..<axis.to).map { try interpolation.nearestIndex($0, axis) }
        let chosen = constant(try TensorData(packing: indices, as: .int64, shape: [axis.to]))
        y = try apply(Gather(axis: axis.axis), y, chosen)
        continue
      }
      guard x.type.dtype.isFloatingPoint else {
        throw GraftError(.unsupported, "interpolation of \(x.type)")
      }
      guard axis.from <= Self.largestMatrix / axis.to else {
        throw GraftError(.unsupported, "interpolation of \(axis.from) to \(axis.to) elements")
      }
      let rows = try (0..<axis.to).map { try interpolation.weights($0, axis) }
      y = try multiplied(y, by: rows, along: axis.axis)
    }
    for axis in axes where axis.from > 0 {
      guard let inside = try interpolation.inside(axis) else { continue }
      let shape = [axis.to] + Array(repeating: 1, count: x.rank - 1 - axis.axis)
      let mask = constant(try TensorData(packing: inside, as: .bool, shape: shape))
      y = try apply(Where(), mask, y, try scalar(interpolation.extrapolation, like: y))
    }
    return steps.isEmpty ? try apply(Identity(), x) : y
  }

  /// The product of the matrix `rows`, [to][from], with every line of `x` along `axis`.
  private mutating func multiplied(
    _ x: Term, by rows: [[Double]], along axis: Int
  ) throws -> Term {
    guard axis != x.rank - 2 || x.rank < 3 else {
      return try apply(MatrixMultiply(), try matrix(rows, like: x), x)
    }
    let columns = rows[0].indices.map { column in rows.map { $0[column] } }
    let weights = try matrix(columns, like: x)
    return try movedToEnd(axis, of: x) { f, moved in
      guard moved.rank == 1 else { return try f.apply(MatrixMultiply(), moved, weights) }
      let line = try f.reshape(moved, to: [1, moved.shape[0]])
      return try f.reshape(
        try f.apply(MatrixMultiply(), line, weights), to: [Dimension(rows.count)])
    }
  }
}
