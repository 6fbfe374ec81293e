// SHA-256 of the files of a bundle, several at a time. Digests show damage; they do not tell who made a
// bundle.

import Crypto
import Dispatch
import Foundation
import GraftDiagnostics
import GraftIR
import Synchronization

/// SHA-256 in hexadecimal.
enum Digest {
  static func sha256(_ bytes: UnsafeRawBufferPointer) -> String {
    var hash = SHA256()
    hash.update(bufferPointer: bytes)
    return hexadecimal(hash.finalize())
  }

  static func sha256(_ data: Data) -> String { hexadecimal(SHA256.hash(data: data)) }

  /// - Throws: ``GraftError`` of kind `inputOutput` naming the file.
  static func sha256(fileAt path: String, following: Bool = false) throws -> (
    bytes: Int, sha256: String
  ) {
    let file = try MappedFile(path, following: following)
    return (file.count, file.withUnsafeBytes { sha256($0) })
  }

  private static func hexadecimal(_ digest: SHA256.Digest) -> String {
    digest.map { byte in
      let text = String(byte, radix: 16)
      return byte < 16 ? "0" + text : text
    }.joined()
  }
}

/// Runs `body` for every index at once and rethrows the error of the lowest index that failed.
func concurrently(_ count: Int, _ body: @Sendable (Int) throws -> Void) throws {
  let failures = Mutex<[Int: any Error]>([:])
  DispatchQueue.concurrentPerform(iterations: count) { index in
    do { try body(index) } catch { failures.withLock { $0[index] = error } }
  }
  let failed = failures.withLock { $0 }
  if let first = failed.keys.min(), let error = failed[first] { throw error }
}
