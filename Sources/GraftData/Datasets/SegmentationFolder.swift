// Images with the class of every pixel: DIR/images/NAME.jpg and DIR/masks/NAME.png.

import GraftDiagnostics

/// A folder with `images/` (JPEG or PNG) and `masks/` (PNG with a palette, or gray of at most 8 bits, whose
/// numbers are the classes; 255 is no class). An image and its mask have the same name before the extension.
/// `classes.txt`, if it is there, has the class names, one per line from class 0 on.
public struct SegmentationFolder: Dataset {
  private static let images = FilePairs.Part(
    folder: "images", one: "image", many: "images", extensions: FilePairs.pictureExtensions)
  private static let masks = FilePairs.Part(
    folder: "masks", one: "mask", many: "masks", extensions: [".png"])
  private static let classesName = "classes.txt"

  public let location: String
  public let classes: [String]
  public let classCount: Int
  private let pairs: FilePairs

  /// Warnings about skipped files.
  public var warnings: [Warning] { pairs.warnings }
  public var count: Int { pairs.count }
  public var holdsImages: Bool { true }
  public var summary: String { pairs.summary }

  /// - Parameters:
  ///   - labels: The network's class names, if it has them; `classes.txt` must then be equal.
  ///   - classCount: The number of the network's classes, if it is fixed. Without it and without names all
  ///     masks are read for the largest class.
  /// - Throws: ``GraftError``: `inputOutput` if a folder cannot be read, `invalidData` if there is no image
  ///   with a mask, or the classes are not the network's.
  public init(_ path: String, labels: [String]? = nil, classCount: Int? = nil) throws {
    location = path
    let top = try FolderListing(of: path).entries
    let hasInputs = top.contains { $0.name == PictureFolder.inputs.folder && $0.kind == .folder }
    pairs = try FilePairs(
      in: path, Self.images, with: Self.masks,
      advice: "The network has a class for every pixel, so its data are images/NAME.jpg with "
        + "masks/NAME.png, or x.npy with y.npy."
        + (hasInputs
          ? " If its output is an image, describe it by output in the preprocessing "
            + "(graft compile BUNDLE -o NEW.graft --preprocess FILE.json)." : ""))
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
    self.classCount = known ?? Self.classCount(of: pairs)
    guard classCount == nil || classCount == self.classCount else {
      throw GraftError(
        .invalidData,
        "there are \(self.classCount) classes, but the network has \(classCount ?? 0)",
        at: SourceLocation(file: path + "/" + Self.classesName))
    }
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
  private static func classCount(of pairs: FilePairs) -> Int {
    var present: UInt8 = 0
    var found = false
    for index in 0..<pairs.count {
      guard let map = try? LabelMap(contentsOf: pairs.secondPath(of: index)) else { continue }
      for value in map.values where value != LabelMap.ignored {
        present = max(present, value)
        found = true
      }
    }
    return found ? Int(present) + 1 : 0
  }

  public func name(of index: Int) -> String { pairs.name(of: index) }

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
        at: SourceLocation(file: targetPath(of: index)))
    }
    return Sample(content: .image(image), target: .map(map))
  }

  public func target(of index: Int) throws -> Target {
    try check(index)
    return .map(try readMap(at: index))
  }

  public func targetPath(of index: Int) -> String { pairs.secondPath(of: index) }

  private func readMap(at index: Int) throws -> LabelMap {
    let map = try LabelMap(contentsOf: targetPath(of: index))
    if let wrong = map.values.first(where: { $0 >= classCount && $0 != LabelMap.ignored }) {
      throw GraftError(
        .invalidData,
        "the mask has the class \(wrong), but the \(classCount) classes are 0 … \(classCount - 1), and "
          + "255 is no class", at: SourceLocation(file: targetPath(of: index)))
    }
    return map
  }
}
