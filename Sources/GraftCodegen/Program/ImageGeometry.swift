// Extents and strides of a rank-4 value in memory, for kernels.

import GraftDiagnostics
import GraftIR

/// Extents and strides of an image value [images, channels, height, width] as it is in memory:
/// [images, blocks, height + 2·border, width + 2·border, block].
struct ImageGeometry: Hashable {
  var images: Dimension
  var channels: Int
  var height: Int
  var width: Int
  var block: Int
  var borderHeight: Int
  var borderWidth: Int
  /// What the border holds.
  var borderValue: Int

  var blocks: Int { (channels + block - 1) / block }
  /// Floats from one row to the next.
  var row: Int { (width + 2 * borderWidth) * block }
  /// Floats from one block of channels to the next.
  var plane: Int { (height + 2 * borderHeight) * row }
  /// Floats from one image to the next.
  var image: Int { blocks * plane }
  /// Floats from the start of a plane to its first pixel inside the border.
  var origin: Int { borderHeight * row + borderWidth * block }
  var hasBorder: Bool { borderHeight > 0 || borderWidth > 0 }

  /// - Throws: ``GraftError`` of kind `inconsistency` unless the value has rank 4 and everything but
  ///   its first extent is constant.
  init(_ type: TensorType) throws {
    guard type.rank == 4, let channels = type.shape[1].constant,
      let height = type.shape[2].constant, let width = type.shape[3].constant, channels > 0,
      height > 0, width > 0
    else {
      throw GraftError(
        .inconsistency, "expected an image [batch, channels, height, width], found \(type)")
    }
    self.images = type.shape[0]
    self.channels = channels
    self.height = height
    self.width = width
    self.block = type.layout.channelBlock
    self.borderHeight = type.layout.borderHeight
    self.borderWidth = type.layout.borderWidth
    self.borderValue = type.layout.borderValue
  }
}

/// Independent units of work of a step: `perBatch` for each unit of N, and `fixed`.
struct WorkUnits: Hashable {
  var perBatch: Int
  var fixed: Int

  init(perBatch: Int = 0, fixed: Int = 0) {
    self.perBatch = perBatch
    self.fixed = fixed
  }

  /// `count` units for each of `images`.
  init(_ count: Int, times images: Dimension) {
    self.init(
      perBatch: images.isBatch ? count * images.coefficient : 0,
      fixed: images.isBatch ? 0 : count * images.coefficient)
  }
}

extension Dimension {
  /// The C expression of the extent inside a step function.
  var expression: String {
    isBatch
      ? (coefficient == 1 ? "frame->batch" : "\(coefficient) * frame->batch") : "\(coefficient)"
  }
}
