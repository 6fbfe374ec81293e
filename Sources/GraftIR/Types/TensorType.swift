// The compile-time type of a value: element type, shape and layout.

import GraftDiagnostics

/// The type of a value: element type, shape in the file's axis order, and layout in memory.
public struct TensorType: Hashable, Sendable {
  public var dtype: DataType
  public var shape: TensorShape
  public var layout: Layout

  public init(_ dtype: DataType, _ shape: TensorShape, layout: Layout = .plain) {
    self.dtype = dtype
    self.shape = shape
    self.layout = layout
  }

  public var rank: Int { shape.rank }

  /// The same type in another layout.
  public func with(layout: Layout) -> TensorType { TensorType(dtype, shape, layout: layout) }

  /// The extents in memory, outermost first: the shape itself for a plain layout,
  /// [batch, channel blocks, height + 2·border, width + 2·border, block] for a blocked one.
  public var storedShape: TensorShape {
    guard !layout.isPlain, rank == 4, let channels = shape[1].constant,
      let height = shape[2].constant, let width = shape[3].constant
    else { return shape }
    let rows = Dimension(height + 2 * layout.borderHeight)
    let columns = Dimension(width + 2 * layout.borderWidth)
    guard layout.isBlocked else { return [shape[0], shape[1], rows, columns] }
    let blocks = (channels + layout.channelBlock - 1) / layout.channelBlock
    return [shape[0], Dimension(blocks), rows, columns, Dimension(layout.channelBlock)]
  }

  /// The size in bytes, including border and padding lanes: an integer or k·N; nil on overflow.
  public var storedByteCount: Dimension? {
    storedShape.elementCount?.multiplied(by: Dimension(dtype.byteCount))
  }
}

extension TensorType: CustomStringConvertible {
  /// `f32[N,64,56,56]` or `f32[N,64,56,56]@c8b1x1`
  public var description: String {
    "\(dtype.rawValue)\(shape)" + (layout.isPlain ? "" : "@\(layout)")
  }
}
