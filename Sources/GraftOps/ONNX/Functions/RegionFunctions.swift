// Convolutions whose taps the network moves, by sampling images there.

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
    }
  ]
}
