// How an image becomes the numbers that a network is fed: the specification, which travels inside a
// bundle, its checks and its presets. Reading and writing it as JSON is in Preprocessing+JSON.swift,
// doing what it says in Preprocessor.swift.

import GraftDiagnostics
import GraftIR

/// What happens to an image on its way into a network: resize, crop, color, then every value x
/// becomes (x · scale − mean) / std.
public struct Preprocessing: Hashable, Sendable {
  /// The size that an image is brought to before it is cropped.
  public enum ResizeTarget: Hashable, Sendable {
    /// The shorter edge gets this length, the other keeps the proportion, cut to whole pixels.
    case shorter(Int)
    /// Both edges get these lengths, whatever becomes of the proportion.
    case exact(height: Int, width: Int)
  }

  public struct Resize: Hashable, Sendable {
    public var target: ResizeTarget
    public var filter: ResampleFilter
    /// Whether the filter widens when the image shrinks, as Pillow's does.
    public var antialias: Bool

    public init(
      _ target: ResizeTarget, filter: ResampleFilter = .bilinear, antialias: Bool = true
    ) {
      self.target = target
      self.filter = filter
      self.antialias = antialias
    }
  }

  /// The middle part that is kept. What it has and the image lacks is black.
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

    /// Values a pixel.
    public var channels: Int { self == .gray ? 1 : 3 }
  }

  /// The axis order of the tensor that is fed.
  public enum Layout: String, Hashable, Sendable, CaseIterable {
    case nchw = "NCHW"
    case nhwc = "NHWC"

    /// The layout of an input with this shape (without the batch), judged by where 1 or 3 channels
    /// may stand; nil if it takes no images.
    public init?(inputShape shape: [Int]) {
      guard shape.count == 3 else { return nil }
      if shape[0] == 3 { self = .nchw; return }
      if shape[2] == 3 { self = .nhwc; return }
      if shape[0] == 1 { self = .nchw; return }
      if shape[2] == 1 { self = .nhwc; return }
      return nil
    }

    /// The shape of one image's tensor.
    public func shape(channels: Int, height: Int, width: Int) -> [Int] {
      self == .nchw ? [channels, height, width] : [height, width, channels]
    }
  }

  /// nil leaves the image's size.
  public var resize: Resize?
  /// nil keeps all of it.
  public var crop: CenterCrop?
  public var color: Color
  public var layout: Layout
  /// What a stored value of 0 … 255 is multiplied with first.
  public var scale: Double
  /// One value a channel, in the order of ``color``.
  public var mean: [Double]
  /// One value a channel, in the order of ``color``; none is zero.
  public var std: [Double]

  /// - Throws: ``GraftError`` of kind `invalidArgument` naming the field that makes no sense.
  public init(
    resize: Resize?, crop: CenterCrop?, color: Color, layout: Layout, scale: Double,
    mean: [Double], std: [Double]
  ) throws {
    self.resize = resize
    self.crop = crop
    self.color = color
    self.layout = layout
    self.scale = scale
    self.mean = mean
    self.std = std
    try validate()
  }

  /// The longest edge that resizing and cropping can ask for.
  static let longestEdge = 65_535

  private func validate() throws {
    switch resize?.target {
    case .shorter(let edge): try Self.check(edges: [edge], of: "resize.shorter")
    case .exact(let height, let width): try Self.check(edges: [height, width], of: "resize.exact")
    case nil: break
    }
    if let crop { try Self.check(edges: [crop.height, crop.width], of: "crop.center") }
    for (name, values) in [("mean", mean), ("std", std)] where values.count != color.channels {
      throw Self.error(
        name, "has \(values.count) values; color \(color.rawValue) needs \(color.channels)")
    }
    for (name, values) in [("scale", [scale]), ("mean", mean), ("std", std)] {
      if let value = values.first(where: { !$0.isFinite || abs($0) > 1e30 }) {
        throw Self.error(name, "is \(value), which is out of range")
      }
    }
    if let value = std.first(where: { $0 < 1e-30 }) {
      throw Self.error("std", "is \(value), but must be positive")
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
    /// The same numbers for images that are only resized.
    case cifar10
  }

  /// The preset for an input of this shape, axes in the order of `layout`, without the batch. An input of an
  /// integer type is fed the pixels, 0 … 255, as they are: such a network normalizes them itself.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the preset does not suit the shape.
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

  /// Checks that an input of this element type holds what this makes of every pixel value: integer types take
  /// whole numbers in their range.
  /// - Throws: ``GraftError`` of kind `invalidArgument` naming the first pixel value whose number is none of
  ///   the type.
  public func check(elements: DataType) throws {
    guard let range = elements.wholeNumbers else { return }
    for (mean, std) in zip(mean, std) {
      for pixel in 0..<256 {
        let number = Float((Double(pixel) * scale - mean) / std)
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

  /// The height and width of what is fed, where they do not depend on the image.
  public var fixedSize: (height: Int, width: Int)? {
    if let crop { return (crop.height, crop.width) }
    if case .exact(let height, let width) = resize?.target { return (height, width) }
    return nil
  }

  /// Checks that what this makes of an image can be fed to an input of this shape (axes in the
  /// model's order, without the batch).
  /// - Throws: ``GraftError`` of kind `invalidArgument` with both shapes.
  public func check(inputShape shape: [Int]) throws {
    let ours =
      fixedSize.map { layout.shape(channels: color.channels, height: $0.height, width: $0.width) }
    let channelAxis = layout == .nchw ? 0 : 2
    let fits =
      shape.count == 3 && shape[channelAxis] == color.channels && (ours == nil || ours == shape)
    guard fits else {
      let made = ours.map { "\($0)" } ?? "\(color.channels) channels"
      throw GraftError(
        .invalidArgument,
        "preprocessing turns an image into \(made) (\(layout.rawValue), \(color.rawValue)), "
          + "but the network's input is \(shape) without its batch",
        advice: "Change layout, color, crop or resize accordingly.")
    }
  }
}
