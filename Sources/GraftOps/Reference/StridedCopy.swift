// Reading a dense tensor along other strides: what transposing, slicing, splitting and expanding have
// in common when they are evaluated.

import GraftDiagnostics

/// The elements of `x` at offset + Σ index · stride, for every index of a tensor of shape `extents` in
/// row-major order. Strides may be zero or negative.
/// - Throws: ``GraftError`` of kind `inconsistency` if an index would leave `x`.
func strided<Element>(
  _ x: [Element], offset: Int, strides: [Int], extents: [Int]
) throws -> [Element] {
  guard !extents.contains(0) else { return [] }
  var lowest = offset
  var highest = offset
  for (stride, extent) in zip(strides, extents) {
    let reach = stride * (extent - 1)
    if reach < 0 { lowest += reach } else { highest += reach }
  }
  guard lowest >= 0, highest < x.count else {
    throw GraftError(
      .inconsistency, "strides \(strides) over \(extents) leave a tensor of \(x.count) elements")
  }
  guard let innerExtent = extents.last, let innerStride = strides.last else { return [x[offset]] }
  var result: [Element] = []
  result.reserveCapacity(extents.reduce(1, *))
  forEachIndex(of: Array(extents.dropLast())) { index in
    var position = offset
    for axis in index.indices { position += index[axis] * strides[axis] }
    for _ in 0..<innerExtent {
      result.append(x[position])
      position += innerStride
    }
  }
  return result
}
