// The gradient of pools over regions. Only gradient rules create it.

import GraftDiagnostics
import GraftIR
import RealModule

/// dx [images, channels, height, width] of a ``RegionPool`` of the kind `average`: each bin's gradient goes to the pixels
/// around its places by their weights.
///
/// Operands: dy [R, channels, rows, columns]; regions and batches as of the pool. ``extents`` are height and width.
///
/// - C1: with x of these extents the pool takes regions and batches, and dy has the type of its result.
/// - C2: the pool is of the kind `average`.
public struct RegionPoolGradient: Operator {
  public static let opcode: Opcode = "region_pool_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "gradient of the mean over the bins of regions"
  public static let operands: [OperandRule] = [
    .required("dy"), .required("regions"), .required("batches"),
  ]
  public static let resultNames = ["dx"]

  public var pool: RegionPool
  public var images: Int
  public var extents: [Int]

  public init(pool: RegionPool, images: Int, extents: [Int]) {
    self.pool = pool
    self.images = images
    self.extents = extents
  }

  public init(attributes: Attributes) throws {
    pool = try RegionPool(attributes: attributes)
    images = try attributes.int("images")
    extents = try attributes.ints("extents")
  }

  public var attributes: Attributes {
    var attributes = pool.attributes
    attributes["images"] = .int(images)
    attributes["extents"] = .ints(extents)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let dy = try operand(0, of: operands)
    try require(
      "C1",
      dy.rank == 4 && dy.shape[1].constant != nil && extents.count == 2
        && ([images] + extents).allSatisfy { (1...Window.largest).contains($0) },
      "dy must have rank 4, and images and extents must be positive, found \(dy), \(images), \(extents)"
    )
    try require("C2", pool.kind == .average, "the gradient of the kind \(pool.kind.rawValue)")
    let x = TensorType(
      dy.dtype, [Dimension(images), dy.shape[1], Dimension(extents[0]), Dimension(extents[1])])
    _ = try x.shape.extents(batch: 1)
    let y = try pool.inferTypes([x, try operand(1, of: operands), try operand(2, of: operands)])
    try requireSameType("C1", dy, "dy", as: y[0])
    return [x]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 3, case .integer(let batches)? = operands[2] else {
      throw GraftError(.invalidGraph, "batches must be integers [C1]")
    }
    switch (operands[0], operands[1]) {
    case (.float32(let dy), .float32(let regions)):
      return [.float32(try spread(dy, regions, batches.elements, extents[0]))]
    case (.float64(let dy), .float64(let regions)):
      return [.float64(try spread(dy, regions, batches.elements, extents[0]))]
    default: throw GraftError(.invalidGraph, "dy and regions need one floating-point type [C1]")
    }
  }

  private func spread<Scalar: Real & BinaryFloatingPoint & Sendable>(
    _ dy: DenseTensor<Scalar>, _ regions: DenseTensor<Scalar>, _ batches: [Dimension],
    _ shape: [Int]
  ) throws -> DenseTensor<Scalar> {
    var dx = DenseTensor<Scalar>(shape: shape, repeating: 0)
    let bins = pool.bins[0] * pool.bins[1]
    for region in 0..<dy.shape[0] {
      let place = try RegionPlace(pool, regions, batches, region, of: shape)
      for bin in 0..<bins {
        let places = place.places(of: bin)
        for channel in 0..<shape[1] {
          let to = (place.image * shape[1] + channel) * shape[2] * shape[3]
          let share =
            dy.elements[(region * shape[1] + channel) * bins + bin] / Scalar(max(places.count, 1))
          for pixel in places.joined() { dx.elements[to + pixel.pixel] += share * pixel.weight }
        }
      }
    }
    return dx
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    pool.cost(
      operands: operands, results: optionalOperand(0, of: operands).map { [$0] } ?? [])
  }
}
