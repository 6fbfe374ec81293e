// An extent of a tensor: a constant, or an integer multiple of the dynamic batch size N. After import there
// are no other expressions.

import GraftDiagnostics

/// An extent of one axis: an integer k, or k·N with N the dynamic batch.
public struct Dimension: Hashable, Sendable {
  /// The integer, or the k of k·N. Negative only in shape arithmetic, never in a shape.
  public let coefficient: Int
  /// Whether the extent grows with the batch.
  public let isBatch: Bool

  public init(_ constant: Int) {
    self.coefficient = constant
    self.isBatch = false
  }

  private init(batchMultiple: Int) {
    self.coefficient = batchMultiple
    self.isBatch = true
  }

  /// k·N. A multiple of zero is the constant 0.
  public static func batch(times multiple: Int = 1) -> Dimension {
    multiple == 0 ? Dimension(0) : Dimension(batchMultiple: multiple)
  }

  /// The dynamic batch size N.
  public static let batch = Dimension(batchMultiple: 1)

  /// The extent if it is the same for every batch.
  public var constant: Int? { isBatch ? nil : coefficient }

  /// The extent for a batch of `batch` items; nil if it overflows.
  public func extent(batch: Int) -> Int? {
    guard isBatch else { return coefficient }
    let (product, overflow) = coefficient.multipliedReportingOverflow(by: batch)
    return overflow ? nil : product
  }

  /// `self · other`; nil for N·N, which no supported network needs, and on overflow.
  public func multiplied(by other: Dimension) -> Dimension? {
    if isBatch && other.isBatch { return nil }
    let (product, overflow) = coefficient.multipliedReportingOverflow(by: other.coefficient)
    guard !overflow else { return nil }
    return isBatch || other.isBatch ? .batch(times: product) : Dimension(product)
  }

  /// `self / other` where it divides without remainder for every batch; otherwise nil.
  public func divided(by other: Dimension) -> Dimension? {
    guard other.coefficient != 0, coefficient.isMultiple(of: other.coefficient) else { return nil }
    let (quotient, overflow) = coefficient.dividedReportingOverflow(by: other.coefficient)
    guard !overflow else { return nil }
    switch (isBatch, other.isBatch) {
    case (true, true), (false, false): return Dimension(quotient)
    case (true, false): return .batch(times: quotient)
    case (false, true): return coefficient == 0 ? Dimension(0) : nil
    }
  }

  /// `self + other`, where both grow alike; otherwise nil.
  public func adding(_ other: Dimension) -> Dimension? {
    if coefficient == 0 { return other }
    if other.coefficient == 0 { return self }
    guard isBatch == other.isBatch else { return nil }
    let (sum, overflow) = coefficient.addingReportingOverflow(other.coefficient)
    guard !overflow else { return nil }
    return isBatch ? .batch(times: sum) : Dimension(sum)
  }
}

extension Dimension: ExpressibleByIntegerLiteral {
  public init(integerLiteral value: Int) { self.init(value) }
}

extension Dimension: CustomStringConvertible {
  /// `64`, `N` or `2N`.
  public var description: String {
    guard isBatch else { return "\(coefficient)" }
    return coefficient == 1 ? "N" : "\(coefficient)N"
  }
}
