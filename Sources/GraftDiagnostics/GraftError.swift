// The one error type that every layer throws, and the frames that callers add while it rises.
// It says what was found and what was expected, where, and what would mend it. It leaves printing
// and exit codes to the command line.

import Foundation

/// Why a piece of work could not be done.
///
/// An error names the file, the node and the cause; layers that catch it on its way up add context
/// with ``adding(context:)`` and never replace what is already there.
public struct GraftError: Error, Hashable, Sendable {
  /// What kind of thing went wrong; it decides nothing but lets programs and tests tell cases apart.
  public enum Kind: String, Hashable, Sendable {
    /// The model file is damaged or breaks ONNX's own rules.
    case invalidModel
    /// The model is legal, but asks for something that Graft does not do.
    case unsupported
    /// A bundle is damaged, of another format, or does not fit what is asked of it.
    case invalidBundle
    /// A graph in the IR breaks an invariant, or a text is not IR.
    case invalidGraph
    /// An option, a specification or an argument that cannot be used as given.
    case invalidArgument
    /// Images, tensors or folders that cannot be used.
    case invalidData
    /// The file system said no: missing, unreadable, full, not writable.
    case inputOutput
    /// clang, Graphviz or another tool is missing or failed.
    case toolchain
    /// The machine cannot do it: missing CPU features, memory.
    case machine
    /// The user interrupted the work.
    case cancelled
    /// Graft contradicts itself; always a bug to report.
    case inconsistency
  }

  public var kind: Kind
  /// One sentence: what was found, and what was expected instead.
  public var message: String
  /// Where it happened, as far as it is known.
  public var location: SourceLocation
  /// What would mend it, if anything the user can do would.
  public var advice: String?
  /// What was being done, innermost first.
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

  /// The same error with one more frame of what was being done.
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

/// A place in the user's terms: the file, the node of the model, the value of the IR.
public struct SourceLocation: Hashable, Sendable {
  /// The file as the user named it.
  public var file: String?
  /// The ONNX node, IR node or tensor, by the name that the user's file gives it.
  public var node: String?
  /// The node's operator, in the file's own terms.
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
  /// The text without the label of a constraint at its end, `[C1]`: that is for who looks it up in the
  /// operator's source, and the text before it says the same in words.
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

/// Runs `body`; errors that leave it gain `frame`.
public func withContext<Result>(
  _ frame: @autoclosure () -> String, _ body: () throws -> Result
) throws -> Result {
  do { return try body() } catch let error as GraftError {
    throw error.adding(context: frame())
  }
}

/// Runs `body`; errors that leave it gain the parts of `location` that they lack.
public func at<Result>(
  _ location: @autoclosure () -> SourceLocation, _ body: () throws -> Result
) throws -> Result {
  do { return try body() } catch let error as GraftError {
    throw error.at(location())
  }
}
