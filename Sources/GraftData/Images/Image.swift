// A decoded image: 8-bit pixels, gray or RGB. Image+Coding.swift decodes files; Preprocessing converts images
// to inputs.

import GraftDiagnostics

/// Pixels of 8 bits, rows from the top, channels interleaved, no padding: height × width × channels.
public struct Image: Hashable, Sendable {
  public let width: Int
  public let height: Int
  /// 1 (gray) or 3 (red, green, blue).
  public let channels: Int
  /// height × width × channels values.
  public private(set) var pixels: [UInt8]

  /// The maximum number of pixels, the same as Pillow's limit against decompression bombs.
  public static let pixelLimit = 178_956_970

  /// - Throws: ``GraftError`` of kind `invalidData` if the sizes are not positive, contradict
  ///   `pixels.count` or exceed ``pixelLimit``, or `channels` is neither 1 nor 3.
  public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) throws {
    let count = try Self.checkedCount(width: width, height: height, channels: channels)
    guard pixels.count == count else {
      throw GraftError(
        .invalidData,
        "\(pixels.count) values for an image of \(width) × \(height) × \(channels)")
    }
    self.init(unchecked: pixels, width: width, height: height, channels: channels)
  }

  /// For callers in this module with `pixels` of the right size.
  init(unchecked pixels: [UInt8], width: Int, height: Int, channels: Int) {
    self.pixels = pixels
    self.width = width
    self.height = height
    self.channels = channels
  }

  /// The number of values of an image with these sizes, after checking them.
  static func checkedCount(width: Int, height: Int, channels: Int) throws -> Int {
    guard width > 0, height > 0, channels == 1 || channels == 3 else {
      throw GraftError(
        .invalidData, "an image cannot be \(width) × \(height) with \(channels) channels")
    }
    let (count, overflow) = width.multipliedReportingOverflow(by: height)
    guard !overflow, count <= pixelLimit else {
      throw GraftError(
        .invalidData,
        "an image of \(width) × \(height) pixels exceeds the limit of \(pixelLimit)")
    }
    return count * channels
  }

  /// The values of one pixel, or nil outside the image.
  public subscript(x x: Int, y y: Int) -> [UInt8]? {
    guard x >= 0, x < width, y >= 0, y < height else { return nil }
    let start = (y * width + x) * channels
    return Array(pixels[start..<start + channels])
  }
}

/// The size of an image in pixels.
public struct PixelSize: Hashable, Sendable {
  public var height: Int
  public var width: Int

  public init(height: Int, width: Int) {
    self.height = height
    self.width = width
  }
}

extension PixelSize: CustomStringConvertible {
  /// Width × height, as images are measured.
  public var description: String { "\(width) × \(height)" }
}

extension Image {
  public var size: PixelSize { PixelSize(height: height, width: width) }
}

/// Pixels that can follow an image through its random views: the image itself, or the map or image that the network
/// should give for it.
protocol PixelGrid {
  var size: PixelSize { get }
  /// - Parameter resize: the filter, for pixels between which values can be interpolated.
  func resized(to size: PixelSize, by resize: Preprocessing.Resize) throws -> Self
  /// The region with its upper left corner at (`x`, `y`), padded outside.
  func cropped(to part: PixelRectangle) throws -> Self
  /// The horizontally flipped pixels.
  func mirrored() -> Self
}

extension Image: PixelGrid {
  func resized(to size: PixelSize, by resize: Preprocessing.Resize) throws -> Image {
    try resized(
      width: size.width, height: size.height, filter: resize.filter, antialias: resize.antialias)
  }

  func cropped(to part: PixelRectangle) throws -> Image {
    try cropped(x: part.x, y: part.y, width: part.width, height: part.height)
  }
}
