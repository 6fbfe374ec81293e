// Rotation by EXIF orientation, flips, cropping with padding, and conversion between gray and color.

import GraftDiagnostics

extension Image {
  /// The upright image, given the EXIF orientation (1 … 8) of its stored pixels.
  func turned(byEXIFOrientation orientation: Int) -> Image {
    // The source position of the upper left pixel of the result, and the source strides (in pixels) of the
    // result's rows and columns.
    let last = width * height - 1
    let (start, stepX, stepY, swapped): (Int, Int, Int, Bool)
    switch orientation {
    case 2: (start, stepX, stepY, swapped) = (width - 1, -1, width, false)
    case 3: (start, stepX, stepY, swapped) = (last, -1, -width, false)
    case 4: (start, stepX, stepY, swapped) = (last - width + 1, 1, -width, false)
    case 5: (start, stepX, stepY, swapped) = (0, width, 1, true)
    case 6: (start, stepX, stepY, swapped) = (last - width + 1, -width, 1, true)
    case 7: (start, stepX, stepY, swapped) = (last, -width, -1, true)
    case 8: (start, stepX, stepY, swapped) = (width - 1, width, -1, true)
    default: return self
    }
    let newWidth = swapped ? height : width
    let newHeight = swapped ? width : height
    let channels = channels
    let turned = [UInt8](unsafeUninitializedCapacity: pixels.count) { target, count in
      pixels.withUnsafeBufferPointer { source in
        var write = 0
        for y in 0..<newHeight {
          var read = start + y * stepY
          for _ in 0..<newWidth {
            for channel in 0..<channels {
              target[write + channel] = source[read * channels + channel]
            }
            write += channels
            read += stepX
          }
        }
      }
      count = pixels.count
    }
    return Image(unchecked: turned, width: newWidth, height: newHeight, channels: channels)
  }

  /// The horizontally flipped image.
  public func mirrored() -> Image { turned(byEXIFOrientation: 2) }

  /// The region of `width` × `height` pixels with its upper left corner at (`x`, `y`), with the value
  /// `padding` (black) outside the image.
  /// - Throws: ``GraftError`` if the size is not positive or exceeds ``pixelLimit``.
  public func cropped(
    x: Int, y: Int, width newWidth: Int, height newHeight: Int, padding: UInt8 = 0
  ) throws -> Image {
    let count = try Self.checkedCount(width: newWidth, height: newHeight, channels: channels)
    var result = [UInt8](repeating: padding, count: count)
    // Columns and rows of the result that the image covers; possibly empty.
    let columns = Self.overlap(of: newWidth, at: x, with: width)
    let rows = Self.overlap(of: newHeight, at: y, with: height)
    if !columns.isEmpty {
      let length = columns.count * channels
      pixels.withUnsafeBufferPointer { source in
        result.withUnsafeMutableBufferPointer { target in
          for row in rows {
            let read = ((row + y) * width + columns.lowerBound + x) * channels
            let write = (row * newWidth + columns.lowerBound) * channels
            for offset in 0..<length { target[write + offset] = source[read + offset] }
          }
        }
      }
    }
    return Image(unchecked: result, width: newWidth, height: newHeight, channels: channels)
  }

  private static func overlap(of size: Int, at start: Int, with whole: Int) -> Range<Int> {
    let clampedStart = min(max(start, -size), whole)
    let lower = max(0, -clampedStart)
    return lower..<max(lower, min(size, whole - clampedStart))
  }

  /// A gray image expanded to three equal channels; otherwise the image itself.
  public func expandedToRGB() -> Image {
    guard channels == 1 else { return self }
    let count = pixels.count
    let expanded = [UInt8](unsafeUninitializedCapacity: count * 3) { target, filled in
      pixels.withUnsafeBufferPointer { source in
        for index in 0..<count {
          let value = source[index]
          target[index * 3] = value
          target[index * 3 + 1] = value
          target[index * 3 + 2] = value
        }
      }
      filled = count * 3
    }
    return Image(unchecked: expanded, width: width, height: height, channels: 3)
  }

  /// The luma by ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, with Pillow's rounding.
  public func convertedToGray() -> Image {
    guard channels == 3 else { return self }
    let count = pixels.count / 3
    let gray = [UInt8](unsafeUninitializedCapacity: count) { target, filled in
      pixels.withUnsafeBufferPointer { source in
        for index in 0..<count {
          let red = UInt32(source[index * 3])
          let green = UInt32(source[index * 3 + 1])
          let blue = UInt32(source[index * 3 + 2])
          let luma = red &* 19595 &+ green &* 38470 &+ blue &* 7471 &+ 0x8000
          target[index] = UInt8(truncatingIfNeeded: luma >> 16)
        }
      }
      filled = count
    }
    return Image(unchecked: gray, width: width, height: height, channels: 1)
  }
}
