// Shape arithmetic with a free batch, in the chains that exporters leave behind, and the decisions of
// bindings that depend on the batch.

import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

/// Shape values.
private func vector(_ elements: Dimension...) throws -> DenseTensor<Dimension> {
  try DenseTensor(shape: [elements.count], elements: elements)
}

private func type(of value: DenseTensor<Dimension>) -> TensorType {
  TensorType(.int64, TensorShape(value.shape))
}

private func fold(
  _ operation: any Operator, _ values: DenseTensor<Dimension>?..., types: [TensorType?]? = nil
) throws -> DenseTensor<Dimension>? {
  try operation.foldShapes(
    types: types ?? values.map { $0.map(type(of:)) }, values: values)?.first
}

@Suite struct ShapeFoldingTests {
  private let image = TensorType(.float32, [.batch, 58, 28, 28])

  /// x.view(x.size(0), -1) as PyTorch traces it.
  @Test func viewOfTheBatchFolds() throws {
    let shape = try #require(try fold(Shape(), nil, types: [image]))
    #expect(shape == (try vector(.batch, 58, 28, 28)))
    let batch = try #require(try fold(Gather(axis: 0), shape, DenseTensor(scalar: 0)))
    #expect(batch == DenseTensor(scalar: .batch))
    let first = try #require(try fold(Unsqueeze(axes: [0]), batch))
    let target = try #require(try fold(Concatenate(axis: 0), first, vector(-1)))
    #expect(target == (try vector(.batch, -1)))
    let node = ONNXNode(
      opType: "Reshape", opset: 13, attributes: [:],
      inputs: [.init(type: image), .init(type: type(of: target), integers: target)],
      outputCount: 1)
    let reshape = try #require(try read(node).operation as? Reshape)
    #expect(reshape.shape == [.batch, Dimension(58 * 28 * 28)])
  }

  /// The channel shuffle: [N, C, H, W] to [N, 2, C / 2, H, W], with an integer division.
  @Test func channelShuffleShapesFold() throws {
    let shape = try #require(try fold(Shape(), nil, types: [image]))
    let channels = try #require(try fold(Gather(axis: 0), shape, DenseTensor(scalar: 1)))
    let half = try #require(try fold(Divide(), channels, DenseTensor(scalar: 2)))
    #expect(half == DenseTensor(scalar: 29))
    let spatial = try #require(
      try fold(Slice(axes: [0], starts: [2], extents: [2], steps: [1]), shape))
    let parts = try #require(
      try fold(
        Concatenate(axis: 0), vector(.batch, 2), fold(Unsqueeze(axes: [0]), half), spatial))
    #expect(parts == (try vector(.batch, 2, 29, 28, 28)))
  }

  @Test func arithmeticWithTheBatch() throws {
    let batch = DenseTensor(scalar: Dimension.batch)
    let three = DenseTensor(scalar: Dimension(3))
    #expect(try fold(Multiply(), batch, three)?.elements == [.batch(times: 3)])
    #expect(
      try fold(Divide(), DenseTensor(scalar: .batch(times: 6)), three)?.elements == [
        .batch(times: 2)
      ])
    #expect(try fold(Subtract(), batch, batch)?.elements == [0])
    #expect(try fold(Add(), batch, DenseTensor(scalar: 0))?.elements == [.batch])
    #expect(try fold(Negate(), batch)?.elements == [.batch(times: -1)])
    #expect(try fold(Maximum(), batch, DenseTensor(scalar: 0))?.elements == [.batch])
    #expect(try fold(Minimum(), batch, DenseTensor(scalar: 0))?.elements == [0])
    #expect(try fold(Cast(to: .int32), batch)?.elements == [.batch])
    #expect(try fold(Divide(), DenseTensor(scalar: -7), DenseTensor(scalar: 2))?.elements == [-3])
    for (operation, other) in [(Add(), three), (Divide(), three)] as [(any Operator, _)] {
      let error = #expect(throws: GraftError.self) { try fold(operation, batch, other) }
      #expect(error?.kind == .unsupported)
      #expect(error?.message.contains("N and 3 is neither an integer nor a multiple") == true)
    }
    let zero = #expect(throws: GraftError.self) {
      try fold(Divide(), three, DenseTensor(scalar: 0))
    }
    #expect(zero?.kind == .unsupported)
  }

  /// PyTorch writes expand(-1, …) as Where(Equal(shape, -1), ones, shape).
  @Test func comparisonsKnowWhatHoldsForEveryBatch() throws {
    let shape = try vector(.batch, -1, 4)
    let isOpen = try #require(try fold(Equal(), shape, vector(-1)))
    #expect(isOpen == (try vector(0, 1, 0)))
    let types = [TensorType(.bool, [3]), TensorType(.int64, [3]), TensorType(.int64, [3])]
    let chosen = try fold(Where(), isOpen, vector(1, 1, 1), shape, types: types)
    #expect(chosen == (try vector(.batch, 1, 4)))
    #expect(try fold(Greater(), vector(.batch(times: 2)), vector(1))?.elements == [1])
    #expect(try fold(Less(), vector(.batch(times: 2)), vector(1))?.elements == [0])
    #expect(try fold(Less(), vector(.batch), vector(.batch(times: 2)))?.elements == [1])
    let error = #expect(throws: GraftError.self) {
      try fold(Greater(), vector(.batch), vector(1))
    }
    #expect(error?.message == "greater of N and 1 depends on the batch")
  }

  @Test func realDivisionOfShapesIsExactOrLeftAlone() throws {
    let types = [TensorType(.float32, [1]), TensorType(.float32, [1])]
    #expect(try fold(Divide(), vector(6), vector(2), types: types)?.elements == [3])
    #expect(try fold(Divide(), vector(7), vector(2), types: types) == nil)
    #expect(try fold(Floor(), vector(3), types: [TensorType(.float32, [1])])?.elements == [3])
  }

  @Test func unknownOperandsAreNotFolded() throws {
    let type = TensorType(.int64, [2])
    #expect(try fold(Add(), vector(1, 2), nil, types: [type, type]) == nil)
    #expect(try fold(Concatenate(axis: 0), vector(1, 2), nil, types: [type, type]) == nil)
  }

  @Test func largeConstantsStayNodes() throws {
    let few = ConstantOfShape(shape: [3], dtype: .int64, value: .integer(7))
    #expect(try few.foldShapes(types: [], values: [])?.first == (try vector(7, 7, 7)))
    let many = ConstantOfShape(shape: [Dimension(1 << 30)], dtype: .int64, value: .integer(7))
    #expect(try many.foldShapes(types: [], values: []) == nil)
    #expect(try fold(Expand(shape: [Dimension(1 << 30)]), vector(7)) == nil)
    let long = TensorType(.int64, [300, 1])
    let wide = TensorType(.int64, [1, 300])
    let a = DenseTensor<Dimension>(shape: [300, 1], repeating: 1)
    let b = DenseTensor<Dimension>(shape: [1, 300], repeating: 1)
    #expect(try fold(Add(), a, b, types: [long, wide]) == nil)
  }
}

/// Bindings while the importer tries to free a batch that the file fixes.
@Suite struct FreedBatchTests {
  private func node(
    _ opType: String, _ shape: TensorShape, _ integers: [Int]..., fixed: Int?
  ) -> ONNXNode {
    let constants = integers.map { values -> ONNXNode.Input in
      let tensor = DenseTensor<Dimension>(shape: [values.count], repeating: 0)
      var filled = tensor
      for index in values.indices { filled.elements[index] = Dimension(values[index]) }
      return .init(type: TensorType(.int64, [Dimension(values.count)]), integers: filled)
    }
    return ONNXNode(
      opType: opType, opset: 13, attributes: [:],
      inputs: [.init(type: TensorType(.float32, shape))] + constants, outputCount: 1,
      freedBatch: fixed)
  }

  @Test func reshapeToTheFixedBatchMeansTheBatch() throws {
    let shape: TensorShape = [.batch, 8, 2, 2]
    let open = try #require(
      try read(node("Reshape", shape, [4, -1], fixed: 4)).operation as? Reshape)
    #expect(open.shape == [.batch, 32])
    let full = try #require(
      try read(node("Reshape", shape, [4, 2, 4, 2, 2], fixed: 4)).operation as? Reshape)
    #expect(full.shape == [.batch, 2, 4, 2, 2])
    // What does not grow with the batch is none of its business.
    let weights = try #require(
      try read(node("Reshape", [8, 4], [4, -1], fixed: 4)).operation as? Reshape)
    #expect(weights.shape == [4, 8])
    // Nor is another number the batch.
    let other = try read(node("Reshape", shape, [8, 16], fixed: 4)).operation
    #expect(throws: GraftError.self) {
      try Catalog.inferTypes(other, [TensorType(.float32, shape)])
    }
  }

  @Test func reshapeRefusesWhatItCannotResolve() {
    for (target, message) in [
      ([-1, -1], "has two unknown extents"), ([5, -1], "does not divide the elements"),
      ([-2, 4], "has a negative extent"), ([4, 4, 2, 2, 0], "copies axis 4"),
    ] {
      let error = #expect(throws: GraftError.self) {
        try read(node("Reshape", [.batch, 8, 2, 2], target, fixed: nil))
      }
      #expect(error?.kind == .invalidModel)
      #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }
  }

  @Test func aSliceOfTheWholeBatchIsNone() throws {
    let whole = try read(node("Slice", [.batch, 6], [0], [4], [0], fixed: 4)).operation
    #expect(whole is Identity)
    let far = try read(node("Slice", [.batch, 6], [0], [Int.max], [0], fixed: nil)).operation
    #expect(far is Identity)
    let part = #expect(throws: GraftError.self) {
      try read(node("Slice", [.batch, 6], [0], [3], [0], fixed: 4))
    }
    #expect(part?.kind == .unsupported)
    #expect(part?.message == "a slice of an axis that depends on the batch: 0 to 3 of N")
  }

  @Test func squeezeWithoutAxesMustNotTakeTheBatch() throws {
    let error = #expect(throws: GraftError.self) {
      try read(node("Squeeze", [.batch, 6, 1], fixed: 1))
    }
    #expect(error?.message == "without axes it may remove the batch axis")
    let open = try #require(
      try read(node("Squeeze", [.batch, 6, 1], fixed: 4)).operation as? Squeeze)
    #expect(open.axes == [2])
  }

  @Test func expandToTheFixedBatchMeansTheBatch() throws {
    let expand = try #require(
      try read(node("Expand", [.batch, 1], [4, 5], fixed: 4)).operation as? Expand)
    #expect(expand.shape == [.batch, 5])
  }
}
