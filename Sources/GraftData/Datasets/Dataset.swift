// The protocol of data sets: a number of items, each with inputs and targets. Implemented by ImageFolder,
// SegmentationFolder, PictureFolder, CIFAR10Batches, TensorFolder and ImageList; Dataset+Opening chooses among them for a folder.

import GraftDiagnostics
import GraftIR

/// An input or output of a network: its name, its shape without the batch axis, its element type. Values are
/// float32 until they are converted to the element type for a call.
public struct TensorSpecification: Hashable, Sendable {
  public var name: String
  public var shape: [Int]
  public var element: DataType

  public init(name: String, shape: [Int], element: DataType = .float32) {
    self.name = name
    self.shape = shape
    self.element = element
  }

  /// The number of values per item; nil if it overflows.
  public var elementCount: Int? { (try? NPYHeader(element: .float32, shape: shape))?.count }
}

/// The target of an item.
public enum Target: Hashable, Sendable {
  /// The index of a class.
  case label(Int)
  /// The output's values, in the order of its shape.
  case values([Float])
  /// The class of every pixel.
  case map(LabelMap)
  /// The image that the network should give; a ``BatchLoader`` makes it ``values(_:)``.
  case picture(Image)
  case unknown
}

/// An item before preprocessing.
public struct Sample: Sendable {
  public enum Content: Sendable {
    /// An image, which needs a ``Preprocessing``.
    case image(Image)
    /// The values of each input, in the order of the network's inputs.
    case tensors([[Float]])
  }

  public var content: Content
  public var target: Target
}

/// Items to run a network on. Items can be read independently and concurrently.
public protocol Dataset: Sendable {
  /// The path, for messages.
  var location: String { get }
  var count: Int { get }
  /// The class names in the order of their indices; empty if items have none.
  var classes: [String] { get }
  /// The number of classes, named or not.
  var classCount: Int { get }
  /// Whether items are images, which need a ``Preprocessing``.
  var holdsImages: Bool { get }
  /// What the items are and how many, for messages.
  var summary: String { get }
  /// The item's file relative to ``location``, or its position in a file.
  func name(of index: Int) -> String
  /// The item's file as messages name it.
  func path(of index: Int) -> String
  /// The item's class, without reading its content; nil if it has none.
  func label(of index: Int) -> Int?
  /// The item's target, without reading its content, of a data set of images.
  /// - Throws: ``GraftError`` that names the file.
  func target(of index: Int) throws -> Target
  /// The file of the item's target as messages name it.
  func targetPath(of index: Int) -> String
  /// Reads an item.
  /// - Throws: ``GraftError`` that names the file, if this item is broken.
  func sample(at index: Int) throws -> Sample
}

extension Dataset {
  public func path(of index: Int) -> String { location + "/" + name(of: index) }

  public var classCount: Int { classes.count }
  public var summary: String { "\(count) \(holdsImages ? "images" : "items")" }

  public func target(of index: Int) throws -> Target {
    label(of: index).map { .label($0) } ?? .unknown
  }

  public func targetPath(of index: Int) -> String { path(of: index) }

  func check(_ index: Int) throws {
    guard index >= 0, index < count else {
      throw GraftError(.invalidArgument, "item \(index) of \(count)", at: .init(file: location))
    }
  }
}

/// A list of images without classes, as for `predict`.
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
