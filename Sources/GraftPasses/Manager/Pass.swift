// What a pass is, and what it is told and tells. Running a list of them is PassManager; the lists are in
// Pipeline.

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

/// A transformation of a graph that leaves its outputs what they are.
public protocol Pass: Sendable {
  /// Kebab-case; what `graft dump --after` takes and the log prints.
  static var name: String { get }
  /// One line for the documentation.
  static var summary: String { get }
  /// The modes in which the pass may run; the manager skips it in others.
  static var modes: Set<PassMode> { get }

  /// Changes `graph`, and tells `context` what it did and what it left alone and why.
  /// - Throws: ``GraftError`` only where the graph is broken; a pattern that does not apply is left.
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
    /// The pass saw what it looks for and left it, for the reason that the message gives.
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

/// What passes know of the target, and where they write their log.
public struct PassContext: Sendable {
  public let mode: PassMode
  /// How long the target's kernels take; nil if everything stays plain.
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

  /// Logs a pattern that was left alone: what, then why. A pass that looks twice says so once.
  public mutating func left(_ what: String, because why: String) {
    let note = PassNote(pass: pass, action: .left, message: "\(what): \(why)")
    if told.insert(note).inserted { notes.append(note) }
  }

  /// Whether a pass may compute with the bytes of a parameter now: not where training will change it,
  /// and not where the graph was parsed from text without its weights.
  func isConstant(_ value: ValueID, in graph: Graph) -> Bool {
    guard let parameter = graph[value].parameter, parameter.data != nil else { return false }
    return mode == .inference || !parameter.isTrained
  }
}
