// The extents of a tensor, in the axis order of the user's file.

import GraftDiagnostics

/// The extents of a tensor, outermost axis first; rank 0 is a scalar.
public struct TensorShape: Hashable, Sendable {
  public var dimensions: [Dimension]

  public init(_ dimensions: [Dimension]) { self.dimensions = dimensions }
  public init(_ constants: [Int]) { self.dimensions = constants.map { Dimension($0) } }

  public var rank: Int { dimensions.count }

  /// The maximum number of elements: 2^36 elements are 256 GiB of float32.
  public static let largestElementCount = 1 << 36

  /// Every extent if none depends on the batch.
  public var constants: [Int]? {
    let known = dimensions.compactMap(\.constant)
    return known.count == dimensions.count ? known : nil
  }

  public var dependsOnBatch: Bool { dimensions.contains(where: \.isBatch) }

  /// The number of elements: an integer or k·N; nil on overflow or for a product N·N.
  public var elementCount: Dimension? {
    var product: Dimension? = 1
    for dimension in dimensions { product = product?.multiplied(by: dimension) }
    return product
  }

  /// The extents for one batch size.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if they overflow or pass
  ///   ``largestElementCount``.
  public func extents(batch: Int) throws -> [Int] {
    var result: [Int] = []
    var count = 1
    for dimension in dimensions {
      guard let extent = dimension.extent(batch: batch),
        // Also for shapes with an empty axis, because strides are products of the other extents.
        case let (product, overflow) = count.multipliedReportingOverflow(by: max(extent, 1)),
        !overflow, product <= Self.largestElementCount
      else {
        throw GraftError(
          .invalidArgument,
          "a tensor of shape \(self) at batch size \(batch) is too large: "
            + "at most \(Self.largestElementCount) elements are supported")
      }
      count = product
      result.append(extent)
    }
    return result
  }

  /// `axis` counted from the front, where negative values count from the back as in ONNX.
  public func axis(_ axis: Int) throws -> Int {
    guard axis >= -rank, axis < rank else {
      throw GraftError(
        .invalidGraph, "axis \(axis) is outside a tensor of rank \(rank) (shape \(self))")
    }
    return axis < 0 ? axis + rank : axis
  }

  public subscript(axis: Int) -> Dimension {
    get { dimensions[axis] }
    set { dimensions[axis] = newValue }
  }
}

extension TensorShape: ExpressibleByArrayLiteral {
  public init(arrayLiteral elements: Dimension...) { self.init(elements) }
}

extension TensorShape: CustomStringConvertible {
  /// `[N,3,224,224]`
  public var description: String {
    "[" + dimensions.map(\.description).joined(separator: ",") + "]"
  }
}
