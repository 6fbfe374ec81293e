// Random attributes, types and values thrown at every operator and every ONNX binding. A file can hold
// any of them, so what does not fit must throw; a trap ends the process and with it the test.

import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@Suite struct HostileOperatorTests {
  private let rounds = 60_000

  @Test func noAttributesOrTypesTrap() throws {
    var random = SplitMix(seed: 1)
    let samples = try sampleNodes()
    let names = Array(Set(samples.flatMap { $0.operation.attributes.values.keys })).sorted()
    let samplesByOpcode = Dictionary(grouping: samples) { Swift.type(of: $0.operation).opcode }
    var accepted: [Opcode: Int] = [:]
    for round in 0..<rounds {
      let type = Catalog.operators[round % Catalog.operators.count]
      guard let sample = samplesByOpcode[type.opcode]?.randomElement(using: &random) else {
        Issue.record("no sample of \(type.opcode)")
        continue
      }
      var attributes = sample.operation.attributes
      for name in attributes.values.keys where random.isOne(in: 4) {
        attributes[name] = random.mutation(of: attributes[name])
      }
      if random.isOne(in: 8), let name = names.randomElement(using: &random) {
        attributes[name] = random.attribute()
      }
      guard let operation = try? type.init(attributes: attributes) else { continue }
      var types = sample.types
      for index in types.indices {
        if random.isOne(in: 4), let rank = types[index]?.rank, rank > 0 {
          types[index]?.shape[Int.random(in: 0..<rank, using: &random)] = random.dimension()
        }
        if random.isOne(in: 8) { types[index]?.shape = random.shape() }
        if random.isOne(in: 16) { types[index]?.dtype = random.dtype() }
        if random.isOne(in: 32) { types[index] = nil }
      }
      if random.isOne(in: 16) { types.append(types.last ?? nil) }
      if random.isOne(in: 16) { types = types.dropLast() }
      if exercise(operation, types, &random) { accepted[type.opcode, default: 0] += 1 }
    }
    // A test that only ever meets refusals tests nothing.
    for type in Catalog.operators {
      // With many operands, or vectors that must match others, few mutations leave all of them sound.
      let isStrict = type.operands.count > 4 || type.operands.contains { $0.presence == .variadic }
      let least = isStrict ? 1 : 10
      #expect(accepted[type.opcode, default: 0] >= least, "\(type.opcode)")
    }
  }

  @Test func noONNXNodeTraps() throws {
    var random = SplitMix(seed: 2)
    let fixtures = try OperatorFixture.all()
    var accepted = 0
    for _ in 0..<rounds {
      guard let fixture = fixtures.randomElement(using: &random) else { return }
      var node = try fixture.node(freeing: Bool.random(using: &random))
      node.opset = Int.random(in: 7...21, using: &random)
      for name in node.attributes.keys.sorted() where Bool.random(using: &random) {
        node.attributes[name] = random.onnxAttribute(like: node.attributes[name])
      }
      for index in node.inputs.indices {
        switch Int.random(in: 0..<6, using: &random) {
        case 0: node.inputs[index] = nil
        case 1: node.inputs[index]?.type.shape = random.shape()
        case 2:
          node.inputs[index]?.data = nil
          node.inputs[index]?.integers = random.values(shape: [random.extent() % 5])
        case 3: node.inputs[index]?.type.dtype = random.dtype()
        default: break
        }
      }
      if Bool.random(using: &random) {
        node.freedBatch = [1, 2, 3, Int.max].randomElement(using: &random)
      }
      node.outputCount = Int.random(in: 0...4, using: &random)
      let bindings = Catalog.bindings(onnx: node.opType)
      for binding in bindings where binding.opsets.contains(node.opset) {
        guard let imported = try? binding.read(node) else { continue }
        let types = imported.operands.map { index in
          index.flatMap { $0 < node.inputs.count ? node.inputs[$0]?.type : nil }
        }
        if exercise(imported.operation, types, &random) { accepted += 1 }
      }
    }
    #expect(accepted > 1000)
  }

  /// Asks an operator everything that the compiler asks.
  /// - Returns: whether the operator took the types.
  private func exercise(
    _ operation: any Operator, _ types: [TensorType?], _ random: inout SplitMix
  ) -> Bool {
    let values = types.map { type -> DenseTensor<Dimension>? in
      guard let extents = type?.shape.constants, extents.count <= 3,
        extents.allSatisfy({ (0...8).contains($0) }), Int.random(in: 0..<4, using: &random) > 0
      else { return nil }
      return random.values(shape: extents)
    }
    guard let results = try? Catalog.inferTypes(operation, types) else { return false }
    _ = try? operation.foldShapes(types: types, values: values)
    let cost = operation.cost(operands: types, results: results)
    #expect(cost.multiplyAdds >= 0)
    _ = operation.layoutSupport(operands: types, results: results)
    for index in types.indices {
      let border = operation.border(ofOperand: index, types: types)
      #expect(border.height >= 0 && border.width >= 0)
    }
    if let exportable = operation as? any ONNXExportable {
      for opset in [17, 21] {
        _ = try? exportable.exported(operands: types, results: results, opset: opset)
      }
    }
    let shapes = (types.compactMap(\.self) + results).map { try? $0.shape.extents(batch: 2) }
    let isSmall = shapes.allSatisfy { ($0?.map { max($0, 1) }.reduce(1, *) ?? Int.max) <= 256 }
    guard isSmall, cost.multiplyAdds < 1 << 12 else { return true }
    let hosts = zip(types, values).map { type, value -> HostTensor? in
      guard let type, let extents = try? type.shape.extents(batch: 2) else { return nil }
      if type.dtype.isFloatingPoint {
        return .float32(DenseTensor(shape: extents, repeating: random.float()))
      }
      return .integer(value ?? random.values(shape: extents))
    }
    let extents = results.compactMap { try? $0.shape.extents(batch: 2) }
    if let found = try? operation.evaluate(hosts, extents: extents) {
      #expect(found.map(\.shape) == extents, "\(operation) of \(types)")
    }
    return true
  }
}

extension SplitMix {
  mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[Int.random(in: elements.indices, using: &self)]
  }

  mutating func isOne(in count: Int) -> Bool { Int.random(in: 0..<count, using: &self) == 0 }

  mutating func integer() -> Int {
    pick([
      0, 1, 1, 2, 2, 3, 4, 5, -1, -1, -2, -7, 1 << 20, 1 << 36, 1 << 62, Int.max, Int.min,
      Int.max - 1, Int(Int32.max),
    ])
  }

  mutating func extent() -> Int { pick([0, 1, 1, 1, 2, 2, 3, 4, 5, 7, 1 << 18, 1 << 36, Int.max]) }

  mutating func float() -> Float { pick([0, 1, -1, 0.5, .nan, .infinity, -.infinity, 3e38]) }

  mutating func dtype() -> DataType {
    pick([.float32, .float32, .float32, .int64, .int64, .bool, .float16, .uint8])
  }

  mutating func dimension() -> Dimension {
    switch Int.random(in: 0..<8, using: &self) {
    case 0: .batch
    case 1: .batch(times: integer())
    case 2: Dimension(integer())
    default: Dimension(Int.random(in: 1...4, using: &self))
    }
  }

  mutating func shape() -> TensorShape {
    let rank = pick([0, 1, 2, 2, 3, 4, 4, 4, 4, 5])
    return TensorShape(
      (0..<rank).map { axis in
        axis == 0 && Bool.random(using: &self)
          ? .batch
          : Int.random(in: 0..<20, using: &self) == 0
            ? dimension() : Dimension(pick([1, 2, 3, 4, 6]))
      })
  }

  mutating func values(shape: [Int]) -> DenseTensor<Dimension> {
    var tensor = DenseTensor<Dimension>(shape: shape, repeating: 0)
    for index in tensor.elements.indices { tensor.elements[index] = dimension() }
    return tensor
  }

  mutating func attribute() -> AttributeValue {
    switch Int.random(in: 0..<9, using: &self) {
    case 0: .bool(Bool.random(using: &self))
    case 1: .int(integer())
    case 2: .ints((0..<Int.random(in: 0...9, using: &self)).map { _ in integer() })
    case 3: .float(Double(float()))
    case 4: .floats((0..<Int.random(in: 0...3, using: &self)).map { _ in Double(float()) })
    case 5: .string(pick(["relu", "reflect", "clip", ""]))
    case 6: .strings([])
    case 7: .type(dtype())
    default: .shape(shape())
    }
  }

  /// Another value of the same kind, so that reading it succeeds and inference has to look.
  mutating func mutation(of value: AttributeValue?) -> AttributeValue {
    switch value {
    case .bool: return .bool(Bool.random(using: &self))
    case .int: return .int(integer())
    case .ints(var values):
      if values.isEmpty || Int.random(in: 0..<4, using: &self) == 0 {
        return .ints((0..<Int.random(in: 0...9, using: &self)).map { _ in integer() })
      }
      values[Int.random(in: values.indices, using: &self)] = integer()
      return .ints(values)
    case .float: return .float(Double(float()))
    case .floats(let values): return .floats(values.map { _ in Double(float()) })
    case .type: return .type(dtype())
    case .shape:
      return .shape(
        Bool.random(using: &self) ? shape() : TensorShape((0..<2).map { _ in dimension() }))
    default: return attribute()
    }
  }

  mutating func onnxAttribute(like value: ONNXAttributeValue?) -> ONNXAttributeValue {
    switch value {
    case .int where Bool.random(using: &self): return .int(integer())
    case .ints(var values) where !values.isEmpty && Bool.random(using: &self):
      values[Int.random(in: values.indices, using: &self)] = integer()
      return .ints(values)
    case .float where Bool.random(using: &self): return .float(Double(float()))
    default:
      switch Int.random(in: 0..<6, using: &self) {
      case 0: return .int(integer())
      case 1: return .ints((0..<Int.random(in: 0...9, using: &self)).map { _ in integer() })
      case 2: return .float(Double(float()))
      case 3: return .floats([])
      case 4: return .string(pick(["SAME_UPPER", "SAME_LOWER", "VALID", "reflect", "edge", ""]))
      default: return .strings(["x"])
      }
    }
  }
}
