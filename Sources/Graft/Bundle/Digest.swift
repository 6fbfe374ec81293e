// SHA-256 of the files of a bundle, computed concurrently. Digests detect corruption, not tampering.

import Crypto
import Foundation
import GraftData
import GraftDiagnostics
import GraftSystem
import Synchronization

/// SHA-256 in hexadecimal.
package enum Digest {
  package static func sha256(_ data: Data) -> String { hexadecimal(SHA256.hash(data: data)) }

  /// Reads the file in chunks, because a mapping would count as resident memory in addition to the weights.
  /// - Throws: ``GraftError`` of kind `inputOutput` naming the file.
  static func sha256(fileAt path: String) throws -> (bytes: Int, sha256: String) {
    let file = try InputFile(path)
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { piece.deallocate() }
    var hash = SHA256()
    var offset = 0
    while offset < file.size {
      let count = min(piece.count, file.size - offset)
      let part = UnsafeMutableRawBufferPointer(rebasing: piece[..<count])
      try file.read(into: part, at: offset)
      hash.update(bufferPointer: UnsafeRawBufferPointer(part))
      offset += count
    }
    return (offset, hexadecimal(hash.finalize()))
  }

  private static func hexadecimal(_ digest: SHA256.Digest) -> String {
    digest.map { byte in
      let text = String(byte, radix: 16)
      return byte < 16 ? "0" + text : text
    }.joined()
  }
}

/// Runs `body` concurrently for all indices and rethrows the error of the lowest failed index.
func concurrently(_ count: Int, _ body: @Sendable (Int) throws -> Void) throws {
  let failures = Mutex<[Int: any Error]>([:])
  WorkerThreads.perform(count, threads: AvailableCores.count) { index in
    do { try body(index) } catch { failures.withLock { $0[index] = error } }
  }
  let failed = failures.withLock { $0 }
  if let first = failed.keys.min(), let error = failed[first] { throw error }
}
