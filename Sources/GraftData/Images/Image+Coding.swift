// Decoding and encoding of images with CImageCodecs. Checks size limits before any allocation that a header
// could request, and does the color conversions that the decoder does not.

import CImageCodecs
import GraftDiagnostics

extension Image {
  /// The maximum size of a JPEG or PNG file in bytes.
  public static let fileSizeLimit = 1 << 30

  /// Reads and decodes a JPEG or PNG file.
  /// - Throws: ``GraftError`` that names the file: `inputOutput` if it cannot be read, `invalidData` if it is
  ///   not an image.
  public init(contentsOf path: String) throws {
    let bytes = try InputFile(path).readAll(limit: Self.fileSizeLimit)
    self = try at(SourceLocation(file: path)) { try Image(decoding: bytes) }
  }

  /// Decodes a JPEG (gray, YCbCr, RGB, CMYK, YCCK; baseline or progressive) or a PNG (every color type and
  /// depth, interlaced or not), and applies its EXIF orientation, or else that of its XMP packet. The pixels
  /// equal those of Pillow's `convert("RGB")`, or `"L"` for gray images: palettes are expanded, CMYK is
  /// inverted, alpha is dropped, 16 bits are truncated to the high byte. (For 16-bit gray images Pillow clips
  /// at 255 instead, which makes nearly all of them white.)
  ///
  /// - Throws: ``GraftError`` of kind `invalidData` for anything else: not an image, damaged,
  ///   truncated, or larger than ``pixelLimit``.
  public init(decoding bytes: [UInt8]) throws {
    self = try bytes.withUnsafeBufferPointer { try Image(decoding: $0) }
  }

  /// ``init(decoding:)-([UInt8])`` for bytes in a buffer.
  public init(decoding bytes: UnsafeBufferPointer<UInt8>) throws {
    self = try Self.decode(bytes, CImageCodecs_pixels)
  }

  /// The numbers of a PNG with a palette or in gray of at most 8 bits, one channel.
  /// - Throws: ``GraftError``: `unsupported` for another kind of image, `invalidData` as
  ///   ``init(decoding:)-([UInt8])``.
  static func indices(decoding bytes: [UInt8]) throws -> Image {
    try bytes.withUnsafeBufferPointer { try decode($0, CImageCodecs_indices) }
  }

  private static func decode(
    _ bytes: UnsafeBufferPointer<UInt8>, _ content: CImageCodecs_Content
  ) throws -> Image {
    guard let start = bytes.baseAddress, !bytes.isEmpty else {
      throw GraftError(.invalidData, "not an image: the file is empty")
    }
    var message = MessageBuffer()
    var reader: OpaquePointer?
    var header = CImageCodecs_Header()
    let opened = message.withPointer {
      CImageCodecs_open(start, bytes.count, content, &reader, &header, $0, MessageBuffer.capacity)
    }
    guard opened == CImageCodecs_ok, let reader else { throw Self.error(opened, message.text) }
    defer { CImageCodecs_close(reader) }

    let width = Int(header.width), height = Int(header.height), stored = Int(header.channels)
    let channels = stored == 1 ? 1 : 3
    let pixelCount =
      try Self.checkedCount(width: width, height: height, channels: channels)
      / channels

    var orientation: UInt32 = 1
    var status = CImageCodecs_ok
    var pixels = [UInt8](unsafeUninitializedCapacity: pixelCount * stored) { buffer, count in
      // Rows that a damaged file does not fill must not expose uninitialized memory.
      buffer.initialize(repeating: 0)
      count = buffer.count
      status = message.withPointer {
        CImageCodecs_read(
          reader, buffer.baseAddress, count, &orientation, $0, MessageBuffer.capacity)
      }
    }
    guard status == CImageCodecs_ok else { throw Self.error(status, message.text) }
    if header.color == CImageCodecs_cmyk { pixels = Self.rgb(fromInvertedCMYK: pixels) }
    return Image(unchecked: pixels, width: width, height: height, channels: channels)
      .turned(byEXIFOrientation: Int(orientation))
  }

  /// Bytes needed for reading and decoding a file: the file, its pixels, and a copy of them if they must be
  /// rotated. Reads only the header.
  /// - Returns: nil if the file is not a readable image.
  public static func decodingByteCount(of path: String) -> Int? {
    guard let file = try? InputFile(path), file.size <= fileSizeLimit else { return nil }
    // Large headers contain thumbnails and color profiles.
    for length in [1 << 16, file.size] {
      guard let start = try? file.read(count: min(length, file.size), at: 0) else { return nil }
      if let pixels = storedByteCount(start) {
        let names = ["Exif", "http://ns.adobe.com/xap"].map { Array($0.utf8) }
        let isTurned = names.contains { start.firstRange(of: $0) != nil }
        return file.size + pixels * (isTurned ? 2 : 1)
      }
      if length >= file.size { break }
    }
    return nil
  }

  /// Bytes of the pixels of an image with this start; nil if the header is incomplete.
  private static func storedByteCount(_ start: [UInt8]) -> Int? {
    var message = MessageBuffer()
    var reader: OpaquePointer?
    var header = CImageCodecs_Header()
    return start.withUnsafeBufferPointer { bytes -> Int? in
      guard let address = bytes.baseAddress else { return nil }
      let opened = message.withPointer {
        CImageCodecs_open(
          address, bytes.count, CImageCodecs_pixels, &reader, &header, $0, MessageBuffer.capacity)
      }
      guard opened == CImageCodecs_ok, let reader else { return nil }
      CImageCodecs_close(reader)
      let stored = Int(header.channels)
      let channels = stored == 1 ? 1 : 3
      let count = try? checkedCount(
        width: Int(header.width), height: Int(header.height), channels: channels)
      return count.map { $0 / channels * stored }
    }
  }

  /// The image as a PNG file.
  /// - Parameter palette: for an image of one channel whose values are indices, the red, green and blue of
  ///   256 colors.
  public func encodedPNG(palette: [UInt8]? = nil) throws -> [UInt8] {
    guard palette == nil || palette?.count == 768 && channels == 1 else {
      throw GraftError(.invalidArgument, "a palette of 256 colors is for images of one channel")
    }
    var message = MessageBuffer()
    var file: UnsafeMutablePointer<UInt8>?
    var length = 0
    let status = message.withPointer { text in
      CImageCodecs_encodePNG(
        pixels, pixels.count, UInt32(width), UInt32(height), UInt32(channels), palette, &file,
        &length,
        text, MessageBuffer.capacity)
    }
    defer { CImageCodecs_free(file) }
    guard status == CImageCodecs_ok, let file else { throw Self.error(status, message.text) }
    return Array(UnsafeBufferPointer(start: file, count: length))
  }

  private static func error(_ status: CImageCodecs_Status, _ text: String) -> GraftError {
    let shown = text.escapedForDisplay
    switch status {
    case CImageCodecs_notAnImage: return GraftError(.invalidData, "not an image: \(shown)")
    case CImageCodecs_truncated:
      return GraftError(.invalidData, "the image is truncated: \(shown)")
    case CImageCodecs_damaged: return GraftError(.invalidData, "the image is damaged: \(shown)")
    case CImageCodecs_unsupported: return GraftError(.unsupported, "the image is \(shown)")
    case CImageCodecs_outOfMemory:
      return GraftError(.machine, "not enough memory for the image's pixels")
    default: return GraftError(.inconsistency, "unexpected error of the image codec: \(shown)")
    }
  }

  /// CMYK as JPEG files store it, inverted, to RGB: (255 − C) · (255 − K) / 255 with Pillow's
  /// rounding.
  static func rgb(fromInvertedCMYK stored: [UInt8]) -> [UInt8] {
    let count = stored.count / 4
    return [UInt8](unsafeUninitializedCapacity: count * 3) { target, filled in
      stored.withUnsafeBufferPointer { source in
        for pixel in 0..<count {
          let white = Int(source[pixel * 4 + 3])
          for channel in 0..<3 {
            let product = (255 - Int(source[pixel * 4 + channel])) * white + 128
            let ink = (product + (product >> 8)) >> 8
            target[pixel * 3 + channel] = UInt8(clamping: white - ink)
          }
        }
      }
      filled = count * 3
    }
  }
}

/// A buffer for the message of a C function.
private struct MessageBuffer {
  static let capacity = 256
  private var bytes = [CChar](repeating: 0, count: capacity)

  mutating func withPointer<Result>(_ body: (UnsafeMutablePointer<CChar>?) -> Result) -> Result {
    bytes.withUnsafeMutableBufferPointer { body($0.baseAddress) }
  }

  var text: String {
    String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
