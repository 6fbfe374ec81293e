// Tensors in external data files. A model must not read files outside its folder: no absolute path, no "..",
// no symbolic link that leaves it. If the model is a symbolic link, as in download caches, the folder of its
// target is also allowed.

import Foundation
import GraftDiagnostics
import GraftIR

/// The external-data files of one model, each mapped once.
struct ExternalData {
  /// The folder of the path given by the user, then that of the link's target if the path is a link.
  private let folders: [String]
  private var open: [String: MappedFile] = [:]

  init(modelPath: String) {
    let folder = (modelPath as NSString).deletingLastPathComponent
    var folders = [folder.isEmpty ? "." : folder]
    if let target = Self.realPath(modelPath) {
      let real = (target as NSString).deletingLastPathComponent
      if real != Self.realPath(folders[0]) { folders.append(real) }
    }
    self.folders = folders
  }

  /// The location of a tensor's data.
  /// - Parameters:
  ///   - entries: the tensor's external_data.
  ///   - byteCount: the size in bytes from its type and extents.
  /// - Throws: ``GraftError``: `invalidModel` for a location that leaves the folder, or numbers that
  ///   do not fit; `inputOutput` for a file that cannot be read.
  mutating func range(
    _ entries: [String: String], byteCount: Int
  ) throws -> (source: any ByteSource, range: Range<Int>) {
    guard let location = entries["location"], !location.isEmpty else {
      throw GraftError(.invalidModel, "its external data has no location")
    }
    let file = try self.file(at: location)
    let offset = try number(entries["offset"], "offset") ?? 0
    let length = try number(entries["length"], "length") ?? byteCount
    let name = location.quotedForDisplay
    guard length == byteCount else {
      throw GraftError(
        .invalidModel, "its external data in \(name) has \(length) bytes, expected \(byteCount)")
    }
    guard offset <= file.count, length <= file.count - offset else {
      throw GraftError(
        .invalidModel,
        "the external data file \(name) is too short: it has \(file.count) bytes, "
          + "\(length) are needed at \(offset)")
    }
    return (file, offset..<(offset + length))
  }

  private func number(_ text: String?, _ key: String) throws -> Int? {
    guard let text else { return nil }
    guard let value = Int(text), value >= 0 else {
      throw GraftError(
        .invalidModel,
        "the \(key) of its external data is \(text.quotedForDisplay), "
          + "expected a number of bytes")
    }
    return value
  }

  private mutating func file(at location: String) throws -> MappedFile {
    if let known = open[location] { return known }
    let name = location.quotedForDisplay
    func refusal(_ reason: String) -> GraftError {
      GraftError(
        .invalidModel, "its external data is in \(name), which \(reason)",
        advice:
          "Data is read only from the model's folder, and from the folder of the target if the model "
          + "is a link.")
    }
    guard !location.hasPrefix("/") else { throw refusal("is an absolute path") }
    guard !location.split(separator: "/", omittingEmptySubsequences: false).contains("..") else {
      throw refusal("contains \"..\"")
    }
    let paths = folders.map { ($0 as NSString).appendingPathComponent(location) }
    guard let realFile = paths.lazy.compactMap(Self.realPath).first else {
      throw GraftError(
        .inputOutput,
        "its external data file \(name) cannot be opened: "
          + String(cString: strerror(errno)))
    }
    let isInside = folders.compactMap(Self.realPath).contains { folder in
      let prefix = folder.hasSuffix("/") ? folder : folder + "/"
      return realFile.utf8.starts(with: prefix.utf8)
    }
    guard isInside else {
      throw refusal("is a symbolic link to a file outside the model's folder")
    }
    // The resolved path has no link left; one put there since is not followed.
    let file = try MappedFile(realFile, following: false)
    open[location] = file
    return file
  }

  private static func realPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }
}
