// Access to training state: saving, loading, and reading and writing single tensors.

import CGraftABI
import GraftDiagnostics

extension LoadedTrainer {
  /// The progress of a run.
  public struct Progress: Hashable, Sendable {
    /// Weight updates so far.
    public var updates: UInt64
    /// Calls of `step` so far, including micro-batches that only accumulated gradients.
    public var steps: UInt64
    /// Micro-batches accumulated since the last update.
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

  /// Atomically writes all state, the seed and the counters to one safetensors file; an existing file is
  /// replaced.
  /// - Parameter note: text of the caller that is stored in the file, without NUL, at most 1 MiB.
  /// - Throws: ``GraftError`` of kind `inputOutput` if it cannot be written; an existing file is then
  ///   unchanged.
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

  /// Loads a file of ``save(to:note:)``, including seed and counters; training continues bit for bit.
  /// - Returns: the note; empty if there is none.
  /// - Throws: ``GraftError`` of kind `invalidData` if the file is damaged or of another training library, of
  ///   kind `inputOutput` if it cannot be read; the session is then unchanged.
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

  /// Copies the state tensor `index` to `buffer`, row-major in its element type.
  /// - Parameter buffer: a buffer of exactly its bytes.
  public func readState(_ index: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
    let index = try checkedIndex(index)
    try withMessage {
      library.api.read_state?(
        session, index, buffer.baseAddress, UInt64(buffer.count), $0, $1)
        ?? GRAFT_INVALID_ARGUMENT
    }
  }

  /// Overwrites the state tensor `index`.
  /// - Parameter buffer: exactly its bytes, row-major in its element type.
  public func writeState(_ index: Int, from buffer: UnsafeRawBufferPointer) throws {
    let index = try checkedIndex(index)
    try withMessage {
      library.api.write_state?(
        session, index, buffer.baseAddress, UInt64(buffer.count), $0, $1)
        ?? GRAFT_INVALID_ARGUMENT
    }
  }

  /// The state tensor `index` as float32, row-major.
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
