// Inputs for measurements: normal finite values.

import GraftIR

/// Pseudo-random numbers from -1 to 1, the same each time: xorshift64 (Marsaglia 2003).
struct RandomInputs {
  private var state: UInt64 = 0x9e37_79b9_7f4a_7c15

  mutating func next() -> Float {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return Float(state >> 40) / Float(1 << 23) - 1
  }

  /// Zeros for integer types, which are always valid indices.
  mutating func tensor(_ type: TensorType, batch: Int) throws -> Tensor {
    let shape = try type.shape.extents(batch: batch)
    let count = shape.reduce(1, *)
    guard type.dtype.isFloatingPoint else {
      return try Tensor(
        type.dtype, shape: shape, bytes: Array(repeating: 0, count: count * type.dtype.byteCount))
    }
    return try Tensor(shape: shape, elements: (0..<count).map { _ in next() })
      .converted(to: type.dtype)
  }
}
