// The state of a run of training, from outside: saved, taken up again, read and written tensor by tensor.

import CGraftABI
import GraftDiagnostics

extension LoadedTrainer {
  /// How far a run has come.
  public struct Progress: Hashable, Sendable {
    /// Updates of the weights since they were new.
    public var updates: UInt64
    /// Calls of a step: updates, and micro-batches that only added to gradients.
    public var steps: UInt64
    /// Micro-batches whose gradients wait for an update.
    public var openMicroBatches: Int
    public var seed: UInt64
  }

  public func progress() throws -> Progress {
    var raw = graft_training_progress()
    raw.struct_bytes = UInt32(MemoryLayout<graft_training_progress>.size)
    try withMessage {
      library.api.progress?(session, &raw, $0, $1) ?? GRAFT_INVALID_ARGUMENT
    }
    return Progress(
      updates: raw.updates, steps: raw.steps, openMicroBatches: Int(raw.open_micro_batches),
      seed: raw.seed)
  }

  /// Writes all state, the seed and the counters into one safetensors file, which appears whole or
  /// not at all; a file that stands at `path` is replaced.
  /// - Parameter note: text of the caller's that travels in the file, without zeros, at most 1 MiB.
  /// - Throws: ``GraftError`` of kind `inputOutput` if it cannot be written; what stood there is
  ///   as it was.
  public func save(to path: String, note: String? = nil) throws {
    guard !(note ?? "").utf8.contains(0), !path.utf8.contains(0) else {
      throw GraftError(.invalidArgument, "a note or path of a saved state has a zero in it")
    }
    func save(_ note: UnsafePointer<CChar>?) throws {
      try withMessage {
        library.api.save?(session, path, note, $0, $1) ?? GRAFT_INVALID_ARGUMENT
      }
    }
    if let note { try note.withCString { try save($0) } } else { try save(nil) }
  }

  /// Takes up what ``save(to:note:)`` wrote, seed and counters included, and goes on from there bit
  /// for bit.
  /// - Returns: the note; empty if there is none.
  /// - Throws: ``GraftError`` of kind `invalidData` if the file is damaged or of another training,
  ///   of kind `inputOutput` where it cannot be read; the session is as it was.
  @discardableResult
  public func load(from path: String) throws -> String {
    guard !path.utf8.contains(0) else {
      throw GraftError(.invalidArgument, "the path of a saved state has a zero in it")
    }
    var note = [CChar](repeating: 0, count: (1 << 20) + 1)
    try note.withUnsafeMutableBufferPointer { note in
      try withMessage {
        library.api.load?(session, path, note.baseAddress, note.count, $0, $1)
          ?? GRAFT_INVALID_ARGUMENT
      }
    }
    let length = note.firstIndex(of: 0) ?? note.count
    return String(decoding: note.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Copies state number `index` out, row-major in its own element type.
  /// - Parameter buffer: exactly its bytes.
  public func readState(_ index: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
    let index = try checkedIndex(index)
    try withMessage {
      library.api.read_state?(
        session, index, buffer.baseAddress, UInt64(buffer.count), $0, $1)
        ?? GRAFT_INVALID_ARGUMENT
    }
  }

  /// Puts other contents in the place of state number `index`.
  /// - Parameter buffer: exactly its bytes, row-major in its own element type.
  public func writeState(_ index: Int, from buffer: UnsafeRawBufferPointer) throws {
    let index = try checkedIndex(index)
    try withMessage {
      library.api.write_state?(
        session, index, buffer.baseAddress, UInt64(buffer.count), $0, $1)
        ?? GRAFT_INVALID_ARGUMENT
    }
  }

  /// State number `index` as float32 numbers, row-major.
  public func state(_ index: Int) throws -> [Float] {
    _ = try checkedIndex(index)
    let state = description.states[index]
    guard state.type.dtype == .float32 else {
      throw GraftError(.unsupported, "state \(state.name.quotedForDisplay) is not float32")
    }
    var values = [Float](
      repeating: 0, count: try state.type.shape.extents(batch: 1).reduce(1, *))
    try values.withUnsafeMutableBytes { try readState(index, into: $0) }
    return values
  }

  private func checkedIndex(_ index: Int) throws -> UInt32 {
    guard description.states.indices.contains(index) else {
      throw GraftError(
        .invalidArgument,
        "state \(index) is asked for, but there are \(description.states.count)")
    }
    return UInt32(index)
  }
}
