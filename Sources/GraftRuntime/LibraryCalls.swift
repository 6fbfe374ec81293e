// What every call into a bundle's library needs: buffers as pointers, and statuses as GraftErrors.

import CGraftABI
import GraftDiagnostics

/// Calls `body` with the bytes of each array.
func withBuffers(
  _ arrays: [[Float]], _ collected: [UnsafeRawBufferPointer] = [],
  _ body: ([UnsafeRawBufferPointer]) throws -> Void
) throws {
  guard collected.count < arrays.count else { return try body(collected) }
  try arrays[collected.count].withUnsafeBytes {
    try withBuffers(arrays, collected + [$0], body)
  }
}

/// Calls `body` with the bytes of each array, to be written.
func withMutableBuffers(
  _ arrays: inout [[Float]], _ collected: [UnsafeMutableRawBufferPointer] = [],
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

/// Calls `body` with room for a message, and throws what its status means.
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
      "Compile the model again on this machine, or with --target generic."
    case GRAFT_THREAD_ERROR: "Give --threads 1, or raise the limit on processes (ulimit -u)."
    case GRAFT_OUT_OF_MEMORY:
      "Free some memory, raise the limit on it (ulimit -v), or take a smaller batch."
    default: nil
    }
  throw GraftError(kind, text, advice: advice)
}
