// Files that are often given in place of an ONNX model, told by their first bytes, so that the
// answer says what the file is and not which byte of it was no protobuf.

import GraftDiagnostics

enum FileKind {
  private static let known: [(start: [UInt8], what: String, advice: String)] = [
    (
      Array("PK\u{3}\u{4}".utf8), "a zip archive, such as a PyTorch checkpoint",
      "Export the network to ONNX first: tools/export-torchvision shows how."
    ),
    (
      Array("version https://git-lfs".utf8), "a Git LFS pointer, not the file that it stands for",
      "Fetch it with: git lfs pull"
    ),
    ([0x89, 0x48, 0x44, 0x46], "an HDF5 file, such as a Keras model", "Convert it with tf2onnx."),
    (
      [0x80, 0x02], "a Python pickle, such as an old PyTorch checkpoint", "Export it to ONNX first."
    ),
    ([0x1F, 0x8B], "a gzip archive", "Unpack it first."),
    (Array("<!DOCTYPE".utf8), "a web page", "The download went wrong."),
    (Array("<html".utf8), "a web page", "The download went wrong."),
    ([0x89, 0x50, 0x4E, 0x47], "a PNG picture", ""),
    ([0xFF, 0xD8, 0xFF], "a JPEG picture", ""),
    ([0x7F, 0x45, 0x4C, 0x46], "an ELF program or library", ""),
  ]

  /// - Throws: ``GraftError`` of kind `invalidModel` for an empty file or one of a known other kind.
  static func refuseKnown(_ file: UnsafeRawBufferPointer) throws {
    guard !file.isEmpty else {
      throw GraftError(.invalidModel, "not an ONNX model: the file is empty")
    }
    for (start, what, advice) in known where file.starts(with: start) {
      throw GraftError(
        .invalidModel, "not an ONNX model: this is \(what)", advice: advice.isEmpty ? nil : advice)
    }
  }
}
