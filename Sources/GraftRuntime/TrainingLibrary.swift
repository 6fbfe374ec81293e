// A loaded libtrain.so: Swift wrapper of the C interface in graft_train.h, and its description. LoadedTrainer
// has sessions.

import CGraftABI
import GraftDiagnostics
import GraftIR

/// A state tensor, kept between steps.
public struct StateDescription: Hashable, Sendable {
  public enum Role: Hashable, Sendable {
    /// A weight, updated with the hyperparameters of parameter group `group`, an index into
    /// ``TrainingDescription/groupNames``.
    case weight(group: Int)
    /// A running mean or variance.
    case statistic
    /// Optimizer state: momentum, or a moment of a weight's gradient.
    case optimizer
    /// A gradient summed over micro-batches.
    case accumulator
  }

  public var name: String
  /// Its shape does not depend on the batch.
  public var type: TensorType
  public var role: Role
}

/// The description of a training library.
public struct TrainingDescription: Hashable, Sendable {
  /// The program of a training step; its inputs include those that the library fills in.
  public var step: LibraryDescription
  /// The program of an evaluation, from values at the freeze line to logits.
  public var evaluation: LibraryDescription
  /// The inputs that a caller passes to a step, in order: the values at the freeze line, targets [N, C], the
  /// teacher's targets [N, C] if ``takesTeacherTargets``, image weights [N] if ``takesImageWeights``.
  public var stepInputs: [TensorDescription]
  public var states: [StateDescription]
  /// The names of the parameter groups.
  public var groupNames: [String]
  /// C, the number of targets and logits per image.
  public var classCount: Int
  public var takesTeacherTargets: Bool
  public var takesImageWeights: Bool
  /// Whether a step uses random numbers.
  public var hasDropout: Bool
  /// Whether gradients can be accumulated over several calls.
  public var accumulates: Bool { states.contains { $0.role == .accumulator } }
}

/// The training library of a bundle. Loading it only calls the function that returns its table.
public final class TrainingLibrary: @unchecked Sendable {
  // Immutable; the table and its pointers are valid while the library is loaded.
  private let opened: DynamicLibrary
  let api: graft_training_api
  public let path: String
  public let description: TrainingDescription

  /// Loads the library at `path`, an absolute path or one relative to the working directory.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if it cannot be loaded, was not made by Graft, or has
  ///   another version.
  public init(path: String) throws {
    let opened = try DynamicLibrary(path: path)
    let function = unsafeBitCast(
      try opened.symbol("graft_training"),
      to: (@convention(c) () -> UnsafePointer<graft_training_api>?).self)
    guard let table = function(), table.pointee.abi_version == GRAFT_TRAINING_ABI_VERSION,
      table.pointee.table_bytes >= MemoryLayout<graft_training_api>.offset(of: \.trim) ?? 0
    else { throw opened.hasAnotherVersion(than: GRAFT_TRAINING_ABI_VERSION) }
    // What an older library lacks is nil.
    var api = graft_training_api()
    withUnsafeMutableBytes(of: &api) {
      $0.copyMemory(
        from: UnsafeRawBufferPointer(
          start: table, count: min($0.count, Int(table.pointee.table_bytes))))
    }
    self.api = api
    guard let description = api.describe() else {
      throw GraftError(.invalidBundle, "\(path.quotedForDisplay) does not describe itself")
    }
    self.description = try TrainingDescription(description.pointee)
    self.opened = opened
    self.path = path
  }

  /// Bytes of activations, scratch memory and state of a session; nil if the count overflows.
  public func sessionBytes(batch: Int, threads: Int) -> Int? {
    guard batch > 0, (1...4096).contains(threads) else { return nil }
    let bytes = api.session_bytes(UInt64(batch), UInt32(threads))
    return bytes == 0 ? nil : Int(exactly: bytes)
  }
}

extension TrainingDescription {
  init(_ raw: graft_training_description) throws {
    let missing = GraftError(.invalidBundle, "the library's tables are missing")
    guard let step = raw.step, let evaluation = raw.evaluation,
      raw.step_input_count <= step.pointee.input_count,
      raw.state_count == 0 || raw.states != nil, raw.group_count == 0 || raw.group_names != nil
    else { throw missing }
    self.step = try LibraryDescription(step.pointee)
    self.evaluation = try LibraryDescription(evaluation.pointee)
    stepInputs = Array(self.step.inputs.prefix(Int(raw.step_input_count)))
    states = try UnsafeBufferPointer(start: raw.states, count: Int(raw.state_count)).map {
      try StateDescription($0, groupCount: raw.group_count)
    }
    groupNames = UnsafeBufferPointer(start: raw.group_names, count: Int(raw.group_count)).map {
      $0.map { String(cString: $0) } ?? ""
    }
    classCount = Int(clamping: raw.class_count)
    takesTeacherTargets = raw.flags & GRAFT_TAKES_TEACHER_TARGETS != 0
    takesImageWeights = raw.flags & GRAFT_TAKES_IMAGE_WEIGHTS != 0
    hasDropout = raw.flags & GRAFT_TAKES_RANDOM != 0
  }
}

extension StateDescription {
  init(_ raw: graft_state, groupCount: UInt32) throws {
    let tensor = try TensorDescription(raw.tensor)
    name = tensor.name
    type = tensor.type
    switch raw.role {
    case GRAFT_STATE_WEIGHT where raw.group < groupCount: role = .weight(group: Int(raw.group))
    case GRAFT_STATE_STATISTIC: role = .statistic
    case GRAFT_STATE_OPTIMIZER: role = .optimizer
    case GRAFT_STATE_ACCUMULATOR: role = .accumulator
    default:
      throw GraftError(
        .invalidBundle,
        "state \(name.quotedForDisplay) has role \(raw.role.rawValue) and group \(raw.group)")
    }
  }
}
