// What each operator refuses, with the constraint that its doc comment labels and the values that the
// message gives.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps
import Testing

/// A float32 type.
private func real(_ shape: TensorShape) -> TensorType { TensorType(.float32, shape) }
private func integers(_ shape: TensorShape) -> TensorType { TensorType(.int64, shape) }

private struct Refusal: CustomTestStringConvertible {
  var operation: any Operator
  var types: [TensorType?]
  var message: String

  init(_ operation: any Operator, _ types: [TensorType?], _ message: String) {
    self.operation = operation
    self.types = types
    self.message = message
  }

  var testDescription: String { "\(type(of: operation)): \(message)" }
}

@Suite struct ConstraintTests {
  private static let image = real([.batch, 3, 8, 8])
  private static let matrix = real([.batch, 6])
  private static let vector = real([3])
  private static let square = Window(kernel: [2, 2])

  private static let linear: [Refusal] = [
    Refusal(Convolution(), [matrix, matrix], "x must have rank 4, found f32[N,6] [C1]"),
    Refusal(
      Convolution(), [image, real([4, 2, 3, 3])],
      "3 channels in 1 groups do not match weights [4,2,3,3] [C2]"),
    Refusal(
      Convolution(groups: 0), [image, real([4, 3, 3, 3])],
      "3 channels in 0 groups do not match weights [4,3,3,3] [C2]"),
    Refusal(
      Convolution(), [image, real([4, 3, 3, 3]), vector],
      "bias must be f32[4], found f32[3] [C3]"),
    Refusal(
      Convolution(), [image, real([4, 3, 9, 3])],
      "the effective kernel extent 9 exceeds the height 8 with pads 0 and 0 [C4]"),
    Refusal(
      Convolution(strides: [0, 1]), [image, real([4, 3, 3, 3])],
      "kernel [3, 3], strides [0, 1], dilations [1, 1] must be positive and pads [0, 0, 0, 0] not "
        + "negative [C4]"),
    Refusal(
      Convolution(), [image, real([4, 3, 3, 3]), nil, image],
      "residual must be f32[N,4,6,6], found f32[N,3,8,8] [C5]"),
    Refusal(
      Convolution(), [real([2, 3, .batch, 8]), real([4, 3, 3, 3])],
      "x must have constant channels and size, found f32[2,3,N,8] [C6]"),
    Refusal(
      Gemm(), [integers([2, 3]), integers([3, 2])],
      "a must be a floating-point tensor, found i64[2,3] [C1]"),
    Refusal(
      Gemm(), [image, matrix],
      "A and B must be matrices of one type, found f32[N,3,8,8] and f32[N,6] [C1]"),
    Refusal(
      Gemm(), [matrix, real([5, 4])],
      "the inner extent must be constant and the same in A and B, found 6 and 5 [C2]"),
    Refusal(
      Gemm(transposesA: true), [matrix, real([.batch, 4])],
      "the inner extent must be constant and the same in A and B, found N and N [C2]"),
    Refusal(
      Gemm(), [matrix, real([6, 4]), vector], "C must broadcast to f32[N,4], found f32[3] [C3]"),
    Refusal(
      Gemm(alpha: .nan), [matrix, real([6, 4])], "alpha is nan, beta is 1.0 [C4]"),
    Refusal(
      MatrixMultiply(), [real([]), matrix],
      "a and b must have one type and at least rank 1, found f32[] and f32[N,6] [C1]"),
    Refusal(
      MatrixMultiply(), [matrix, real([5, 4])],
      "the inner extent must be constant and the same in both, found f32[N,6] and f32[5,4] [C2]"),
    Refusal(
      MatrixMultiply(), [real([2, 4, 6]), real([3, 6, 4])],
      "shapes [2] and [3] do not broadcast: axis 0 has 2 and 3 [C3]"),
  ]

  private static let rows = real([.batch, 2, 5, 4])
  private static func views(_ view: AttentionView, order: [Int] = [0, 1, 2, 3]) -> Attention {
    Attention(
      scale: 1,
      views: AttentionViews(
        leading: [.batch, 2], queries: 5, keys: 5, size: 4, width: 4,
        views: [view, view, view], order: order))
  }
  private static let whole = AttentionView(offset: 0, strides: [40, 20, 4])

  private static let attention: [Refusal] = [
    Refusal(
      Attention(scale: 1), [rows, rows, integers([.batch, 2, 5, 4])],
      "v must be f32, found i64[N,2,5,4] [C1]"),
    Refusal(
      Attention(scale: 1), [rows, real([.batch, 3, 5, 4]), rows],
      "q, k and v must have the same leading axes, found f32[N,2,5,4], f32[N,3,5,4], f32[N,2,5,4] [C2]"
    ),
    Refusal(
      Attention(scale: 1), [rows, real([.batch, 2, 6, 4]), rows],
      "k and v must have a row for each key, and k one size with q, found f32[N,2,5,4], f32[N,2,6,4], "
        + "f32[N,2,5,4] [C2]"),
    Refusal(
      Attention(scale: 1), [real([2, .batch, 4]), real([2, 5, 4]), real([2, 5, 4])],
      "queries, keys, size and width must be constants, found f32[2,N,4], f32[2,5,4], f32[2,5,4] [C2]"
    ),
    Refusal(
      Attention(scale: 1), [real([2, 5, 0]), real([2, 5, 0]), real([2, 5, 4])],
      "5 queries, 5 keys, size 0 and width 4 must not be 0 [C2]"),
    Refusal(
      Attention(scale: 1), [rows, rows, rows, real([2, 1, 5])],
      "bias must broadcast to [N,2,5,5], found f32[2,1,5] [C3]"),
    Refusal(
      Attention(scale: .infinity), [rows, rows, rows], "scale must be finite, found inf [C4]"),
    Refusal(
      views(AttentionView(offset: 0, strides: [40, 4])), [rows, rows, rows],
      "2 strides for 3 axes of q [C5]"),
    Refusal(
      views(AttentionView(offset: 1, strides: [40, 20, 4])), [rows, rows, rows],
      "the view of q leaves f32[N,2,5,4] [C5]"),
    Refusal(
      views(AttentionView(offset: 0, strides: [-40, 20, 4])), [rows, rows, rows],
      "the stride -40 is too long [C5]"),
    Refusal(
      views(AttentionView(offset: 0, strides: [.batch(times: 40), 20, 4])), [rows, rows, rows],
      "the view of q leaves f32[N,2,5,4] [C5]"),
    Refusal(
      views(whole, order: [0, 1, 3, 2]), [rows, rows, rows],
      "[0, 1, 3, 2] does not permute the axes of [N,2,5,4] with the last one last [C5]"),
    Refusal(
      AttentionGradient(scale: 1), [rows, rows, rows, rows, rows, real([.batch, 2, 4])],
      "logsum must be f32[N,2,5], found f32[N,2,4] [C5]"),
  ]

  private static let normalization: [Refusal] = [
    Refusal(
      BatchNormalization(), [vector, vector, vector, vector, vector],
      "x must have constant channels on its second axis, found f32[3] [C1]"),
    Refusal(
      BatchNormalization(), [image, vector, vector, real([4]), vector],
      "mean must be f32[3], found f32[4] [C2]"),
    Refusal(
      BatchNormalization(epsilon: -1), [image, vector, vector, vector, vector],
      "epsilon must not be negative, found -1.0 [C3]"),
    Refusal(
      BatchNormalization(momentum: 1.5), [image, vector, vector, vector, vector],
      "momentum must be in [0, 1], found 1.5 [C5]"),
    Refusal(ScaleShift(), [integers([2, 3]), vector, vector], "found i64[2,3] [C1]"),
    Refusal(
      ScaleShift(), [image, vector, real([1])], "shift must be f32[3], found f32[1] [C2]"),
    Refusal(LocalResponseNormalization(size: 3), [vector], "found f32[3] [C1]"),
    Refusal(
      LocalResponseNormalization(size: 0), [image],
      "size 0, alpha 0.0001, beta 0.75, bias 1.0 [C2]"),
    Refusal(Softmax(axis: 1), [integers([2, 3])], "found i64[2,3] [C1]"),
    Refusal(Softmax(axis: -1), [matrix], "axis -1 is not an axis of f32[N,6] [C2]"),
    Refusal(
      LogSoftmax(axis: 0), [matrix], "the normalized axes of f32[N,6] must be constant [C3]"),
  ]

  private static let pools: [Refusal] = [
    Refusal(MaxPool(window: square), [matrix], "x must have rank 4, found f32[N,6] [C1]"),
    Refusal(
      MaxPool(window: square), [TensorType(.uint8, [1, 3, 8, 8])],
      "x must be a floating-point tensor, found u8[1,3,8,8] [C1]"),
    Refusal(
      AveragePool(window: Window(kernel: [2])), [image],
      "the window must have two spatial axes: kernel [2], strides [1, 1], pads [0, 0, 0, 0], "
        + "dilations [1, 1] [C2]"),
    Refusal(
      MaxPool(window: Window(kernel: [2, 2], pads: [0, 0, 0, 2])), [image],
      "pads [0, 0, 0, 2] must be smaller than the effective kernel extent 2 [C3]"),
    Refusal(
      MaxPool(window: Window(kernel: [9, 1])), [image],
      "the effective kernel extent 9 exceeds the height 8 with pads 0 and 0 [C4]"),
    Refusal(GlobalAveragePool(), [matrix], "x must have spatial axes, found f32[N,6] [C1]"),
    Refusal(
      GlobalMaxPool(), [real([1, 3, 0, 2])],
      "the spatial axes must be constant and not empty, found f32[1,3,0,2] [C2]"),
    Refusal(ReduceMean(axes: [0]), [integers([2])], "found i64[2] [C1]"),
    Refusal(
      ReduceMean(axes: [3, 2]), [image],
      "axes [3, 2] must be ascending axes of a tensor of rank 4 [C2]"),
    Refusal(
      ReduceMean(axes: [0]), [image],
      "axis 0 of f32[N,3,8,8] must be constant and not empty [C3]"),
  ]

  private static let arithmetic: [Refusal] = [
    Refusal(
      Add(), [image, integers([1])],
      "operands must have one type, found f32[N,3,8,8] and i64[1] [C1]"),
    Refusal(
      Multiply(), [image, matrix],
      "shapes [N,3,8,8] and [N,6] do not broadcast: axis 2 has 8 and N [C2]"),
    Refusal(Sum(), [image, integers([1])], "found f32[N,3,8,8] and i64[1] [C1]"),
    Refusal(
      Maximum(), [image, real([5])],
      "shapes [N,3,8,8] and [5] do not broadcast: axis 3 has 8 and 5 [C2]"),
    Refusal(Sigmoid(), [integers([2])], "x must be a floating-point tensor, found i64[2] [C1]"),
    Refusal(Clip(low: .nan), [image], "parameters must not be NaN, found [nan, inf] [C2]"),
    Refusal(Equal(), [image, integers([1])], "found f32[N,3,8,8] and i64[1] [C1]"),
    Refusal(LogicalNot(), [image], "x must be a bool tensor, found f32[N,3,8,8] [C1]"),
    Refusal(
      Where(), [image, image, image],
      "expected a bool condition and two tensors of one type, found f32[N,3,8,8], f32[N,3,8,8] and "
        + "f32[N,3,8,8] [C1]"),
  ]

  private static let movement: [Refusal] = [
    Refusal(Dropout(ratio: 1), [image], "ratio must be in 0..<1, found 1.0 [C2]"),
    Refusal(
      Flatten(axis: 5), [image], "axis 5 is outside 0…4, the rank of f32[N,3,8,8] [C1]"),
    Refusal(
      Flatten(axis: 2), [real([.batch, .batch])], "f32[N,N] cannot become a matrix at axis 2 [C2]"),
    Refusal(
      Reshape(shape: [1, 192]), [image],
      "x f32[N,3,8,8] and the target shape [1,192] differ in the number of elements [C1]"),
    Refusal(
      Squeeze(axes: [1, 1]), [image],
      "axes [1, 1] must be ascending axes of a tensor of rank 4 [C1]"),
    Refusal(Squeeze(axes: [0]), [image], "axis 0 of f32[N,3,8,8] does not have extent 1 [C2]"),
    Refusal(
      Unsqueeze(axes: [5]), [image], "axes [5] must be ascending axes of a tensor of rank 5 [C1]"),
    Refusal(
      Transpose(permutation: [0, 2, 2, 1]), [image],
      "[0, 2, 2, 1] is not a permutation of the axes of f32[N,3,8,8] [C1]"),
    Refusal(Concatenate(axis: 2), [matrix], "axis 2 is not an axis of f32[N,6] [C1]"),
    Refusal(
      Concatenate(axis: 1), [matrix, vector],
      "operands must have one rank and element type, found f32[N,6] and f32[3] [C1]"),
    Refusal(
      Concatenate(axis: 1), [matrix, real([2, 6])],
      "operands must agree except on axis 1, found f32[N,6] and f32[2,6] [C2]"),
    Refusal(
      Concatenate(axis: 0), [matrix, real([2, 6])], "N and 2 do not add up [C3]"),
    Refusal(
      Split(axis: 0, sizes: [1]), [matrix],
      "axis 0 is not an axis of f32[N,6] with a constant extent [C1]"),
    Refusal(
      Split(axis: 1, sizes: [4, 4]), [matrix],
      "sizes [4, 4] do not add up to the extent 6 of axis 1 [C2]"),
    Refusal(
      Split(axis: 1, sizes: [7, -1]), [matrix],
      "sizes [7, -1] do not add up to the extent 6 of axis 1 [C2]"),
    Refusal(
      Slice(axes: [1], starts: [0, 1], extents: [1], steps: [1]), [matrix],
      "1 axes, 2 starts, 1 extents, 1 steps [C1]"),
    Refusal(
      Slice(axes: [0], starts: [0], extents: [1], steps: [1]), [matrix],
      "axis 0 of f32[N,6] is not constant [C2]"),
    Refusal(
      Slice(axes: [1], starts: [4], extents: [2], steps: [2]), [matrix],
      "2 indices from 4 by steps of 2 are outside axis 1 of f32[N,6] [C2]"),
    Refusal(
      Slice(axes: [1], starts: [5], extents: [1], steps: [7]), [matrix],
      "1 indices from 5 by steps of 7 are outside axis 1 of f32[N,6] [C2]"),
    Refusal(
      Gather(axis: 0), [matrix, integers([1])],
      "axis 0 is not an axis of f32[N,6] with a constant extent [C1]"),
    Refusal(Gather(axis: 1), [matrix, vector], "indices must be integers, found f32[3] [C2]"),
    Refusal(Pad(pads: [1, 1]), [matrix], "2 pads for a tensor of rank 2 [C1]"),
    Refusal(
      Pad(pads: [1, 0, 0, 0]), [matrix], "axis 0 of f32[N,6] is not constant [C2]"),
    Refusal(
      Pad(pads: [0, -7, 0, 0]), [matrix], "pads -7 and 0 of axis 1 of f32[N,6] [C3]"),
    Refusal(
      Pad(pads: [0, 6, 0, 0], mode: .reflect), [matrix],
      "axis 1 of f32[N,6] cannot be reflected by 6 and 0 [C3]"),
    Refusal(
      Pad(pads: [1, 0], value: .real(0.5)), [integers([3])], "0.5 is not a valid i64 [C4]"),
    Refusal(
      Expand(shape: [2, 6]), [matrix],
      "shapes [N,6] and [2,6] do not broadcast: axis 0 has N and 2 [C1]"),
    Refusal(Expand(shape: [1]), [vector], "f32[3] does not broadcast to [1] [C1]"),
    Refusal(
      ChannelShuffle(groups: 2), [vector],
      "x must have constant channels on its second axis, found f32[3] [C1]"),
    Refusal(ChannelShuffle(groups: 2), [image], "3 channels do not form 2 groups [C2]"),
  ]

  private static let shapes: [Refusal] = [
    Refusal(Shape(start: 3), [matrix], "axes from 3 to 2 of a tensor of rank 2 [C1]"),
    Refusal(
      Size(), [real([.batch, .batch])], "the number of elements of f32[N,N] is not known [C1]"),
    Refusal(
      ConstantOfShape(shape: [2], dtype: .int64, value: .real(0.5)), [],
      "0.5 is not a valid i64 [C1]"),
    Refusal(NumberRange(start: 0, limit: 3, delta: 0), [], "steps of 0 in i64 [C1]"),
    Refusal(
      NumberRange(start: 0, limit: Int.max, delta: 1), [],
      "the range from 0 to 9223372036854775807 by 1 is too long [C2]"),
    Refusal(
      ConstantOfShape(shape: [Dimension(1 << 40)], dtype: .float32, value: .real(0)), [],
      "a tensor of shape [1099511627776] at batch size 1 is too large: at most 68719476736 elements are supported"
    ),
    Refusal(
      ConstantOfShape(shape: [Dimension(-3)], dtype: .float32, value: .real(0)), [],
      "the result would have the shape [-3]"),
  ]

  @Test(arguments: linear + attention + normalization + pools + arithmetic + movement + shapes)
  private func refusesWithTheConstraint(_ refusal: Refusal) {
    let error = #expect(throws: GraftError.self) {
      try Catalog.inferTypes(refusal.operation, refusal.types)
    }
    let message = error?.message ?? ""
    #expect(message.hasSuffix(refusal.message) || message.hasPrefix(refusal.message), "\(message)")
  }

  /// A label in a doc comment that no code cites promises a check that nobody makes, and a label in the
  /// code that no comment explains tells the user nothing.
  @Test func everyLabelIsDocumentedAndChecked() throws {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Sources/GraftOps/Operators")
    let files = try FileManager.default.subpathsOfDirectory(atPath: folder.path)
      .filter { $0.hasSuffix(".swift") }
    #expect(files.count > 80)
    #expect(files.contains("Training/CrossEntropy.swift"))
    for file in files {
      let text = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
      let documented = Set(
        text.matches(of: #/^/// - (C\d+): /#.anchorsMatchLineEndings()).map { String($0.1) })
      let cited = Set(text.matches(of: #/[\["](C\d+)[\]"]/#).map { String($0.1) })
      #expect(documented == cited, "\(file)")
    }
  }
}
