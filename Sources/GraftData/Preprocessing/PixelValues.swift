// What the values of an image in a tensor mean, and the conversion in both directions: of an image to an input or a
// target, and of an output to an image.

import GraftDiagnostics
import GraftIR

/// The values of an image in a tensor: a pixel x from 0 to 255 is (x · scale − mean) / std.
public struct PixelValues: Hashable, Sendable {
  public var color: Preprocessing.Color
  /// The factor on pixel values of 0 … 255.
  public var scale: Double
  /// The mean per channel, in the order of ``color``.
  public var mean: [Double]
  /// The divisor per channel, in the order of ``color``; positive.
  public var std: [Double]

  /// Checked by the ``Preprocessing`` that has them.
  public init(color: Preprocessing.Color, scale: Double, mean: [Double], std: [Double]) {
    self.color = color
    self.scale = scale
    self.mean = mean
    self.std = std
  }

  /// - Parameter prefix: the path of the object with the keys, with its dot.
  /// - Throws: ``GraftError`` of kind `invalidArgument` that names the key.
  func validate(_ prefix: String = "") throws {
    for (name, values) in [("mean", mean), ("std", std)] where values.count != color.channels {
      throw Preprocessing.error(
        prefix + name,
        "has \(values.count) values; color \(color.rawValue) needs \(color.channels)")
    }
    for (name, values) in [("scale", [scale]), ("mean", mean), ("std", std)] {
      if let value = values.first(where: { !$0.isFinite || abs($0) > 1e30 }) {
        throw Preprocessing.error(prefix + name, "is \(value), which is out of range")
      }
    }
    if let value = std.first(where: { $0 < 1e-30 }) {
      throw Preprocessing.error(prefix + "std", "is \(value), but must be positive")
    }
    for channel in mean.indices {
      for pixel in [0, 255] where !Float(value(of: pixel, channel: channel)).isFinite {
        throw Preprocessing.error(
          prefix + "std",
          "is \(std[channel]), so that a pixel of \(pixel) has a value that float32 cannot represent"
        )
      }
    }
  }

  /// The value of a pixel in channel `channel`. In double precision, so that rounding once is correct.
  func value(of pixel: Int, channel: Int) -> Double {
    (Double(pixel) * scale - mean[channel]) / std[channel]
  }

  /// The difference of the largest and the smallest value that an image can have, over all channels.
  public var span: Double {
    let ends = mean.indices.flatMap { channel in
      [0, 255].map { value(of: $0, channel: channel) }
    }
    return (ends.max() ?? 0) - (ends.min() ?? 0)
  }
}

/// Converts images to values of a tensor and back, with lookup tables for all pixel values.
public struct PixelCoder: Sendable {
  public let values: PixelValues
  public let layout: Preprocessing.Layout
  /// The results for pixel values 0 … 255, for each channel in the order of the tensor.
  public let coding: ByteCoding

  /// - Parameter values: must be valid.
  init(_ values: PixelValues, layout: Preprocessing.Layout) {
    self.values = values
    self.layout = layout
    coding = ByteCoding(
      values.mean.indices.flatMap { channel in
        (0..<256).map { Float(values.value(of: $0, channel: channel)) }
      }, channels: values.color.channels, isPlanar: layout == .nchw)
  }

  /// Calls `body` with each channel of the tensor, the channel of an image that has it, and the position of the
  /// channel's first value and the distance of its values among `count` pixels.
  private func forEachChannel(
    count: Int, _ body: (_ channel: Int, _ stored: Int, _ start: Int, _ step: Int) -> Void
  ) {
    let channels = values.color.channels
    for channel in 0..<channels {
      body(
        channel, values.color == .bgr ? channels - 1 - channel : channel,
        layout == .nchw ? channel * count : channel, layout == .nchw ? 1 : channels)
    }
  }

  /// Writes the values of an image in gray or RGB: channels × height × width values, in the order of the layout.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if channels or counts do not fit.
  private func write(_ pixels: Image, into target: UnsafeMutableBufferPointer<Float>) throws {
    let channels = values.color.channels
    guard pixels.channels == channels, target.count == pixels.pixels.count else {
      throw GraftError(
        .invalidArgument,
        "\(pixels.height) × \(pixels.width) × \(pixels.channels) pixels do not fill a tensor of "
          + "\(target.count) values in \(channels) channels")
    }
    let count = pixels.width * pixels.height
    pixels.pixels.withUnsafeBufferPointer { source in
      coding.values.withUnsafeBufferPointer { tables in
        forEachChannel(count: count) { channel, stored, start, step in
          let table = channel * 256
          var write = start
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

  /// The values of an image in gray or RGB, in the order of the layout.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the channels do not fit.
  public func values(of pixels: Image) throws -> [Float] {
    let size = pixels.pixels.count
    return try [Float](unsafeUninitializedCapacity: size) { target, count in
      try write(pixels, into: UnsafeMutableBufferPointer(rebasing: target[..<size]))
      count = size
    }
  }

  /// The image of these values, the inverse of ``values(of:)``: rounded to the nearest pixel values and clamped to
  /// 0 … 255; gray or RGB.
  /// - Throws: ``GraftError`` of kind `invalidData` if the number of values is not that of the size.
  public func image(
    of numbers: ArraySlice<Float>, height: Int, width: Int
  ) throws -> Image {
    let channels = values.color.channels
    let size = try Image.checkedCount(width: width, height: height, channels: channels)
    guard numbers.count == size else {
      throw GraftError(
        .invalidData, "\(numbers.count) values for an image of \(width) × \(height) × \(channels)")
    }
    var pixels = [UInt8](repeating: 0, count: size)
    forEachChannel(count: width * height) { channel, stored, start, step in
      let (mean, std) = (values.mean[channel], values.std[channel])
      for pixel in 0..<(width * height) {
        let number = Double(numbers[numbers.startIndex + start + pixel * step])
        let value = ((number * std + mean) / values.scale).rounded(.toNearestOrEven)
        // The comparisons are false for NaN.
        pixels[pixel * channels + stored] = value >= 255 ? 255 : value > 0 ? UInt8(value) : 0
      }
    }
    return Image(unchecked: pixels, width: width, height: height, channels: channels)
  }
}

/// An output of a network that is an image.
public struct PictureOutput: Sendable {
  public let height: Int
  public let width: Int
  public let coder: PixelCoder

  /// - Parameter shape: of the output, without the batch.
  /// - Returns: nil if the specification has no ``Preprocessing/output``, or the shape is not that of such an image.
  public init?(_ preprocessing: Preprocessing?, shape: [Int]) {
    guard let preprocessing, let values = preprocessing.output, shape.count == 3 else { return nil }
    let channels = values.color.channels
    let layouts = [preprocessing.layout] + Preprocessing.Layout.allCases
    guard
      let layout = layouts.first(where: { shape[$0.channelAxis] == channels }),
      (try? Image.checkedCount(
        width: shape[layout.channelAxis == 0 ? 2 : 1],
        height: shape[layout.channelAxis == 0 ? 1 : 0], channels: channels)) != nil
    else { return nil }
    (height, width) = layout == .nchw ? (shape[1], shape[2]) : (shape[0], shape[1])
    coder = PixelCoder(values, layout: layout)
  }

  var size: PixelSize { PixelSize(height: height, width: width) }

  /// The image of an item's output.
  /// - Throws: ``GraftError`` of kind `invalidData` if the number of values does not fit.
  public func image(of row: ArraySlice<Float>) throws -> Image {
    try coder.image(of: row, height: height, width: width)
  }
}
