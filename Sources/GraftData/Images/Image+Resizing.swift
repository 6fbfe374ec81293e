// Resizing, bit for bit as in Pillow: first horizontally, rounded to 8 bits, then vertically, with the weights of
// ResampleWeights.swift. Pillow 13 and later resizes vertically first if the height shrinks much more than the width;
// pixels can then differ by 1. Only the requested window is computed, because a crop usually follows.

import GraftDiagnostics

extension Image {
  /// The resized image: with `antialias` as Pillow's `resize`, without it, which differs when downsampling,
  /// as PyTorch's `interpolate(align_corners=False)`.
  ///
  /// - Parameter window: The region of the result to compute, all by default; equal to computing everything
  ///   and cropping.
  /// - Throws: ``GraftError`` of kind `invalidData` if a size is not positive, the window is not inside the
  ///   result, or it has more pixels than ``pixelLimit``.
  public func resized(
    width newWidth: Int, height newHeight: Int, filter: ResampleFilter, antialias: Bool = true,
    window: (columns: Range<Int>, rows: Range<Int>)? = nil
  ) throws -> Image {
    let columns = window?.columns ?? 0..<max(0, newWidth)
    let rows = window?.rows ?? 0..<max(0, newHeight)
    let count = try Self.checkedCount(
      width: columns.count, height: rows.count, channels: channels)
    // Beyond 2⁴⁰ positions double precision no longer tells neighboring pixels well apart.
    guard newWidth < 1 << 40, newHeight < 1 << 40, columns.lowerBound >= 0, rows.lowerBound >= 0,
      columns.upperBound <= newWidth, rows.upperBound <= newHeight
    else {
      throw GraftError(
        .invalidData, "no region \(columns) × \(rows) in an image of \(newWidth) × \(newHeight)")
    }
    guard newWidth != width || newHeight != height else {
      return try cropped(
        x: columns.lowerBound, y: rows.lowerBound, width: columns.count, height: rows.count)
    }
    guard antialias else {
      return interpolated(
        ResampleWeights(
          interpolating: width, target: newWidth, window: columns, filter: filter),
        ResampleWeights(
          interpolating: height, target: newHeight, window: rows, filter: filter))
    }
    let vertical = ResampleWeights(
      source: height, target: newHeight, window: rows, filter: filter)
    let horizontal = ResampleWeights(
      source: width, target: newWidth, window: columns, filter: filter)

    let middleRows = vertical.sources
    let middleCount = try Self.checkedCount(
      width: columns.count, height: middleRows.count, channels: channels)
    let middle = [UInt8](unsafeUninitializedCapacity: middleCount) { target, filled in
      pixels.withUnsafeBufferPointer { source in
        HorizontalPass(weights: horizontal, channels: channels, sourceWidth: width)
          .run(rows: middleRows, from: source, into: target)
      }
      filled = middleCount
    }
    let result = [UInt8](unsafeUninitializedCapacity: count) { target, filled in
      middle.withUnsafeBufferPointer { source in
        VerticalPass(weights: vertical, rowLength: columns.count * channels)
          .run(from: source, into: target)
      }
      filled = count
    }
    return Image(
      unchecked: result, width: columns.count, height: rows.count, channels: channels)
  }
}

extension Image {
  /// Interpolates each pixel from the nearest 2 × 2 or 4 × 4 and rounds only at the end: intermediate cubic
  /// results exceed 0 … 255, and PyTorch does not clamp them.
  private func interpolated(
    _ horizontal: ResampleWeights, _ vertical: ResampleWeights
  ) -> Image {
    let newWidth = horizontal.starts.count
    let newHeight = vertical.starts.count
    let rowLength = newWidth * channels
    let result = [UInt8](unsafeUninitializedCapacity: newHeight * rowLength) { target, filled in
      for y in 0..<newHeight {
        for x in 0..<newWidth {
          for channel in 0..<channels {
            var sum = 0.5
            for i in 0..<vertical.counts[y] {
              let row = (vertical.starts[y] + i) * width
              var across = 0.0
              for j in 0..<horizontal.counts[x] {
                let value = pixels[(row + horizontal.starts[x] + j) * channels + channel]
                across += Double(value) * horizontal.exact[horizontal.offsets[x] + j]
              }
              sum += across * vertical.exact[vertical.offsets[y] + i]
            }
            target[y * rowLength + x * channels + channel] = UInt8(min(max(sum, 0), 255))
          }
        }
      }
      filled = newHeight * rowLength
    }
    return Image(unchecked: result, width: newWidth, height: newHeight, channels: channels)
  }
}

private typealias Bytes = SIMD16<UInt8>
private typealias Sums = SIMD16<Int32>

/// The rounded, clamped pixels of sums accumulated in two parts.
@inline(__always)
private func pixels(high: Sums, low: Sums) -> Bytes {
  let half: Int32 = 1 << (ResampleWeights.fractionBits - 1)
  let sum = (high &<< ResampleWeights.lowBits) &+ low &+ half
  let rounded = sum &>> ResampleWeights.fractionBits
  // Clamping by sign masks: comparisons of SIMD types do not become vector instructions everywhere.
  let positive = rounded & ~(rounded &>> 31)
  return Bytes(truncatingIfNeeded: positive | ((255 &- positive) &>> 31))
}

/// Adds `bytes` times one weight to the two sums.
@inline(__always)
private func add(
  _ bytes: Bytes, _ highWeight: Int16, _ lowWeight: Int16, _ high: inout Sums, _ low: inout Sums
) {
  let values = Sums(truncatingIfNeeded: bytes)
  high &+= values &* Sums(repeating: Int32(highWeight))
  low &+= values &* Sums(repeating: Int32(lowWeight))
}

/// Resamples along rows. Sixteen rows at a time are transposed, so that a vector has the same column of each
/// row and one weight applies to the whole vector.
private struct HorizontalPass {
  static let lanes = 16
  let weights: ResampleWeights
  let channels: Int
  let sourceWidth: Int

  /// Resamples `rows` of `source`, which has whole rows of the image, to `target`, whose rows have one pixel
  /// per output position of the weights.
  func run(
    rows: Range<Int>, from source: UnsafeBufferPointer<UInt8>,
    into target: UnsafeMutableBufferPointer<UInt8>
  ) {
    let columns = weights.sources
    let turnedIn = columns.count * channels
    let turnedOut = weights.starts.count * channels
    let scratch = UnsafeMutableRawPointer.allocate(
      byteCount: (turnedIn + turnedOut) * Self.lanes, alignment: 64)
    scratch.initializeMemory(
      as: UInt8.self, repeating: 0, count: (turnedIn + turnedOut) * Self.lanes)
    defer { scratch.deallocate() }
    let input = scratch.assumingMemoryBound(to: UInt8.self)
    let output = input + turnedIn * Self.lanes

    for first in stride(from: rows.lowerBound, to: rows.upperBound, by: Self.lanes) {
      let count = min(Self.lanes, rows.upperBound - first)
      let start = (first * sourceWidth + columns.lowerBound) * channels
      turn(source, from: start, rows: count, into: input, length: turnedIn)
      resample(UnsafeRawPointer(input), into: UnsafeMutableRawPointer(output))
      let end = (first - rows.lowerBound) * turnedOut
      turnBack(output, rows: count, into: target, from: end, length: turnedOut)
    }
  }

  /// Transposes up to 16 rows. Lanes without a row have undefined values, which are not stored.
  private func turn(
    _ source: UnsafeBufferPointer<UInt8>, from start: Int, rows: Int,
    into input: UnsafeMutablePointer<UInt8>, length: Int
  ) {
    guard let base = source.baseAddress else { return }
    let stride = sourceWidth * channels
    var index = 0
    if rows == Self.lanes {
      while index + 16 <= length {
        ByteBlock.transpose(
          UnsafeRawPointer(base + start + index), stride: stride,
          into: UnsafeMutableRawPointer(input + index * Self.lanes), stride: Self.lanes)
        index += 16
      }
    }
    for column in index..<length {
      for lane in 0..<rows {
        input[column * Self.lanes + lane] = base[start + lane * stride + column]
      }
    }
  }

  /// Transposes back to rows.
  private func turnBack(
    _ output: UnsafeMutablePointer<UInt8>, rows: Int,
    into target: UnsafeMutableBufferPointer<UInt8>, from start: Int, length: Int
  ) {
    guard let base = target.baseAddress else { return }
    var index = 0
    if rows == Self.lanes {
      while index + 16 <= length {
        ByteBlock.transpose(
          UnsafeRawPointer(output + index * Self.lanes), stride: Self.lanes,
          into: UnsafeMutableRawPointer(base + start + index), stride: length)
        index += 16
      }
    }
    for column in index..<length {
      for lane in 0..<rows {
        base[start + lane * length + column] = output[column * Self.lanes + lane]
      }
    }
  }

  private func resample(_ input: UnsafeRawPointer, into output: UnsafeMutableRawPointer) {
    let stride = channels * Self.lanes
    weights.high.withUnsafeBufferPointer { high in
      weights.low.withUnsafeBufferPointer { low in
        for column in 0..<weights.starts.count {
          let count = weights.counts[column]
          let offset = weights.offsets[column]
          let start = (weights.starts[column] - weights.sources.lowerBound) * stride
          for channel in 0..<channels {
            var sums = (Sums(repeating: 0), Sums(repeating: 0))
            var read = input + start + channel * Self.lanes
            for tap in 0..<count {
              add(
                read.load(as: Bytes.self), high[offset + tap], low[offset + tap], &sums.0, &sums.1)
              read += stride
            }
            (output + column * stride + channel * Self.lanes).storeBytes(
              of: pixels(high: sums.0, low: sums.1), as: Bytes.self)
          }
        }
      }
    }
  }
}

/// Resamples along columns: whole rows are summed, sixteen values at a time.
private struct VerticalPass {
  let weights: ResampleWeights
  let rowLength: Int

  /// `source` has exactly the rows `weights.sources`.
  func run(
    from source: UnsafeBufferPointer<UInt8>, into target: UnsafeMutableBufferPointer<UInt8>
  ) {
    guard let source = source.baseAddress, let target = target.baseAddress else { return }
    for row in 0..<weights.starts.count {
      let start = source + (weights.starts[row] - weights.sources.lowerBound) * rowLength
      let output = target + row * rowLength
      var position = 0
      while position + 16 <= rowLength {
        sum(row: row, from: start + position, into: output + position)
        position += 16
      }
      guard position < rowLength else { continue }
      if rowLength >= 16 {
        // The last vector overlaps the one before it: the same values are stored twice.
        sum(row: row, from: start + rowLength - 16, into: output + rowLength - 16)
      } else {
        sumNarrow(row: row, from: start, into: output)
      }
    }
  }

  @inline(__always)
  private func sum(
    row: Int, from start: UnsafePointer<UInt8>, into output: UnsafeMutablePointer<UInt8>
  ) {
    let offset = weights.offsets[row]
    var sums = (Sums(repeating: 0), Sums(repeating: 0))
    var read = UnsafeRawPointer(start)
    for tap in 0..<weights.counts[row] {
      add(
        read.loadUnaligned(as: Bytes.self), weights.high[offset + tap], weights.low[offset + tap],
        &sums.0, &sums.1)
      read += rowLength
    }
    UnsafeMutableRawPointer(output).storeBytes(
      of: pixels(high: sums.0, low: sums.1), as: Bytes.self)
  }

  /// Rows of less than one vector.
  private func sumNarrow(
    row: Int, from start: UnsafePointer<UInt8>, into output: UnsafeMutablePointer<UInt8>
  ) {
    let offset = weights.offsets[row]
    var sums = (Sums(repeating: 0), Sums(repeating: 0))
    for tap in 0..<weights.counts[row] {
      var bytes = Bytes(repeating: 0)
      for lane in 0..<rowLength { bytes[lane] = start[tap * rowLength + lane] }
      add(bytes, weights.high[offset + tap], weights.low[offset + tap], &sums.0, &sums.1)
    }
    let result = pixels(high: sums.0, low: sums.1)
    for lane in 0..<rowLength { output[lane] = result[lane] }
  }
}
