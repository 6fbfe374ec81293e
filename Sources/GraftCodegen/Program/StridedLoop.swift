// Loops over plain, row-major values with a stride for each operand: broadcasting, slices, transposes.
// Neighbouring axes that every operand walks alike become one, so that most loops are one long run.

import GraftDiagnostics
import GraftIR

/// A nest of loops, outermost first, over `extents`; `strides[operand][axis]` in elements.
struct StridedLoop: Hashable {
  private(set) var extents: [Dimension]
  private(set) var strides: [[Int]]

  /// - Throws: ``GraftError`` of kind `unsupported` where the free batch is on an axis other than
  ///   the first that is not 1.
  init(extents: [Dimension], strides: [[Int]]) throws {
    let kept = extents.indices.filter { extents[$0] != 1 }
    var outExtents: [Dimension] = []
    var outStrides: [[Int]] = strides.map { _ in [] }
    for axis in kept {
      if let last = outExtents.indices.last, let extent = extents[axis].constant,
        strides.indices.allSatisfy({ outStrides[$0][last] == strides[$0][axis] * extent }),
        let product = outExtents[last].multiplied(by: extents[axis])
      {
        outExtents[last] = product
        for operand in strides.indices { outStrides[operand][last] = strides[operand][axis] }
      } else {
        outExtents.append(extents[axis])
        for operand in strides.indices { outStrides[operand].append(strides[operand][axis]) }
      }
    }
    guard outExtents.dropFirst().allSatisfy({ !$0.isBatch }) else {
      throw GraftError(
        .unsupported, "kernels take the free batch on the first axis only, found \(extents)")
    }
    self.extents = outExtents
    self.strides = outStrides
  }

  /// Extent of the innermost loop; 1 where there is no loop at all.
  var innerExtent: Int {
    guard let last = extents.last else { return 1 }
    return last.isBatch ? 1 : last.coefficient
  }

  func innerStride(_ operand: Int) -> Int {
    guard let last = extents.last, !last.isBatch else { return 0 }
    return strides[operand].last ?? 0
  }

  /// All loops but the innermost.
  private var outerAxes: Range<Int> {
    guard let last = extents.last else { return 0..<0 }
    return 0..<(last.isBatch ? extents.count : extents.count - 1)
  }

  /// How often the innermost loop runs.
  var rows: WorkUnits {
    var count = 1
    var batch = Dimension(1)
    for axis in outerAxes {
      if extents[axis].isBatch { batch = extents[axis] } else { count *= extents[axis].coefficient }
    }
    return WorkUnits(count, times: batch)
  }

  /// The C expression of an operand's offset for the run number `row`.
  func offset(_ operand: Int, row: String = "row") -> String {
    var terms: [String] = []
    var suffix = 1
    for axis in outerAxes.reversed() {
      let stride = strides[operand][axis]
      let quotient = suffix == 1 ? row : "\(row) / \(suffix)"
      let index = axis == 0 ? quotient : "\(quotient) % \(extents[axis].coefficient)"
      if stride != 0 {
        terms.append(stride == 1 ? index : "(ptrdiff)(\(index)) * \(stride)")
      }
      if !extents[axis].isBatch { suffix *= extents[axis].coefficient }
    }
    return terms.isEmpty ? "0" : terms.reversed().joined(separator: " + ")
  }
}

extension TensorShape {
  /// Elements between neighbours along each axis in plain row-major order.
  /// - Throws: ``GraftError`` of kind `unsupported` where they depend on the batch.
  func plainStrides() throws -> [Int] {
    var strides = Array(repeating: 1, count: rank)
    for axis in dimensions.indices.dropLast().reversed() {
      guard let extent = dimensions[axis + 1].constant else {
        throw GraftError(
          .unsupported, "kernels take the free batch on the first axis only, found \(self)")
      }
      strides[axis] = strides[axis + 1] * extent
    }
    return strides
  }

  /// ``plainStrides()`` seen from a shape that it broadcasts to: 0 along axes that repeat.
  func broadcastStrides(to result: TensorShape) throws -> [Int] {
    let own = try plainStrides()
    let missing = result.rank - rank
    guard missing >= 0 else {
      throw GraftError(.inconsistency, "\(self) does not broadcast to \(result)")
    }
    return result.dimensions.indices.map { axis in
      axis < missing || dimensions[axis - missing] == 1 ? 0 : own[axis - missing]
    }
  }
}

extension StridedLoop {
  /// The same loop with an innermost run of more than `longest` elements broken into equal rows, so
  /// that threads can share it.
  func split(longest: Int) -> StridedLoop {
    guard let last = extents.last else { return self }
    let extent = last.coefficient
    let length = (1...longest).last { extent.isMultiple(of: $0) } ?? 1
    guard extent > longest || last.isBatch, length > 1 else { return self }
    var copy = self
    let outer = last.isBatch ? Dimension.batch(times: extent / length) : Dimension(extent / length)
    copy.extents[extents.count - 1] = outer
    copy.extents.append(Dimension(length))
    for operand in strides.indices {
      let step = strides[operand][extents.count - 1]
      copy.strides[operand][extents.count - 1] = step * length
      copy.strides[operand].append(step)
    }
    return copy
  }
}
