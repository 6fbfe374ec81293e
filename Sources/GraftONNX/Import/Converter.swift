// Converts the file's graph to the IR node by node: operator bindings read the nodes, types are inferred
// immediately, and values that are known at compile time (mostly shapes) do not become nodes.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The input of the conversion: a checked graph, its opset, and the data of its initializers.
struct ModelToConvert {
  var graph: FileGraph
  var opset: Int
  var parameters: NameTable<TensorData>
  var loader: TensorLoader
}

/// One conversion, under one assumption about the batch.
struct Converter {
  /// A value of the file.
  enum Imported {
    case computed(ValueID)
    /// Constant elements from the file or from folding; it becomes a parameter when a node reads it.
    case constant(TensorData, isFolded: Bool, id: ValueID?)
    /// Integers some of which are multiples of the batch.
    case symbolic(DenseTensor<Dimension>, DataType)
    /// Integers that number the items of the batch.
    case itemIndices(ItemIndices)
    /// A list of other values, by their names.
    case sequence([String])
    /// The result of a node that cannot be compiled.
    case failed
  }

  var graph: Graph
  var warnings: [Warning] = []
  private var trainingModes = TrainingModes()
  let model: ModelToConvert
  /// The fixed batch size of the file, while trying to make it dynamic.
  private let freedBatch: Int?
  private var loader: TensorLoader
  private var budget: FoldingBudget
  private var values = NameTable<Imported>()
  private var unsupported = UnsupportedNodes()
  private var takenNames: Set<String> = []
  /// The number of nodes that stood in branches.
  private var inlinedNodes = 0
  /// Constants that come only from Constant nodes and shape arithmetic.
  private(set) var literals = NameTable<Bool>()
  /// Names of constants that functions compute with, such as the coefficients of a Resize; never weights.
  var functionConstants: Set<String> = []
  /// Their parameters.
  private(set) var functionParameters: Set<ValueID> = []
  /// The nodes that read each initializer, to detect shared parameters.
  private(set) var readers = NameTable<[Int]>()
  /// Every name that some node or output reads.
  private var readNames = NameTable<Bool>()

  /// - Parameter inputTypes: one type per graph input without an initializer.
  init(
    _ model: ModelToConvert, inputTypes: [(name: String, type: TensorType)], freedBatch: Int?,
    foldedBytes: Int = ONNXImportOptions().largestFoldedBytes
  ) throws {
    self.model = model
    self.freedBatch = freedBatch
    loader = model.loader
    budget = FoldingBudget(bytes: foldedBytes)
    graph = Graph(name: model.graph.name.isEmpty ? "main" : model.graph.name)
    for (name, type) in inputTypes {
      guard takenNames.insert(name).inserted else {
        throw GraftError(
          .unsupported, "two inputs have indistinguishable names: \(name.quotedForDisplay)")
      }
      values[name] = .computed(graph.addInput(name, type))
    }
    for node in model.graph.nodes { for input in node.inputs { readNames[input] = true } }
    for output in model.graph.outputs { readNames[output.name] = true }
    for tensor in model.graph.initializers {
      guard let data = model.parameters[tensor.name] else { continue }
      values[tensor.name] = .constant(data, isFolded: false, id: nil)
    }
  }

  /// Converts all nodes and outputs, without nodes that no output needs.
  /// - Throws: ``GraftError``: `unsupported` with all nodes that cannot be compiled, `invalidModel` that
  ///   names the invalid node.
  mutating func run() throws {
    for (place, node) in model.graph.nodes.enumerated() { try convertReporting(node, place) }
    try unsupported.throwIfAny()
    for output in model.graph.outputs {
      guard let value = try value(of: output.name, place: nil) else {
        throw GraftError(
          .invalidModel, "output \(output.name.quotedForDisplay) is not computed by any node")
      }
      guard !graph.outputs.contains(where: { $0.name == output.name }) else {
        throw GraftError(
          .unsupported, "two outputs have indistinguishable names: \(output.name.quotedForDisplay)")
      }
      graph.outputs.append(GraphOutput(name: output.name, value: value))
    }
    graph.removeDeadCode()
    try ConstantTrees.fold(&graph, budget: &budget)
    warnings += try trainingModes.read(&graph)
    adoptWeightsOfConstants()
    tellTiedParameters()
    try graph.verify()
  }

  // MARK: One node

  /// Converts a node, and keeps the reason if it cannot be compiled.
  mutating func convertReporting(_ node: FileNode, _ place: Int) throws {
    do {
      try convert(node, place)
    } catch let error as GraftError where error.kind == .unsupported {
      // Continue, to report all such nodes at once.
      unsupported.add(node, error)
      for output in node.outputs where !output.isEmpty { values[output] = .failed }
    } catch var error as GraftError {
      if error.kind == .invalidGraph { error.kind = .invalidModel }
      throw error.at(SourceLocation(node: node.displayName, operatorName: node.qualifiedType))
    }
  }

  private mutating func convert(_ original: FileNode, _ place: Int) throws {
    if let reason = SupportCheck.reason(original, opset: model.opset) {
      throw GraftError(.unsupported, reason)
    }
    switch original.qualifiedType {
    case "SequenceAt": return try convertSequenceAt(original)
    case "If": return try convertIf(original, place)
    default: break
    }
    var node = original
    var inputs = try node.inputs.map { try input($0) }
    if node.inputs.contains(where: { isFailed($0) }) {
      for output in node.outputs where !output.isEmpty { values[output] = .failed }
      return
    }
    switch node.qualifiedType {
    case "CastLike":
      node = try castNode(for: node, inputs)
      inputs.removeLast()
    case "SplitToSequence":
      node = try splitNode(for: node, inputs)
      inputs = try node.inputs.map { try input($0) }
    case "Constant": return try define(node, constant: ConstantNode.data(of: node, &loader))
    case "Identity": return try convertIdentity(node)
    case "ConstantOfShape":
      if let shape = inputs.first??.integers, let extents = constants(shape) {
        return try define(
          node, constant: ConstantNode.fill(extents, of: node, &loader, budget: &budget))
      }
    default: break
    }
    if try convertItemIndices(node, inputs, place) { return }
    if try convert(node, inputs, place, byFunction: model.opset) { return }
    let imported = try read(node, inputs)
    for (index, shape) in imported.inputShapes.sorted(by: { $0.key < $1.key }) {
      node.inputs[index] = try reshaped(node.inputs[index], to: shape, for: node, place)
      inputs[index] = try input(node.inputs[index])
    }
    let operandNames = imported.operands.map { index -> String? in
      index.flatMap { $0 < node.inputs.count ? node.inputs[$0] : nil }
    }
    try append(imported.operation, operandNames, for: node, place) { count in
      (imported.results ?? Array(0..<count)).map {
        $0 < node.outputs.count ? node.outputs[$0] : ""
      }
    }
    for output in node.outputs where readNames.contains(output) && !values.contains(output) {
      throw GraftError(
        .unsupported, "Graft does not support its output \(output.quotedForDisplay)")
    }
  }

  /// Evaluates an operator, or adds it to the graph where that is not possible.
  /// - Parameters:
  ///   - operandNames: nil or empty where an operand is absent.
  ///   - names: the names of so many results, empty where one is not used.
  mutating func append(
    _ operation: any Operator, _ operandNames: [String?], for node: FileNode, _ place: Int,
    names: (Int) -> [String]
  ) throws {
    let types = try operandNames.map { name -> TensorType? in
      try name.flatMap { try input($0)?.type }
    }
    let results = try Catalog.inferTypes(operation, types)
    let names = names(results.count)
    if let folded = try fold(operation, operandNames, types, results) {
      let isStated = operandNames.allSatisfy { $0.map(isLiteral) ?? true }
      for (name, value) in zip(names, folded) where !name.isEmpty {
        values[name] = value
        if isStated { literals[name] = true }
      }
      return
    }
    let operands = try operandNames.map { name in
      try name.flatMap { try value(of: $0, place: place) }
    }
    if freedBatch != nil { try checkFreed(operation, types, results) }
    let ids = try graph.append(
      operation, operands, names: names.map { $0.isEmpty ? nil : unusedName($0) },
      origins: [node.displayName])
    for (name, id) in zip(names, ids) where !name.isEmpty { values[name] = .computed(id) }
  }

  private mutating func read(
    _ node: FileNode, _ inputs: [ONNXNode.Input?]
  ) throws -> ImportedOperator {
    let imported = try binding(of: node).read(try seen(node, inputs))
    if imported.isInTrainingMode { trainingModes.add(node.opType) }
    return imported
  }

  private func binding(of node: FileNode) throws -> ONNXBinding {
    let bindings = Catalog.bindings(onnx: node.opType)
    guard let binding = bindings.first(where: { $0.opsets.contains(model.opset) }) else {
      throw GraftError(.unsupported, "Graft has no such operator")
    }
    return binding
  }

  /// A node as its operator's binding sees it.
  mutating func seen(
    _ node: FileNode, _ inputs: [ONNXNode.Input?]
  ) throws -> ONNXNode {
    var attributes: [String: ONNXAttributeValue] = [:]
    for attribute in node.attributes {
      attributes[attribute.name] = try ConstantNode.value(of: attribute, &loader)
    }
    return ONNXNode(
      opType: node.opType, opset: model.opset, attributes: attributes, inputs: inputs,
      outputCount: node.outputs.count,
      readOutputCount: node.outputs.lastIndex { readNames.contains($0) }.map { $0 + 1 } ?? 0,
      freedBatch: freedBatch, name: node.displayName)
  }

  /// PyTorch's exporter merges equal initializers and marks copies with Identity: such a copy becomes a
  /// separate parameter with the name of the output. Other Identity nodes are aliases.
  private mutating func convertIdentity(_ node: FileNode) throws {
    guard let source = node.inputs.first, let value = values[source] else {
      throw GraftError(.invalidModel, "its input is missing")
    }
    guard let output = node.outputs.first, !output.isEmpty else { return }
    alias(output, to: value, named: source)
  }

  /// Gives a value a second name. A constant becomes a parameter of its own.
  mutating func alias(_ output: String, to value: Imported, named source: String) {
    if case .constant(let data, let isFolded, _) = value {
      values[output] = .constant(data, isFolded: isFolded, id: nil)
      if isLiteral(source) { literals[output] = true }
    } else {
      values[output] = value
    }
  }

  private mutating func define(_ node: FileNode, constant: TensorData) throws {
    guard let output = node.outputs.first, !output.isEmpty else { return }
    values[output] = .constant(constant, isFolded: true, id: nil)
    literals[output] = true
  }

  /// Whether a name is a constant of the file's nodes rather than an initializer.
  func isLiteral(_ name: String) -> Bool {
    switch values[name] {
    case .constant(let data, _, _): literals.contains(name) || !data.dtype.isFloatingPoint
    case .symbolic, .itemIndices, nil: true
    case .computed, .sequence, .failed: false
    }
  }

  // MARK: Values

  var opset: Int { model.opset }

  func imported(_ name: String) -> Imported? { values[name] }

  /// - Parameter isLiteral: whether the file's nodes state it, so that it is no weight.
  mutating func set(_ name: String, _ value: Imported, isLiteral: Bool = false) {
    values[name] = value
    if isLiteral { literals[name] = true }
  }

  /// Defines an initializer of a branch.
  mutating func setInitializer(_ name: String, _ tensor: FileTensor) throws {
    values[name] = .constant(try loader.data(of: tensor), isFolded: false, id: nil)
  }

  /// Notes that nodes of a branch read these names.
  mutating func read(names: [String]) { for name in names { readNames[name] = true } }

  /// Counts nodes of branches, which functions may repeat.
  /// - Throws: ``GraftError`` of kind `unsupported` if there are too many.
  mutating func count(inlined nodes: Int) throws {
    inlinedNodes += nodes
    guard inlinedNodes <= FunctionInliner.largestNodeCount else {
      throw GraftError(
        .unsupported,
        "with its branches inlined, the model has more than \(FunctionInliner.largestNodeCount) nodes"
      )
    }
  }

  func isFailed(_ name: String) -> Bool {
    if case .failed = values[name] { true } else { false }
  }

  /// The input of a binding; nil if it is absent.
  func input(_ name: String) throws -> ONNXNode.Input? {
    guard !name.isEmpty else { return nil }
    switch values[name] {
    case .computed(let id): return ONNXNode.Input(type: graph.type(of: id))
    case .constant(let data, _, _):
      return ONNXNode.Input(
        type: TensorType(data.dtype, TensorShape(data.shape)),
        integers: KnownValues.integers(of: data), data: data)
    case .symbolic(let tensor, let dtype):
      return ONNXNode.Input(type: TensorType(dtype, TensorShape(tensor.shape)), integers: tensor)
    case .itemIndices(let indices): return ONNXNode.Input(type: indices.type)
    case .sequence:
      throw GraftError(.unsupported, "its input \(name.quotedForDisplay) is a sequence")
    case .failed: return nil
    case nil:
      throw GraftError(.invalidModel, "its input \(name.quotedForDisplay) is missing")
    }
  }

  /// The graph value for a name of the file; known values become parameters now.
  mutating func value(of name: String, place: Int?) throws -> ValueID? {
    guard !name.isEmpty else { return nil }
    switch values[name] {
    case .computed(let id): return id
    case .constant(let data, let isFolded, let known):
      if let place, !isFolded, data.elementCount > 1 { readers[name, default: []].append(place) }
      if let known { return known }
      let id = graph.addParameter(
        unusedName(name), TensorType(data.dtype, TensorShape(data.shape)),
        Parameter(isLiteral: isFolded && isLiteral(name), data: data))
      values[name] = .constant(data, isFolded: isFolded, id: id)
      if functionConstants.contains(name) { functionParameters.insert(id) }
      return id
    case .symbolic(let tensor, _):
      throw GraftError(
        .unsupported,
        "it computes with \(name.quotedForDisplay), which depends on the batch: "
          + "\(tensor.elements.map(\.description).joined(separator: ", "))")
    case .itemIndices:
      throw GraftError(
        .unsupported, "it computes with \(name.quotedForDisplay), the numbers of the batch's items")
    case .sequence, .failed, nil: return nil
    }
  }

  /// Names in the IR are unique by Unicode equivalence, in the file by bytes.
  private mutating func unusedName(_ name: String) -> String {
    if takenNames.insert(name).inserted { return name }
    var suffix = 1
    while !takenNames.insert("\(name).\(suffix)").inserted { suffix += 1 }
    return "\(name).\(suffix)"
  }

  func constants(_ tensor: DenseTensor<Dimension>) -> [Int]? {
    let known = tensor.elements.compactMap(\.constant)
    return known.count == tensor.elements.count ? known : nil
  }

  // MARK: Folding

  /// The results where they are known at compile time; nil if the node has to run.
  mutating func fold(
    _ operation: any Operator, _ operands: [String?], _ types: [TensorType?],
    _ results: [TensorType]
  ) throws -> [Imported]? {
    // What is stored stays as it is, but for single numbers.
    if operation is any StorageOperator,
      results.contains(where: { $0.shape.elementCount != 1 })
    {
      return nil
    }
    var known = KnownValues(results: results)
    for name in operands {
      switch name.flatMap({ values[$0] }) {
      case .constant(let data, let isFolded, _): known.add(data, isFolded: isFolded)
      case .symbolic(let tensor, _): known.add(tensor)
      case .computed, .itemIndices, .sequence, .failed, nil:
        known.addUnknown(isAbsent: name == nil || name == "")
      }
    }
    return try known.fold(operation, types, budget: &budget)
  }

  // MARK: After the nodes

  /// The batch can be made dynamic only if no node computes along the batch axis.
  private func checkFreed(
    _ operation: any Operator, _ types: [TensorType?], _ results: [TensorType]
  ) throws {
    try FreedBatch.check(operation, types, results)
  }
}
