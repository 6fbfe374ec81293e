// Lowers the nodes of a scheduled graph, whose kernels have been chosen, to kernel calls. Each kernel family
// emits its own; this file has shared code.

import GraftDiagnostics
import GraftIR
import GraftOps

/// One step of the program: a kernel with its arguments and the units that its work splits into.
struct Step {
  /// The node, or nil for a copy that only serves an output.
  var node: NodeID?
  var kernel: Kernel
  /// C expressions, in the kernel's order; the range of units comes last by itself.
  var arguments: [String]
  var units: WorkUnits
  /// How the algorithm's arithmetic relates to the node's.
  var shape = WorkShape()
  /// The site of a convolution; nil for other calls.
  var site: ConvolutionSite?
}

/// Lowers one graph, which must have been verified; unsupported nodes are errors with the node's name.
struct Lowering {
  let graph: Graph
  let target: Target
  let places: ValueLocations
  let library: KernelLibrary
  let selection: KernelSelection
  var weights: PackedWeights
  let identities: ParameterIdentities
  private(set) var steps: [Step] = []
  private var currentNode: NodeID?
  /// Bytes of the plan's fixed region; behind it lies the workspace.
  private let fixedBytes: Int
  private var workspaceUsed = 0
  /// The largest workspace that a node needs.
  private(set) var workspaceBytes = 0

  /// - Parameters:
  ///   - selection: what computes each node.
  ///   - library: where kernels go; programs of one library share it.
  ///   - weights: where constants go, likewise.
  ///   - states: the number of each parameter that is state, by name.
  ///   - places: of the values, where the plan and the states do not say all.
  init(
    graph: Graph, plan: MemoryPlan, target: Target, selection: KernelSelection,
    library: KernelLibrary = KernelLibrary(), weights: PackedWeights = PackedWeights(),
    states: [String: Int] = [:], places: ValueLocations? = nil
  ) {
    self.graph = graph
    identities = ParameterIdentities(of: graph)
    self.selection = selection
    self.target = target
    self.library = library
    self.weights = weights
    fixedBytes = plan.fixedBytes
    self.places = places ?? ValueLocations(graph: graph, plan: plan, states: states)
  }

  /// Bytes that do not grow with the batch: the plan's and the workspace.
  /// Threads' scratch begins behind them, on a cache line.
  var arenaBytesFixed: Int { workspaceStart + workspaceBytes }

  private var workspaceStart: Int { (fixedBytes + 63) / 64 * 64 }

  /// The address of `floats` floats that only the steps of the current node use: weights that are
  /// packed while the network runs, partial sums. Every node's workspace is the same memory.
  mutating func workspace(floats: Int) -> String {
    let place = Place.fixed(workspaceStart + workspaceUsed)
    workspaceUsed += (floats * MemoryLayout<Float>.size + 63) / 64 * 64
    workspaceBytes = max(workspaceBytes, workspaceUsed)
    return place.expression
  }

  /// The first step of the optimizer's update; the number of steps if there is none.
  private(set) var updateFirstStep = 0

  /// Lowers every node. Outputs that no node writes in place are copied at the end, but before an
  /// update, which not every call runs.
  mutating func run() throws {
    let order = try trainingOrder()
    try checkStates(order)
    let graph = graph
    for (index, node) in order.nodes.enumerated() {
      if index == order.updateBegin {
        try copyOutputs()
        updateFirstStep = steps.count
      }
      currentNode = node.id
      workspaceUsed = 0
      try at(graph.location(of: node)) {
        try selection.choice(for: node).schedule.emit(node, into: &self)
      }
    }
    if order.updateBegin == nil {
      try copyOutputs()
      updateFirstStep = steps.count
    }
  }

  private mutating func copyOutputs() throws {
    currentNode = nil
    for (index, output) in places.callerOutputs.enumerated() {
      if !isConstant(output.value), try location(of: output.value) == .output(index) { continue }
      try copyOutput(output.value, to: .output(index))
    }
  }

  mutating func emit(
    _ kernel: Kernel, _ arguments: [String], units: WorkUnits, shape: WorkShape = WorkShape(),
    site: ConvolutionSite? = nil
  ) {
    steps.append(
      Step(
        node: currentNode, kernel: kernel, arguments: arguments, units: units, shape: shape,
        site: site))
  }

  // MARK: Operands

  func type(_ value: ValueID) -> TensorType { graph.type(of: value) }

  /// The operand at `index`.
  /// - Throws: ``GraftError`` if it is absent.
  func operand(_ index: Int, of node: Node) throws -> ValueID { try node.requiredOperand(index) }

  func result(of node: Node) throws -> ValueID { try node.requiredResult() }

  func requireFloat(_ values: [ValueID]) throws { try graph.requireFloat(values) }

  /// The location of a value; a parameter is packed in plain order.
  func location(of value: ValueID) throws -> Place { try places.place(of: value) }

  /// The C address of a value. A constant is in the packed weights, in plain order.
  mutating func address(_ value: ValueID) throws -> String {
    try isConstant(value) ? plainParameter(value) : location(of: value).expression
  }

  /// The bytes of a parameter. Large ones become float32 only while they are packed.
  func data(of value: ValueID) throws -> TensorData {
    guard let data = graph[value].parameter?.data else {
      throw GraftError(
        .unsupported,
        "\((graph[value].name ?? "").quotedForDisplay) must be a constant with its data, found "
          + "\(type(value))", advice: "Only weights that the file stores can be packed.")
    }
    return data
  }

  /// The elements of a small parameter as float32.
  func floats(of value: ValueID) throws -> [Float] { try data(of: value).floats() }

  /// Whether `value` is known at compile time, and is in the packed weights.
  func isConstant(_ value: ValueID) -> Bool {
    graph[value].parameter != nil && !places.isState(value)
  }

  /// The C address of one float for each of `count` channels, zeros where `value` is absent, with room
  /// for whole groups of lanes up to `padded`.
  mutating func channelVector(_ value: ValueID?, count: Int, padded: Int, scale: Float = 1)
    throws -> String
  {
    guard let value else {
      let offset = weights.add([], form: "zeros \(padded)", floatCount: padded) { _ in }
      return Place.weights(offset).expression
    }
    guard isConstant(value) else {
      return try computedVector(value, count: count, padded: padded, scale: scale)
    }
    let elements = try floats(of: value)
    guard elements.count == count else {
      throw GraftError(
        .inconsistency, "expected \(count) elements for \(type(value)), found \(elements.count)")
    }
    let offset = weights.add(
      [identities.of(value)], form: "vector \(padded) x \(scale)", floatCount: padded
    ) { packed in WeightPacking.vector(elements, into: packed, scale: scale) }
    return Place.weights(offset).expression
  }
}

extension Graph {
  /// Requires float32, the one type that kernels compute in so far. Parameters may have any
  /// floating-point type: they become float32 when they are packed.
  func requireFloat(_ values: [ValueID]) throws {
    for value in values {
      let dtype = type(of: value).dtype
      if self[value].parameter != nil ? dtype.isFloatingPoint : dtype == .float32 { continue }
      throw GraftError(.unsupported, "kernels compute in float32, found \(type(of: value))")
    }
  }
}
