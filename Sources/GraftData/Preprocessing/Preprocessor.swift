// Executes a Preprocessing. Sizes, rounding and padding equal those of torchvision.transforms.Resize and
// CenterCrop, with which networks are trained.

import GraftDiagnostics

/// An executable ``Preprocessing`` with lookup tables for all pixel values.
public struct Preprocessor: Sendable {
  public let specification: Preprocessing
  /// The results for pixel values 0 … 255, 256 per channel, in the channel order of the input.
  private let tables: [Float]

  public init(_ specification: Preprocessing) {
    self.specification = specification
    // Computed in double precision and rounded once, for correct rounding.
    tables = zip(specification.mean, specification.std).flatMap { mean, std in
      (0..<256).map { Float((Double($0) * specification.scale - mean) / std) }
    }
  }

  /// The preprocessed pixels as an image: resized, cropped, in gray or RGB (only ``write(_:into:)`` converts
  /// to BGR).
  /// - Throws: ``GraftError`` of kind `invalidData` if the resized image would be too large.
  public func pixels(of image: Image) throws -> Image {
    // Gray images are expanded to three channels last, because all three are equal.
    var image = specification.color == .gray ? image.convertedToGray() : image
    let size = resizedSize(of: image)
    let crop = specification.crop
    let cropHeight = crop?.height ?? size.height
    let cropWidth = crop?.width ?? size.width
    let top = Self.start(of: cropHeight, in: size.height)
    let left = Self.start(of: cropWidth, in: size.width)
    if let resize = specification.resize {
      // Compute only the region of the crop.
      let rows = max(0, top)..<min(size.height, top + cropHeight)
      let columns = max(0, left)..<min(size.width, left + cropWidth)
      image = try image.resized(
        width: size.width, height: size.height, filter: resize.filter,
        antialias: resize.antialias, window: (columns, rows))
      if image.height != cropHeight || image.width != cropWidth {
        image = try image.cropped(
          x: min(0, left), y: min(0, top), width: cropWidth, height: cropHeight)
      }
    } else if crop != nil {
      image = try image.cropped(x: left, y: top, width: cropWidth, height: cropHeight)
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
      tables.withUnsafeBufferPointer { tables in
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

  private func resizedSize(of image: Image) -> (height: Int, width: Int) {
    switch specification.resize?.target {
    case nil: return (image.height, image.width)
    case .exact(let height, let width): return (height, width)
    case .shorter(let edge):
      // An image's edges are below 2²⁸ and `edge` below 2¹⁶.
      return image.width <= image.height
        ? (edge * image.height / image.width, edge) : (edge, edge * image.width / image.height)
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
