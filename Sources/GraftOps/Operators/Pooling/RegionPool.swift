// Pools over regions of images that the network computes. ONNX RoiAlign, opsets 10, 16 (half pixels), 22;
// https://onnx.ai/onnx/operators/onnx__RoiAlign.html, and MaxRoiPool, opsets 1, 22;
// https://onnx.ai/onnx/operators/onnx__MaxRoiPool.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y[r, c, i, j] = the pool over bin (i, j) of region r in channel c of its image.
///
/// Operands: x [images, channels, height, width]; regions [R, 4] (left, top, right, bottom, in units of 1 / ``scale``
/// pixels) and batches [R], the index of each region's image; of the kind ``Kind/pixels`` regions [R, 5] that begin with
/// this index. Kernels take the nearest index for one outside, and the reference evaluator throws.
///
/// - C1: x has rank 4, a floating-point type, and is constant and not empty.
/// - C2: regions have x's element type, and batches are int64.
/// - C3: ``bins`` are two positive numbers of a product up to 2²⁴, the number of places is in 0...4096 and the scale finite.
public struct RegionPool: Operator, ONNXExportable {
  public enum Kind: String, Sendable, CaseIterable {
    /// The mean of interpolated places, He et al. 2017.
    case average
    /// The largest weighted pixel at these places.
    case largest
    /// The largest of the bin's pixels, Girshick 2015.
    case pixels
  }

  public static let opcode: Opcode = "region_pool"
  public static let group = OperatorGroup.pooling
  public static let summary = "mean or maximum over the bins of regions of images"
  public static let operands: [OperandRule] = [
    .required("x"), .required("regions"), .optional("batches"),
  ]

  /// The most places along one axis of a bin.
  public static let mostPlaces = 1 << 12

  public var kind: Kind
  /// [rows, columns]
  public var bins: [Int]
  public var scale: Double
  /// The places along each axis of a bin; 0 for as many as it has pixels, at most ``mostPlaces``.
  public var places: Int
  /// Whether regions are moved by half a pixel, and may be smaller than one.
  public var isHalfPixel: Bool

  public init(
    _ kind: Kind, bins: [Int], scale: Double = 1, places: Int = 0, isHalfPixel: Bool = false
  ) {
    self.kind = kind
    self.bins = bins
    self.scale = scale
    self.places = places
    self.isHalfPixel = isHalfPixel
  }

  public init(attributes: Attributes) throws {
    let name = try attributes.string("kind", default: Kind.average.rawValue)
    guard let kind = Kind(rawValue: name) else {
      throw GraftError(.invalidGraph, "unknown kind \(name.quotedForDisplay) of \"kind\"")
    }
    self.init(
      kind, bins: try attributes.ints("bins"), scale: try attributes.float("scale"),
      places: try attributes.int("places"),
      isHalfPixel: try attributes.bool("half_pixel", default: false))
  }

  public var attributes: Attributes {
    var attributes: Attributes = [
      "kind": .string(kind.rawValue), "bins": .ints(bins), "scale": .float(scale),
      "places": .int(places),
    ]
    if isHalfPixel { attributes["half_pixel"] = .bool(true) }
    return attributes
  }

  public func axesWorkedAlong(rank: Int) -> [Int] { [0] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let regions = try operand(1, of: operands)
    try requireReal("C1", x)
    try require(
      "C1", x.rank == 4 && (x.shape.constants?.allSatisfy { $0 >= 1 } ?? false),
      "x must have rank 4 and a constant shape, found \(x)")
    let width: Dimension = kind == .pixels ? 5 : 4
    try require(
      "C2", regions.rank == 2 && regions.shape[1] == width && regions.dtype == x.dtype,
      "regions must be \(x.dtype.rawValue)[R,\(width)], found \(regions)")
    if kind != .pixels {
      let batches = try operand(2, of: operands)
      try require(
        "C2", batches.dtype == .int64 && batches.shape == [regions.shape[0]],
        "batches must be i64[\(regions.shape[0])], found \(batches)")
    } else {
      try require(
        "C2", optionalOperand(2, of: operands) == nil, "regions have the index of their image")
    }
    try require(
      "C3",
      bins.count == 2 && bins.allSatisfy { (1...Window.largest).contains($0) }
        && saturatingProduct(bins) <= 1 << 24 && (0...Self.mostPlaces).contains(places)
        && scale.isFinite,
      "bins \(bins) with \(places) places, scale \(scale)")
    return [
      TensorType(
        x.dtype, [regions.shape[0], x.shape[1], Dimension(bins[0]), Dimension(bins[1])])
    ]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    var batches: [Dimension] = []
    if operands.count > 2, case .integer(let found)? = operands[2] { batches = found.elements }
    guard operands.count >= 2 else { throw GraftError(.invalidGraph, "operands are missing") }
    switch (operands[0], operands[1]) {
    case (.float32(let x), .float32(let regions)):
      return [.float32(try pool(x, regions, batches, extents[0]))]
    case (.float64(let x), .float64(let regions)):
      return [.float64(try pool(x, regions, batches, extents[0]))]
    default: throw GraftError(.invalidGraph, "x and regions need one floating-point type [C2]")
    }
  }

  private func pool<Scalar: Real & BinaryFloatingPoint & Sendable>(
    _ x: DenseTensor<Scalar>, _ regions: DenseTensor<Scalar>, _ batches: [Dimension],
    _ extents: [Int]
  ) throws -> DenseTensor<Scalar> {
    var y = DenseTensor<Scalar>(shape: extents, repeating: 0)
    let plane = x.shape[2] * x.shape[3]
    var room = 1 << 30
    for region in 0..<extents[0] {
      let place = try RegionPlace(self, regions, batches, region, of: x.shape)
      // Where regions say how many places a bin has, they need not be modest.
      let samples = kind == .pixels ? 0 : saturatingProduct([place.samples, extents[1]])
      guard samples <= room else {
        throw GraftError(.unsupported, "regions of more than \(1 << 30) places")
      }
      room -= samples
      for channel in 0..<extents[1] {
        let from = (place.image * x.shape[1] + channel) * plane
        for bin in 0..<(bins[0] * bins[1]) {
          y.elements[(region * extents[1] + channel) * bins[0] * bins[1] + bin] =
            kind == .pixels
            ? place.largestPixel(bin, x, from: from) : place.pooled(bin, x, from: from)
        }
      }
    }
    return y
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    let each = max(places, 2)
    return OperatorCost(
      multiplyAdds: saturatingProduct([elementCount(results.first), each, each, 4]))
  }

  public static let onnx = [
    ONNXBinding("RoiAlign", since: 10) { node in
      let mode = try node.string("mode", default: "avg").lowercased()
      let coordinates = try node.string(
        "coordinate_transformation_mode",
        default: node.opset < 16 ? "output_half_pixel" : "half_pixel")
      guard ["avg", "max"].contains(mode),
        ["half_pixel", "output_half_pixel"].contains(coordinates)
      else {
        throw GraftError(
          .invalidModel,
          "mode \(mode.quotedForDisplay) or \(coordinates.quotedForDisplay) is not in ONNX")
      }
      return ImportedOperator(
        RegionPool(
          mode == "avg" ? .average : .largest,
          bins: [
            try node.int("output_height", default: 1), try node.int("output_width", default: 1),
          ], scale: try node.float("spatial_scale", default: 1),
          places: max(0, try node.int("sampling_ratio", default: 0)),
          isHalfPixel: coordinates == "half_pixel"), operands: [0, 1, 2])
    },
    ONNXBinding("MaxRoiPool") { node in
      ImportedOperator(
        RegionPool(
          .pixels, bins: try node.requiredInts("pooled_shape"),
          scale: try node.float("spatial_scale", default: 1)), operands: [0, 1])
    },
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    if kind == .pixels {
      return ExportedOperator(
        "MaxRoiPool",
        attributes: [("pooled_shape", .ints(bins)), ("spatial_scale", .float(scale))],
        inputs: [.operand(0), .operand(1)])
    }
    return ExportedOperator(
      "RoiAlign",
      attributes: [
        (
          "coordinate_transformation_mode",
          .string(isHalfPixel ? "half_pixel" : "output_half_pixel")
        ), ("mode", .string(kind == .average ? "avg" : "max")), ("output_height", .int(bins[0])),
        ("output_width", .int(bins[1])), ("sampling_ratio", .int(places)),
        ("spatial_scale", .float(scale)),
      ], inputs: [.operand(0), .operand(1), .operand(2)])
  }
}

extension RegionPool: DifferentiableOperator {
  /// The gradient of means with respect to x. Regions are taken as given, as in torchvision.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    guard builder.wants(0) else { return }
    guard kind == .average else {
      throw GraftError(.unsupported, "the gradient of the maxima of regions")
    }
    guard let shape = builder.shape(of: try builder.operand(0)).constants else {
      throw GraftError(.unsupported, "the gradient of regions of a batch of any size")
    }
    try builder.setGradient(
      of: 0,
      try builder.apply(
        RegionPoolGradient(pool: self, images: shape[0], extents: Array(shape[2...])),
        [try builder.incoming(), try builder.operand(1), try builder.operand(2)]))
  }
}

/// One region in pixels of its image.
struct RegionPlace<Scalar: Real & BinaryFloatingPoint & Sendable> {
  let image: Int
  private let pool: RegionPool
  private let extents: [Int]
  /// By axis: where it begins and how long it is.
  private var starts: [Scalar] = []
  private var lengths: [Scalar] = []

  /// - Throws: ``GraftError`` if the index of the image is outside.
  init(
    _ pool: RegionPool, _ regions: DenseTensor<Scalar>, _ batches: [Dimension], _ region: Int,
    of shape: [Int]
  ) throws {
    self.pool = pool
    extents = Array(shape[2...])
    let width = regions.shape[1]
    var numbers = Array(regions.elements[(region * width)..<((region + 1) * width)])
    if pool.kind == .pixels {
      let index = numbers.removeFirst()
      guard let whole = Int(exactly: index.rounded(.towardZero)) else {
        throw GraftError(.invalidData, "\(index) is no index of an image")
      }
      image = try wholeIndex(Dimension(whole), below: shape[0])
    } else {
      image = try wholeIndex(batches[region], below: shape[0])
    }
    let offset: Scalar = pool.isHalfPixel ? 0.5 : 0
    for axis in 0..<2 {
      let (start, end) = (numbers[1 - axis], numbers[3 - axis])
      if pool.kind == .pixels {
        // Beyond these nothing is in the image.
        let limit = Scalar(1 << 24)
        // As in the kernel, what is no number is there too.
        func pixel(_ number: Scalar) -> Scalar {
          let place = (number * Scalar(pool.scale)).rounded()
          return place > -limit ? min(place, limit) : -limit
        }
        starts.append(pixel(start))
        lengths.append(max(pixel(end) - pixel(start) + 1, 1))
        continue
      }
      let (low, high) = (
        start * Scalar(pool.scale) - offset, end * Scalar(pool.scale) - offset
      )
      starts.append(low)
      lengths.append(pool.isHalfPixel ? high - low : max(high - low, 1))
    }
  }

  /// The places of a bin along an axis.
  private func count(_ axis: Int) -> Int {
    guard pool.places == 0 else { return pool.places }
    let each = lengths[axis] / Scalar(pool.bins[axis])
    return each > 0 ? Int(min(each.rounded(.up), Scalar(RegionPool.mostPlaces))) : 0
  }

  /// The places of all bins.
  var samples: Int { saturatingProduct(pool.bins + [count(0), count(1)]) }

  /// The pixels around the places of bin `bin` with their weights; none where the place is outside.
  func places(of bin: Int) -> [[(pixel: Int, weight: Scalar)]] {
    let index = [bin / pool.bins[1], bin % pool.bins[1]]
    let axes = (0..<2).map { axis -> [(low: Int, high: Int, part: Scalar)?] in
      let each = lengths[axis] / Scalar(pool.bins[axis])
      let count = count(axis)
      return (0..<count).map { number in
        let place =
          starts[axis] + Scalar(index[axis]) * each + (Scalar(number) + 0.5) * each / Scalar(count)
        guard place >= -1, place <= Scalar(extents[axis]) else { return nil }
        let inside = min(max(place, 0), Scalar(extents[axis] - 1))
        let low = Int(inside)
        return (low, min(low + 1, extents[axis] - 1), inside - Scalar(low))
      }
    }
    return axes[0].flatMap { row in
      axes[1].map { column -> [(pixel: Int, weight: Scalar)] in
        guard let row, let column else { return [] }
        return [
          (row.low * extents[1] + column.low, (1 - row.part) * (1 - column.part)),
          (row.low * extents[1] + column.high, (1 - row.part) * column.part),
          (row.high * extents[1] + column.low, row.part * (1 - column.part)),
          (row.high * extents[1] + column.high, row.part * column.part),
        ]
      }
    }
  }

  func pooled(_ bin: Int, _ x: DenseTensor<Scalar>, from: Int) -> Scalar {
    let places = places(of: bin)
    let values = places.map { place in place.map { $0.weight * x.elements[from + $0.pixel] } }
    guard pool.kind == .average else {
      return values.map { $0.max() ?? 0 }.max() ?? 0
    }
    return values.reduce(0) { $0 + $1.reduce(0, +) } / Scalar(max(values.count, 1))
  }

  /// 0 where the bin has no pixel.
  func largestPixel(_ bin: Int, _ x: DenseTensor<Scalar>, from: Int) -> Scalar {
    let index = [bin / pool.bins[1], bin % pool.bins[1]]
    let ranges = (0..<2).map { axis -> Range<Int> in
      let each = lengths[axis] / Scalar(pool.bins[axis])
      func clamped(_ place: Scalar) -> Int {
        Int(min(max(place + starts[axis], 0), Scalar(extents[axis])))
      }
      let low = clamped((Scalar(index[axis]) * each).rounded(.down))
      return low..<max(low, clamped((Scalar(index[axis] + 1) * each).rounded(.up)))
    }
    var largest: Scalar?
    for row in ranges[0] {
      for column in ranges[1] {
        let value = x.elements[from + row * extents[1] + column]
        largest = largest.map { max($0, value) } ?? value
      }
    }
    return largest ?? 0
  }
}
