// Executes a Preprocessing. Sizes, rounding and padding equal those of torchvision.transforms.Resize and
// CenterCrop, with which networks are trained.

import GraftDiagnostics

/// An executable ``Preprocessing`` with lookup tables for all pixel values.
public struct Preprocessor: Sendable {
  public let specification: Preprocessing
  /// The results for pixel values 0 … 255, for each channel in the order of the input.
  public let coding: ByteCoding

  public init(_ specification: Preprocessing) {
    self.specification = specification
    // Computed in double precision and rounded once, for correct rounding.
    coding = ByteCoding(
      zip(specification.mean, specification.std).flatMap { mean, std in
        (0..<256).map { Float((Double($0) * specification.scale - mean) / std) }
      }, channels: specification.color.channels, isPlanar: specification.layout == .nchw)
  }

  /// The preprocessed pixels as an image: resized, cropped, in gray or RGB (only ``write(_:into:)`` converts
  /// to BGR).
  /// - Throws: ``GraftError`` of kind `invalidData` if the resized image would be too large.
  public func pixels(of image: Image) throws -> Image {
    // Gray images are expanded to three channels last, because all three are equal.
    var image = specification.color == .gray ? image.convertedToGray() : image
    let frame = frame(width: image.width, height: image.height)
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
    return specification.color == .gray ? image : image.expandedToRGB()
  }

  /// A region of a decoded image instead of resize and crop: resized to `size` with the specification's
  /// filter, which does not read pixels outside the region.
  func pixels(
    of image: Image, part: PixelRectangle, size: (height: Int, width: Int)
  ) throws -> Image {
    let isGray = specification.color == .gray
    let filter = specification.resize ?? Preprocessing.Resize(.shorter(1))
    let part = try image.cropped(x: part.x, y: part.y, width: part.width, height: part.height)
    let resized = try (isGray ? part.convertedToGray() : part).resized(
      width: size.width, height: size.height, filter: filter.filter, antialias: filter.antialias)
    return isGray ? resized : resized.expandedToRGB()
  }

  /// Writes the normalized values of an image from ``pixels(of:)``: channels × height × width values, in the
  /// order of the specification's layout.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if channels or counts do not fit.
  public func write(_ pixels: Image, into target: UnsafeMutableBufferPointer<Float>) throws {
    let channels = specification.color.channels
    guard pixels.channels == channels, target.count == pixels.pixels.count else {
      throw GraftError(
        .invalidArgument,
        "\(pixels.height) × \(pixels.width) × \(pixels.channels) pixels do not fill a tensor of "
          + "\(target.count) values in \(channels) channels")
    }
    let reversed = specification.color == .bgr
    let planar = specification.layout == .nchw
    let count = pixels.width * pixels.height
    pixels.pixels.withUnsafeBufferPointer { source in
      coding.values.withUnsafeBufferPointer { tables in
        for channel in 0..<channels {
          let stored = reversed ? channels - 1 - channel : channel
          let table = channel * 256
          var write = planar ? channel * count : channel
          let step = planar ? 1 : channels
          var read = stored
          for _ in 0..<count {
            target[write] = tables[table + Int(source[read])]
            write += step
            read += channels
          }
        }
      }
    }
  }

  /// The tensor of one image: its shape (without the batch) and its values in that order.
  public func tensor(of image: Image) throws -> (shape: [Int], values: [Float]) {
    let pixels = try pixels(of: image)
    let shape = specification.layout.shape(
      channels: pixels.channels, height: pixels.height, width: pixels.width)
    var values = [Float](repeating: 0, count: pixels.pixels.count)
    try values.withUnsafeMutableBufferPointer { try write(pixels, into: $0) }
    return (shape, values)
  }

  /// The same region of an image's map of classes as ``pixels(of:)`` takes of the image; every pixel takes
  /// the nearest class.
  public func map(of map: LabelMap) throws -> LabelMap {
    let frame = frame(width: map.width, height: map.height)
    let resized = try map.resized(width: frame.width, height: frame.height)
    return try resized.cropped(
      x: frame.crop.x, y: frame.crop.y, width: frame.crop.width, height: frame.crop.height)
  }

  /// A map of the network's classes for the preprocessed image, for the image itself: the inverse of
  /// ``map(of:)``. Pixels outside the crop are ``LabelMap/ignored``.
  /// - Parameter image: the size of the image.
  public func restored(_ map: LabelMap, to image: (height: Int, width: Int)) throws -> LabelMap {
    let frame = frame(width: image.width, height: image.height)
    let whole = try map.resized(width: frame.crop.width, height: frame.crop.height).cropped(
      x: -frame.crop.x, y: -frame.crop.y, width: frame.width, height: frame.height)
    return try whole.resized(width: image.width, height: image.height)
  }

  /// The size of a resized image, and the region of it that is the input.
  private struct Frame {
    var height: Int
    var width: Int
    var crop: PixelRectangle
  }

  private func frame(width: Int, height: Int) -> Frame {
    let (newHeight, newWidth) = resizedSize(width: width, height: height)
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
