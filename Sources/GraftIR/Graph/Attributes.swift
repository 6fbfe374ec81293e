// The attributes of a node: an ordered list of names and values, as data. Operators give them types.

import GraftDiagnostics
import OrderedCollections

/// The value of one attribute.
public enum AttributeValue: Hashable, Sendable {
  case bool(Bool)
  case int(Int)
  case ints([Int])
  case float(Double)
  case floats([Double])
  case string(String)
  case strings([String])
  case type(DataType)
  case shape(TensorShape)
}

/// The attributes of a node in the order in which its operator lists them.
public struct Attributes: Hashable, Sendable, ExpressibleByDictionaryLiteral {
  public private(set) var values: OrderedDictionary<String, AttributeValue>

  public init(_ values: OrderedDictionary<String, AttributeValue> = [:]) { self.values = values }

  public init(dictionaryLiteral elements: (String, AttributeValue)...) {
    values = [:]
    for (name, value) in elements { values[name] = value }
  }

  public var isEmpty: Bool { values.isEmpty }

  public subscript(name: String) -> AttributeValue? {
    get { values[name] }
    set { values[name] = newValue }
  }

  /// Order does not distinguish two lists of attributes.
  public static func == (left: Attributes, right: Attributes) -> Bool {
    left.values.count == right.values.count
      && left.values.allSatisfy { right.values[$0.key] == $0.value }
  }

  public func hash(into hasher: inout Hasher) {
    for name in values.keys.sorted() {
      hasher.combine(name)
      hasher.combine(values[name])
    }
  }
}

/// Typed access, with errors that name the attribute, what was found and what was expected.
extension Attributes {
  public func bool(_ name: String, default fallback: Bool? = nil) throws -> Bool {
    switch values[name] {
    case .bool(let value): return value
    case let found: return try absent(name, found, "a boolean", fallback)
    }
  }

  public func int(_ name: String, default fallback: Int? = nil) throws -> Int {
    switch values[name] {
    case .int(let value): return value
    case let found: return try absent(name, found, "an integer", fallback)
    }
  }

  public func ints(_ name: String, default fallback: [Int]? = nil) throws -> [Int] {
    switch values[name] {
    case .ints(let value): return value
    case let found: return try absent(name, found, "a list of integers", fallback)
    }
  }

  public func float(_ name: String, default fallback: Double? = nil) throws -> Double {
    switch values[name] {
    case .float(let value): return value
    case .int(let value): return Double(value)
    case let found: return try absent(name, found, "a number", fallback)
    }
  }

  public func floats(_ name: String, default fallback: [Double]? = nil) throws -> [Double] {
    switch values[name] {
    case .floats(let value): return value
    case .ints(let value): return value.map(Double.init)
    case let found: return try absent(name, found, "a list of numbers", fallback)
    }
  }

  public func string(_ name: String, default fallback: String? = nil) throws -> String {
    switch values[name] {
    case .string(let value): return value
    case let found: return try absent(name, found, "a string", fallback)
    }
  }

  public func type(_ name: String, default fallback: DataType? = nil) throws -> DataType {
    switch values[name] {
    case .type(let value): return value
    case let found: return try absent(name, found, "an element type", fallback)
    }
  }

  public func shape(_ name: String, default fallback: TensorShape? = nil) throws -> TensorShape {
    switch values[name] {
    case .shape(let value): return value
    case let found: return try absent(name, found, "a shape", fallback)
    }
  }

  private func absent<Value>(
    _ name: String, _ found: AttributeValue?, _ expected: String, _ fallback: Value?
  ) throws -> Value {
    if let found {
      throw GraftError(
        .invalidGraph, "attribute \(name.quotedForDisplay) is \(found), expected \(expected)")
    }
    guard let fallback else {
      throw GraftError(
        .invalidGraph, "attribute \(name.quotedForDisplay) is missing, expected \(expected)")
    }
    return fallback
  }
}
