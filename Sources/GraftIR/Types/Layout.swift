// The memory layout of a value, an explicit part of its type: the file's order for inputs and outputs,
// channel blocks inside. The shape always has the file's axis order.

/// How the elements of a value are placed in memory.
///
/// A rank-4 value of shape [batch, channels, height, width] with block c and border (bh, bw) is
/// stored as [batch, ⌈channels / c⌉, height + 2·bh, width + 2·bw, c]. The producer of a value writes
/// its border on every run: zeros, or in quantized images the number that stands for zero. Lanes past the last
/// channel hold finite values.
public struct Layout: Hashable, Sendable {
  /// The number of channels in a block; 1 is plain row-major order.
  public var channelBlock: Int
  /// Physical zero padding above and below every image.
  public var borderHeight: Int
  /// Physical zero padding left and right of every row.
  public var borderWidth: Int
  /// What the border holds: 0 but for uint8 elements, whose zero point it is.
  public var borderValue: Int

  public init(
    channelBlock: Int, borderHeight: Int = 0, borderWidth: Int = 0, borderValue: Int = 0
  ) {
    self.channelBlock = channelBlock
    self.borderHeight = borderHeight
    self.borderWidth = borderWidth
    self.borderValue = borderValue
  }

  /// The maximum block or border of a verified graph, far above any vector length or kernel size, so that
  /// sums with an extent cannot overflow.
  public static let largestExtent = 1 << 20

  /// Row-major in the file's axis order, without a border.
  public static let plain = Layout(channelBlock: 1)

  /// Channels of a block of bytes that has all of an image with few channels.
  public static let fewChannels = 4

  public static func blocked(_ channels: Int, border: (height: Int, width: Int) = (0, 0)) -> Layout
  {
    Layout(channelBlock: channels, borderHeight: border.height, borderWidth: border.width)
  }

  public var isPlain: Bool { self == .plain }
  public var isBlocked: Bool { channelBlock > 1 }
}

extension Layout: CustomStringConvertible {
  /// `c8`, `c16b1x1`, `c16b1x1of128`; a plain layout prints as nothing in a type.
  public var description: String {
    let border = borderHeight == 0 && borderWidth == 0 ? "" : "b\(borderHeight)x\(borderWidth)"
    return "c\(channelBlock)\(border)" + (borderValue == 0 ? "" : "of\(borderValue)")
  }
}
