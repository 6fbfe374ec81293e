// Executes a Preprocessing. Sizes, rounding and padding equal those of torchvision.transforms.Resize and
// CenterCrop, with which networks are trained.

import GraftDiagnostics

/// An executable ``Preprocessing``.
public struct Preprocessor: Sendable {
  public let specification: Preprocessing
  /// Converts preprocessed pixels to the input's values.
  public let coder: PixelCoder

  public init(_ specification: Preprocessing) {
    self.specification = specification
    coder = PixelCoder(specification.input, layout: specification.layout)
  }

  /// The preprocessed pixels as an image: resized, cropped, in gray or RGB (only ``coder`` converts to BGR).
  /// - Throws: ``GraftError`` of kind `invalidData` if the resized image would be too large.
  public func pixels(of image: Image) throws -> Image {
    try fitted(image, to: frame(of: image.size), specification.color)
  }

  /// An image resized and cropped, in gray or RGB.
  private func fitted(
    _ image: Image, to frame: Frame, _ color: Preprocessing.Color
  ) throws -> Image {
    // Gray images are expanded to three channels last, because all three are equal.
    var image = color == .gray ? image.convertedToGray() : image
    let crop = frame.crop
    if let resize = specification.resize {
      // Compute only the region of the crop.
      let rows = max(0, crop.y)..<min(frame.height, crop.y + crop.height)
      let columns = max(0, crop.x)..<min(frame.width, crop.x + crop.width)
      image = try image.resized(
        width: frame.width, height: frame.height, filter: resize.filter,
        antialias: resize.antialias, window: (columns, rows))
      if image.height != crop.height || image.width != crop.width {
        image = try image.cropped(
          x: min(0, crop.x), y: min(0, crop.y), width: crop.width, height: crop.height)
      }
    } else if specification.crop != nil {
      image = try image.cropped(x: crop.x, y: crop.y, width: crop.width, height: crop.height)
    }
    return color == .gray ? image : image.expandedToRGB()
  }

  /// The pixels that the network should give for an image, in gray or RGB: `picture` goes through the same resize
  /// and crop as the image, scaled by the ratio of the output's size to the input's, so that it covers the same
  /// region. One of the output's size is taken as it is where it is not in proportion to the image.
  /// - Parameter image: the size of the image.
  /// - Throws: ``GraftError`` of kind `invalidData` if the sizes do not fit each other.
  public func target(_ picture: Image, for image: PixelSize, as output: PictureOutput) throws
    -> Image
  {
    let color = output.coder.values.color
    let input = frame(of: image)
    if !isProportional(picture.size, to: image), picture.size == output.size {
      return color == .gray ? picture.convertedToGray() : picture.expandedToRGB()
    }
    try checkProportions(of: picture.size, to: image, output)
    let frame = try input.scaled(to: output.size)
    guard specification.resize != nil || frame.size == picture.size else {
      throw GraftError(
        .invalidData,
        "the target is \(picture.size), but must be \(frame.size) for an image of \(image) "
          + "and an output of \(output.size)",
        advice: "Use preprocessing with a resize, which fits targets to the output.")
    }
    return try fitted(picture, to: frame, color)
  }

  /// - Throws: ``GraftError`` of kind `invalidData` if a target must be in proportion to its image, and is not.
  func checkProportions(
    of target: PixelSize, to image: PixelSize, _ output: PictureOutput
  ) throws {
    guard !isProportional(target, to: image) else { return }
    throw GraftError(
      .invalidData,
      "the target is \(target), its image \(image): they differ in proportion, and the network's output is "
        + "\(output.size)",
      advice: "Crop one of them, or use preprocessing that resizes to an exact size.")
  }

  /// Whether a target is in proportion to its image, to within a pixel of the coarser one; always if both are resized
  /// to an exact size.
  private func isProportional(_ target: PixelSize, to image: PixelSize) -> Bool {
    if case .exact = specification.resize?.target { return true }
    // Edges are below 2²⁸.
    let difference = abs(target.width * image.height - target.height * image.width)
    return difference <= max(target.width, target.height, image.width, image.height)
  }

  /// The tensor of one image: its shape (without the batch) and its values in that order.
  public func tensor(of image: Image) throws -> (shape: [Int], values: [Float]) {
    let pixels = try pixels(of: image)
    let shape = specification.layout.shape(
      channels: pixels.channels, height: pixels.height, width: pixels.width)
    return (shape, try coder.values(of: pixels))
  }

  /// The same region of an image's map of classes as ``pixels(of:)`` takes of the image; every pixel takes
  /// the nearest class.
  public func map(of map: LabelMap) throws -> LabelMap {
    let frame = frame(of: PixelSize(height: map.height, width: map.width))
    let resized = try map.resized(width: frame.width, height: frame.height)
    return try resized.cropped(
      x: frame.crop.x, y: frame.crop.y, width: frame.crop.width, height: frame.crop.height)
  }

  /// A map of the network's classes for the preprocessed image, for the image itself: the inverse of
  /// ``map(of:)``. Pixels outside the crop are ``LabelMap/ignored``.
  /// - Parameter image: the size of the image.
  public func restored(_ map: LabelMap, to image: (height: Int, width: Int)) throws -> LabelMap {
    let frame = frame(of: PixelSize(height: image.height, width: image.width))
    let whole = try map.resized(width: frame.crop.width, height: frame.crop.height).cropped(
      x: -frame.crop.x, y: -frame.crop.y, width: frame.width, height: frame.height)
    return try whole.resized(width: image.width, height: image.height)
  }

  /// The size of a resized image, and the region of it that is the input.
  private struct Frame {
    var height: Int
    var width: Int
    var crop: PixelRectangle

    var size: PixelSize { PixelSize(height: height, width: width) }

    /// The same region in another resolution, in which it has this size, rounded to whole pixels.
    /// - Throws: ``GraftError`` of kind `invalidData` if the resized image would be too large.
    func scaled(to size: PixelSize) throws -> Frame {
      let vertical = Double(size.height) / Double(crop.height)
      let horizontal = Double(size.width) / Double(crop.width)
      let lengths = [
        Double(height) * vertical, Double(width) * horizontal, Double(crop.y) * vertical,
        Double(crop.x) * horizontal,
      ]
      guard lengths.allSatisfy({ abs($0) < 1e12 }) else {
        throw GraftError(
          .invalidData, "an image of \(self.size) cannot be scaled by \(vertical) × \(horizontal)")
      }
      let whole = lengths.map { Int($0.rounded()) }
      return Frame(
        height: max(1, whole[0]), width: max(1, whole[1]),
        crop: PixelRectangle(x: whole[3], y: whole[2], width: size.width, height: size.height))
    }
  }

  private func frame(of image: PixelSize) -> Frame {
    let (newHeight, newWidth) = resizedSize(width: image.width, height: image.height)
    let cropHeight = specification.crop?.height ?? newHeight
    let cropWidth = specification.crop?.width ?? newWidth
    return Frame(
      height: newHeight, width: newWidth,
      crop: PixelRectangle(
        x: Self.start(of: cropWidth, in: newWidth), y: Self.start(of: cropHeight, in: newHeight),
        width: cropWidth, height: cropHeight))
  }

  private func resizedSize(width: Int, height: Int) -> (height: Int, width: Int) {
    switch specification.resize?.target {
    case nil: return (height, width)
    case .exact(let newHeight, let newWidth): return (newHeight, newWidth)
    case .shorter(let edge):
      // An image's edges are below 2²⁸ and `edge` below 2¹⁶.
      return width <= height ? (edge * height / width, edge) : (edge, edge * width / height)
    }
  }

  /// The start of a center crop; negative if it extends beyond the edge. torchvision rounds half a pixel to
  /// even, and pads the smaller half first.
  private static func start(of crop: Int, in whole: Int) -> Int {
    let excess = whole - crop
    guard excess >= 0 else { return -(-excess / 2) }
    let half = excess / 2
    return excess % 2 == 1 && half % 2 == 1 ? half + 1 : half
  }
}
