// Windows over any number of spatial axes, tap by tap: pools that say where their maxima are or that are of integers,
// and their inverses.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let windows: [ONNXFunction] = [
    /// ONNX MaxUnpool, opsets 9, 11, 22; https://onnx.ai/onnx/operators/onnx__MaxUnpool.html. Elements of x
    /// [N, C, D1 … Dk] at their indices in the image [N, C, E1 … Ek] that was pooled, zeros elsewhere. `output_shape`
    /// adds zeros at the end, as in ONNX's tests; onnxruntime takes the indices to be of the larger image.
    ONNXFunction("MaxUnpool", since: 9) { f in
      let (x, indices) = (try f.input(0), try f.input(1))
      guard x.rank >= 3, indices.shape == x.shape, indices.type.dtype == .int64,
        let sizes = TensorShape(Array(x.shape.dimensions[1...])).constants
      else { throw GraftError(.unsupported, "maxima of \(x.type) at \(indices.type)") }
      let window = try SpatialWindow(f.node, kernel: f.node.requiredInts("kernel_shape"))
      let image = try window.unpooled(Array(sizes[1...]), x.shape)
      let count = saturatingProduct(image + [sizes[0]])
      let flat = TensorShape([x.shape[0], Dimension(saturatingProduct(sizes))])
      var places = try f.reshape(indices, to: flat)
      // Indices count through the whole batch.
      if x.shape[0] != 1 { places = try f.apply(Remainder(), places, try f.integer(count)) }
      guard count >= 1, count <= TensorShape.largestElementCount else {
        throw GraftError(.unsupported, "an image of \(sizes[0]) channels of \(image)")
      }
      let zeros = try f.apply(
        Expand(shape: [x.shape[0], Dimension(count)]), try f.scalar(0, like: x))
      let written = try f.apply(
        ScatterElements(axis: 1), zeros, places, try f.reshape(x, to: flat))
      let y = try f.reshape(
        written, to: TensorShape(x.shape.dimensions[..<2] + image.map { Dimension($0) }))
      guard let wanted = try f.node.constantIntegers(2, named: "output_shape") else { return [y] }
      guard wanted.count == y.rank, Array(wanted[..<2]) == Array(y.shape.dimensions[..<2]) else {
        throw GraftError(.invalidModel, "output_shape \(wanted) does not fit \(y.type)")
      }
      let added = try zip(wanted[2...], image).map { extent, own -> Int in
        guard let extent = extent.constant, (own...Window.largest).contains(extent) else {
          throw GraftError(.unsupported, "output_shape \(wanted) for an image of \(y.type)")
        }
        return extent - own
      }
      guard added.contains(where: { $0 > 0 }) else { return [y] }
      return [
        try f.apply(Pad(pads: Array(repeating: 0, count: y.rank + 2) + added), y)
      ]
    },
    /// ONNX Col2Im, opset 18; https://onnx.ai/onnx/operators/onnx__Col2Im.html. Columns
    /// [N, C · taps, windows] added up where they come from in an image [N, C, E1 … Ek].
    ONNXFunction("Col2Im", since: 18) { f in
      let x = try f.input(0)
      guard let image = try f.node.fixedIntegers(1, named: "image_shape"),
        let block = try f.node.fixedIntegers(2, named: "block_shape"), x.rank == 3,
        let columns = x.shape[1].constant, let count = x.shape[2].constant
      else { throw GraftError(.unsupported, "columns of \(x.type)") }
      let window = try SpatialWindow(f.node, kernel: block)
      guard image.count == block.count, image.allSatisfy({ (1...Window.largest).contains($0) })
      else { throw GraftError(.invalidModel, "an image of \(image) in blocks of \(block)") }
      let places = try image.indices.map { axis -> Int in
        let room =
          image[axis] + window.begins[axis] + window.ends[axis] - window.reach(axis)
        guard room >= 0 else {
          throw GraftError(.invalidModel, "blocks of \(block) exceed the image \(image)")
        }
        return room / window.strides[axis] + 1
      }
      let taps = saturatingProduct(block)
      guard columns.isMultiple(of: taps), saturatingProduct(places) == count else {
        throw GraftError(
          .invalidModel, "\(x.type) is no image of \(image) in \(places) blocks of \(block)")
      }
      guard taps <= largestConstant / max(count, 1) else {
        throw GraftError(.unsupported, "\(count) blocks of \(block)")
      }
      let padded = image.indices.map { image[$0] + window.begins[$0] + window.ends[$0] }
      guard saturatingProduct(padded) <= TensorShape.largestElementCount else {
        throw GraftError(.unsupported, "an image of \(padded)")
      }
      let steps = rowMajorStrides(padded)
      var indices: [Int] = []
      forEachIndex(of: block) { tap in
        forEachIndex(of: places) { place in
          indices.append(
            image.indices.reduce(0) { sum, axis in
              sum + steps[axis]
                * (place[axis] * window.strides[axis] + tap[axis] * window.dilations[axis])
            })
        }
      }
      let channels = Dimension(columns / taps)
      let shape: TensorShape = [x.shape[0], channels, Dimension(indices.count)]
      let zeros = try f.apply(
        Expand(shape: [x.shape[0], channels, Dimension(saturatingProduct(padded))]),
        try f.scalar(0, like: x))
      let chosen = f.constant(
        try TensorData(packing: indices, as: .int64, shape: [1, 1, indices.count]))
      let sums = try f.apply(
        ScatterElements(axis: 2, reduction: .add), zeros, try f.expanded(chosen, to: shape),
        try f.reshape(x, to: shape))
      let whole = try f.reshape(
        sums, to: TensorShape([x.shape[0], channels] + padded.map { Dimension($0) }))
      guard padded != image else { return [whole] }
      return [
        try f.apply(
          Slice(
            axes: Array(2..<(image.count + 2)), starts: window.begins, extents: image,
            steps: Array(repeating: 1, count: image.count)), whole)
      ]
    },
  ]
}

/// A window sliding over any number of spatial axes, with ONNX's attributes.
struct SpatialWindow {
  let kernel: [Int]
  let strides: [Int]
  let dilations: [Int]
  private(set) var begins: [Int]
  private(set) var ends: [Int]

  /// Without auto_pad.
  init(_ node: ONNXNode, kernel: [Int]) throws {
    let axes = kernel.count
    let ones = Array(repeating: 1, count: axes)
    self.kernel = kernel
    strides = try node.optionalInts("strides") ?? ones
    dilations = try node.optionalInts("dilations") ?? ones
    let pads = try node.optionalInts("pads") ?? Array(repeating: 0, count: 2 * axes)
    guard axes >= 1, strides.count == axes, dilations.count == axes, pads.count == 2 * axes,
      (kernel + strides + dilations).allSatisfy({ (1...Window.largest).contains($0) }),
      pads.allSatisfy({ (0...Window.largest).contains($0) })
    else {
      throw GraftError(
        .invalidModel,
        "a window of \(kernel) with strides \(strides), dilations \(dilations) and pads \(pads)")
    }
    begins = Array(pads[..<axes])
    ends = Array(pads[axes...])
  }

  func reach(_ axis: Int) -> Int { (kernel[axis] - 1) * dilations[axis] + 1 }

  /// The numbers of windows on an image, with the pads that `auto_pad` says; ``ends`` become long enough for a last
  /// window that begins in the image but ends outside.
  mutating func slide(over image: [Int], _ node: ONNXNode) throws -> [Int] {
    let mode = try node.string("auto_pad", default: "NOTSET")
    guard ["NOTSET", "", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(mode) else {
      throw GraftError(.invalidModel, "auto_pad \(mode.quotedForDisplay) is not in ONNX")
    }
    let isCeil = try node.flag("ceil_mode", default: false)
    return try image.enumerated().map { axis, extent in
      let stride = strides[axis]
      if mode == "VALID" { (begins[axis], ends[axis]) = (0, 0) }
      if mode.hasPrefix("SAME") {
        let total = max(0, ((extent + stride - 1) / stride - 1) * stride + reach(axis) - extent)
        let small = total / 2
        begins[axis] = mode == "SAME_UPPER" ? small : total - small
        ends[axis] = total - begins[axis]
      }
      let room = extent + begins[axis] + ends[axis] - reach(axis)
      guard extent >= 1, room >= 0, begins[axis] < reach(axis), ends[axis] < reach(axis) else {
        throw GraftError(
          .invalidModel,
          "a window of \(kernel) with pads \(begins) and \(ends) does not fit \(image)")
      }
      var count = room / stride + 1
      if isCeil {
        let rounded = (room + stride - 1) / stride + 1
        count = (rounded - 1) * stride >= extent + begins[axis] ? rounded - 1 : rounded
      }
      let last = (count - 1) * stride + reach(axis)
      ends[axis] = max(0, last - extent - begins[axis])
      return count
    }
  }

  /// The extents of the image whose windows have so many maxima.
  func unpooled(_ counts: [Int], _ shape: TensorShape) throws -> [Int] {
    guard counts.count == kernel.count else {
      throw GraftError(.invalidModel, "kernel_shape \(kernel) does not fit \(shape)")
    }
    return try counts.enumerated().map { axis, count in
      let extent = (count - 1) * strides[axis] - begins[axis] - ends[axis] + kernel[axis]
      guard count >= 1, (1...Window.largest).contains(extent) else {
        throw GraftError(
          .invalidModel, "axis \(axis + 2) of \(shape) would have \(extent) elements")
      }
      return extent
    }
  }
}

extension FunctionBuilder {
  /// The largest number of taps that become nodes of their own.
  static let mostTaps = 1 << 10

  /// A MaxPool over any number of spatial axes with the indices of its maxima, or of integers: the larger of what one
  /// tap of all windows reads and the taps before it. Of equal elements the first is the maximum, as in ONNX.
  mutating func maxima(_ x: Term) throws -> [Term] {
    guard x.rank >= 3, let image = TensorShape(Array(x.shape.dimensions[2...])).constants else {
      throw GraftError(.unsupported, "\(x.type) has no constant size")
    }
    var window = try SpatialWindow(node, kernel: node.requiredInts("kernel_shape"))
    guard window.kernel.count == image.count else {
      throw GraftError(.invalidModel, "kernel_shape \(window.kernel) does not fit \(x.type)")
    }
    let counts = try window.slide(over: image, node)
    guard saturatingProduct(window.kernel) <= Self.mostTaps else {
      throw GraftError(.unsupported, "the maxima of windows of \(window.kernel)")
    }
    guard saturatingProduct(counts) <= ONNXFunction.largestConstant else {
      throw GraftError(.unsupported, "the maxima of \(counts) windows")
    }
    let pads = window.begins + window.ends
    var padded = x
    if pads.contains(where: { $0 > 0 }) {
      let least = try x.type.dtype.leastValue()
      padded = try apply(
        Pad(pads: [0, 0] + window.begins + [0, 0] + window.ends, value: least), x)
    }
    let needsIndices = node.readOutputCount > 1
    let places =
      needsIndices ? try indices(of: window, counts, image, x.type) : nil
    var best: (value: Term, offset: Term?)?
    var taps: [[Int]] = []
    forEachIndex(of: window.kernel) { taps.append($0) }
    for tap in taps {
      let steps = window.strides.enumerated().map { counts[$0.offset] == 1 ? 1 : $0.element }
      let next = try apply(
        Slice(
          axes: Array(2..<x.rank), starts: tap.indices.map { tap[$0] * window.dilations[$0] },
          extents: counts, steps: steps), padded)
      guard let before = best else {
        best = (next, places?.first)
        continue
      }
      guard let offset = before.offset, let places else {
        best = (try apply(Maximum(), before.value, next), nil)
        continue
      }
      let isLarger = try apply(Greater(), next, before.value)
      let own = try integer(
        tap.indices.reduce(0) { $0 + tap[$1] * window.dilations[$1] * places.strides[$1] })
      best = (
        try apply(Where(), isLarger, next, before.value),
        try apply(Where(), isLarger, own, offset)
      )
    }
    guard let best else { throw GraftError(.inconsistency, "a window without elements") }
    guard let offset = best.offset, let places else { return [best.value] }
    let inPlane = try apply(Add(), offset, places.starts)
    return [best.value, try apply(Add(), inPlane, places.planes)]
  }

  /// Where windows and planes begin as indices into the flattened x, and how far the first element inside of the
  /// image is from there.
  private mutating func indices(
    of window: SpatialWindow, _ counts: [Int], _ image: [Int], _ x: TensorType
  ) throws -> (starts: Term, first: Term, planes: Term, strides: [Int]) {
    guard let outer = TensorShape(Array(x.shape.dimensions[..<2])).constants else {
      throw GraftError(
        .unsupported,
        "its second output, the indices of the maxima, counts through the batch, whose size is not known",
        advice: "Give the shape, for instance --input-shape x=1x3x224x224.")
    }
    let planes = saturatingProduct(outer)
    let pixels = saturatingProduct(image)
    guard planes <= ONNXFunction.largestConstant else {
      throw GraftError(.unsupported, "the maxima of \(x)")
    }
    var strides = rowMajorStrides(image)
    // Column major: the first axis is the nearest.
    if try node.flag("storage_order", default: false) {
      strides = Array(rowMajorStrides(image.reversed()).reversed())
    }
    var (starts, first): ([Int], [Int]) = ([], [])
    forEachIndex(of: counts) { place in
      var (start, offset) = (0, 0)
      for axis in image.indices {
        let position = place[axis] * window.strides[axis] - window.begins[axis]
        let dilation = window.dilations[axis]
        start += position * strides[axis]
        if position < 0 {
          offset += (-position + dilation - 1) / dilation * dilation * strides[axis]
        }
      }
      starts.append(start)
      first.append(offset)
    }
    let ones = Array(repeating: 1, count: image.count)
    return (
      constant(try TensorData(packing: starts, as: .int64, shape: counts)),
      try expanded(
        constant(try TensorData(packing: first, as: .int64, shape: counts)),
        to: TensorShape(x.shape.dimensions[..<2] + counts.map { Dimension($0) })),
      constant(
        try TensorData(
          packing: (0..<planes).map { $0 * pixels }, as: .int64, shape: outer + ones)),
      strides
    )
  }
}

extension DataType {
  /// What no element is below.
  fileprivate func leastValue() throws -> ScalarConstant {
    switch self {
    case .int8: .integer(Int(Int8.min))
    case .int16: .integer(Int(Int16.min))
    case .int32: .integer(Int(Int32.min))
    case .int64: .integer(Int.min)
    case .uint8, .uint16, .uint32, .uint64: .integer(0)
    case .float16, .bfloat16, .float32, .float64: .real(-.infinity)
    case .bool: throw GraftError(.unsupported, "the maxima of booleans")
    }
  }
}
