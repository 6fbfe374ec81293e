// Typed identifiers. They are indices into one graph and mean nothing in another.

/// A value of a graph.
public struct ValueID: Hashable, Sendable, Comparable {
  public let index: Int
  init(_ index: Int) { self.index = index }
  public static func < (left: ValueID, right: ValueID) -> Bool { left.index < right.index }
}

/// A node of a graph.
public struct NodeID: Hashable, Sendable, Comparable {
  public let index: Int
  init(_ index: Int) { self.index = index }
  public static func < (left: NodeID, right: NodeID) -> Bool { left.index < right.index }
}

/// The name of an operator in the IR, such as `convolution`.
public struct Opcode: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral,
  CustomStringConvertible
{
  public let rawValue: String
  public init(rawValue: String) { self.rawValue = rawValue }
  public init(stringLiteral value: String) { rawValue = value }
  public var description: String { rawValue }
}
