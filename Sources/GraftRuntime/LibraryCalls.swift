// Helpers of calls into a bundle's library: pointers to buffers, and statuses as GraftErrors.

import CGraftABI
import GraftDiagnostics
import GraftIR

/// Calls `body` with the bytes of each array.
func withBuffers<Element: BitwiseCopyable>(
  _ arrays: [[Element]], _ collected: [UnsafeRawBufferPointer] = [],
  _ body: ([UnsafeRawBufferPointer]) throws -> Void
) throws {
  guard collected.count < arrays.count else { return try body(collected) }
  try arrays[collected.count].withUnsafeBytes {
    try withBuffers(arrays, collected + [$0], body)
  }
}

/// Calls `body` with the bytes of each array, converted to the element type of its tensor.
/// - Throws: ``GraftError`` of kind `invalidData` that names the tensor whose type cannot represent a value.
func withBuffers(
  _ arrays: [[Float]], for tensors: [TensorDescription],
  _ body: ([UnsafeRawBufferPointer]) throws -> Void
) throws {
  guard arrays.count == tensors.count, tensors.contains(where: { $0.type.dtype != .float32 })
  else { return try withBuffers(arrays) { try body($0) } }
  let bytes = try zip(arrays, tensors).map { numbers, tensor in
    do { return try tensor.type.dtype.bytes(of: numbers) } catch let error as GraftError {
      throw error.adding(context: "as the input \(tensor.name.quotedForDisplay)")
    }
  }
  try withBuffers(bytes) { try body($0) }
}

/// Calls `body` with writable memory for the elements of each tensor at `batch`.
/// - Returns: the written values as float32.
func numbers(
  of tensors: [TensorDescription], batch: Int,
  _ body: ([UnsafeMutableRawBufferPointer]) throws -> Void
) throws -> [[Float]] {
  let counts = try tensors.map { try $0.type.shape.extents(batch: batch).reduce(1, *) }
  guard tensors.contains(where: { $0.type.dtype != .float32 }) else {
    var floats = counts.map { [Float](repeating: 0, count: $0) }
    try withMutableBuffers(&floats) { try body($0) }
    return floats
  }
  var bytes = zip(counts, tensors).map {
    [UInt8](repeating: 0, count: $0 * $1.type.dtype.byteCount)
  }
  try withMutableBuffers(&bytes) { try body($0) }
  return try zip(bytes, tensors).map { bytes, tensor in
    do { return try tensor.type.dtype.numbers(in: bytes) } catch let error as GraftError {
      throw error.adding(context: "in the value \(tensor.name.quotedForDisplay)")
    }
  }
}

/// Calls `body` with the writable bytes of each array.
func withMutableBuffers<Element: BitwiseCopyable>(
  _ arrays: inout [[Element]], _ collected: [UnsafeMutableRawBufferPointer] = [],
  _ body: ([UnsafeMutableRawBufferPointer]) throws -> Void
) throws {
  guard let first = arrays.first else { return try body(collected) }
  var head = first
  var rest = Array(arrays.dropFirst())
  try head.withUnsafeMutableBytes {
    try withMutableBuffers(&rest, collected + [$0], body)
  }
  arrays = [head] + rest
}

/// Calls `body` with a message buffer, and converts its status to an error.
func withMessage(
  _ body: (UnsafeMutablePointer<CChar>?, Int) -> graft_status
) throws {
  var message = [CChar](repeating: 0, count: 1024)
  let status = message.withUnsafeMutableBufferPointer { body($0.baseAddress, $0.count) }
  guard status != GRAFT_OK else { return }
  let length = message.firstIndex(of: 0) ?? message.count
  let text = String(
    decoding: message.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  let kind: GraftError.Kind =
    switch status {
    case GRAFT_UNSUPPORTED_CPU, GRAFT_OUT_OF_MEMORY, GRAFT_THREAD_ERROR: .machine
    case GRAFT_IO_ERROR: .inputOutput
    case GRAFT_BAD_WEIGHTS: .invalidBundle
    case GRAFT_BAD_STATE: .invalidData
    default: .invalidArgument
    }
  let advice: String? =
    switch status {
    case GRAFT_UNSUPPORTED_CPU:
      "Recompile the model on this machine, or with --target generic."
    case GRAFT_THREAD_ERROR: "Give --threads 1, or raise the limit on processes (ulimit -u)."
    case GRAFT_OUT_OF_MEMORY:
      "Free some memory, raise the limit on it (ulimit -v), or take a smaller batch."
    default: nil
    }
  throw GraftError(kind, text, advice: advice)
}
