// Nodes on constants: what is computed piece by piece is what it is computed in one.

import GraftDiagnostics
import GraftIR
import Testing

@testable import GraftOps

@Suite struct ConstantEvaluatorTests {
  /// More than one piece, not a whole number of them.
  private let count = ConstantEvaluator.pieceSize * 2 + 17

  private func type(_ data: TensorData, as dtype: DataType) -> TensorType {
    TensorType(dtype, TensorShape(data.shape))
  }

  @Test func largeCastsGoByPieces() throws {
    let halves = try TensorData(
      packing: (0..<count).map { Double($0 % 2048) / 8 }, as: .float16, shape: [count])
    let wide = try ConstantEvaluator.evaluate(
      Cast(to: .float32), [halves], results: [type(halves, as: .float32)])
    #expect(wide.map(\.dtype) == [.float32])
    #expect(wide[0].floats() == (0..<count).map { Float($0 % 2048) / 8 })
  }

  @Test func broadcastOperandsGoWholeBesideSlicedOnes() throws {
    let (rows, columns) = (ConstantEvaluator.pieceSize / 100 + 3, 300)
    let x = try TensorData((0..<(rows * columns)).map { Float($0 % 97) }, shape: [rows, columns])
    let scale = try TensorData((0..<rows).map { Float($0 % 7) }, shape: [rows, 1])
    let shift = try TensorData((0..<columns).map { Float($0 % 5) }, shape: [columns])
    let result = type(x, as: .float32)
    let scaled = try ConstantEvaluator.evaluate(Multiply(), [x, scale], results: [result])
    let y = try ConstantEvaluator.evaluate(Add(), [shift, scaled[0]], results: [result])[0]
    let expected = (0..<(rows * columns)).map { place in
      Float(place % 97) * Float(place / columns % 7) + Float(place % columns % 5)
    }
    #expect(y.shape == [rows, columns])
    #expect(y.floats() == expected)
  }

  @Test func anotherShapeCopiesNothing() throws {
    let x = try TensorData((0..<6).map(Float.init), shape: [2, 3])
    let y = try ConstantEvaluator.evaluate(
      Reshape(shape: [3, 2]), [x], results: [TensorType(.float32, [3, 2])])[0]
    #expect(y.shape == [3, 2])
    let places = (x.withUnsafeBytes { $0.baseAddress }, y.withUnsafeBytes { $0.baseAddress })
    #expect(places.0 == places.1)
  }
}
