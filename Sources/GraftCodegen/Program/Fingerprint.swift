// Tells builds apart: 32 bytes over everything that shapes a bundle's library and packed weights. It
// guards against mixing files of two builds; it is no protection against anyone (digests are Graft's).

import GraftIR

/// A 256-bit multiplicative hash in four lanes.
struct Fingerprint {
  private var lanes: [UInt64] = [
    0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93,
  ]
  private var count: UInt64 = 0

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
    mix(UInt64(bytes.count))
    var (a, b, c, d) = (lanes[0], lanes[1], lanes[2], lanes[3])
    var position = 0
    while position + 32 <= bytes.count {
      a = Self.step(a, bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
      b = Self.step(b, bytes.loadUnaligned(fromByteOffset: position + 8, as: UInt64.self))
      c = Self.step(c, bytes.loadUnaligned(fromByteOffset: position + 16, as: UInt64.self))
      d = Self.step(d, bytes.loadUnaligned(fromByteOffset: position + 24, as: UInt64.self))
      position += 32
    }
    lanes = [a, b, c, d]
    while position < bytes.count {
      mix(UInt64(bytes[position]))
      position += 1
    }
  }

  private static func step(_ lane: UInt64, _ word: UInt64) -> UInt64 {
    let product = (lane ^ word.littleEndian) &* 0xff51_afd7_ed55_8ccd
    return (product << 31 | product >> 33) &+ 0x52dc_e729
  }

  private mutating func mix(_ word: UInt64) {
    count &+= 1
    for index in lanes.indices { lanes[index] = Self.step(lanes[index], word &+ count) }
  }

  mutating func finalize() -> [UInt8] {
    for _ in 0..<4 {
      mix(lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3])
    }
    return lanes.flatMap { lane in (0..<8).map { UInt8(truncatingIfNeeded: lane >> ($0 * 8)) } }
  }
}
