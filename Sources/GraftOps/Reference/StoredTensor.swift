// Tensors as they lie in memory: in blocks of channels, with a border of zeros. The reference evaluator keeps
// values so, which shows a layout that an operator cannot read.

import GraftDiagnostics
import GraftIR

extension HostTensor {
  /// What the lanes past the last channel hold: a finite number that no sum hides.
  static let unusedLane = 1e30

  /// The tensor of shape [batch, channels, height, width] as `layout` stores it: ``TensorType/storedShape``.
  func stored(as layout: Layout) throws -> HostTensor {
    guard !layout.isPlain else { return self }
    switch self {
    case .float32(let tensor):
      return .float32(try tensor.stored(as: layout, unused: Float(Self.unusedLane)))
    case .float64(let tensor):
      return .float64(try tensor.stored(as: layout, unused: Self.unusedLane))
    case .integer: throw GraftError(.inconsistency, "integers have no layout but the plain one")
    }
  }

  /// The tensor of shape `shape` that `layout` stores as this one, with at least `border` zeros on each side.
  /// - Throws: ``GraftError`` of kind `inconsistency` where this is not how `layout` stores such a tensor, its
  ///   border is narrower or has other numbers than zeros.
  func loaded(
    from layout: Layout, shape: [Int], border: (height: Int, width: Int) = (0, 0)
  ) throws -> HostTensor {
    guard !layout.isPlain else { return self }
    guard layout.borderHeight >= border.height, layout.borderWidth >= border.width else {
      throw GraftError(
        .inconsistency,
        "a border of \(border.height)x\(border.width) is read, the layout is \(layout)")
    }
    switch self {
    case .float32(let tensor): return .float32(try tensor.loaded(from: layout, shape: shape))
    case .float64(let tensor): return .float64(try tensor.loaded(from: layout, shape: shape))
    case .integer: throw GraftError(.inconsistency, "integers have no layout but the plain one")
    }
  }

  /// The same elements under another shape.
  func viewed(as shape: [Int]) throws -> HostTensor {
    switch self {
    case .float32(let tensor): .float32(try DenseTensor(shape: shape, elements: tensor.elements))
    case .float64(let tensor): .float64(try DenseTensor(shape: shape, elements: tensor.elements))
    case .integer(let tensor): .integer(try DenseTensor(shape: shape, elements: tensor.elements))
    }
  }
}

extension DenseTensor where Element: BinaryFloatingPoint {
  fileprivate func stored(as layout: Layout, unused: Element) throws -> DenseTensor {
    let memory = StoredImage(shape, layout)
    var result = DenseTensor(shape: memory.extents, repeating: 0)
    let strides = result.strides
    forEachIndex(of: memory.extents) { place in
      guard let index = memory.index(at: place) else { return }
      result.elements[zip(place, strides).reduce(0) { $0 + $1.0 * $1.1 }] =
        index[1] < shape[1]
        ? elements[zip(index, self.strides).reduce(0) { $0 + $1.0 * $1.1 }] : unused
    }
    return result
  }

  fileprivate func loaded(from layout: Layout, shape: [Int]) throws -> DenseTensor {
    let memory = StoredImage(shape, layout)
    guard self.shape == memory.extents else {
      throw GraftError(
        .inconsistency, "\(self.shape) is not how a tensor of shape \(shape) lies as \(layout)")
    }
    var result = DenseTensor(shape: shape, repeating: 0)
    let strides = result.strides
    var position = 0
    try forEachIndex(of: memory.extents) { place in
      defer { position += 1 }
      guard let index = memory.index(at: place) else {
        guard elements[position] == 0 else {
          throw GraftError(.inconsistency, "the border holds \(elements[position]), not zero")
        }
        return
      }
      guard index[1] < shape[1] else { return }
      result.elements[zip(index, strides).reduce(0) { $0 + $1.0 * $1.1 }] = elements[position]
    }
    return result
  }
}

/// Where the elements of an image of shape [batch, channels, height, width] lie.
private struct StoredImage {
  let extents: [Int]
  private let layout: Layout
  private let height: Int
  private let width: Int

  init(_ shape: [Int], _ layout: Layout) {
    self.layout = layout
    height = shape[2]
    width = shape[3]
    let block = layout.channelBlock
    extents =
      [
        shape[0], (shape[1] + block - 1) / block, height + 2 * layout.borderHeight,
        width + 2 * layout.borderWidth,
      ] + (layout.isBlocked ? [block] : [])
  }

  /// The index, [image, channel, row, column], of the element at `place`; nil in the border. The channel of a lane
  /// that is not used lies past the last.
  func index(at place: [Int]) -> [Int]? {
    let row = place[2] - layout.borderHeight
    let column = place[3] - layout.borderWidth
    guard (0..<height).contains(row), (0..<width).contains(column) else { return nil }
    let lane = layout.isBlocked ? place[4] : 0
    return [place[0], place[1] * layout.channelBlock + lane, row, column]
  }
}
