// The files of a bundle as one string of bytes for libFuzzer. In the manifest and its digest stand
// placeholders for lengths and digests, which are filled in when the files are written: mutated files
// pass the check of digests, unless the mutation hit a placeholder.

import Crypto
import Foundation
import Graft

/// A bundle's files but for its code, which is never mutated.
struct BundleImage {
  static let names = [
    BundleLayout.manifest, BundleLayout.manifestDigest, BundleLayout.graph, BundleLayout.weights,
    BundleLayout.packed, BundleLayout.ranges,
  ]

  /// Which seed's code stands beside the files.
  var seed: UInt8
  /// The contents in the order of ``names``.
  var files: [[UInt8]]

  static func bytesMark(_ name: String) -> String { "@bytes(\(name))" }
  static func digestMark(_ name: String) -> String { "@sha256(\(name))" }

  /// Whatever the bytes, they are files: a length that reaches beyond the end is cut.
  init(_ bytes: [UInt8]) {
    var rest = bytes[...]
    seed = rest.popFirst() ?? 0
    files = Self.names.map { _ in
      let length = rest.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
      rest = rest.dropFirst(4)
      defer { rest = rest.dropFirst(length) }
      return Array(rest.prefix(length))
    }
  }

  init(seed: UInt8, files: [[UInt8]]) {
    self.seed = seed
    self.files = files
  }

  var bytes: [UInt8] {
    files.reduce(into: [seed]) { result, file in
      result += withUnsafeBytes(of: UInt32(file.count).littleEndian) { Array($0) }
      result += file
    }
  }

  /// The bundle in `folder` with placeholders in its manifest, which keeps only the files that are
  /// read here.
  init(seed: UInt8, readingFrom folder: String) throws {
    func read(_ name: String) throws -> Data {
      try Data(contentsOf: URL(filePath: folder).appending(path: name))
    }
    let present = Self.names.dropFirst(2).filter {
      FileManager.default.fileExists(atPath: "\(folder)/\($0)")
    }
    var manifest = try Manifest.decode(read(BundleLayout.manifest))
    let kept = present + [BundleLayout.library]
    var numbers: [String: String] = [:]
    manifest.files = [:]
    for (index, name) in kept.enumerated() {
      // A number that occurs nowhere else, since JSON has no room for the mark itself.
      let number = 8_765_432_100 + index
      numbers["\(number)"] = Self.bytesMark(name)
      manifest.files[name] = Manifest.File(bytes: number, sha256: Self.digestMark(name))
    }
    var text = String(decoding: try manifest.encoded(), as: UTF8.self)
    for (number, mark) in numbers { text = text.replacingOccurrences(of: number, with: mark) }
    self.init(
      seed: seed,
      files: [Array(text.utf8), Array((Self.digestMark(BundleLayout.manifest) + "\n").utf8)]
        + (try Self.names.dropFirst(2).map { present.contains($0) ? Array(try read($0)) : [] }))
  }

  /// Writes the files beside the code in `folder`.
  func write(to folder: String, library: (bytes: Int, sha256: String)) throws {
    var marks: [(mark: [UInt8], value: String)] = [
      (Array(Self.bytesMark(BundleLayout.library).utf8), "\(library.bytes)"),
      (Array(Self.digestMark(BundleLayout.library).utf8), library.sha256),
    ]
    func add(_ name: String, _ contents: [UInt8]) {
      marks.append((Array(Self.bytesMark(name).utf8), "\(contents.count)"))
      marks.append((Array(Self.digestMark(name).utf8), Self.sha256(contents)))
    }
    for (name, contents) in zip(Self.names, files).dropFirst(2) { add(name, contents) }
    let manifest = Self.fill(files[0], marks)
    add(BundleLayout.manifest, manifest)
    let filled = [manifest, Self.fill(files[1], marks)] + files.dropFirst(2)
    for (name, contents) in zip(Self.names, filled) {
      let url = URL(filePath: folder).appending(path: name)
      // Only networks on bytes have ranges.
      if name == BundleLayout.ranges, contents.isEmpty {
        try? FileManager.default.removeItem(at: url)
      } else {
        try Data(contents).write(to: url)
      }
    }
  }

  static func sha256(_ bytes: [UInt8]) -> String {
    SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined()
  }

  private static func fill(_ bytes: [UInt8], _ marks: [(mark: [UInt8], value: String)]) -> [UInt8] {
    var result: [UInt8] = []
    var index = 0
    while index < bytes.count {
      let rest = bytes[index...]
      if rest.first == UInt8(ascii: "@"),
        let found = marks.first(where: { rest.starts(with: $0.mark) })
      {
        result += found.value.utf8
        index += found.mark.count
      } else {
        result.append(bytes[index])
        index += 1
      }
    }
    return result
  }
}
