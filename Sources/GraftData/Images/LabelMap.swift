// The class of every pixel of an image, as segmentation networks predict it and PNG masks store it.

import GraftDiagnostics

/// A class index for every pixel, rows from the top; ``ignored`` for pixels that have none.
public struct LabelMap: Hashable, Sendable {
  /// The index of pixels that neither training nor evaluation counts, as in PASCAL VOC.
  public static let ignored: UInt8 = 255
  /// The largest number of classes.
  public static let classLimit = 255

  private var image: Image

  public var width: Int { image.width }
  public var height: Int { image.height }
  /// height × width class indices.
  public var values: [UInt8] { image.pixels }

  /// - Throws: ``GraftError`` of kind `invalidData` if the sizes contradict the number of values.
  public init(width: Int, height: Int, values: [UInt8]) throws {
    image = try Image(width: width, height: height, channels: 1, pixels: values)
  }

  private init(_ image: Image) { self.image = image }

  /// Reads a PNG with a palette, or in gray of at most 8 bits, whose stored numbers are class indices.
  /// - Throws: ``GraftError`` that names the file: `inputOutput` if it cannot be read, `invalidData` if it is
  ///   damaged, `unsupported` if it is another kind of image.
  public init(contentsOf path: String) throws {
    let bytes = try InputFile(path).readAll(limit: Image.fileSizeLimit)
    image = try at(SourceLocation(file: path)) {
      do { return try Image.indices(decoding: bytes) } catch let error as GraftError
        where error.kind == .unsupported
      {
        throw GraftError(
          .unsupported, "the mask is not a map of class indices (\(error.message))",
          advice: "Save masks as PNG with a palette, or in gray with 8 bits, whose numbers are the "
            + "classes, and 255 where there is none.")
      }
    }
  }

  /// Scaled to another size; each pixel takes the nearest one: ⌊(i + ½) · old / new⌋, as Pillow's and
  /// torchvision's NEAREST.
  /// - Throws: ``GraftError`` of kind `invalidData` if the size is not positive or exceeds
  ///   ``Image/pixelLimit``.
  public func resized(width newWidth: Int, height newHeight: Int) throws -> LabelMap {
    guard newWidth != width || newHeight != height else { return self }
    let count = try Image.checkedCount(width: newWidth, height: newHeight, channels: 1)
    func sources(_ new: Int, _ old: Int) -> [Int] {
      (0..<new).map { min(old - 1, (2 * $0 + 1) * old / (2 * new)) }
    }
    let columns = sources(newWidth, width)
    let rows = sources(newHeight, height)
    let values = image.pixels
    let oldWidth = width
    let result = [UInt8](unsafeUninitializedCapacity: count) { target, filled in
      values.withUnsafeBufferPointer { source in
        for (y, row) in rows.enumerated() {
          for (x, column) in columns.enumerated() {
            target[y * newWidth + x] = source[row * oldWidth + column]
          }
        }
      }
      filled = count
    }
    return LabelMap(
      Image(unchecked: result, width: newWidth, height: newHeight, channels: 1))
  }

  /// A region with its upper left corner at (`x`, `y`), ``ignored`` outside the map.
  func cropped(x: Int, y: Int, width: Int, height: Int) throws -> LabelMap {
    LabelMap(
      try image.cropped(x: x, y: y, width: width, height: height, padding: Self.ignored))
  }

  func mirrored() -> LabelMap { LabelMap(image.mirrored()) }

  /// The map as a PNG with ``palette``.
  public func encodedPNG() throws -> [UInt8] { try image.encodedPNG(palette: Self.palette) }

  /// Red, green and blue of 256 indices: bits 0, 3 and 6 of an index are the high bits of red, bits 1, 4 and
  /// 7 those of green, 2 and 5 those of blue, so that near indices have unlike colors (PASCAL VOC's colors).
  public static let palette: [UInt8] = (0..<256).flatMap { index -> [UInt8] in
    var color: [UInt8] = [0, 0, 0]
    for bit in 0..<8 where index >> bit & 1 == 1 {
      color[bit % 3] |= 0x80 >> UInt8(bit / 3)
    }
    return color
  }

  /// `picture`, of the same size, with the classes' colors over it at half strength. Class 0, which is the
  /// background in most data sets, and pixels without a class stay as they are.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the sizes differ.
  public func overlay(on picture: Image) throws -> Image {
    guard picture.width == width, picture.height == height else {
      throw GraftError(
        .invalidArgument,
        "a map of \(width) × \(height) does not cover an image of \(picture.width) × \(picture.height)"
      )
    }
    var pixels = picture.expandedToRGB().pixels
    for (position, label) in image.pixels.enumerated() where label != 0 && label != Self.ignored {
      for channel in 0..<3 {
        let color = Int(Self.palette[Int(label) * 3 + channel])
        pixels[position * 3 + channel] = UInt8((Int(pixels[position * 3 + channel]) + color) / 2)
      }
    }
    return try Image(width: width, height: height, channels: 3, pixels: pixels)
  }
}

extension LabelMap: PixelGrid {
  var size: PixelSize { image.size }

  func resized(to size: PixelSize, by resize: Preprocessing.Resize) throws -> LabelMap {
    try resized(width: size.width, height: size.height)
  }

  func cropped(to part: PixelRectangle) throws -> LabelMap {
    try cropped(x: part.x, y: part.y, width: part.width, height: part.height)
  }
}
