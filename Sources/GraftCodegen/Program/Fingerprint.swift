// The build id: SHA-256 over everything that determines a bundle's library and packed weights. It detects
// files of different builds; Graft computes digests of files.

import Crypto
import GraftIR

/// SHA-256 of a sequence of texts and bytes, each with its length before it.
struct Fingerprint {
  private var hash = SHA256()

  /// The fingerprint of what a library is generated from.
  static func of(_ programs: [Lowering], target: Target) -> [UInt8] {
    var fingerprint = Fingerprint()
    fingerprint.combine(target.name)
    for program in programs {
      fingerprint.combine(program.graph.text)
      for step in program.steps {
        fingerprint.combine(step.kernel.definition)
        step.arguments.forEach { fingerprint.combine($0) }
      }
      for parameter in program.graph.parameters {
        program.identities.of(parameter).withUnsafeBytes { fingerprint.combine($0) }
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

/// What tells the parameters of a graph apart in whatever graph they are: the SHA-256 of type and bytes,
/// computed once. A class, since it remembers what it computed.
final class ParameterIdentities {
  private let graph: Graph
  private var known: [ValueID: [UInt8]] = [:]

  init(of graph: Graph) { self.graph = graph }

  /// 32 bytes.
  func of(_ value: ValueID) -> [UInt8] {
    if let present = known[value] { return present }
    var fingerprint = Fingerprint()
    fingerprint.combine("\(graph.type(of: value))")
    graph[value].parameter?.data?.withUnsafeBytes { fingerprint.combine($0) }
    let identity = fingerprint.finalize()
    known[value] = identity
    return identity
  }
}
