// ONNX operators that move or repeat elements, made of reshapes, transposes and repetition.

import GraftDiagnostics
import GraftIR
import RealModule

extension ONNXFunction {
  /// The largest side of a block of pixels.
  private static let largestBlock = 1 << 16

  static let movements: [ONNXFunction] = [
    /// [N, C, H, W] → [N, C / b², H · b, W · b]; the mode says whether channels are [b, b, C'] or [C', b, b].
    ONNXFunction("DepthToSpace") { f in
      let x = try f.input(0)
      let block = try f.node.int("blocksize", default: 0)
      let (n, c, h, w) = try f.image(x)
      guard (1...largestBlock).contains(block), c.isMultiple(of: block * block) else {
        throw GraftError(.invalidModel, "\(x.type) does not divide into blocks of \(block)")
      }
      let inner = c / (block * block)
      let isColumnsFirst = try f.node.string("mode", default: "DCR") == "DCR"
      let (parts, order) =
        isColumnsFirst
        ? ([block, block, inner, h, w], [0, 3, 4, 1, 5, 2])
        : ([inner, block, block, h, w], [0, 1, 4, 2, 5, 3])
      let split = try f.reshape(x, to: TensorShape([n] + parts.map { Dimension($0) }))
      return [
        try f.reshape(
          try f.transpose(split, by: order),
          to: [n, Dimension(inner), Dimension(h * block), Dimension(w * block)])
      ]
    },
    /// [N, C, H, W] → [N, b² · C, H / b, W / b]; the mode says whether channels are [b, b, C] or [C, b, b].
    ONNXFunction("SpaceToDepth") { f in
      let x = try f.input(0)
      let block = try f.node.int("blocksize", default: 0)
      let (n, c, h, w) = try f.image(x)
      guard (1...largestBlock).contains(block), h.isMultiple(of: block), w.isMultiple(of: block)
      else {
        throw GraftError(.invalidModel, "\(x.type) does not divide into blocks of \(block)")
      }
      let parts = [c, h / block, block, w / block, block]
      let split = try f.reshape(x, to: TensorShape([n] + parts.map { Dimension($0) }))
      return [
        try f.reshape(
          try f.transpose(
            split,
            by: f.node.string("mode", default: "DCR") == "DCR"
              ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4]),
          to: [
            n, Dimension(c * block * block), Dimension(h / block), Dimension(w / block),
          ])
      ]
    },
    /// Each axis repeated as a whole.
    ONNXFunction("Tile", since: 6) { f in
      let x = try f.input(0)
      guard let repeats = try f.node.fixedIntegers(1, named: "repeats"),
        repeats.count == x.rank, repeats.allSatisfy({ $0 >= 0 })
      else { throw GraftError(.invalidModel, "repeats has no number for each axis of \(x.type)") }
      var shape: [Dimension] = []
      var repeated: [Dimension] = []
      var result: [Dimension] = []
      for (extent, count) in zip(x.shape.dimensions, repeats) {
        guard count != 1 else {
          shape.append(extent)
          repeated.append(extent)
          result.append(extent)
          continue
        }
        guard let whole = extent.constant else {
          throw GraftError(.unsupported, "the batch repeated \(count) times")
        }
        let (product, overflow) = whole.multipliedReportingOverflow(by: count)
        guard !overflow else { throw GraftError(.invalidModel, "\(repeats) repeats are too many") }
        shape += [1, extent]
        repeated += [Dimension(count), extent]
        result.append(Dimension(product))
      }
      guard repeated != shape else { return [try f.apply(Identity(), x)] }
      let wide = try f.apply(
        Expand(shape: TensorShape(repeated)), try f.reshape(x, to: TensorShape(shape)))
      return [try f.reshape(wide, to: TensorShape(result))]
    },
    /// The upper or lower triangle of each matrix, zeros elsewhere.
    ONNXFunction("Trilu", since: 14) { f in
      let x = try f.input(0)
      guard x.rank >= 2, let rows = x.shape[x.rank - 2].constant,
        let columns = x.shape[x.rank - 1].constant
      else { throw GraftError(.unsupported, "matrices without a constant size") }
      guard rows <= largestConstant, columns <= largestConstant, rows * columns <= largestConstant
      else {
        throw GraftError(.unsupported, "matrices of \(rows)x\(columns)")
      }
      let diagonal = try f.node.fixedIntegers(1, named: "k")?.first ?? 0
      let isUpper = try f.node.flag("upper", default: true)
      let keeps = (0..<rows).flatMap { row in
        (0..<columns).map { column -> Int in
          // Far diagonals cannot overflow: both sides are within the matrix.
          let place = column - row
          return (isUpper ? place >= diagonal : place <= diagonal) ? 1 : 0
        }
      }
      let mask = f.constant(try TensorData(packing: keeps, as: .bool, shape: [rows, columns]))
      // onnxruntime has no Where of booleans, and would not run an export with one.
      if x.type.dtype == .bool { return [try f.apply(LogicalAnd(), mask, x)] }
      return [try f.apply(Where(), mask, x, try f.scalar(0, like: x))]
    },
    /// With its mask, which keeps everything in inference.
    ONNXFunction("Dropout", since: 7) { f in
      guard f.node.readOutputCount > 1 else { return nil }
      if try f.node.opset >= 12 && f.node.constantScalar(2, named: "training_mode")?.whole == 1 {
        throw GraftError(.unsupported, "the mask of a dropout in training mode")
      }
      let x = try f.input(0)
      let kept = f.constant(try TensorData(packing: [1], as: .bool, shape: []))
      let dtype: DataType = f.node.opset >= 10 ? .bool : x.type.dtype
      return [
        try f.apply(Dropout(ratio: 0), x),
        try f.apply(Expand(shape: x.shape), try f.cast(kept, to: dtype)),
      ]
    },
    /// [indices…] → [indices…, depth], the second of `values` where the new index is the element, else the first.
    ONNXFunction("OneHot", since: 9) { f in
      let (indices, values) = (try f.input(0), try f.input(2))
      guard let depth = try f.node.constantScalar(1, named: "depth")?.whole, depth > 0,
        depth <= 1 << 24
      else { throw GraftError(.unsupported, "depth must be a constant above 0") }
      let stated = try f.node.int("axis", default: -1)
      let axis = stated < 0 ? stated + indices.rank + 1 : stated
      guard (0...indices.rank).contains(axis) else {
        throw GraftError(.invalidModel, "axis \(stated) is no axis of the result")
      }
      let off = try f.apply(
        Slice(axes: [0], starts: [0], extents: [1], steps: [1]), values)
      let on = try f.apply(Slice(axes: [0], starts: [1], extents: [1], steps: [1]), values)
      return [
        try f.oneHot(
          try f.cast(indices, to: .int64), depth: depth, axis: axis,
          on: try f.reshape(on, to: []), off: try f.reshape(off, to: []))
      ]
    },
    /// 1 at the first largest element along an axis, or of all from an axis on before opset 13, else 0.
    ONNXFunction("Hardmax") { f in
      let x = try f.input(0)
      let isFlat = f.node.opset < 13
      let axis = try x.shape.axis(try f.node.int("axis", default: isFlat ? 1 : -1))
      var rows = x
      if isFlat {
        guard let outer = TensorShape(Array(x.shape.dimensions[..<axis])).elementCount,
          let inner = TensorShape(Array(x.shape.dimensions[axis...])).elementCount
        else { throw GraftError(.unsupported, "\(x.type) from axis \(axis) on") }
        rows = try f.reshape(x, to: [outer, inner])
      }
      let along = isFlat ? 1 : axis
      guard let depth = rows.shape[along].constant else {
        throw GraftError(.unsupported, "the batch among the axes of \(x.type)")
      }
      let place = try f.apply(ArgReduction(axis: along, keepsAxis: false), rows)
      let found = try f.oneHot(
        place, depth: depth, axis: along, on: try f.scalar(1, like: x),
        off: try f.scalar(0, like: x))
      return [try f.reshape(found, to: x.shape)]
    },
    /// A matrix of the input's shape with ones on a diagonal.
    ONNXFunction("EyeLike", since: 9) { f in
      let x = try f.input(0)
      guard x.rank == 2, let rows = x.shape[0].constant, let columns = x.shape[1].constant,
        rows <= largestConstant, columns <= largestConstant, rows * columns <= largestConstant
      else { throw GraftError(.unsupported, "\(x.type) is no matrix of constant size") }
      let code = try f.node.int("dtype", default: x.type.dtype.onnxCode)
      guard let dtype = DataType(onnx: code) else {
        throw GraftError(.unsupported, "elements of type \(DataType.onnxName(code))")
      }
      let diagonal = try f.node.int("k", default: 0)
      let ones = (0..<rows).flatMap { row in
        (0..<columns).map { $0 - row == diagonal ? 1.0 : 0 }
      }
      let data =
        dtype.isFloatingPoint
        ? try TensorData(packing: ones, as: dtype, shape: [rows, columns])
        : try TensorData(packing: ones.map { Int($0) }, as: dtype, shape: [rows, columns])
      return [try f.apply(Identity(), f.constant(data))]
    },
    /// Each axis cut or filled with zeros alike at both ends, to a constant extent.
    ONNXFunction("CenterCropPad", since: 18) { f in
      var x = try f.input(0)
      let axes =
        try f.node.optionalInts("axes").map { try $0.map { try x.shape.axis($0) } }
        ?? Array(0..<x.rank)
      guard let wanted = try f.node.constantIntegers(1, named: "shape"),
        wanted.count == axes.count, Set(axes).count == axes.count
      else { throw GraftError(.invalidModel, "shape has no extent for each of axes \(axes)") }
      var pads = Array(repeating: 0, count: 2 * x.rank)
      for (axis, extent) in zip(axes, wanted) where x.shape[axis] != extent {
        guard let from = x.shape[axis].constant, let to = extent.constant, to >= 0,
          to <= Window.largest
        else { throw GraftError(.unsupported, "axis \(axis) of \(x.type) cut to \(extent)") }
        if from > to {
          x = try f.apply(
            Slice(axes: [axis], starts: [(from - to) / 2], extents: [to], steps: [1]), x)
        } else {
          pads[axis] = (to - from) / 2
          pads[x.rank + axis] = to - from - pads[axis]
        }
      }
      return [
        pads.allSatisfy { $0 == 0 } ? try f.apply(Identity(), x) : try f.apply(Pad(pads: pads), x)
      ]
    },
    /// Where the pixels of a picture come from that an affine map turns: [N, H, W, 2], or [N, D, H, W, 3].
    ONNXFunction("AffineGrid", since: 20) { f in
      let theta = try f.input(0)
      guard theta.rank == 3, let size = try f.node.constantIntegers(1, named: "size"),
        size.count == theta.shape[1].constant.map({ $0 + 2 }),
        let extents = TensorShape(Array(size[2...])).constants, (2...3).contains(extents.count),
        extents.allSatisfy({ (1...Window.largest).contains($0) }),
        saturatingProduct(extents) <= largestConstant / 4
      else { throw GraftError(.unsupported, "a grid of the size of input 1 by \(theta.type)") }
      let alignsCorners = try f.node.flag("align_corners", default: false)
      /// From −1 to 1, at the middle of the outermost pixels or at their edges.
      func place(_ index: Int, _ extent: Int) -> Double {
        alignsCorners
          ? (extent == 1 ? 0 : 2 * Double(index) / Double(extent - 1) - 1)
          : (2 * Double(index) + 1) / Double(extent) - 1
      }
      // Homogeneous coordinates x, y (, z), 1 of every pixel.
      var rows: [[Double]] = []
      forEachIndex(of: extents) { index in
        rows.append(zip(index, extents).map { place($0, $1) }.reversed() + [1])
      }
      let grid = try f.apply(
        MatrixMultiply(), try f.matrix(rows, like: theta),
        try f.transpose(theta, by: [0, 2, 1]))
      return [
        try f.reshape(
          grid,
          to: TensorShape(
            [theta.shape[0]] + extents.map { Dimension($0) } + [Dimension(extents.count)]))
      ]
    },
    // Windows of a cosine series, as constants.
    window("HannWindow", [0.5, 0.5]),
    window("HammingWindow", [25 / 46, 21 / 46]),
    window("BlackmanWindow", [0.42, 0.5, 0.08]),
    /// Floating-point numbers at a constant distance; NumberRange has whole ones.
    ONNXFunction("Range", since: 11, appliesToConstants: true) { f in
      let dtype = try f.input(0).type.dtype
      guard dtype.isFloatingPoint else { return nil }
      let numbers = try ["start", "limit", "delta"].enumerated().map { index, name in
        try f.node.constantScalar(index, named: name)?.real ?? .nan
      }
      let count = ((numbers[1] - numbers[0]) / numbers[2]).rounded(.up)
      guard count.isFinite, count <= Double(largestConstant) else {
        throw GraftError(
          .invalidModel, "a range from \(numbers[0]) to \(numbers[1]) by \(numbers[2])")
      }
      let elements = (0..<Int(max(0, count))).map { numbers[0] + Double($0) * numbers[2] }
      let data = try TensorData(packing: elements, as: dtype, shape: [elements.count])
      return [try f.apply(Identity(), f.constant(data))]
    },
  ]
}

extension ONNXFunction {
  /// A window of `size` elements: the alternating sum of cosines of multiples of an angle that goes round once.
  fileprivate static func window(_ opType: String, _ factors: [Double]) -> ONNXFunction {
    ONNXFunction(opType, since: 17) { f in
      guard let size = try f.node.constantScalar(0, named: "size")?.whole,
        (1...largestConstant).contains(size)
      else { throw GraftError(.unsupported, "a window of a size that is not constant") }
      let code = try f.node.int("output_datatype", default: DataType.float32.onnxCode)
      guard let dtype = DataType(onnx: code), dtype.isFloatingPoint else {
        throw GraftError(.unsupported, "a window of \(DataType.onnxName(code))")
      }
      let isPeriodic = try f.node.flag("periodic", default: true)
      let period = Double(isPeriodic ? size : max(1, size - 1))
      let elements = (0..<size).map { index -> Double in
        factors.enumerated().reduce(0) { sum, term in
          let sign: Double = term.offset.isMultiple(of: 2) ? 1 : -1
          let angle = 2 * Double.pi * Double(term.offset * index) / period
          return sum + sign * term.element * Double.cos(angle)
        }
      }
      let data = try TensorData(packing: elements, as: dtype, shape: [size])
      return [try f.apply(Identity(), f.constant(data))]
    }
  }
}

extension FunctionBuilder {
  /// The extents of an image of constant channels and size.
  func image(_ x: Term) throws -> (n: Dimension, c: Int, h: Int, w: Int) {
    guard x.rank == 4, let c = x.shape[1].constant, let h = x.shape[2].constant,
      let w = x.shape[3].constant
    else { throw GraftError(.unsupported, "\(x.type) is no image of constant size") }
    guard h > 0, w > 0 else { throw GraftError(.unsupported, "\(x.type) is empty") }
    return (x.shape[0], c, h, w)
  }
}

extension FunctionBuilder {
  /// `on` where the index along a new axis `axis` is an element of `indices`, of int64, else `off`; negative
  /// elements count from the end, and those outside are nowhere.
  mutating func oneHot(
    _ indices: Term, depth: Int, axis: Int, on: Term, off: Term
  ) throws -> Term {
    guard depth <= ONNXFunction.largestConstant else {
      throw GraftError(.unsupported, "\(depth) classes, one for each index")
    }
    var shape = indices.shape.dimensions
    shape.insert(1, at: axis)
    let wide = try reshape(indices, to: TensorShape(shape))
    let count = constant(try TensorData(packing: [depth], as: .int64, shape: []))
    let zero = constant(try TensorData(packing: [0], as: .int64, shape: []))
    let places = try apply(
      Where(), try apply(Less(), wide, zero), try apply(Add(), wide, count), wide)
    var line = Array(repeating: 1, count: shape.count)
    line[axis] = depth
    let numbers = constant(
      try TensorData(packing: Array(0..<depth), as: .int64, shape: line))
    return try apply(Where(), try apply(Equal(), places, numbers), on, off)
  }
}
