// Every operator, as its ONNX binding reads it, against onnxruntime.

import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@Suite struct OperatorFixtureTests {
  @Test func everyCaseGivesWhatONNXRuntimeGives() throws {
    let fixtures = try OperatorFixture.all()
    let bound = Set(Catalog.operators.flatMap { $0.onnx.map(\.opType) })
    let missing = bound.subtracting(fixtures.map(\.op)).sorted()
    #expect(missing.isEmpty, "tools/make-operator-fixtures has no case of these")
    for (index, fixture) in fixtures.enumerated() {
      let name = "case \(index), \(fixture.op) at opset \(fixture.opset): \(fixture.attributes)"
      do {
        let imported = try read(fixture.node())
        let operands = imported.operands.map { $0.flatMap { fixture.inputs[$0] } }
        let types = try Catalog.inferTypes(imported.operation, operands.map { $0?.type })
        #expect(types == fixture.outputs.map(\.type), "\(name)")
        let found = try imported.operation.evaluate(
          operands.map { try $0?.host }, extents: types.map { try $0.shape.extents(batch: 1) })
        for (tensor, expected) in zip(found, fixture.outputs) {
          expectEqual(tensor, expected, name)
        }
        #expect(found.count == fixture.outputs.count, "\(name)")
      } catch { Issue.record("\(name): \(error)") }
    }
  }

  @Test func whatMayBeFreeIsFree() throws {
    for (index, fixture) in try OperatorFixture.all().enumerated() where fixture.free {
      let name = "case \(index), \(fixture.op) at opset \(fixture.opset): \(fixture.attributes)"
      do {
        let node = try fixture.node(freeing: true)
        let imported = try read(node)
        let operands = imported.operands.map { $0.flatMap { node.inputs[$0]?.type } }
        let types = try Catalog.inferTypes(imported.operation, operands)
        let batch = fixture.inputs.first.flatMap { $0?.shape.first } ?? 1
        let shapes = try types.map { try $0.shape.extents(batch: batch) }
        #expect(shapes == fixture.outputs.map(\.shape), "\(name)")
        let isFree = types.allSatisfy { $0.shape.dependsOnBatch }
        #expect(isFree, "\(name)")
      } catch { Issue.record("\(name): \(error)") }
    }
  }

  @Test func writingAndReadingAgainGivesTheSameOperator() throws {
    for (index, fixture) in try OperatorFixture.all().enumerated() {
      let name = "case \(index), \(fixture.op) at opset \(fixture.opset): \(fixture.attributes)"
      let imported = try read(fixture.node())
      guard let operation = imported.operation as? any ONNXExportable else {
        Issue.record("\(name) cannot be written")
        continue
      }
      if let softmax = operation as? any SoftmaxFamily, softmax.flattens { continue }
      let operands = imported.operands.map { $0.flatMap { fixture.inputs[$0] } }
      let types = operands.map { $0?.type }
      let results = try Catalog.inferTypes(operation, types)
      let bindings = Catalog.bindings(onnx: fixture.op)
      for opset in [17, 18, 21] where bindings.contains(where: { $0.opsets.contains(opset) }) {
        if let reduction = operation as? Reduction, reduction.axes.isEmpty, opset < 18 { continue }
        let exported = try operation.exported(operands: types, results: results, opset: opset)
        if let first = exported.firstOpset, opset < first { continue }
        let inputs = try exported.inputs.map { input -> ONNXNode.Input? in
          switch input {
          case .absent: return nil
          case .constant(let data):
            return ONNXNode.Input(type: TensorType(data.dtype, TensorShape(data.shape)), data: data)
              .withIntegers
          case .shape(let shape):
            return ONNXNode.Input(
              type: TensorType(.int64, [Dimension(shape.rank)]),
              integers: try DenseTensor(shape: [shape.rank], elements: shape.dimensions))
          case .operand(let position):
            guard let tensor = operands[position] else { return nil }
            return ONNXNode.Input(type: tensor.type, data: try tensor.data).withIntegers
          }
        }
        let node = ONNXNode(
          opType: exported.opType, opset: opset,
          attributes: Dictionary(
            uniqueKeysWithValues: exported.attributes.map { ($0.name, $0.value) }),
          inputs: inputs, outputCount: results.count)
        let again = try read(node)
        // ReduceMean over no axes has no form before opset 18 but Identity.
        if exported.opType == "Identity" { continue }
        #expect(type(of: again.operation) == type(of: operation), "\(name)")
        #expect(again.operation.attributes == operation.attributes, "\(name)")
      }
    }
  }

  @Test func doublePrecisionAgreesWithSingle() throws {
    for fixture in try OperatorFixture.all() {
      let imported = try read(fixture.node())
      let operands = imported.operands.map { $0.flatMap { fixture.inputs[$0] } }
      let hosts = try operands.map { tensor -> HostTensor? in
        guard let tensor else { return nil }
        guard tensor.dtype.isFloatingPoint else { return try tensor.host }
        return .float64(try DenseTensor(shape: tensor.shape, elements: tensor.reals))
      }
      let found = try imported.operation.evaluate(hosts, extents: fixture.outputs.map(\.shape))
      for (tensor, expected) in zip(found, fixture.outputs) {
        expectEqual(tensor, expected, "\(fixture.op) in double precision")
      }
    }
  }
}

extension ONNXNode.Input {
  /// The same input with its integers read from its data, as the importer does.
  fileprivate var withIntegers: ONNXNode.Input {
    var copy = self
    if let data, let integers = data.integers() {
      copy.integers = try? DenseTensor(
        shape: data.shape, elements: integers.map { Dimension($0) })
    }
    return copy
  }
}

/// onnxruntime computes in float32 too, with other orders of summation and other exponentials.
func expectEqual(
  _ found: HostTensor, _ expected: OperatorFixture.Tensor, _ name: String,
  sourceLocation: Testing.SourceLocation = #_sourceLocation
) {
  guard found.shape == expected.shape, let values = found.doubles else {
    Issue.record(
      "\(name): shape \(found.shape), expected \(expected.shape)", sourceLocation: sourceLocation)
    return
  }
  let wanted = expected.dtype.isFloatingPoint ? expected.reals : expected.integers.map(Double.init)
  for (position, (value, want)) in zip(values, wanted).enumerated() {
    let agrees =
      value == want || (value.isNaN && want.isNaN) || abs(value - want) <= 2e-6 * max(1, abs(want))
    guard agrees else {
      Issue.record(
        "\(name): element \(position) is \(value), expected \(want)",
        sourceLocation: sourceLocation)
      return
    }
  }
}
