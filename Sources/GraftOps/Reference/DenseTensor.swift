// Tensors in plain Swift arrays, for the reference evaluator, shape arithmetic and tests. Nothing here
// is fast; everything here is plain.

import GraftDiagnostics
import GraftIR

/// A dense row-major tensor of any element.
public struct DenseTensor<Element: Sendable>: Sendable {
  /// The extents, outermost first; empty for a scalar.
  public var shape: [Int]
  public var elements: [Element]

  /// - Throws: ``GraftError`` of kind `inconsistency` if the elements do not fill the shape.
  public init(shape: [Int], elements: [Element]) throws {
    guard elements.count == shape.reduce(1, *) else {
      throw GraftError(
        .inconsistency, "\(elements.count) elements do not fill a tensor of shape \(shape)")
    }
    self.shape = shape
    self.elements = elements
  }

  public init(shape: [Int], repeating element: Element) {
    self.shape = shape
    self.elements = Array(repeating: element, count: shape.reduce(1, *))
  }

  public init(scalar element: Element) {
    self.shape = []
    self.elements = [element]
  }

  public var rank: Int { shape.count }
  public var strides: [Int] { rowMajorStrides(shape) }

  public func map<Other>(_ transform: (Element) throws -> Other) rethrows -> DenseTensor<Other> {
    var result = DenseTensor<Other>(shape: [0], repeating: [Other]())
    result.shape = shape
    result.elements = try elements.map(transform)
    return result
  }

  private init(shape: [Int], repeating elements: [Element]) {
    self.shape = shape
    self.elements = elements
  }
}

extension DenseTensor: Equatable where Element: Equatable {}

/// Elements between neighbors along each axis of a dense row-major tensor.
public func rowMajorStrides(_ shape: [Int]) -> [Int] {
  var strides = Array(repeating: 1, count: shape.count)
  for axis in shape.indices.dropLast().reversed() {
    strides[axis] = strides[axis + 1] * shape[axis + 1]
  }
  return strides
}

/// Calls `body` with every index of a tensor of shape `shape`, in row-major order.
public func forEachIndex(of shape: [Int], _ body: ([Int]) throws -> Void) rethrows {
  guard !shape.contains(0) else { return }
  var index = Array(repeating: 0, count: shape.count)
  while true {
    try body(index)
    var axis = shape.count - 1
    while axis >= 0 {
      index[axis] += 1
      if index[axis] < shape[axis] { break }
      index[axis] = 0
      axis -= 1
    }
    if axis < 0 { return }
  }
}

/// A tensor of one of the element types that the reference evaluator computes in.
public enum HostTensor: Sendable, Equatable {
  case float32(DenseTensor<Float>)
  case float64(DenseTensor<Double>)
  /// Integers, booleans as 0 and 1, and while importing also multiples of the batch.
  case integer(DenseTensor<Dimension>)

  public var shape: [Int] {
    switch self {
    case .float32(let tensor): tensor.shape
    case .float64(let tensor): tensor.shape
    case .integer(let tensor): tensor.shape
    }
  }

  /// The elements as float64; nil if one is a multiple of the batch.
  public var doubles: [Double]? {
    switch self {
    case .float32(let tensor): return tensor.elements.map(Double.init)
    case .float64(let tensor): return tensor.elements
    case .integer(let tensor):
      let known = tensor.elements.compactMap(\.constant)
      return known.count == tensor.elements.count ? known.map(Double.init) : nil
    }
  }

  /// A parameter's data: floating-point types in `precision`, all else as integers.
  public init(_ data: TensorData, precision: Precision) throws {
    if let integers = data.integers() {
      self = .integer(try DenseTensor(shape: data.shape, elements: integers.map { Dimension($0) }))
      return
    }
    switch precision {
    case .single: self = .float32(try DenseTensor(shape: data.shape, elements: data.floats()))
    case .double: self = .float64(try DenseTensor(shape: data.shape, elements: data.doubles()))
    }
  }

  /// The tensor with floating-point elements converted to `precision`; integers are unchanged.
  func converted(to precision: Precision) -> HostTensor {
    switch (self, precision) {
    case (.float32(let tensor), .double): .float64(tensor.map(Double.init))
    case (.float64(let tensor), .single): .float32(tensor.map { Float($0) })
    default: self
    }
  }

  /// The precision in which the reference evaluator computes floating-point values.
  public enum Precision: Sendable {
    case single
    case double
  }
}
