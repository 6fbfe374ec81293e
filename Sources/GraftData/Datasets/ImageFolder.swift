// Images in one folder per class: DIR/class/image.jpg.

import Glibc
import GraftDiagnostics

/// A folder of class folders with JPEG and PNG files. Links are followed; nested folders are not searched.
/// Classes and files are in code-point order.
public struct ImageFolder: Dataset {
  private struct Item {
    var folder: Int32
    var file: String
  }

  public let location: String
  public let classes: [String]
  /// Warnings about skipped files.
  public let warnings: [Warning]
  private let folders: [(name: String, label: Int)]
  private let items: [Item]

  public var count: Int { items.count }
  public var holdsImages: Bool { true }
  public var summary: String { "\(count) images in \(folders.count) class folders" }

  /// - Parameters:
  ///   - labels: The network's class names, if it has them; folders are matched by name.
  ///   - classCount: The number of the network's classes, if it is fixed. Without labels there must be as
  ///     many folders.
  /// - Throws: ``GraftError``: `inputOutput` if a folder cannot be read, `invalidData` if it has no images or
  ///   its classes are not the network's.
  public init(_ path: String, labels: [String]? = nil, classCount: Int? = nil) throws {
    var stray = StrayFiles()
    var warnings: [Warning] = []
    let top = try FolderListing(of: path)
    stray.add("whose name is not UTF-8", count: top.unreadableNames)
    var found: [(name: String, files: [String])] = []
    for entry in top.entries {
      switch entry.kind {
      case .file where Self.isPicture(entry.name):
        stray.add("image outside class folders", "images outside class folders")
      case .file: stray.add(file: entry.name)
      case .brokenLink: stray.add("broken link", "broken links")
      case .other: stray.add("device or pipe", "devices or pipes")
      case .folder:
        if entry.name.hasPrefix(".") {
          stray.add("hidden folder", "hidden folders")
        } else if Self.contains(folder: path + "/" + entry.name, path) {
          stray.add("link to a parent folder", "links to a parent folder")
        } else {
          let files = try Self.pictures(in: path + "/" + entry.name, &stray)
          // A folder without images is not an unknown class.
          if files.isEmpty, let labels, !labels.contains(entry.name) {
            stray.add("folder without images", "folders without images")
          } else if let twin = found.firstIndex(where: { $0.name == entry.name }) {
            try Self.join(entry.name, files, to: &found[twin], in: path, &stray)
          } else {
            found.append((entry.name, files))
          }
        }
      }
    }
    warnings += stray.warning(at: path)
    let total = found.reduce(0) { $0 + $1.files.count }
    guard total > 0 else {
      throw GraftError(
        .invalidData, "there is no JPEG or PNG file in a class folder",
        at: SourceLocation(file: path),
        advice: "Images must be in one folder per class: \(path.escapedForDisplay)/cat/1.jpg."
          + (warnings.first.map { " Found: \($0.message)." } ?? ""))
    }
    let empty = found.filter(\.files.isEmpty).map(\.name)
    if !empty.isEmpty {
      let names = empty.prefix(8).map(\.quotedForDisplay).joined(separator: ", ")
      warnings.append(
        Warning(
          (empty.count == 1
            ? "1 class folder has no images" : "\(empty.count) class folders have no images")
            + ": \(names)",
          at: SourceLocation(file: path)))
    }
    if Set(found.map(\.name)) == [PictureFolder.inputs.folder, PictureFolder.targets.folder] {
      warnings.append(
        Warning(
          "the folders inputs/ and targets/ are taken as two classes of images. If the network's output is an image "
            + "and these are its data, describe the output by output in the preprocessing "
            + "(graft compile BUNDLE -o NEW.graft --preprocess FILE.json)",
          at: SourceLocation(file: path)))
    }
    let mapping = try ClassMapping(
      names: found.map(\.name), labels: labels, count: classCount, at: path)
    location = path
    classes = mapping.classes
    self.warnings = warnings
    folders = zip(found, mapping.indices).map { ($0.name, $1) }
    items = found.enumerated().flatMap { folder, entry in
      entry.files.map { Item(folder: Int32(truncatingIfNeeded: folder), file: $0) }
    }
  }

  /// Merges two folders whose names are the same text in two Unicode normalization forms, as after copying
  /// between file systems. Only one of them may contain images.
  private static func join(
    _ name: String, _ files: [String], to other: inout (name: String, files: [String]),
    in path: String, _ stray: inout StrayFiles
  ) throws {
    guard files.isEmpty || other.files.isEmpty else {
      func bytes(_ name: String) -> String {
        name.utf8.map { String($0, radix: 16) }.joined(separator: " ")
      }
      throw GraftError(
        .invalidData,
        "two class folders are named \(name.quotedForDisplay), in different Unicode normalization forms "
          + "(bytes \(bytes(other.name)), and \(bytes(name)))",
        at: SourceLocation(file: path),
        advice: "Move the images of one into the other, or rename one.")
    }
    stray.add("folder without images", "folders without images")
    if other.files.isEmpty { other = (name, files) }
  }

  private static func pictures(in folder: String, _ stray: inout StrayFiles) throws -> [String] {
    let listing = try FolderListing(of: folder)
    stray.add("whose name is not UTF-8", count: listing.unreadableNames)
    var files: [String] = []
    for entry in listing.entries {
      switch entry.kind {
      case .file where isPicture(entry.name): files.append(entry.name)
      case .file: stray.add(file: entry.name)
      case .folder: stray.add("folder inside a class folder", "folders inside class folders")
      case .brokenLink: stray.add("broken link", "broken links")
      case .other: stray.add("device or pipe", "devices or pipes")
      }
    }
    return files
  }

  private static func isPicture(_ name: String) -> Bool {
    guard !name.hasPrefix(".") else { return false }
    let lower = name.lowercased()
    return [".jpg", ".jpeg", ".png"].contains { lower.hasSuffix($0) }
  }

  /// Whether `folder` is `path` or one of its ancestors.
  private static func contains(folder: String, _ path: String) -> Bool {
    var candidate = stat()
    guard stat(folder, &candidate) == 0 else { return false }
    var above = path
    // The root is its own parent; no path is deeper than this.
    for _ in 0..<256 {
      var status = stat()
      guard stat(above, &status) == 0 else { return false }
      if status.st_dev == candidate.st_dev, status.st_ino == candidate.st_ino { return true }
      var parent = stat()
      above += "/.."
      guard stat(above, &parent) == 0,
        parent.st_ino != status.st_ino || parent.st_dev != status.st_dev
      else { return false }
    }
    return false
  }

  public func name(of index: Int) -> String {
    guard items.indices ~= index else { return "" }
    return folders[Int(items[index].folder)].name + "/" + items[index].file
  }

  public func label(of index: Int) -> Int? {
    items.indices ~= index ? folders[Int(items[index].folder)].label : nil
  }

  public func sample(at index: Int) throws -> Sample {
    try check(index)
    let image = try Image(contentsOf: location + "/" + name(of: index))
    return Sample(
      content: .image(image), target: .label(folders[Int(items[index].folder)].label))
  }
}
