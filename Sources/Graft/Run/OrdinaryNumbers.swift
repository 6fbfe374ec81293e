// Inputs for measurements: their values matter only in being ordinary numbers.

import GraftOps

/// Pseudo-random numbers from -1 to 1, the same each time: xorshift64 (Marsaglia 2003).
struct OrdinaryNumbers {
  private var state: UInt64 = 0x9e37_79b9_7f4a_7c15

  mutating func next() -> Float {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return Float(state >> 40) / Float(1 << 23) - 1
  }

  mutating func tensor(shape: [Int]) throws -> Tensor {
    try Tensor(shape: shape, elements: (0..<shape.reduce(1, *)).map { _ in next() })
  }
}
