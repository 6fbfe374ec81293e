// The error type of all modules: what was found and what was expected, where, context that callers add, and
// advice. The command line prints it and sets the exit status.

import Foundation

/// An error.
///
/// It names the file, the node and the cause; callers that catch it add context with ``adding(context:)`` and
/// do not replace existing information.
public struct GraftError: Error, Hashable, Sendable {
  /// The kind of an error, for programs and tests.
  public enum Kind: String, Hashable, Sendable {
    /// The model file is damaged or violates the ONNX specification.
    case invalidModel
    /// The model is valid, but uses something that Graft does not support.
    case unsupported
    /// A bundle is damaged, has another format version, or is unsuitable for the operation.
    case invalidBundle
    /// A graph violates an IR invariant, or a text is not valid IR.
    case invalidGraph
    /// An option, a specification or an argument that cannot be used as given.
    case invalidArgument
    /// Images, tensors or folders that cannot be used.
    case invalidData
    /// A file system error: missing, unreadable, full, not writable.
    case inputOutput
    /// clang, Graphviz or another tool is missing or failed.
    case toolchain
    /// A resource of the machine is missing: CPU features, memory, threads.
    case machine
    /// The user interrupted the work.
    case cancelled
    /// An internal error; always a bug to report.
    case inconsistency
  }

  public var kind: Kind
  /// One sentence: what was found, and what was expected instead.
  public var message: String
  /// The location, as far as it is known.
  public var location: SourceLocation
  /// How the user can fix it, if possible.
  public var advice: String?
  /// The operations in progress, innermost first.
  public var context: [String]

  public init(
    _ kind: Kind, _ message: String, at location: SourceLocation = SourceLocation(),
    advice: String? = nil, context: [String] = []
  ) {
    self.kind = kind
    self.message = message
    self.location = location
    self.advice = advice
    self.context = context
  }

  /// The same error with one more context frame.
  public func adding(context frame: String) -> GraftError {
    var copy = self
    copy.context.append(frame)
    return copy
  }

  /// The same error, with the parts of `location` that were still unknown filled in.
  public func at(_ location: SourceLocation) -> GraftError {
    var copy = self
    copy.location = copy.location.filled(from: location)
    return copy
  }
}

/// A location in the user's terms: the file, the node of the model, the line of IR.
public struct SourceLocation: Hashable, Sendable {
  /// The path as given by the user.
  public var file: String?
  /// The ONNX node, IR node or tensor, by the name that the user's file gives it.
  public var node: String?
  /// The node's operator, as named in the file.
  public var operatorName: String?
  /// The line of IR text that the error speaks of.
  public var irLine: String?

  public init(
    file: String? = nil, node: String? = nil, operatorName: String? = nil, irLine: String? = nil
  ) {
    self.file = file
    self.node = node
    self.operatorName = operatorName
    self.irLine = irLine
  }

  func filled(from other: SourceLocation) -> SourceLocation {
    SourceLocation(
      file: file ?? other.file, node: node ?? other.node,
      operatorName: operatorName ?? other.operatorName, irLine: irLine ?? other.irLine)
  }
}

extension GraftError: CustomStringConvertible {
  /// `model.onnx: node "conv1" (Conv): message; while …. Advice.` Names are quoted and escaped, so
  /// that a hostile name cannot forge lines or terminal sequences.
  public var description: String {
    var text = ""
    if let file = location.file { text += "\(file.escapedForDisplay): " }
    if let node = location.node {
      text += "node \(node.quotedForDisplay)"
      if let name = location.operatorName { text += " (\(name.escapedForDisplay))" }
      text += ": "
    } else if let name = location.operatorName {
      text += "operator \(name.escapedForDisplay): "
    }
    text += message.withoutConstraintLabel
    for frame in context { text += "\n  while \(frame)" }
    if let line = location.irLine { text += "\n  in: \(line.escapedForDisplay)" }
    if let advice { text += "\n  \(advice)" }
    return text
  }
}

extension String {
  /// The text without a constraint label such as `[C1]` at its end, which refers to the operator's
  /// documentation.
  public var withoutConstraintLabel: String {
    guard hasSuffix("]"), let start = range(of: " [", options: .backwards)?.lowerBound else {
      return self
    }
    let label = self[start...].dropFirst(2).dropLast()
    guard label.first == "C", label.count > 1, label.dropFirst().allSatisfy(\.isNumber) else {
      return self
    }
    return String(self[..<start])
  }
}

/// Runs `body` and adds `frame` to its errors.
public func withContext<Result>(
  _ frame: @autoclosure () -> String, _ body: () throws -> Result
) throws -> Result {
  do { return try body() } catch let error as GraftError {
    throw error.adding(context: frame())
  }
}

/// Runs `body` and fills in missing parts of the location of its errors.
public func at<Result>(
  _ location: @autoclosure () -> SourceLocation, _ body: () throws -> Result
) throws -> Result {
  do { return try body() } catch let error as GraftError {
    throw error.at(location())
  }
}
