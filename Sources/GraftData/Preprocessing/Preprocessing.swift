// The preprocessing specification that is stored in a bundle, its checks and its presets.
// Preprocessing+JSON.swift reads and writes it as JSON, Preprocessor.swift executes it.

import GraftDiagnostics
import GraftIR

/// The conversion of an image to an input: resize, crop, color, then every value x becomes (x · scale − mean)
/// / std. For a network whose output is an image also the meaning of that one's values.
public struct Preprocessing: Hashable, Sendable {
  /// The size before cropping.
  public enum ResizeTarget: Hashable, Sendable {
    /// The length of the shorter edge in pixels; the other keeps the aspect ratio, truncated to whole pixels.
    case shorter(Int)
    /// The lengths of both edges in pixels; the aspect ratio may change.
    case exact(height: Int, width: Int)
  }

  public struct Resize: Hashable, Sendable {
    public var target: ResizeTarget
    public var filter: ResampleFilter
    /// Whether the filter support is scaled when downsampling, as in Pillow.
    public var antialias: Bool

    public init(
      _ target: ResizeTarget, filter: ResampleFilter = .bilinear, antialias: Bool = true
    ) {
      self.target = target
      self.filter = filter
      self.antialias = antialias
    }
  }

  /// A center crop; smaller images are padded with black.
  public struct CenterCrop: Hashable, Sendable {
    public var height: Int
    public var width: Int

    public init(height: Int, width: Int) {
      self.height = height
      self.width = width
    }
  }

  public enum Color: String, Hashable, Sendable, CaseIterable {
    case rgb = "RGB"
    case bgr = "BGR"
    /// Gray: the luma of ITU-R BT.601.
    case gray = "L"

    /// The number of values per pixel.
    public var channels: Int { self == .gray ? 1 : 3 }
  }

  /// The axis order of the input.
  public enum Layout: String, Hashable, Sendable, CaseIterable {
    case nchw = "NCHW"
    case nhwc = "NHWC"

    /// The layout of an input with this shape (without the batch), by the position of an axis of extent 1 or
    /// 3; nil if it is not an image.
    public init?(inputShape shape: [Int]) {
      guard shape.count == 3 else { return nil }
      if shape[0] == 3 { self = .nchw; return }
      if shape[2] == 3 { self = .nhwc; return }
      if shape[0] == 1 { self = .nchw; return }
      if shape[2] == 1 { self = .nhwc; return }
      return nil
    }

    /// The axis of the channels, without the batch.
    var channelAxis: Int { self == .nchw ? 0 : 2 }

    /// The shape of one image's tensor.
    public func shape(channels: Int, height: Int, width: Int) -> [Int] {
      self == .nchw ? [channels, height, width] : [height, width, channels]
    }
  }

  /// nil for no resizing.
  public var resize: Resize?
  /// nil for no cropping.
  public var crop: CenterCrop?
  public var layout: Layout
  /// The meaning of the input's values.
  public var input: PixelValues
  /// The meaning of the output's values if the output is an image; nil if it is none. Its layout follows from the
  /// axes of the output.
  public var output: PixelValues?

  /// The colors of the input.
  public var color: Color { input.color }

  /// - Throws: ``GraftError`` of kind `invalidArgument` that names the invalid field.
  public init(
    resize: Resize?, crop: CenterCrop?, color: Color, layout: Layout, scale: Double,
    mean: [Double], std: [Double], output: PixelValues? = nil
  ) throws {
    self.resize = resize
    self.crop = crop
    self.layout = layout
    input = PixelValues(color: color, scale: scale, mean: mean, std: std)
    self.output = output
    try validate()
  }

  /// The maximum edge length of resizing and cropping.
  static let longestEdge = 65_535

  private func validate() throws {
    switch resize?.target {
    case .shorter(let edge): try Self.check(edges: [edge], of: "resize.shorter")
    case .exact(let height, let width): try Self.check(edges: [height, width], of: "resize.exact")
    case nil: break
    }
    if let crop { try Self.check(edges: [crop.height, crop.width], of: "crop.center") }
    try input.validate()
    try output?.validate("output.")
    // Pixels are computed from the values of an output.
    if let scale = output?.scale, abs(scale) < 1e-30 {
      throw Self.error("output.scale", "is \(scale), but must not be 0")
    }
  }

  private static func check(edges: [Int], of name: String) throws {
    for edge in edges where edge < 1 || edge > longestEdge {
      throw error(name, "is \(edge), expected 1 … \(longestEdge) pixels")
    }
    guard edges.count < 2 || edges[0] * edges[1] <= Image.pixelLimit else {
      throw error(name, "is \(edges[0]) × \(edges[1]), more than \(Image.pixelLimit) pixels")
    }
  }

  static func error(_ key: String, _ problem: String, advice: String? = nil) -> GraftError {
    GraftError(
      .invalidArgument, "preprocessing: \(key.quotedForDisplay) \(problem)", advice: advice)
  }
}

extension Preprocessing {
  /// The specifications that have a name on the command line.
  public enum Preset: String, Hashable, Sendable, CaseIterable {
    /// torchvision's transform for its ImageNet classifiers.
    case imagenet
    /// The normalization of `imagenet` with resizing only.
    case cifar10
  }

  /// The preset for an input of this shape, with axes in the order of `layout`, without the batch. An input
  /// whose elements are integers gets pixels from 0 to 255, which such a network normalizes itself.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the preset does not support the shape.
  public init(
    _ preset: Preset, inputShape shape: [Int], layout: Layout, elements: DataType = .float32
  ) throws {
    guard shape.count == 3, shape.allSatisfy({ $0 > 0 }) else {
      throw GraftError(
        .invalidArgument,
        "preprocessing: an input of shape \(shape) is not an image, which has 3 axes in addition to the batch"
      )
    }
    let (channels, height, width) =
      layout == .nchw ? (shape[0], shape[1], shape[2]) : (shape[2], shape[0], shape[1])
    func needs(_ condition: Bool, _ what: String) throws {
      guard condition else {
        throw GraftError(
          .invalidArgument,
          "preprocessing: the preset \(preset.rawValue) is for \(what); "
            + "this input is \(height) × \(width) with \(channels) channels (\(layout.rawValue))",
          advice: "Describe the preprocessing in a JSON file.")
      }
    }
    let isWhole = !elements.isFloatingPoint
    let mean = isWhole ? [0, 0, 0] : [0.485, 0.456, 0.406]
    let std = isWhole ? [1, 1, 1] : [0.229, 0.224, 0.225]
    let scale = isWhole ? 1 : 1.0 / 255
    switch preset {
    case .imagenet:
      try needs(channels == 3 && height == width, "square images with three channels")
      let shorter = Int((256 * Double(height) / 224).rounded())
      try self.init(
        resize: Resize(.shorter(shorter)), crop: CenterCrop(height: height, width: width),
        color: .rgb, layout: layout, scale: scale, mean: mean, std: std)
    case .cifar10:
      try needs(channels == 3, "images with three channels")
      try self.init(
        resize: Resize(.exact(height: height, width: width)), crop: nil, color: .rgb,
        layout: layout, scale: scale, mean: mean, std: std)
    }
  }

  /// Checks that an input of this element type can represent the result of every pixel value: integers in
  /// range for integer types.
  /// - Throws: ``GraftError`` of kind `invalidArgument` that names the first pixel value with an invalid
  ///   result.
  public func check(elements: DataType) throws {
    guard let range = elements.wholeNumbers else { return }
    for channel in input.mean.indices {
      for pixel in 0..<256 {
        let number = Float(input.value(of: pixel, channel: channel))
        if let whole = Int(exactly: number), range.contains(whole) { continue }
        throw GraftError(
          .invalidArgument,
          "preprocessing maps the pixel value \(pixel) to \(number), but the network's input needs integers "
            + "from \(range.lowerBound) to \(range.upperBound) (\(elements.rawValue))",
          advice:
            "Use \"scale\": 1, \"mean\": 0 and \"std\": 1 for each channel if the network itself "
            + "normalizes pixels.")
      }
    }
  }

  /// The height and width of the input, if they do not depend on the image.
  public var fixedSize: (height: Int, width: Int)? {
    if let crop { return (crop.height, crop.width) }
    if case .exact(let height, let width) = resize?.target { return (height, width) }
    return nil
  }

  /// Whether the result has this input shape: ``check(inputShape:)``.
  public func gives(_ shape: [Int]) -> Bool { (try? check(inputShape: shape)) != nil }

  /// Checks that the result has this input shape (axes in the model's order, without the batch).
  /// - Throws: ``GraftError`` of kind `invalidArgument` with both shapes.
  public func check(inputShape shape: [Int]) throws {
    let ours =
      fixedSize.map { layout.shape(channels: color.channels, height: $0.height, width: $0.width) }
    let fits =
      shape.count == 3 && shape[layout.channelAxis] == color.channels
      && (ours == nil || ours == shape)
    guard fits else {
      let made = ours.map { "\($0)" } ?? "\(color.channels) channels"
      throw GraftError(
        .invalidArgument,
        "preprocessing turns an image into \(made) (\(layout.rawValue), \(color.rawValue)), "
          + "but the network's input is \(shape) without its batch",
        advice: "Change layout, color, crop or resize accordingly.")
    }
  }

  /// Checks that one of a network's outputs is the image that ``output`` describes, if there is one.
  /// - Parameter shapes: the shapes of the outputs without the batch; nil for those that are not fixed.
  /// - Throws: ``GraftError`` of kind `invalidArgument` with the shapes.
  public func check(outputShapes shapes: [[Int]?]) throws {
    guard let output else { return }
    guard !shapes.contains(where: { $0.flatMap { PictureOutput(self, shape: $0) } != nil }) else {
      return
    }
    let channels = output.color.channels
    let found = shapes.map { $0.map { "\($0)" } ?? "of no fixed shape" }.joined(separator: ", ")
    throw GraftError(
      .invalidArgument,
      "preprocessing describes an output that is an image with \(channels) "
        + "\(channels == 1 ? "channel" : "channels") (\(output.color.rawValue)), but the network's "
        + "\(shapes.count == 1 ? "output is" : "outputs are") \(found) without the batch",
      advice: "Change output.color, or leave output out if the network does not give images.")
  }
}
