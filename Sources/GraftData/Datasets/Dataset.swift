// What every data set gives: a number of items, each with what a network is fed and what it should
// answer. ImageFolder, CIFAR10Batches, TensorFolder and ImageList are its kinds; Dataset+Opening
// tells from a folder which it is.

import GraftDiagnostics
import GraftIR

/// One input or output of a network: its name, its shape without the batch axis, its element type. Its values
/// are kept as float32 numbers until they are fed, whatever the type.
public struct TensorSpecification: Hashable, Sendable {
  public var name: String
  public var shape: [Int]
  public var element: DataType

  public init(name: String, shape: [Int], element: DataType = .float32) {
    self.name = name
    self.shape = shape
    self.element = element
  }

  /// Values an item; nil if that is no sane number.
  public var elementCount: Int? { (try? NPYHeader(element: .float32, shape: shape))?.count }
}

/// What a network should answer for an item.
public enum Target: Hashable, Sendable {
  /// The index of a class.
  case label(Int)
  /// The output's values, in the order of its shape.
  case values([Float])
  case unknown
}

/// An item as it is stored.
public struct Sample: Sendable {
  public enum Content: Sendable {
    /// To go through a ``Preprocessing``.
    case image(Image)
    /// To be fed as it is: the values of each input, in the order of the network's inputs.
    case tensors([[Float]])
  }

  public var content: Content
  public var target: Target
}

/// Items to run a network on. Reading an item is independent of every other, and any number of
/// threads may do so at once.
public protocol Dataset: Sendable {
  /// Where it stands, for messages.
  var location: String { get }
  var count: Int { get }
  /// The classes in the order of their indices; empty where items have none.
  var classes: [String] { get }
  /// The number of classes, named or not.
  var classCount: Int { get }
  /// Whether items are images, which need a ``Preprocessing``.
  var holdsImages: Bool { get }
  /// The item's file below ``location``, or its place in one.
  func name(of index: Int) -> String
  /// The item's file as messages name it.
  func path(of index: Int) -> String
  /// The item's class, known without reading its content; nil if it has none.
  func label(of index: Int) -> Int?
  /// Reads an item.
  /// - Throws: ``GraftError`` that names the file, where just this item is broken.
  func sample(at index: Int) throws -> Sample
}

extension Dataset {
  public func path(of index: Int) -> String { location + "/" + name(of: index) }

  public var classCount: Int { classes.count }

  func check(_ index: Int) throws {
    guard index >= 0, index < count else {
      throw GraftError(.invalidArgument, "item \(index) of \(count)", at: .init(file: location))
    }
  }
}

/// Images without classes, in the order given, as on `predict`'s command line.
public struct ImageList: Dataset {
  public let paths: [String]
  public var location: String { "." }
  public var count: Int { paths.count }
  public var classes: [String] { [] }
  public var holdsImages: Bool { true }

  public init(_ paths: [String]) { self.paths = paths }

  public func name(of index: Int) -> String { paths.indices ~= index ? paths[index] : "" }
  public func path(of index: Int) -> String { name(of: index) }
  public func label(of index: Int) -> Int? { nil }

  public func sample(at index: Int) throws -> Sample {
    try check(index)
    return Sample(content: .image(try Image(contentsOf: paths[index])), target: .unknown)
  }
}
