// The build id: SHA-256 over everything that determines a bundle's library and packed weights. It detects
// files of different builds; Graft computes digests of files.

import Crypto
import GraftIR

/// SHA-256 of a sequence of texts and bytes, each with its length before it.
struct Fingerprint {
  private var hash = SHA256()

  /// The fingerprint of what a model is generated from.
  static func of(_ programs: [(graph: Graph, steps: [Step])], target: Target) -> [UInt8] {
    var fingerprint = Fingerprint()
    fingerprint.combine(target.name)
    for (graph, steps) in programs {
      fingerprint.combine(graph.text)
      for step in steps {
        fingerprint.combine(step.kernel.definition)
        step.arguments.forEach { fingerprint.combine($0) }
      }
      for parameter in graph.parameters {
        graph[parameter].parameter?.data?.withUnsafeBytes { fingerprint.combine($0) }
      }
    }
    return fingerprint.finalize()
  }

  mutating func combine(_ text: String) {
    var text = text
    text.withUTF8 { combine(UnsafeRawBufferPointer($0)) }
  }

  mutating func combine(_ bytes: UnsafeRawBufferPointer) {
    withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { hash.update(bufferPointer: $0) }
    hash.update(bufferPointer: bytes)
  }

  /// 32 bytes.
  func finalize() -> [UInt8] { Array(hash.finalize()) }
}
