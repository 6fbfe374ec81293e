// Brightness, contrast, saturation and hue as in torchvision.transforms.v2.functional for 8-bit images: the
// same float32 operations in the same order, truncated to integers.

import Glibc

extension Image {
  /// The image with every value multiplied by `factor`.
  func adjustingBrightness(by factor: Float) -> Image {
    mappingValues { Float($0) * factor }
  }

  /// The image interpolated with (or extrapolated from) its mean gray value, which is truncated to an
  /// integer.
  func adjustingContrast(by factor: Float) -> Image {
    // The sum is exact.
    let sum = luma().reduce(0.0) { $0 + Double($1) }
    let mean = Float(sum / Double(max(1, width * height)))
    let shift = mean * (1 - factor)
    return mappingValues { Float($0) * factor + shift }
  }

  /// Each pixel interpolated with (or extrapolated from) its gray value; gray images are unchanged.
  func adjustingSaturation(by factor: Float) -> Image {
    guard channels == 3 else { return self }
    let luma = luma()
    return mappingPixels { index, red, green, blue in
      let shift = luma[index] * (1 - factor)
      return (
        Float(red) * factor + shift, Float(green) * factor + shift, Float(blue) * factor + shift
      )
    }
  }

  /// The image with the hue shifted by the fraction `turn` of the circle, in Pillow's HSV model; gray images
  /// are unchanged.
  func turningHue(by turn: Float) -> Image {
    guard channels == 3 else { return self }
    let one: Float = 1 / 255
    return mappingPixels { _, red, green, blue in
      let (r, g, b) = (Float(red) * one, Float(green) * one, Float(blue) * one)
      let (least, most) = (min(r, g, b), max(r, g, b))
      let isGray = least == most
      let saturation = (most - least) / (isGray ? 1 : most)
      let range = isGray ? 1 : most - least
      let (rc, gc, bc) = ((most - r) / range, (most - g) / range, (most - b) / range)
      let sector = most == r ? bc - gc : most == g ? rc + 2 - bc : gc + 4 - rc
      var hue = fmodf(sector * (1 / 6) + 1, 1) + turn
      // The remainder has the sign of the divisor, as in PyTorch.
      hue = fmodf(hue, 1)
      if hue < 0 { hue += 1 }
      let h6 = hue * 6
      let whole = h6.rounded(.down)
      let part = saturation * (h6 - whole)
      func cut(_ value: Float) -> Float { min(max(value, 0), 1) }
      let v = most
      let p = cut((1 - saturation) * v)
      let q = cut((1 - part) * v)
      let t = cut((part + (1 - saturation)) * v)
      let turned: (Float, Float, Float)
      switch Int(whole) % 6 {
      case 0: turned = (v, t, p)
      case 1: turned = (q, v, p)
      case 2: turned = (p, v, t)
      case 3: turned = (p, q, v)
      case 4: turned = (t, p, v)
      default: turned = (v, p, q)
      }
      let most8: Float = 256 - 1e-3
      return (turned.0 * most8, turned.1 * most8, turned.2 * most8)
    }
  }

  /// The gray value of each pixel, an integer.
  private func luma() -> [Float] {
    guard channels == 3 else { return pixels.map { Float($0) } }
    return pixels.withUnsafeBufferPointer { source in
      (0..<width * height).map { pixel in
        let red = Float(source[3 * pixel]) * 0.2989
        let both = red + Float(source[3 * pixel + 1]) * 0.587
        return (both + Float(source[3 * pixel + 2]) * 0.114).rounded(.down)
      }
    }
  }

  /// The image with a function applied to each value, by a table.
  private func mappingValues(_ value: (UInt8) -> Float) -> Image {
    let table = (0...255).map { Self.cut(value(UInt8(truncatingIfNeeded: $0))) }
    return Image(
      unchecked: pixels.map { table[Int($0)] }, width: width, height: height, channels: channels)
  }

  private func mappingPixels(
    _ value: (_ index: Int, UInt8, UInt8, UInt8) -> (Float, Float, Float)
  ) -> Image {
    let count = width * height
    let result = [UInt8](unsafeUninitializedCapacity: 3 * count) { target, filled in
      pixels.withUnsafeBufferPointer { source in
        for index in 0..<count {
          let made = value(index, source[3 * index], source[3 * index + 1], source[3 * index + 2])
          target[3 * index] = Self.cut(made.0)
          target[3 * index + 1] = Self.cut(made.1)
          target[3 * index + 2] = Self.cut(made.2)
        }
      }
      filled = 3 * count
    }
    return Image(unchecked: result, width: width, height: height, channels: channels)
  }

  private static func cut(_ value: Float) -> UInt8 { UInt8(min(max(value, 0), 255)) }
}
