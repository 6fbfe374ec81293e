// The contents of an exported file with final names: ONNX nodes, and initializers by reference. The exporter
// writes it.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A graph as ONNX nodes and initializers.
struct ExportPlan {
  struct Node {
    var name: String
    var opType: String
    var inputs: [String]
    var outputs: [String]
    var attributes: [(name: String, value: ONNXAttributeValue)]
  }

  struct Initializer {
    var name: String
    var data: TensorData
  }

  struct Value {
    var name: String
    var type: TensorType
  }

  private(set) var nodes: [Node] = []
  private(set) var initializers: [Initializer] = []
  private(set) var inputs: [Value] = []
  private(set) var outputs: [Value] = []

  /// Bytes up to which a literal is a node: those are built in memory.
  private static let largestConstant = 1 << 16

  private let graph: Graph
  private let opset: Int
  /// The first opset that has every operator of the plan.
  private(set) var firstOpset = 1
  private var names: [ValueID: String] = [:]
  private var takenNames: Set<String> = []
  private var takenNodeNames: Set<String> = []

  /// - Throws: ``GraftError``: `unsupported` naming the node that ONNX cannot express, `invalidGraph`
  ///   for a parameter without data.
  init(_ graph: Graph, opset: Int) throws {
    self.graph = graph
    self.opset = opset
    for id in graph.inputs {
      let name = graph[id].name ?? unused("input")
      takenNames.insert(name)
      names[id] = name
      inputs.append(Value(name: name, type: graph.type(of: id)))
    }
    nameOutputs()
    for id in graph.parameters {
      guard let data = graph[id].parameter?.data else {
        throw GraftError(
          .invalidGraph, "parameter \((graph[id].name ?? "").quotedForDisplay) has no data")
      }
      let name = unused(graph[id].name ?? "parameter")
      names[id] = name
      // Literals are exported as Constant nodes, not as weights.
      if graph[id].parameter?.isLiteral == true, data.byteCount <= Self.largestConstant {
        nodes.append(
          Node(
            name: "", opType: "Constant", inputs: [], outputs: [name],
            attributes: [("value", .tensor(data))]))
      } else {
        initializers.append(Initializer(name: name, data: data))
      }
    }
    for node in graph.nodes {
      try at(SourceLocation(node: node.origins.first, operatorName: node.opcode.rawValue)) {
        try add(node)
      }
    }
    for output in graph.outputs {
      guard let source = names[output.value], source != output.name else { continue }
      nodes.append(
        Node(
          name: unusedNode(output.name), opType: "Identity", inputs: [source],
          outputs: [output.name], attributes: []))
    }
  }

  /// Outputs keep their names. The first output that a node makes gives the value its name; all
  /// others are copies of the value.
  private mutating func nameOutputs() {
    for output in graph.outputs {
      outputs.append(Value(name: output.name, type: graph.type(of: output.value)))
      takenNames.insert(output.name)
    }
    for output in graph.outputs where graph.producer(of: output.value) != nil {
      if names[output.value] == nil { names[output.value] = output.name }
    }
  }

  private mutating func add(_ node: GraftIR.Node) throws {
    guard let operation = try Catalog.operation(of: node) as? any ONNXExportable else {
      throw GraftError(.unsupported, "ONNX has no such operator")
    }
    let exported = try operation.exported(
      operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node), opset: opset)
    let since = Catalog.bindings(onnx: exported.opType).map(\.opsets.lowerBound).min()
    firstOpset = max(firstOpset, since ?? 1, exported.firstOpset ?? 1)
    let name = unusedNode(node.origins.first ?? node.opcode.rawValue)
    for result in node.results where names[result] == nil {
      names[result] = unused(graph[result].name ?? "\(name)_output")
    }
    var inputs: [String] = []
    for (place, input) in exported.inputs.enumerated() {
      switch input {
      case .absent: inputs.append("")
      case .operand(let index):
        inputs.append(node.operand(index).flatMap { names[$0] } ?? "")
      case .constant(let data):
        let constant = unused("\(name)_constant_\(place)")
        initializers.append(Initializer(name: constant, data: data))
        inputs.append(constant)
      case .shape(let shape): inputs.append(try add(shape, for: "\(name)_shape"))
      }
    }
    // Absent inputs at the end are simply not written.
    while inputs.last == "" { inputs.removeLast() }
    nodes.append(
      Node(
        name: name, opType: exported.opType, inputs: inputs,
        outputs: node.results.map { names[$0] ?? "" }, attributes: exported.attributes))
  }

  // MARK: Shapes with the batch

  /// A vector of integers as an initializer; its name.
  private mutating func add(_ integers: [Int], _ base: String) throws -> String {
    let name = unused(base)
    let data = try TensorData(packing: integers, as: .int64, shape: [integers.count])
    initializers.append(Initializer(name: name, data: data))
    return name
  }

  private mutating func add(
    _ opType: String, _ inputs: [String], _ base: String,
    _ attributes: [(name: String, value: ONNXAttributeValue)] = []
  ) -> String {
    let output = unused(base)
    nodes.append(
      Node(
        name: unusedNode(base), opType: opType, inputs: inputs, outputs: [output],
        attributes: attributes))
    return output
  }

  /// The name of a vector of integers that holds `shape`. Multiples of the batch are computed from
  /// the first input that grows with it.
  private mutating func add(_ shape: TensorShape, for base: String) throws -> String {
    if let constants = shape.constants { return try add(constants, base) }
    guard let source = inputs.first(where: { $0.type.shape.dependsOnBatch }),
      let axis = source.type.shape.dimensions.firstIndex(where: \.isBatch)
    else { throw GraftError(.invalidGraph, "no input has the batch of the shape \(shape)") }
    let own = source.type.shape[axis].coefficient
    var batch = add(
      "Shape", [source.name], "\(base)_batch", [("start", .int(axis)), ("end", .int(axis + 1))])
    if own != 1 { batch = add("Div", [batch, try add([own], "\(base)_own")], "\(base)_unit") }
    var parts: [String] = []
    for (place, dimension) in shape.dimensions.enumerated() {
      let factor = try add([dimension.coefficient], "\(base)_\(place)")
      parts.append(
        dimension.isBatch ? add("Mul", [batch, factor], "\(base)_\(place)_extent") : factor)
    }
    return add("Concat", parts, base, [("axis", .int(0))])
  }

  private mutating func unused(_ base: String) -> String { Self.unused(base, &takenNames) }
  private mutating func unusedNode(_ base: String) -> String { Self.unused(base, &takenNodeNames) }

  private static func unused(_ base: String, _ taken: inout Set<String>) -> String {
    if taken.insert(base).inserted { return base }
    var suffix = 1
    while !taken.insert("\(base).\(suffix)").inserted { suffix += 1 }
    return "\(base).\(suffix)"
  }
}
