// ONNX operators of networks that keep a state from step to step, and determinants.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let states: [ONNXFunction] = [
    /// ONNX CausalConvWithState, opset 27; https://onnx.ai/onnx/operators/onnx__CausalConvWithState.html. Each
    /// channel of x [N, C, L], behind the last k − 1 elements of the step before or zeros, is convolved by itself.
    ONNXFunction("CausalConvWithState", since: 27) { f in
      let (x, w) = (try f.input(0), try f.input(1))
      let name = try f.node.string("activation", default: "none")
      guard x.rank == 3, w.rank == 3, let weights = w.shape.constants, weights[1] == 1,
        x.shape[1] == w.shape[0], let length = x.shape[2].constant, weights[2] >= 1,
        weights[2] <= Window.largest, length >= 1
      else { throw GraftError(.unsupported, "a convolution of \(x.type) by \(w.type)") }
      guard ["none", "silu", "swish"].contains(name) else {
        throw GraftError(.invalidModel, "activation \(name.quotedForDisplay) is not in ONNX")
      }
      let (channels, before) = (weights[0], weights[2] - 1)
      var row = x
      if before > 0 {
        row =
          try f.optionalInput(3).map { try f.results(of: Concatenate(axis: 2), [$0, x])[0] }
          ?? f.apply(Pad(pads: [0, 0, before, 0, 0, 0]), x)
      }
      guard row.shape == [x.shape[0], x.shape[1], Dimension(length + before)] else {
        throw GraftError(.invalidModel, "a state that does not fit \(x.type)")
      }
      let image = try f.reshape(row, to: [x.shape[0], x.shape[1], 1, row.shape[2]])
      let kernels = try f.reshape(w, to: TensorShape([channels, 1, 1, weights[2]]))
      var y = try f.apply(Convolution(groups: channels), image, kernels, f.optionalInput(2))
      if name != "none" { y = try f.apply(Silu(), y) }
      let state = try f.apply(
        Slice(axes: [2], starts: [before == 0 ? 0 : length], extents: [before], steps: [1]), row)
      return [try f.reshape(y, to: x.shape), state]
    },
    /// ONNX TensorScatter, opset 24; https://onnx.ai/onnx/operators/onnx__TensorScatter.html. A cache with the elements of
    /// an update from an index of each item of the batch on.
    ONNXFunction("TensorScatter", since: 24) { f in
      let (cache, update) = (try f.input(0), try f.input(1))
      let axis = try cache.shape.axis(try f.node.int("axis", default: -2))
      let mode = try f.node.string("mode", default: "linear")
      guard axis >= 1, update.rank == cache.rank, let extent = cache.shape[axis].constant,
        let count = update.shape[axis].constant, (1...largestConstant).contains(count),
        count <= extent
      else { throw GraftError(.unsupported, "\(update.type) written to \(cache.type)") }
      guard ["linear", "circular"].contains(mode) else {
        throw GraftError(.invalidModel, "mode \(mode.quotedForDisplay) is not in ONNX")
      }
      var line = Array(repeating: 1, count: cache.rank)
      line[axis] = count
      var places = f.constant(
        try TensorData(packing: Array(0..<count), as: .int64, shape: line))
      if let starts = f.optionalInput(2) {
        guard starts.shape == [cache.shape[0]] else {
          throw GraftError(.invalidModel, "indices \(starts.type) for \(cache.type)")
        }
        var items = Array(repeating: Dimension(1), count: cache.rank)
        items[0] = cache.shape[0]
        places = try f.apply(
          Add(), places, try f.reshape(try f.cast(starts, to: .int64), to: TensorShape(items)))
      }
      if mode == "circular" { places = try f.apply(Remainder(), places, try f.integer(extent)) }
      return [
        try f.apply(
          ScatterElements(axis: axis), cache, try f.expanded(places, to: update.shape), update)
      ]
    },
    /// ONNX Det, opsets 11, 22; https://onnx.ai/onnx/operators/onnx__Det.html. Expanded by rows from the top, with the
    /// minors of each set of columns computed once.
    ONNXFunction("Det", since: 11) { f in
      let x = try f.input(0)
      guard x.rank >= 2, let size = x.shape[x.rank - 1].constant,
        x.shape[x.rank - 2] == x.shape[x.rank - 1], x.type.dtype.isFloatingPoint
      else { throw GraftError(.invalidModel, "determinants of \(x.type)") }
      guard (1...6).contains(size) else {
        throw GraftError(.unsupported, "determinants of \(size)x\(size) matrices, at most 6x6")
      }
      let outer = TensorShape(Array(x.shape.dimensions.dropLast(2)))
      func element(_ row: Int, _ column: Int) throws -> FunctionBuilder.Term {
        let part = try f.apply(
          Slice(
            axes: [x.rank - 2, x.rank - 1], starts: [row, column], extents: [1, 1], steps: [1, 1]),
          x)
        return try f.reshape(part, to: outer)
      }
      // By the set of columns, a bit for each.
      var minors: [Int: FunctionBuilder.Term] = [:]
      for row in 0..<size {
        let elements = try (0..<size).map { try element(row, $0) }
        var next: [Int: FunctionBuilder.Term] = [:]
        for columns in 1..<(1 << size) where columns.nonzeroBitCount == row + 1 {
          var sum: FunctionBuilder.Term?
          for column in 0..<size where columns & 1 << column != 0 {
            let isMinus = !(columns >> (column + 1)).nonzeroBitCount.isMultiple(of: 2)
            var term = elements[column]
            if let minor = minors[columns & ~(1 << column)] {
              term = try f.apply(Multiply(), term, minor)
            }
            guard let before = sum else {
              sum = isMinus ? try f.apply(Negate(), term) : term
              continue
            }
            sum =
              isMinus ? try f.apply(Subtract(), before, term) : try f.apply(Add(), before, term)
          }
          next[columns] = sum
        }
        minors = next
      }
      guard let whole = minors[(1 << size) - 1] else {
        throw GraftError(.inconsistency, "a matrix without a determinant")
      }
      return [whole]
    },
  ]
}
