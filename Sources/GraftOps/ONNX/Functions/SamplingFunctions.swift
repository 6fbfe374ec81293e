// Elements of images at computed places between their pixels: ONNX GridSample and DeformConv are functions of it. The elements nearest to each place are gathered by their indices and added up with their weights.

import GraftDiagnostics
import GraftIR

/// How elements at places between pixels are computed.
struct Sampling {
  enum Mode: String {
    case nearest, linear, cubic
  }

  /// What lies outside of the image.
  enum Padding: String {
    case zeros
    /// The nearest pixel.
    case border
    /// The image mirrored at its edges, or with ``alignsCorners`` at the middle of its outermost pixels.
    case reflection
  }

  var mode = Mode.linear
  var padding = Padding.zeros
  var alignsCorners = false
}

extension ONNXFunction {
  static let sampling: [ONNXFunction] = [
    /// ONNX GridSample, opsets 16, 20 (any number of spatial axes), 22;
    /// https://onnx.ai/onnx/operators/onnx__GridSample.html. x [N, C, D1 … Dk] at the places of grid [N, E1 … Ek, k],
    /// from −1 to 1 with the last axis first, gives [N, C, E1 … Ek].
    ONNXFunction("GridSample", since: 16) { f in
      let (x, grid) = (try f.input(0), try f.input(1))
      let sampling = try f.node.gridSampling()
      let axes = x.rank - 2
      guard axes >= 1, grid.rank == x.rank, grid.shape[grid.rank - 1] == Dimension(axes),
        grid.type.dtype.isFloatingPoint
      else { throw GraftError(.invalidModel, "a grid of \(grid.type) does not fit \(x.type)") }
      guard axes <= 3 else { throw GraftError(.unsupported, "a grid over \(axes) axes") }
      guard x.shape[0] == grid.shape[0] else {
        throw GraftError(
          .invalidModel, "\(x.type) and the grid \(grid.type) have different numbers of images")
      }
      let results = Array(grid.shape.dimensions[1..<(axes + 1)])
      guard let extents = TensorShape(Array(x.shape.dimensions[2...])).constants,
        let points = TensorShape(results).elementCount, points.constant != nil
      else { throw GraftError(.unsupported, "\(x.type) has no constant size") }
      let images = try f.reshape(
        x, to: [x.shape[0], x.shape[1], Dimension(saturatingProduct(extents))])
      let places = try extents.enumerated().map { axis, extent -> FunctionBuilder.Term in
        let part = try f.apply(
          Slice(axes: [grid.rank - 1], starts: [axes - 1 - axis], extents: [1], steps: [1]), grid)
        let line = try f.reshape(part, to: [grid.shape[0], 1, points])
        return try f.pixels(line, of: extent, alignsCorners: sampling.alignsCorners)
      }
      let y = try f.sampled(images, extents: extents, at: places, sampling)
      return [try f.reshape(y, to: TensorShape([x.shape[0], x.shape[1]] + results))]
    }
  ]
}

extension ONNXNode {
  /// The attributes of a GridSample; opset 20 renamed two modes.
  fileprivate func gridSampling() throws -> Sampling {
    let stated = try string("mode", default: opset < 20 ? "bilinear" : "linear")
    let name = ["bilinear": "linear", "bicubic": "cubic"][stated] ?? stated
    let edges = try string("padding_mode", default: "zeros")
    guard let mode = Sampling.Mode(rawValue: name), let padding = Sampling.Padding(rawValue: edges)
    else {
      throw GraftError(
        .invalidModel,
        "mode \(stated.quotedForDisplay) or padding_mode \(edges.quotedForDisplay) is not in ONNX")
    }
    return Sampling(
      mode: mode, padding: padding, alignsCorners: try flag("align_corners", default: false))
  }
}

/// One of the pixels around a place, along one axis.
private struct Tap {
  /// Its index times the distance of neighbors in the image, int64.
  var offset: FunctionBuilder.Term
  /// Its share; nil for all.
  var weight: FunctionBuilder.Term?
  /// Whether it lies in the image; nil if it always does.
  var isInside: FunctionBuilder.Term?
}

extension FunctionBuilder {
  /// Places from −1 to 1 as numbers of pixels: the middle of the outermost pixels, or their edges, are at −1 and 1.
  fileprivate mutating func pixels(
    _ places: Term, of extent: Int, alignsCorners: Bool
  ) throws -> Term {
    let fromZero = try apply(Add(), places, try scalar(1, like: places))
    guard !alignsCorners else {
      return try apply(
        Multiply(), try apply(Multiply(), fromZero, try scalar(0.5, like: places)),
        try scalar(Double(extent - 1), like: places))
    }
    let doubled = try apply(
      Subtract(), try apply(Multiply(), fromZero, try scalar(Double(extent), like: places)),
      try scalar(1, like: places))
    return try apply(Multiply(), doubled, try scalar(0.5, like: places))
  }

  /// Images [outer…, channels, product of `extents`] at `places`, for each axis [outer…, 1, points] in pixels:
  /// [outer…, channels, points]. Gradients reach the places where the mode is not nearest.
  mutating func sampled(
    _ images: Term, extents: [Int], at places: [Term], _ sampling: Sampling
  ) throws -> Term {
    guard extents.allSatisfy({ $0 >= 1 }), let first = places.first,
      saturatingProduct(extents) <= TensorShape.largestElementCount
    else { throw GraftError(.unsupported, "places in an image of \(extents) pixels") }
    guard sampling.mode == .nearest || images.type.dtype.isFloatingPoint else {
      throw GraftError(.unsupported, "interpolation of \(images.type)")
    }
    var shape = first.shape.dimensions
    shape[shape.count - 2] = images.shape[images.rank - 2]
    let strides = rowMajorStrides(extents)
    let taps = try extents.indices.map { axis in
      try self.taps(
        at: places[axis], of: extents[axis], stride: strides[axis], sampling,
        like: images)
    }
    var combinations: [[Tap]] = [[]]
    for axis in taps { combinations = combinations.flatMap { start in axis.map { start + [$0] } } }
    var result: Term?
    for combination in combinations {
      let offset = try combined(combination.map(\.offset), by: Add())
      let index = try expanded(offset, to: TensorShape(shape))
      var value = try apply(GatherElements(axis: images.rank - 1), images, index)
      let weights = combination.compactMap(\.weight)
      if !weights.isEmpty {
        value = try apply(Multiply(), value, try combined(weights, by: Multiply()))
      } else {
        let inside = combination.compactMap(\.isInside)
        if !inside.isEmpty {
          value = try apply(
            Where(), try combined(inside, by: LogicalAnd()), value, try scalar(0, like: value))
        }
      }
      guard let sum = result else {
        result = value
        continue
      }
      result = try apply(Add(), sum, value)
    }
    guard let result else { throw GraftError(.inconsistency, "an image without axes") }
    return result
  }

  mutating func expanded(_ x: Term, to shape: TensorShape) throws -> Term {
    x.shape == shape ? x : try apply(Expand(shape: shape), x)
  }

  fileprivate mutating func combined(_ terms: [Term], by pair: any Operator) throws -> Term {
    guard var result = terms.first else { throw GraftError(.inconsistency, "no terms") }
    for term in terms.dropFirst() { result = try apply(pair, result, term) }
    return result
  }

  /// The pixels along one axis that count at each place, with their weights as elements like those of `images`.
  private mutating func taps(
    at places: Term, of extent: Int, stride: Int, _ sampling: Sampling, like images: Term
  ) throws -> [Tap] {
    var place = places
    // Cubic interpolation pads each pixel, the others the place.
    if sampling.mode != .cubic { place = try padded(place, extent, sampling) }
    if sampling.mode == .nearest {
      return [try tap(try apply(Round(), place), nil, extent, stride, sampling)]
    }
    let whole = try apply(Floor(), place)
    let part = try cast(try apply(Subtract(), place, whole), to: images.type.dtype)
    let one = try scalar(1, like: part)
    let rest = try apply(Subtract(), one, part)
    let weights: [(step: Double, weight: Term)]
    switch sampling.mode {
    case .linear, .nearest: weights = [(0, rest), (1, part)]
    case .cubic:
      weights = [
        (-1, try outerCubic(try apply(Add(), part, one))), (0, try innerCubic(part)),
        (1, try innerCubic(rest)), (2, try outerCubic(try apply(Add(), rest, one))),
      ]
    }
    return try weights.map { step, weight in
      let pixel = step == 0 ? whole : try apply(Add(), whole, try scalar(step, like: whole))
      return try tap(
        sampling.mode == .cubic ? try padded(pixel, extent, sampling) : pixel, weight, extent,
        stride, sampling)
    }
  }

  private mutating func tap(
    _ pixel: Term, _ weight: Term?, _ extent: Int, _ stride: Int, _ sampling: Sampling
  ) throws -> Tap {
    let last = Double(extent - 1)
    var inside: Term?
    if sampling.padding == .zeros {
      // Whole numbers, for which these are ≥ 0 and ≤ last.
      inside = try apply(
        LogicalAnd(), try apply(Greater(), pixel, try scalar(-0.5, like: pixel)),
        try apply(Less(), pixel, try scalar(last + 0.5, like: pixel)))
    }
    let index = try cast(try apply(Clip(low: 0, high: last), pixel), to: .int64)
    let offset = stride == 1 ? index : try apply(Multiply(), index, try integer(stride))
    guard let weight else { return Tap(offset: offset, isInside: inside) }
    let shared = try inside.map { try apply(Where(), $0, weight, try scalar(0, like: weight)) }
    return Tap(offset: offset, weight: shared ?? weight)
  }

  /// A place outside of the image moved to where the padding takes its element from.
  private mutating func padded(
    _ place: Term, _ extent: Int, _ sampling: Sampling
  ) throws -> Term {
    let last = Double(extent - 1)
    switch sampling.padding {
    case .zeros: return place
    case .border: return try apply(Clip(low: 0, high: last), place)
    case .reflection:
      let (low, high) = sampling.alignsCorners ? (0, last) : (-0.5, last + 0.5)
      let range = high - low
      guard range > 0 else { return try apply(Multiply(), place, try scalar(0, like: place)) }
      // Within two ranges the distance from the lower edge goes up and down again.
      let distance = try apply(
        AbsoluteValue(), try apply(Subtract(), place, try scalar(low, like: place)))
      let rounds = try apply(
        Floor(), try apply(Multiply(), distance, try scalar(0.5 / range, like: place)))
      let rest = try apply(
        Subtract(), distance, try apply(Multiply(), rounds, try scalar(2 * range, like: place)))
      let fromTop = try apply(
        AbsoluteValue(), try apply(Subtract(), rest, try scalar(range, like: place)))
      let moved = try apply(Subtract(), try scalar(high, like: place), fromTop)
      return try apply(Clip(low: 0, high: last), moved)
    }
  }

  /// Keys 1981, equation 4 with the coefficient −3/4, at distances up to 1.
  private mutating func innerCubic(_ d: Term) throws -> Term {
    try polynomial([1.25, -2.25, 0, 1], d)
  }

  /// The same at distances from 1 to 2.
  private mutating func outerCubic(_ d: Term) throws -> Term {
    try polynomial([-0.75, 3.75, -6, 3], d)
  }

  /// Horner's scheme, the highest power first.
  private mutating func polynomial(_ factors: [Double], _ x: Term) throws -> Term {
    var sum = try scalar(factors[0], like: x)
    for factor in factors.dropFirst() {
      sum = try apply(Multiply(), sum, x)
      if factor != 0 { sum = try apply(Add(), sum, try scalar(factor, like: x)) }
    }
    return sum
  }
}
