// The protocol of passes, their context and their log. PassManager runs passes; Pipeline lists them.

import GraftDiagnostics
import GraftIR
import GraftOps

/// What a graph is compiled for.
public enum PassMode: String, Hashable, Sendable, CaseIterable {
  /// Every parameter is a constant.
  case inference
  /// Parameters marked as trained change from step to step.
  case training
}

/// A transformation of a graph that preserves its outputs.
public protocol Pass: Sendable {
  /// The name in kebab-case, for `graft dump --after` and the log.
  static var name: String { get }
  /// One line for the documentation.
  static var summary: String { get }
  /// The modes in which the pass may run; the manager skips it in others.
  static var modes: Set<PassMode> { get }

  /// Transforms `graph`, and logs to `context` what it changed, and what it left unchanged and why.
  /// - Throws: ``GraftError`` only if the graph is invalid; a pattern that does not apply is not an error.
  func run(_ graph: inout Graph, _ context: inout PassContext) throws
}

extension Pass {
  public static var modes: Set<PassMode> { [.inference, .training] }
}

/// One line of the pass log.
public struct PassNote: Hashable, Sendable {
  public enum Action: String, Hashable, Sendable {
    /// The pass changed the graph.
    case did
    /// The pass found its pattern and left it unchanged, for the reason in the message.
    case left
  }

  public var pass: String
  public var action: Action
  /// A sentence that names the user's nodes.
  public var message: String

  public init(pass: String, action: Action, message: String) {
    self.pass = pass
    self.action = action
    self.message = message
  }
}

extension PassNote: CustomStringConvertible {
  /// `fold-batch-normalization: folded "bn1" into "conv1"`
  public var description: String { "\(pass): \(action == .left ? "left " : "")\(message)" }
}

/// The context of passes: information about the target, and the log.
public struct PassContext: Sendable {
  public let mode: PassMode
  /// The cost model of the target's kernels; nil keeps all layouts plain.
  public let costs: (any NodeCostModel)?
  /// The pass that is running.
  public internal(set) var pass = ""
  public private(set) var notes: [PassNote] = []
  private var told = Set<PassNote>()

  public init(mode: PassMode = .inference, costs: (any NodeCostModel)? = nil) {
    self.mode = mode
    self.costs = costs
  }

  /// Logs a change.
  public mutating func did(_ message: String) {
    notes.append(PassNote(pass: pass, action: .did, message: message))
  }

  /// Logs a pattern that was left unchanged, and why. Duplicates are logged once.
  public mutating func left(_ what: String, because why: String) {
    let note = PassNote(pass: pass, action: .left, message: "\(what): \(why)")
    if told.insert(note).inserted { notes.append(note) }
  }

  /// Whether a pass may compute with the bytes of a parameter: not if training will change it, and not if the
  /// graph was parsed from text without its weights.
  func isConstant(_ value: ValueID, in graph: Graph) -> Bool {
    guard let parameter = graph[value].parameter, parameter.data != nil else { return false }
    return mode == .inference || !parameter.isTrained
  }
}
