// A mutator that knows the files of a bundle: it changes one of them, and in those that are text it
// changes whole words, numbers, brackets and lines, so that what comes out is mostly still JSON or IR.

import FuzzSupport
import Graft

@_cdecl("LLVMFuzzerCustomMutator")
public func customMutator(
  _ data: UnsafeMutablePointer<UInt8>?, _ count: Int, _ room: Int, _ seed: CUnsignedInt
) -> Int {
  guard let data else { return 0 }
  var random = Randomness(seed: UInt64(seed))
  guard Int.random(in: 0..<32, using: &random) != 0 else { return mutateBytes(data, count, room) }
  var image = BundleImage(Array(UnsafeBufferPointer(start: data, count: count)))
  for _ in 0..<Int.random(in: 1...3, using: &random) { mutate(&image, &random) }
  let result = image.bytes
  guard result.count <= room else { return mutateBytes(data, count, room) }
  for (index, byte) in result.enumerated() { data[index] = byte }
  return result.count
}

private func mutate(_ image: inout BundleImage, _ random: inout Randomness) {
  // The manifest and the graph have the most to get wrong.
  var index = [0, 0, 0, 0, 2, 2, 2, 2, 2, 3, 3, 4, 1, 5].randomElement(using: &random) ?? 0
  // A float32 network has no ranges, and gets none.
  if BundleImage.names[index] == BundleLayout.ranges, image.files[index].isEmpty { index = 0 }
  let file = image.files[index]
  if Int.random(in: 0..<24, using: &random) == 0 {
    image.files[index] = Array(file.prefix(Int.random(in: 0...file.count, using: &random)))
    return
  }
  switch BundleImage.names[index] {
  case BundleLayout.manifest, BundleLayout.graph, BundleLayout.ranges:
    image.files[index] = mutatedText(file, &random)
  case BundleLayout.weights:
    image.files[index] = mutatedSafetensors(file, &random)
  default:
    image.files[index] = Fuzzing.mutated(file, growth: 16)
  }
}

/// Changes the header or the data, and mostly makes the header's length fit again.
private func mutatedSafetensors(_ file: [UInt8], _ random: inout Randomness) -> [UInt8] {
  let stated = file.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
  guard file.count >= 8, stated <= UInt64(file.count - 8),
    Int.random(in: 0..<8, using: &random) != 0
  else { return Fuzzing.mutated(file, growth: 16) }
  let length = Int(stated)
  var header = Array(file[8..<(8 + length)])
  var data = Array(file[(8 + length)...])
  if Int.random(in: 0..<8, using: &random) == 0 {
    data = Fuzzing.mutated(data, growth: 16)
  } else {
    header = mutatedText(header, &random)
  }
  return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + data
}

/// What means something in JSON or in the IR's text.
private let words: [[UInt8]] = """
  null true false {} [] "" -1 1e400 0.5 nan inf N 2N 0N -1N _ %0 f32 f16 i64 u8 bool { } @c8
  @c16b1x1 [N,3,8,8] \\u0000 "../../etc/passwd" "/dev/stdin" 9223372036854775807 // "N" output input
  parameter convolution gemm matmul pad reshape concat slice gather transpose expand constant split
  cast identity reduce_mean max_pool average_pool convert_layout
  """.split(whereSeparator: \.isWhitespace).map { Array($0.utf8) }

/// Changes one word, number, bracket, run of them, or line.
private func mutatedText(_ text: [UInt8], _ random: inout Randomness) -> [UInt8] {
  let byLines = Int.random(in: 0..<5, using: &random) == 0
  var parts = byLines ? lines(text) : tokens(text)
  guard let index = parts.indices.randomElement(using: &random),
    let other = parts.indices.randomElement(using: &random)
  else { return Fuzzing.mutated(text, growth: 32) }
  let run = index..<min(parts.count, index + Int.random(in: 1...(byLines ? 2 : 8), using: &random))
  switch Int.random(in: 0..<10, using: &random) {
  case 0: parts.removeSubrange(run)
  case 1: parts.insert(contentsOf: parts[run], at: other)
  case 2: parts.swapAt(index, other)
  case 3: return Fuzzing.mutated(text, growth: 32)
  case 4: parts[index] = words.randomElement(using: &random) ?? []
  case 5:
    let repeats = 1 << Int.random(in: 0..<10, using: &random)
    parts.insert(contentsOf: Array(repeating: parts[index], count: repeats), at: index)
  default:
    // A number where there is one near, otherwise another word of the same text.
    let near = parts[index...].prefix(24).indices.first { number(parts[$0]) != nil }
    if let near, let value = number(parts[near]) {
      let changed =
        switch Int.random(in: 0..<4, using: &random) {
        case 0: value &+ 1
        case 1: value &- 1
        case 2: Int64.random(in: 0..<24, using: &random)
        default: Fuzzing.interesting.randomElement(using: &random) ?? 0
        }
      parts[near] = Array("\(changed)".utf8)
    } else {
      parts[index] = parts[other]
    }
  }
  return parts.flatMap(\.self)
}

private func number(_ token: [UInt8]) -> Int64? { Int64(String(decoding: token, as: UTF8.self)) }

/// Runs of letters, digits and a few signs; every other byte alone.
private func tokens(_ text: [UInt8]) -> [[UInt8]] {
  func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "."),
      UInt8(ascii: "-"), UInt8(ascii: "%"):
      true
    default: false
    }
  }
  var result: [[UInt8]] = []
  var wasWord = false
  for byte in text {
    if isWord(byte), wasWord {
      result[result.count - 1].append(byte)
    } else {
      result.append([byte])
    }
    wasWord = isWord(byte)
  }
  return result
}

private func lines(_ text: [UInt8]) -> [[UInt8]] {
  text.split(separator: 0x0A, omittingEmptySubsequences: false).map { Array($0) + [0x0A] }
}
