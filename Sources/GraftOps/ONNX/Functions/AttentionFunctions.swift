// Attention as one ONNX operator, and the rotation of positions, made of Graft's own. ONNX Attention, opsets 23, 24,
// 25; https://onnx.ai/onnx/operators/onnx__Attention.html; RotaryEmbedding, opset 23.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let attention: [ONNXFunction] = [
    /// softmax(Q · Kᵀ · scale + bias) · V for each head (Vaswani et al. 2017), with past keys and values, grouped heads,
    /// masks, a soft limit of the scores and a window.
    ONNXFunction("Attention", since: 23) { f in
      var attention = try AttentionInputs(&f)
      let scores = try attention.scores(&f)
      let bias = try attention.bias(&f)
      let biased = try bias.map { try f.apply(Add(), scores, $0) } ?? scores
      var weights = try f.apply(Softmax(axis: 3), biased)
      if let bias, attention.canMaskRows {
        // A query that may look at nothing has zeros.
        let most = try f.apply(Reduction(.max, axes: [bias.rank - 1]), bias)
        let isMasked = try f.apply(Equal(), most, try f.scalar(-.infinity, like: bias))
        weights = try f.apply(Where(), isMasked, try f.scalar(0, like: weights), weights)
      }
      var y = try f.apply(MatrixMultiply(), weights, try attention.repeated(attention.value, &f))
      if attention.isFlat {
        y = try f.transpose(y, by: [0, 2, 1, 3])
        y = try f.reshape(
          y, to: [y.shape[0], y.shape[1], try y.shape[2].times(y.shape[3], "heads")])
      }
      let mode = try f.node.int("qk_matmul_output_mode", default: 0)
      let shown = mode == 3 ? weights : mode == 2 ? biased : scores
      let results = [y, attention.key, attention.value, shown]
      return try results.prefix(f.node.outputCount).map { try f.apply(Identity(), $0) }
    },
    /// Pairs of elements of each head turned by an angle that its position has (Su et al. 2021).
    ONNXFunction("RotaryEmbedding", since: 23) { f in
      let x = try f.input(0)
      guard x.rank == 3 || x.rank == 4 else {
        throw GraftError(.invalidModel, "x must have rank 3 or 4, found \(x.type)")
      }
      // [batch, sequence, heads, size]
      var turned = x
      if x.rank == 4 {
        turned = try f.transpose(x, by: [0, 2, 1, 3])
      } else {
        let heads = try f.node.int("num_heads", default: 0)
        guard let width = x.shape[2].constant, heads > 0, width.isMultiple(of: heads) else {
          throw GraftError(.invalidModel, "\(x.type) does not divide into \(heads) heads")
        }
        turned = try f.reshape(
          x, to: [x.shape[0], x.shape[1], Dimension(heads), Dimension(width / heads)])
      }
      guard let size = turned.shape[3].constant else {
        throw GraftError(.unsupported, "heads of \(x.type)")
      }
      let stated = try f.node.int("rotary_embedding_dim", default: 0)
      let rotated = stated == 0 ? size : stated
      guard rotated > 0, rotated <= size, rotated.isMultiple(of: 2) else {
        throw GraftError(.invalidModel, "\(rotated) of \(size) elements cannot be turned")
      }
      let half = rotated / 2
      // Cosines and sines of each position, for all heads: [batch, sequence, 1, half]
      let tables = try [1, 2].map { index -> FunctionBuilder.Term in
        var table = try f.input(index)
        if let places = f.optionalInput(3) {
          guard table.rank == 2 else {
            throw GraftError(.invalidModel, "\(table.type) is no table of angles by position")
          }
          try f.node.requireIndices(3, in: [0], of: table.shape)
          table = try f.apply(Gather(axis: 0), table, places)
        }
        guard table.rank == 3, table.shape[2] == Dimension(half) else {
          throw GraftError(.invalidModel, "\(table.type) has no angle for each of \(half) pairs")
        }
        return try f.reshape(table, to: [table.shape[0], table.shape[1], 1, Dimension(half)])
      }
      let isInterleaved = try f.node.flag("interleaved", default: false)
      func part(_ start: Int, _ count: Int, _ step: Int = 1) throws -> FunctionBuilder.Term {
        try f.apply(
          Slice(axes: [3], starts: [start], extents: [count], steps: [step]), turned)
      }
      let (a, b) =
        isInterleaved
        ? (try part(0, half, 2), try part(1, half, 2)) : (try part(0, half), try part(half, half))
      let (cosine, sine) = (tables[0], tables[1])
      let real = try f.apply(
        Subtract(), try f.apply(Multiply(), a, cosine), try f.apply(Multiply(), b, sine))
      let imaginary = try f.apply(
        Add(), try f.apply(Multiply(), a, sine), try f.apply(Multiply(), b, cosine))
      var y: FunctionBuilder.Term
      if isInterleaved {
        let pairs = TensorShape(real.shape.dimensions + [1])
        let joined = try f.results(
          of: Concatenate(axis: 4),
          [try f.reshape(real, to: pairs), try f.reshape(imaginary, to: pairs)])[0]
        y = try f.reshape(
          joined, to: TensorShape(real.shape.dimensions.dropLast() + [Dimension(rotated)]))
      } else {
        y = try f.results(of: Concatenate(axis: 3), [real, imaginary])[0]
      }
      if rotated < size {
        y = try f.results(of: Concatenate(axis: 3), [y, try part(rotated, size - rotated)])[0]
      }
      return [
        x.rank == 4 ? try f.transpose(y, by: [0, 2, 1, 3]) : try f.reshape(y, to: x.shape)
      ]
    },
  ]
}

/// Queries, keys and values as [batch, heads, sequence, size].
private struct AttentionInputs {
  let isFlat: Bool
  let query: FunctionBuilder.Term
  /// With the past ones before them.
  let key: FunctionBuilder.Term
  let value: FunctionBuilder.Term
  private let past: Int
  private let queries: Int
  private let keys: Int
  /// Whether a query may have no key that it may look at.
  private(set) var canMaskRows = false

  init(_ f: inout FunctionBuilder) throws {
    let inputs = try (0..<3).map { try f.input($0) }
    isFlat = inputs[0].rank == 3
    guard inputs.allSatisfy({ $0.rank == inputs[0].rank && $0.type.dtype.isFloatingPoint }),
      isFlat || inputs[0].rank == 4
    else {
      throw GraftError(
        .invalidModel,
        "Q, K and V must have rank 3 or 4, found "
          + inputs.map(\.type.description).joined(separator: ", "))
    }
    var heads = inputs
    if isFlat {
      let counts = [
        try f.node.int("q_num_heads", default: 0), try f.node.int("kv_num_heads", default: 0),
      ]
      for (index, x) in inputs.enumerated() {
        let count = counts[min(index, 1)]
        guard count > 0, let width = x.shape[2].constant, width.isMultiple(of: count) else {
          throw GraftError(.invalidModel, "\(x.type) does not divide into \(count) heads")
        }
        let split = try f.reshape(
          x, to: [x.shape[0], x.shape[1], Dimension(count), Dimension(width / count)])
        heads[index] = try f.transpose(split, by: [0, 2, 1, 3])
      }
    }
    query = heads[0]
    var (key, value) = (heads[1], heads[2])
    var past = 0
    if let earlier = f.optionalInput(4), let values = f.optionalInput(5) {
      guard earlier.rank == 4, let length = earlier.shape[2].constant else {
        throw GraftError(.unsupported, "past keys \(earlier.type)")
      }
      past = length
      key = try f.results(of: Concatenate(axis: 2), [earlier, key])[0]
      value = try f.results(of: Concatenate(axis: 2), [values, value])[0]
    }
    guard let queries = query.shape[2].constant, let keys = key.shape[2].constant else {
      throw GraftError(.unsupported, "sequences of \(query.type) and \(key.type)")
    }
    (self.key, self.value, self.past, self.queries, self.keys) = (key, value, past, queries, keys)
  }

  /// Keys or values, each head repeated for the queries of its group.
  func repeated(
    _ x: FunctionBuilder.Term, _ f: inout FunctionBuilder
  ) throws -> FunctionBuilder.Term {
    guard let own = x.shape[1].constant, let wanted = query.shape[1].constant, own > 0,
      wanted.isMultiple(of: own)
    else { throw GraftError(.invalidModel, "\(query.type) and \(x.type) have other heads") }
    guard own != wanted else { return x }
    let (n, length, size) = (x.shape[0], x.shape[2], x.shape[3])
    let wide = try f.apply(
      Expand(shape: [n, Dimension(own), Dimension(wanted / own), length, size]),
      try f.reshape(x, to: [n, Dimension(own), 1, length, size]))
    return try f.reshape(wide, to: [n, Dimension(wanted), length, size])
  }

  /// Q · Kᵀ · scale, limited: [batch, heads, queries, keys]
  func scores(_ f: inout FunctionBuilder) throws -> FunctionBuilder.Term {
    guard let size = query.shape[3].constant, size > 0 else {
      throw GraftError(.unsupported, "heads of \(query.type)")
    }
    let scale = try f.node.float("scale", default: 1 / Double(size).squareRoot())
    let scaled = try f.apply(Multiply(), query, try f.scalar(scale, like: query))
    let turned = try f.transpose(try repeated(key, &f), by: [0, 1, 3, 2])
    let scores = try f.apply(MatrixMultiply(), scaled, turned)
    let limit = try f.node.float("softcap", default: 0)
    guard limit > 0 else { return scores }
    let small = try f.apply(Multiply(), scores, try f.scalar(1 / limit, like: scores))
    return try f.apply(
      Multiply(), try f.apply(Tanh(), small), try f.scalar(limit, like: scores))
  }

  /// What is added to the scores: −∞ where a query may not look at a key. Nil for nothing.
  mutating func bias(_ f: inout FunctionBuilder) throws -> FunctionBuilder.Term? {
    var terms: [FunctionBuilder.Term] = []
    let zero = try f.scalar(0, like: query)
    let never = try f.scalar(-.infinity, like: query)
    if var mask = f.optionalInput(3) {
      canMaskRows = true
      if mask.type.dtype == .bool { mask = try f.apply(Where(), mask, zero, never) }
      guard let length = mask.shape.dimensions.last?.constant, length <= keys else {
        throw GraftError(.invalidModel, "the mask \(mask.type) does not fit \(keys) keys")
      }
      if length < keys {
        var pads = Array(repeating: 0, count: 2 * mask.rank)
        pads[2 * mask.rank - 1] = keys - length
        mask = try f.apply(Pad(pads: pads, value: .real(-.infinity)), mask)
      }
      terms.append(mask)
    }
    let isCausal = try f.node.flag("is_causal", default: false)
    let left = try f.node.int("left_window_size", default: -1)
    let right = try f.node.int("right_window_size", default: -1)
    let limit = ONNXFunction.largestConstant
    guard queries <= limit, keys <= limit, queries * keys <= limit else {
      throw GraftError(.unsupported, "\(queries) queries and \(keys) keys")
    }
    /// How far each key lies behind its query, [queries, keys], where the first query has `offset` keys before it.
    let distances = (0..<queries).flatMap { query in (0..<keys).map { query - $0 } }
    if let lengths = f.optionalInput(6) {
      guard lengths.rank == 1 else {
        throw GraftError(
          .invalidModel, "nonpad_kv_seqlen \(lengths.type) has no length for each item")
      }
      // Each item has its own number of keys; its last query is the last of them.
      canMaskRows = true
      let count = try f.reshape(
        try f.cast(lengths, to: .int64), to: TensorShape([lengths.shape[0], 1, 1, 1]))
      let places = f.constant(
        try TensorData(packing: Array(0..<keys), as: .int64, shape: [1, 1, 1, keys]))
      terms.append(try f.apply(Where(), try f.apply(Less(), places, count), zero, never))
      let behind = try f.apply(
        Add(),
        f.constant(
          try TensorData(packing: distances, as: .int64, shape: [1, 1, queries, keys])),
        try f.apply(Add(), count, try f.integer(-queries)))
      if isCausal {
        terms.append(
          try f.apply(Where(), try f.apply(Less(), behind, try f.integer(0)), never, zero))
      }
      if left >= 0 {
        terms.append(
          try f.apply(Where(), try f.apply(Greater(), behind, try f.integer(left)), never, zero))
      }
      if right >= 0 {
        terms.append(
          try f.apply(Where(), try f.apply(Less(), behind, try f.integer(-right)), never, zero))
      }
    } else if isCausal || left >= 0 || right >= 0 {
      let numbers = distances.map { distance -> Double in
        let behind = distance + past
        let isAllowed =
          !(isCausal && behind < 0) && !(left >= 0 && behind > left)
          && !(right >= 0 && -behind > right)
        return isAllowed ? 0 : -.infinity
      }
      for query in 0..<queries where !canMaskRows {
        canMaskRows = numbers[(query * keys)..<((query + 1) * keys)].allSatisfy { $0 != 0 }
      }
      terms.append(
        f.constant(
          try TensorData(packing: numbers, as: query.type.dtype, shape: [queries, keys])))
    }
    guard var sum = terms.first else { return nil }
    for term in terms.dropFirst() { sum = try f.apply(Add(), sum, term) }
    return sum
  }
}

extension Dimension {
  /// The product.
  /// - Throws: ``GraftError`` if it grows with the square of the batch.
  fileprivate func times(_ other: Dimension, _ what: String) throws -> Dimension {
    guard let product = multiplied(by: other) else {
      throw GraftError(.unsupported, "\(what) of \(self) times \(other)")
    }
    return product
  }
}
