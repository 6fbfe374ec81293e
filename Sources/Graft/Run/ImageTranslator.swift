// Networks from images to images: the image that the network gives for each of several.

import GraftData
import GraftDiagnostics

/// Computes the images that a network gives for images.
///
/// ```swift
/// let translator = try ImageTranslator(ModelBundle(opening: "denoise.graft"))
/// try translator.translate(["night.jpg"]) { answer in try answer.write(to: "clean") }
/// ```
public struct ImageTranslator {
  /// The image for one image.
  public struct Answer: Encodable, Sendable {
    public var file: String
    /// The size of the network's image in pixels; 0 if there is none.
    public var width = 0
    public var height = 0
    /// The name of the written file, by ``write(to:)``.
    public var output: String?
    /// Why there is no image.
    public var error: String?

    /// The image, whose values are rounded to the nearest of 0 … 255; nil if there is none.
    public private(set) var image: Image?

    enum CodingKeys: String, CodingKey {
      case file, width, height, output, error
    }

    fileprivate init(_ file: String) { self.file = file }

    fileprivate mutating func set(_ image: Image) {
      (width, height) = (image.width, image.height)
      self.image = image
    }

    /// Writes NAME.output.png to `folder`, which is created if it is missing. Does nothing if there is no image. If
    /// the name is too long, the answer is an ``error`` instead.
    /// - Throws: ``GraftError`` of kind `inputOutput`.
    public mutating func write(to folder: String) throws {
      guard let image else { return }
      try makeFolder(folder)
      let name = ImageTranslator.fileName(of: file)
      if let problem = FileReplacement.problem(withName: name, in: folder) {
        self = Answer(file)
        error = "the output cannot be written: " + problem
        return
      }
      try FileReplacement(at: folder + "/" + name).write(image.encodedPNG())
      output = name
    }
  }

  /// The name of the file that ``Answer/write(to:)`` writes for an image.
  public static func fileName(of image: String) -> String {
    Segmenter.stem(of: image) + ".output.png"
  }

  private let network: ImageNetwork
  private let session: Session

  public var warnings: [Warning] { network.warnings }

  /// - Parameter output: the output that is an image; nil takes the first that is one.
  /// - Throws: ``GraftError`` if the bundle is damaged or its preprocessing describes no output that is an image.
  public init(
    _ bundle: ModelBundle, output: String? = nil, threads: Int = AvailableCores.count
  ) throws {
    network = try ImageNetwork(bundle, output: output)
    _ = try network.requirePicture()
    session = try Session(bundle, threads: threads, program: network.program)
  }

  /// Calls `body` with the answer for each image as soon as it is available, in the order of `paths`, also for
  /// images that cannot be read or have non-finite outputs. Images are processed one at a time.
  /// - Throws: ``GraftError`` if the network cannot run, and errors of `body`.
  public func translate(_ paths: [String], _ body: (Answer) throws -> Void) throws {
    try network.run(on: paths, with: session) { network, path, result in
      var answer = Answer(path)
      do { try answer.set(network.requirePicture().image(of: result.get()[...])) } catch let error
        as GraftError
      {
        answer.error = error.message
      }
      try body(answer)
    }
  }
}
