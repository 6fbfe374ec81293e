// Detects by their first bytes files that are often passed instead of an ONNX model, so that the error names
// the kind of file. The protobuf error is kept as context.

import GraftDiagnostics

enum FileKind {
  /// A kind of file and the bytes that it has at an offset.
  private struct Signature {
    var start: [UInt8]
    var what: String
    var advice: String?
    var offset = 0
  }

  // No ModelProto starts with these bytes: none is a field with its wire type.
  private static let known = [
    Signature(
      start: Array("PK\u{3}\u{4}".utf8), what: "a zip archive, such as a PyTorch checkpoint",
      advice: "Export the network to ONNX first: tools/export-torchvision shows how."),
    Signature(
      start: Array("version https://git-lfs".utf8),
      what: "a Git LFS pointer, not the file itself",
      advice: "Fetch it with: git lfs pull"),
    Signature(
      start: [0x89, 0x48, 0x44, 0x46], what: "an HDF5 file, such as a Keras model",
      advice: "Convert it with tf2onnx."),
    Signature(
      start: [0x80, 0x02], what: "a Python pickle, such as an old PyTorch checkpoint",
      advice: "Export the network to ONNX first: tools/export-torchvision shows how."),
    Signature(
      start: Array("TFL3".utf8), what: "a TensorFlow Lite model",
      advice: "Convert it with tf2onnx.", offset: 4),
    Signature(
      start: Array("GGUF".utf8), what: "a GGUF file of weights",
      advice: "It contains no graph that could be compiled."),
    Signature(
      start: Array("\u{93}NUMPY".unicodeScalars.map { UInt8($0.value) }), what: "a NumPy array"),
    Signature(start: [0x1F, 0x8B], what: "a gzip archive", advice: "Unpack it first."),
    Signature(start: Array("BZh".utf8), what: "a bzip2 archive", advice: "Unpack it first."),
    Signature(
      start: [0xFD, 0x37, 0x7A, 0x58, 0x5A], what: "an xz archive", advice: "Unpack it first."),
    Signature(
      start: Array("ustar".utf8), what: "a tar archive", advice: "Unpack it first.", offset: 257),
    Signature(
      start: Array("<!DOCTYPE".utf8), what: "a web page", advice: "The download failed."),
    Signature(start: Array("<html".utf8), what: "a web page", advice: "The download failed."),
    Signature(start: [0x89, 0x50, 0x4E, 0x47], what: "a PNG image"),
    Signature(start: [0xFF, 0xD8, 0xFF], what: "a JPEG image"),
    Signature(start: Array("GIF8".utf8), what: "a GIF image"),
    Signature(start: Array("%PDF".utf8), what: "a PDF document"),
    Signature(start: [0x7F, 0x45, 0x4C, 0x46], what: "an ELF program or library"),
  ]

  /// - Throws: ``GraftError`` of kind `invalidModel` for an empty file or one of a known other kind.
  static func refuseKnown(_ file: UnsafeRawBufferPointer) throws {
    guard !file.isEmpty else {
      throw GraftError(.invalidModel, "is not an ONNX model: the file is empty")
    }
    for kind in known where file.dropFirst(kind.offset).starts(with: kind.start) {
      throw GraftError(
        .invalidModel, "is not an ONNX model: it is \(kind.what)", advice: kind.advice)
    }
    if isSafetensors(file) {
      throw GraftError(
        .invalidModel,
        "is not an ONNX model: it is a safetensors file, which contains weights but no graph",
        advice: "Load the weights into the network and export it to ONNX.")
    }
  }

  /// The error for a `file` whose scan failed with `error`: `error` itself for a possibly damaged model, or
  /// another one with `error` as its context for other files.
  static func explain(
    _ error: GraftError, _ file: UnsafeRawBufferPointer, startsAsModel: Bool
  ) -> GraftError {
    let what: String
    if let line = firstLineOfText(file) {
      what = "it is a text file that begins with \(line.quotedForDisplay)"
    } else if !startsAsModel {
      let bytes = file.prefix(8).map { byte in
        (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }
      what = "it begins with the bytes \(bytes.joined(separator: " ")), as no ONNX model does"
    } else {
      return error
    }
    return GraftError(
      .invalidModel, "is not an ONNX model: \(what)", at: error.location,
      context: error.context + ["reading it as protobuf: \(error.message)"])
  }

  /// A length that the file has room for, then a JSON object.
  private static func isSafetensors(_ file: UnsafeRawBufferPointer) -> Bool {
    guard file.count > 9, file[8] == UInt8(ascii: "{") else { return false }
    let length = UInt64(littleEndian: file.loadUnaligned(as: UInt64.self))
    return length >= 2 && length <= UInt64(file.count - 8)
  }

  /// The first line that is not blank, where the file's beginning is text throughout.
  private static func firstLineOfText(_ file: UnsafeRawBufferPointer) -> String? {
    var start = file.prefix(4096)
    if start.count < file.count {
      // The piece may end within a character: its first byte and up to two that continue it.
      for _ in 0..<3 where start.last.map({ $0 & 0xC0 == 0x80 }) == true { start.removeLast() }
      if let last = start.last, last >= 0xC0 { start.removeLast() }
    }
    guard let text = String(validating: start, as: UTF8.self) else { return nil }
    let isText = text.unicodeScalars.allSatisfy {
      $0.properties.generalCategory != .control || $0 == "\n" || $0 == "\r" || $0 == "\t"
        || $0 == "\u{C}"
    }
    guard isText else { return nil }
    let line = text.split(whereSeparator: \.isNewline).first { !$0.allSatisfy(\.isWhitespace) }
    guard let line else { return "" }
    return line.count > 40 ? line.prefix(40) + "…" : String(line)
  }
}
