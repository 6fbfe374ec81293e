// Tensors as they lie in memory: in blocks of channels, with a border of one number. The reference evaluator keeps
// values so, which shows a layout that an operator cannot read.

import GraftDiagnostics
import GraftIR

extension HostTensor {
  /// What the lanes past the last channel hold: a finite number that no sum hides.
  static let unusedLane = 1e30
  /// The same in bytes.
  static let unusedByte = 173

  /// The tensor of shape [batch, channels, height, width] as `layout` stores it: ``TensorType/storedShape``.
  func stored(as layout: Layout) throws -> HostTensor {
    guard !layout.isPlain else { return self }
    switch self {
    case .float32(let tensor):
      return .float32(
        try tensor.stored(
          as: layout, border: Float(layout.borderValue), unused: Float(Self.unusedLane)))
    case .float64(let tensor):
      return .float64(
        try tensor.stored(
          as: layout, border: Double(layout.borderValue), unused: Self.unusedLane))
    case .integer(let tensor):
      return .integer(
        try tensor.stored(
          as: layout, border: Dimension(layout.borderValue), unused: Dimension(Self.unusedByte)))
    }
  }

  /// The tensor of shape `shape` that `layout` stores as this one, with a border of at least `border` on each side.
  /// - Throws: ``GraftError`` of kind `inconsistency` where this is not how `layout` stores such a tensor, its
  ///   border is narrower or has other numbers than the layout's.
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
    case .float32(let tensor):
      return .float32(
        try tensor.loaded(from: layout, shape: shape, border: Float(layout.borderValue)))
    case .float64(let tensor):
      return .float64(
        try tensor.loaded(from: layout, shape: shape, border: Double(layout.borderValue)))
    case .integer(let tensor):
      return .integer(
        try tensor.loaded(from: layout, shape: shape, border: Dimension(layout.borderValue)))
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

extension DenseTensor where Element: Equatable {
  fileprivate func stored(
    as layout: Layout, border: Element, unused: Element
  ) throws -> DenseTensor {
    let memory = StoredImage(shape, layout)
    var result = DenseTensor(shape: memory.extents, repeating: border)
    let strides = result.strides
    forEachIndex(of: memory.extents) { place in
      guard let index = memory.index(at: place) else { return }
      result.elements[zip(place, strides).reduce(0) { $0 + $1.0 * $1.1 }] =
        index[1] < shape[1]
        ? elements[zip(index, self.strides).reduce(0) { $0 + $1.0 * $1.1 }] : unused
    }
    return result
  }

  fileprivate func loaded(
    from layout: Layout, shape: [Int], border: Element
  ) throws -> DenseTensor {
    let memory = StoredImage(shape, layout)
    guard self.shape == memory.extents else {
      throw GraftError(
        .inconsistency, "\(self.shape) is not how a tensor of shape \(shape) lies as \(layout)")
    }
    var result = DenseTensor(shape: shape, repeating: border)
    let strides = result.strides
    var position = 0
    try forEachIndex(of: memory.extents) { place in
      defer { position += 1 }
      guard let index = memory.index(at: place) else {
        guard elements[position] == border else {
          throw GraftError(
            .inconsistency, "the border holds \(elements[position]), not \(border)")
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
