// The chosen kernel of a node, for dumps. GraftCodegen chooses and renders kernels.

import GraftDiagnostics

/// The kernel of a node in a scheduled graph.
public struct KernelNote: Hashable, Sendable {
  /// The family of kernels: `winograd`, `elementwise` …
  public var family: String
  /// Algorithm, register tile and division among threads, as text; nil if the family has only one algorithm.
  public var algorithm: String?
  /// The element type that the kernel computes in or moves.
  public var element: DataType
  /// The estimated time for one image, in vector multiply-adds.
  public var time: Double

  public init(family: String, algorithm: String?, element: DataType, time: Double) {
    self.family = family
    self.algorithm = algorithm
    self.element = element
    self.time = time
  }

  /// As the text form writes it.
  public var attributes: Attributes {
    var attributes: Attributes = [
      "family": .string(family), "element": .type(element), "time": .float(time),
    ]
    if let algorithm { attributes["algorithm"] = .string(algorithm) }
    return attributes
  }

  /// - Throws: ``GraftError`` of kind `invalidGraph` for an attribute that is missing or of another kind.
  public init(attributes: Attributes) throws {
    self.init(
      family: try attributes.string("family"),
      algorithm: attributes["algorithm"] == nil ? nil : try attributes.string("algorithm"),
      element: try attributes.type("element"), time: try attributes.float("time"))
  }
}
