// Convolutions and pools of regions that the network computes, by sampling images there.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let regions: [ONNXFunction] = [
    /// ONNX DeformConv, opsets 19, 22; https://onnx.ai/onnx/operators/onnx__DeformConv.html. A convolution of
    /// x [N, C, H, W] each of whose taps is moved by offset [N, groups · taps · 2, H', W'] and weighted by mask
    /// [N, groups · taps, H', W']: Dai et al. 2017, Zhu et al. 2019.
    ONNXFunction("DeformConv", since: 19) { f in
      let (x, w, offset) = (try f.input(0), try f.input(1), try f.input(2))
      guard x.rank == 4, w.rank == 4, offset.rank == 4, let weights = w.shape.constants,
        let image = TensorShape(Array(x.shape.dimensions[1...])).constants,
        let moves = TensorShape(Array(offset.shape.dimensions[1...])).constants
      else {
        throw GraftError(
          .unsupported,
          "\(x.type), weights \(w.type) and offsets \(offset.type); Graft supports two "
            + "spatial axes of constant size")
      }
      let kernel = Array(weights[2...])
      if let stated = try f.node.optionalInts("kernel_shape"), stated != kernel {
        throw GraftError(.invalidModel, "kernel_shape \(stated) does not match weights \(w.shape)")
      }
      let window = try SpatialWindow(f.node, kernel: kernel)
      let groups = try f.node.int("group", default: 1)
      let offsetGroups = try f.node.int("offset_group", default: 1)
      let taps = saturatingProduct(kernel)
      let results = (0..<2).map { axis -> Int in
        let room = image[axis + 1] + window.begins[axis] + window.ends[axis] - window.reach(axis)
        return room < 0 ? 0 : room / window.strides[axis] + 1
      }
      guard (1...max(1, image[0])).contains(offsetGroups), image[0] >= 1,
        image[0].isMultiple(of: offsetGroups), taps <= largestConstant,
        moves == [offsetGroups * taps * 2] + results, offset.shape[0] == x.shape[0],
        results.allSatisfy({ $0 >= 1 })
      else {
        throw GraftError(
          .invalidModel,
          "\(x.type), weights \(w.type) and offsets \(offset.type) in \(offsetGroups) groups")
      }
      let points = saturatingProduct(results)
      guard points <= largestConstant / taps else {
        throw GraftError(.unsupported, "\(points) windows of \(kernel)")
      }
      let all = Dimension(taps * points)
      let outer = Dimension(offsetGroups)
      let images = try f.reshape(
        x,
        to: [
          x.shape[0], outer, Dimension(image[0] / offsetGroups),
          Dimension(saturatingProduct(Array(image[1...]))),
        ])
      let byAxis = try f.reshape(
        offset, to: [x.shape[0], outer, Dimension(taps), 2, Dimension(points)])
      let places = try (0..<2).map { axis -> FunctionBuilder.Term in
        let own = try f.apply(
          Slice(axes: [3], starts: [axis], extents: [1], steps: [1]), byAxis)
        var rest: [Double] = []
        forEachIndex(of: kernel) { tap in
          forEachIndex(of: results) { place in
            rest.append(
              Double(
                place[axis] * window.strides[axis] - window.begins[axis]
                  + tap[axis] * window.dilations[axis]))
          }
        }
        return try f.apply(
          Add(), try f.reshape(own, to: [x.shape[0], outer, 1, all]),
          f.constant(
            try TensorData(packing: rest, as: offset.type.dtype, shape: [taps * points])))
      }
      var columns = try f.sampled(images, extents: Array(image[1...]), at: places, Sampling())
      if let mask = f.optionalInput(4) {
        columns = try f.apply(
          Multiply(), columns, try f.reshape(mask, to: [x.shape[0], outer, 1, all]))
      }
      let kernels = try f.reshape(
        w, to: TensorShape([weights[0], saturatingProduct([weights[1], taps]), 1, 1]))
      return [
        try f.apply(
          Convolution(groups: groups),
          try f.reshape(
            columns,
            to: TensorShape(
              [x.shape[0], Dimension(image[0] * taps)] + results.map { Dimension($0) })),
          kernels, f.optionalInput(3))
      ]
    },
    /// ONNX RoiAlign, opsets 10, 16 (half pixels), 22; https://onnx.ai/onnx/operators/onnx__RoiAlign.html. Regions
    /// [R, 4] (left, top, right, bottom) of the images [N, C, H, W] that batch_indices [R] say, in output_height by
    /// output_width bins: the mean of sampling_ratio² places in each, He et al. 2017, or the maximum.
    ONNXFunction("RoiAlign", since: 10) { f in
      let (x, regions, batches) = (try f.input(0), try f.input(1), try f.input(2))
      let ratio = try f.node.int("sampling_ratio", default: 0)
      guard ratio > 0 else { return nil }
      let region = try RegionAttributes(f.node)
      guard x.rank == 4, let sizes = x.shape.constants, regions.rank == 2, regions.shape[1] == 4,
        batches.shape == [regions.shape[0]]
      else {
        throw GraftError(.unsupported, "regions \(regions.type) by \(batches.type) of \(x.type)")
      }
      let bins = region.bins
      guard ratio <= Window.largest,
        saturatingProduct(bins + [ratio, ratio]) <= largestConstant, sizes.allSatisfy({ $0 >= 1 }),
        let points = regions.shape[0].multiplied(
          by: Dimension(saturatingProduct(bins + [ratio, ratio])))
      else { throw GraftError(.unsupported, "\(bins) bins of \(ratio) places each way") }
      // Place (bin + (i + 1/2) / ratio) of the region's bins along one axis, for all of its places.
      let scaled = try f.apply(
        Subtract(),
        try f.apply(Multiply(), regions, try f.scalar(region.scale, like: regions)),
        try f.scalar(region.isHalfPixel ? 0.5 : 0, like: regions))
      let grid = [regions.shape[0], Dimension(bins[0] * ratio), Dimension(bins[1] * ratio)]
      var places: [FunctionBuilder.Term] = []
      var inside: FunctionBuilder.Term?
      for axis in 0..<2 {
        func column(_ index: Int) throws -> FunctionBuilder.Term {
          try f.apply(Slice(axes: [1], starts: [index], extents: [1], steps: [1]), scaled)
        }
        let start = try column(1 - axis)
        var length = try f.apply(Subtract(), try column(3 - axis), start)
        if !region.isHalfPixel { length = try f.apply(Clip(low: 1), length) }
        let steps = (0..<(bins[axis] * ratio)).map {
          (Double($0) + 0.5) / Double(ratio * bins[axis])
        }
        let moved = try f.apply(
          Add(), start, try f.apply(Multiply(), length, try f.matrix([steps], like: regions)))
        var shape = [grid[0], 1, 1]
        shape[axis + 1] = grid[axis + 1]
        let place = try f.expanded(
          try f.reshape(moved, to: TensorShape(shape)), to: TensorShape(grid))
        let isInside = try f.apply(
          LogicalNot(),
          try f.apply(
            LogicalOr(), try f.apply(Less(), place, try f.scalar(-1, like: place)),
            try f.apply(Greater(), place, try f.scalar(Double(sizes[axis + 2]), like: place))))
        inside = try inside.map { try f.apply(LogicalAnd(), $0, isInside) } ?? isInside
        places.append(try f.reshape(place, to: [1, 1, points]))
      }
      guard let inside else { throw GraftError(.inconsistency, "a region without axes") }
      // The images of a batch beside each other, each of its regions in its own.
      let pixels = saturatingProduct(Array(sizes[2...]))
      let images = try f.reshape(
        try f.transpose(x, by: [1, 0, 2, 3]),
        to: [1, x.shape[1], Dimension(saturatingProduct([sizes[0], pixels]))])
      var base: FunctionBuilder.Term?
      if sizes[0] > 1 {
        let own = try f.apply(
          Multiply(), try f.cast(batches, to: .int64), try f.integer(pixels))
        base = try f.reshape(
          try f.expanded(
            try f.reshape(own, to: [grid[0], 1, 1]), to: TensorShape(grid)), to: [1, 1, points])
      }
      var sampling = Sampling(padding: .border)
      sampling.takesLargest = region.takesLargest
      var values = try f.sampled(
        images, extents: Array(sizes[2...]), at: places, sampling, from: base)
      values = try f.apply(
        Where(), try f.reshape(inside, to: [1, 1, points]), values, try f.scalar(0, like: values))
      let byBin = try f.reshape(
        values,
        to: [
          x.shape[1], grid[0], Dimension(bins[0]), Dimension(ratio), Dimension(bins[1]),
          Dimension(ratio),
        ])
      let pooled =
        region.takesLargest
        ? try f.apply(Reduction(.max, axes: [3, 5], keepsAxes: false), byBin)
        : try f.apply(ReduceMean(axes: [3, 5], keepsAxes: false), byBin)
      return [try f.transpose(pooled, by: [1, 0, 2, 3])]
    },
  ]
}

/// The attributes of a RoiAlign but for the number of places in a bin.
struct RegionAttributes {
  /// [height, width]
  let bins: [Int]
  let scale: Double
  let takesLargest: Bool
  /// Whether regions are moved by half a pixel, and may be smaller than one.
  let isHalfPixel: Bool

  init(_ node: ONNXNode) throws {
    bins = [
      try node.int("output_height", default: 1), try node.int("output_width", default: 1),
    ]
    scale = try node.float("spatial_scale", default: 1)
    let mode = try node.string("mode", default: "avg")
    let coordinates = try node.string(
      "coordinate_transformation_mode",
      default: node.opset < 16 ? "output_half_pixel" : "half_pixel")
    guard ["avg", "max"].contains(mode.lowercased()),
      ["half_pixel", "output_half_pixel"].contains(coordinates), scale.isFinite,
      bins.allSatisfy({ (1...Window.largest).contains($0) })
    else {
      throw GraftError(
        .invalidModel,
        "mode \(mode.quotedForDisplay), \(coordinates.quotedForDisplay), scale \(scale), \(bins) bins"
      )
    }
    takesLargest = mode.lowercased() == "max"
    isHalfPixel = coordinates == "half_pixel"
  }
}
