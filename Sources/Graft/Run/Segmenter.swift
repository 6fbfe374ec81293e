// Segmentation: the class of every pixel of images.

import GraftData
import GraftDiagnostics

/// Predicts the class of every pixel of images.
///
/// ```swift
/// let segmenter = try Segmenter(ModelBundle(opening: "unet.graft"))
/// try segmenter.segment(["street.jpg"]) { answer in try answer.write(to: "masks") }
/// ```
public struct Segmenter {
  /// A class and the part of the image that it covers.
  public struct Share: Encodable, Sendable {
    /// Its index in the network's output.
    public var index: Int
    /// Its label, or the index if the bundle has no labels.
    public var label: String
    /// The fraction of the pixels, 0 to 1.
    public var share: Double
  }

  /// The segmentation of one image.
  public struct Answer: Encodable, Sendable {
    public var file: String
    /// The size of the upright image, in pixels; 0 if it could not be read.
    public var width = 0
    public var height = 0
    /// The classes by descending share; empty if the image could not be read.
    public var classes: [Share] = []
    /// The names of the written files, by ``write(to:)``.
    public var mask: String?
    public var overlay: String?
    /// Why the image could not be segmented.
    public var error: String?

    private var map: LabelMap?
    private var image: Image?

    enum CodingKeys: String, CodingKey {
      case file, width, height, classes, mask, overlay, error
    }

    fileprivate init(_ file: String) { self.file = file }

    fileprivate mutating func set(_ map: LabelMap, of image: Image, _ label: (Int) -> String) {
      (width, height) = (image.width, image.height)
      (self.map, self.image) = (map, image)
      var counts = [Int](repeating: 0, count: 256)
      for value in map.values { counts[Int(value)] += 1 }
      counts[Int(LabelMap.ignored)] = 0
      let total = Double(max(1, map.values.count))
      classes = counts.indices.filter { counts[$0] > 0 }
        .sorted { (counts[$1], $0) < (counts[$0], $1) }
        .map { Share(index: $0, label: label($0), share: Double(counts[$0]) / total) }
    }

    /// Writes NAME.mask.png, whose palette indices are the classes (255 outside of what the network saw), and
    /// NAME.overlay.png, the image with the classes' colors over it, to `folder`, which is created if it is
    /// missing. Does nothing for an image that could not be read. If a name is too long, no file is written and the
    /// answer is an ``error`` instead.
    /// - Throws: ``GraftError`` of kind `inputOutput`.
    public mutating func write(to folder: String) throws {
      guard let map, let image else { return }
      try makeFolder(folder)
      let names = Segmenter.fileNames(of: file)
      for name in [names.mask, names.overlay] {
        guard let problem = FileReplacement.problem(withName: name, in: folder) else { continue }
        self = Answer(file)
        error = "the output cannot be written: " + problem
        return
      }
      try FileReplacement(at: folder + "/" + names.mask).write(map.encodedPNG())
      try FileReplacement(at: folder + "/" + names.overlay).write(
        map.overlay(on: image).encodedPNG())
      (mask, overlay) = (names.mask, names.overlay)
    }
  }

  /// The names of the files that ``Answer/write(to:)`` writes for an image.
  public static func fileNames(of image: String) -> (mask: String, overlay: String) {
    let stem = stem(of: image)
    return (stem + ".mask.png", stem + ".overlay.png")
  }

  /// The name of a file without folders and extension.
  static func stem(of image: String) -> String {
    let name = image.split(separator: "/").last.map(String.init) ?? image
    return String(name[..<(name.lastIndex(of: ".") ?? name.endIndex)])
  }

  private let network: ImageNetwork
  private let session: Session

  public var warnings: [Warning] { network.warnings }

  /// - Throws: ``GraftError`` if the bundle is damaged or has no class for every pixel.
  public init(_ bundle: ModelBundle, threads: Int = AvailableCores.count) throws {
    network = try ImageNetwork(bundle)
    try network.requirePositions()
    session = try Session(bundle, threads: threads, program: network.program)
  }

  /// Calls `body` with the answer for each image as soon as it is available, in the order of `paths`, also for
  /// images that cannot be read or have non-finite outputs. Images are processed one at a time.
  /// - Throws: ``GraftError`` if the network cannot run, and errors of `body`.
  public func segment(_ paths: [String], _ body: (Answer) throws -> Void) throws {
    try network.run(on: paths, with: session) { network, path, result in
      var answer = Answer(path)
      do {
        let values = try result.get()
        let image = try Image(contentsOf: path)
        answer.set(try map(values, of: image, by: network), of: image, network.label)
      } catch let error as GraftError { answer.error = error.message }
      try body(answer)
    }
  }

  private func map(
    _ values: [Float], of image: Image, by network: ImageNetwork
  ) throws -> LabelMap {
    guard let size = network.mapSize, let preprocessing = network.bundle.manifest.preprocessing
    else { throw GraftError(.inconsistency, "a map without preprocessing") }
    let map = try LabelMap(
      width: size.width, height: size.height,
      values: network.positionScores(values[...])?.best() ?? [])
    return try Preprocessor(preprocessing).restored(map, to: (image.height, image.width))
  }
}
