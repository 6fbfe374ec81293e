// Images with the images that a network should give for them: DIR/inputs/NAME.jpg and DIR/targets/NAME.png.

import GraftDiagnostics

/// A folder with `inputs/` and `targets/`, both JPEG or PNG. An input and its target have the same name before the
/// extension.
public struct PictureFolder: Dataset {
  static let inputs = FilePairs.Part(
    folder: "inputs", one: "input", many: "inputs", extensions: FilePairs.pictureExtensions)
  static let targets = FilePairs.Part(
    folder: "targets", one: "target", many: "targets", extensions: FilePairs.pictureExtensions)

  public let location: String
  private let pairs: FilePairs

  /// Whether there are folders `inputs/` and `targets/`, also where they are taken as something else.
  public static func isPresent(at path: String) -> Bool {
    let top = (try? FolderListing(of: path))?.entries ?? []
    return [inputs.folder, targets.folder].allSatisfy { name in
      top.contains { $0.name == name && $0.kind == .folder }
    }
  }

  public var classes: [String] { [] }
  /// Warnings about skipped files.
  public var warnings: [Warning] { pairs.warnings }
  public var count: Int { pairs.count }
  public var holdsImages: Bool { true }
  public var summary: String { pairs.summary }

  /// - Throws: ``GraftError``: `inputOutput` if a folder cannot be read, `invalidData` if there is no input with a
  ///   target.
  public init(_ path: String) throws {
    location = path
    pairs = try FilePairs(
      in: path, Self.inputs, with: Self.targets,
      advice: "The network's output is an image, so its data are inputs/NAME.jpg with "
        + "targets/NAME.png, or x.npy with y.npy.")
  }

  public func name(of index: Int) -> String { pairs.name(of: index) }
  public func label(of index: Int) -> Int? { nil }
  public func targetPath(of index: Int) -> String { pairs.secondPath(of: index) }

  public func target(of index: Int) throws -> Target {
    try check(index)
    return .picture(try Image(contentsOf: targetPath(of: index)))
  }

  public func sample(at index: Int) throws -> Sample {
    try check(index)
    return Sample(
      content: .image(try Image(contentsOf: path(of: index))), target: try target(of: index))
  }
}
