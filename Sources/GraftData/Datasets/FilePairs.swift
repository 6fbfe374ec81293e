// Images that have a second file each: DIR/images/NAME.jpg with DIR/masks/NAME.png, or DIR/inputs/NAME.jpg with
// DIR/targets/NAME.png.

import GraftDiagnostics

/// The files of two folders that have the same name before the extension.
struct FilePairs {
  /// A folder, and what one of its files is.
  struct Part {
    var folder: String
    var one: String
    var many: String
    /// The extensions of its files, with the dot.
    var extensions: [String]
  }

  static let pictureExtensions = [".jpg", ".jpeg", ".png"]

  private let location: String
  private let first: Part
  private let second: Part
  private let items: [(first: String, second: String)]
  /// Warnings about skipped files.
  let warnings: [Warning]

  var count: Int { items.count }
  /// What was found.
  var summary: String {
    count == 1
      ? "1 \(first.one) with its \(second.one)" : "\(count) \(first.many) with \(second.many)"
  }

  /// - Parameter advice: how the folder must be, for the case that it is not.
  /// - Throws: ``GraftError``: `inputOutput` if a folder cannot be read, `invalidData` if one is missing or there is no
  ///   pair.
  init(in path: String, _ first: Part, with second: Part, advice: String) throws {
    (location, self.first, self.second) = (path, first, second)
    let top = try FolderListing(of: path).entries
    for name in [first.folder, second.folder]
    where !top.contains(where: { $0.name == name && $0.kind == .folder }) {
      throw GraftError(
        .invalidData, "there is no folder \(name.quotedForDisplay)", at: SourceLocation(file: path),
        advice: advice)
    }
    var stray = StrayFiles()
    let firsts = try Self.files(of: first, in: path, &stray)
    let seconds = try Self.files(of: second, in: path, &stray)
    try Self.checkNames(firsts, of: first, at: path)
    try Self.checkNames(seconds, of: second, at: path)
    let partner = Dictionary(seconds.map { (Self.stem($0), $0) }) { first, _ in first }
    let items = firsts.compactMap { name in partner[Self.stem(name)].map { (name, $0) } }
    guard !firsts.isEmpty else {
      throw GraftError(
        .invalidData, "there are no JPEG or PNG files",
        at: SourceLocation(file: path + "/" + first.folder))
    }
    guard !items.isEmpty else {
      throw GraftError(
        .invalidData,
        "none of \(firsts.count) \(first.many) has a \(second.one) of the same name among "
          + "\(seconds.count) \(second.extensions.count == 1 ? "PNG" : "JPEG and PNG") files",
        at: SourceLocation(file: path + "/" + second.folder),
        advice:
          "The \(second.one) of \(first.folder)/1\(first.extensions[0]) is \(second.folder)/1.png."
          + (stray.warning(at: path, of: "JPEG or PNG files").first.map { " Found: \($0.message)." }
            ?? ""))
    }
    let taken = Set(items.map(\.1))
    warnings =
      stray.warning(at: path, of: "JPEG or PNG files")
      + Self.warning(
        firsts.filter { partner[Self.stem($0)] == nil }, first, lack: second, at: path)
      + Self.warning(seconds.filter { !taken.contains($0) }, second, lack: first, at: path)
    self.items = items
  }

  /// - Throws: ``GraftError`` of kind `invalidData` if two files of a folder would be one in a pair.
  private static func checkNames(_ names: [String], of part: Part, at path: String) throws {
    var seen: [String: String] = [:]
    for name in names {
      guard let other = seen.updateValue(name, forKey: stem(name)) else { continue }
      throw GraftError(
        .invalidData,
        "\(other.quotedForDisplay) and \(name.quotedForDisplay) have the same name before the extension",
        at: SourceLocation(file: path + "/" + part.folder),
        advice: "A pair is found by this name: rename or remove one of the files.")
    }
  }

  private static func warning(
    _ names: [String], _ part: Part, lack other: Part, at path: String
  ) -> [Warning] {
    guard !names.isEmpty else { return [] }
    let shown = names.prefix(3).map(\.escapedForDisplay).joined(separator: ", ")
    return [
      Warning(
        "\(names.count) \(names.count == 1 ? "\(part.one) has" : "\(part.many) have") no \(other.one) and "
          + "\(names.count == 1 ? "is" : "are") skipped: \(shown)\(names.count > 3 ? ", …" : "")",
        at: SourceLocation(file: path))
    ]
  }

  private static func files(
    of part: Part, in path: String, _ stray: inout StrayFiles
  ) throws -> [String] {
    let listing = try FolderListing(of: path + "/" + part.folder)
    stray.add("whose name is not UTF-8", count: listing.unreadableNames)
    return listing.entries.compactMap { entry in
      let lower = entry.name.lowercased()
      guard entry.kind == .file, !entry.name.hasPrefix("."),
        part.extensions.contains(where: lower.hasSuffix)
      else {
        stray.add(file: entry.name)
        return nil
      }
      return entry.name
    }
  }

  private static func stem(_ name: String) -> String {
    String(name[..<(name.lastIndex(of: ".") ?? name.endIndex)])
  }

  /// The file of an item's image, relative to the data set.
  func name(of index: Int) -> String {
    items.indices ~= index ? first.folder + "/" + items[index].first : ""
  }

  func secondPath(of index: Int) -> String {
    items.indices ~= index
      ? location + "/" + second.folder + "/" + items[index].second : location
  }
}
