// Images with the class of every pixel: DIR/images/NAME.jpg and DIR/masks/NAME.png.

import GraftDiagnostics

/// A folder with `images/` (JPEG or PNG) and `masks/` (PNG with a palette, or gray of at most 8 bits, whose
/// numbers are the classes; 255 is no class). An image and its mask have the same name before the extension.
/// `classes.txt`, if it is there, has the class names, one per line from class 0 on.
public struct SegmentationFolder: Dataset {
  static let imagesName = "images"
  static let masksName = "masks"
  static let classesName = "classes.txt"

  public let location: String
  public let classes: [String]
  public let classCount: Int
  /// Warnings about skipped files.
  public let warnings: [Warning]
  private let items: [(image: String, mask: String)]

  public var count: Int { items.count }
  public var holdsImages: Bool { true }

  /// - Parameters:
  ///   - labels: The network's class names, if it has them; `classes.txt` must then be equal.
  ///   - classCount: The number of the network's classes, if it is fixed. Without it and without names all
  ///     masks are read for the largest class.
  /// - Throws: ``GraftError``: `inputOutput` if a folder cannot be read, `invalidData` if there is no image
  ///   with a mask, or the classes are not the network's.
  public init(_ path: String, labels: [String]? = nil, classCount: Int? = nil) throws {
    location = path
    let top = try FolderListing(of: path).entries
    for name in [Self.imagesName, Self.masksName]
    where !top.contains(where: { $0.name == name && $0.kind == .folder }) {
      throw GraftError(
        .invalidData, "there is no folder \(name.quotedForDisplay)", at: SourceLocation(file: path),
        advice: "The network has a class for every pixel, so its data are images/NAME.jpg with "
          + "masks/NAME.png, or x.npy with y.npy.")
    }
    var stray = StrayFiles()
    let images = try Self.files(path + "/" + Self.imagesName, [".jpg", ".jpeg", ".png"], &stray)
    let masks = try Self.files(path + "/" + Self.masksName, [".png"], &stray)
    var warnings = stray.warning(at: path)
    let maskOfStem = Dictionary(masks.map { (Self.stem($0), $0) }) { first, _ in first }
    items = images.compactMap { image in maskOfStem[Self.stem(image)].map { (image, $0) } }
    let alone = images.filter { maskOfStem[Self.stem($0)] == nil }
    guard !items.isEmpty else {
      throw GraftError(
        .invalidData,
        "none of \(images.count) images has a mask of the same name among \(masks.count) PNG files",
        at: SourceLocation(file: path + "/" + Self.masksName),
        advice: "The mask of images/1.jpg is masks/1.png.")
    }
    if !alone.isEmpty {
      let shown = alone.prefix(3).map(\.escapedForDisplay).joined(separator: ", ")
      warnings.append(
        Warning(
          "\(alone.count) \(alone.count == 1 ? "image has" : "images have") no mask and "
            + "\(alone.count == 1 ? "is" : "are") skipped: \(shown)\(alone.count > 3 ? ", …" : "")",
          at: SourceLocation(file: path)))
    }
    self.warnings = warnings
    let listed =
      try top.contains { $0.name == Self.classesName && $0.kind == .file }
      ? Self.names(in: path + "/" + Self.classesName) : nil
    if let labels, let listed, labels != listed {
      throw GraftError(
        .invalidData,
        "the \(listed.count) classes are not the network's \(labels.count) labels in their order",
        at: SourceLocation(file: path + "/" + Self.classesName),
        advice:
          "The labels are: \(labels.prefix(10).map(\.quotedForDisplay).joined(separator: ", ")).")
    }
    classes = labels ?? listed ?? []
    let known = labels?.count ?? listed?.count ?? classCount
    self.classCount = try known ?? Self.classCount(of: items.map(\.mask), in: path)
    guard classCount == nil || classCount == self.classCount else {
      throw GraftError(
        .invalidData,
        "there are \(self.classCount) classes, but the network has \(classCount ?? 0)",
        at: SourceLocation(file: path + "/" + Self.classesName))
    }
  }

  private static func files(
    _ folder: String, _ extensions: [String], _ stray: inout StrayFiles
  ) throws -> [String] {
    let listing = try FolderListing(of: folder)
    stray.add("whose name is not UTF-8", count: listing.unreadableNames)
    return listing.entries.compactMap { entry in
      let lower = entry.name.lowercased()
      guard entry.kind == .file, !entry.name.hasPrefix("."),
        extensions.contains(where: lower.hasSuffix)
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

  private static func names(in path: String) throws -> [String] {
    let bytes = try InputFile(path).readAll(limit: 1 << 20)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw GraftError(.invalidData, "the file is not UTF-8 text", at: SourceLocation(file: path))
    }
    var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      .map { String($0) }
    while lines.last?.isEmpty == true { lines.removeLast() }
    guard !lines.isEmpty, lines.count <= LabelMap.classLimit, !lines.contains(where: \.isEmpty),
      Set(lines).count == lines.count
    else {
      throw GraftError(
        .invalidData,
        "the file must have 1 to \(LabelMap.classLimit) different class names, one per line",
        at: SourceLocation(file: path))
    }
    return lines
  }

  /// One more than the largest class of all masks that can be read.
  private static func classCount(of masks: [String], in path: String) throws -> Int {
    var present: UInt8 = 0
    var found = false
    for mask in masks {
      guard let map = try? LabelMap(contentsOf: path + "/" + masksName + "/" + mask) else {
        continue
      }
      for value in map.values where value != LabelMap.ignored {
        present = max(present, value)
        found = true
      }
    }
    return found ? Int(present) + 1 : 0
  }

  public func name(of index: Int) -> String {
    items.indices ~= index ? Self.imagesName + "/" + items[index].image : ""
  }

  public func label(of index: Int) -> Int? { nil }

  /// - Throws: ``GraftError`` that names the file, if it cannot be read, if the sizes of image and mask differ,
  ///   or if the mask has a class that does not exist.
  public func sample(at index: Int) throws -> Sample {
    try check(index)
    let image = try Image(contentsOf: location + "/" + name(of: index))
    let map = try readMap(at: index)
    guard map.width == image.width, map.height == image.height else {
      throw GraftError(
        .invalidData,
        "the mask is \(map.width) × \(map.height), its image \(image.width) × \(image.height)",
        at: SourceLocation(file: maskPath(of: index)))
    }
    return Sample(content: .image(image), target: .map(map))
  }

  public func map(of index: Int) throws -> LabelMap? {
    try check(index)
    return try readMap(at: index)
  }

  private func maskPath(of index: Int) -> String {
    location + "/" + Self.masksName + "/" + items[index].mask
  }

  private func readMap(at index: Int) throws -> LabelMap {
    let map = try LabelMap(contentsOf: maskPath(of: index))
    if let wrong = map.values.first(where: { $0 >= classCount && $0 != LabelMap.ignored }) {
      throw GraftError(
        .invalidData,
        "the mask has the class \(wrong), but the \(classCount) classes are 0 … \(classCount - 1), and "
          + "255 is no class", at: SourceLocation(file: maskPath(of: index)))
    }
    return map
  }
}
