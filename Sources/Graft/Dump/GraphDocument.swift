// A graph as JSON, for `graft dump --format json` and the HTML page.
// docs/dump-format.md documents every key.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps

/// A graph and optionally its memory plan as JSON.
public struct GraphDocument: Encodable, Sendable {
  public struct Tensor: Encodable, Sendable {
    /// The number of the value in the text form.
    var id: Int
    var name: String?
    var dtype: String
    var shape: [Manifest.Extent]
    var layout: LayoutDocument?
  }

  public struct LayoutDocument: Encodable, Sendable {
    var channelBlock: Int
    /// [height, width]
    var border: [Int]
    enum CodingKeys: String, CodingKey {
      case channelBlock = "channel_block"
      case border
    }
  }

  public struct ParameterDocument: Encodable, Sendable {
    var tensor: Tensor
    var elements: Int
    var trained: Bool
    var group: String?
    var derivation: String?

    enum CodingKeys: String, CodingKey { case elements, trained, group, derivation }

    public func encode(to encoder: any Encoder) throws {
      try tensor.encode(to: encoder)
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(elements, forKey: .elements)
      try container.encode(trained, forKey: .trained)
      try container.encodeIfPresent(group, forKey: .group)
      try container.encodeIfPresent(derivation, forKey: .derivation)
    }
  }

  public struct NodeDocument: Encodable, Sendable {
    var opcode: String
    /// Value ids, null where an optional operand is absent.
    var operands: [Int?]
    var results: [Tensor]
    var attributes: [String: AttributeDocument]
    /// The names of the model's nodes that this one computes.
    var origins: [String]
    /// Multiply-adds at batch size 1.
    var multiplyAdds: Int
    /// In a training step.
    var phase: TrainingStage.Phase?
    /// In a training step, whether it recomputes a result of the forward pass.
    var recomputed: Bool?
    /// In a scheduled graph, the kernel of the node.
    var kernel: KernelDocument?

    enum CodingKeys: String, CodingKey {
      case opcode, operands, results, attributes, origins, phase, recomputed, kernel
      case multiplyAdds = "multiply_adds"
    }
  }

  public struct KernelDocument: Encodable, Sendable {
    var family: String
    /// Algorithm, register tile and division among threads, as text.
    var algorithm: String?
    /// The element type that the kernel computes in or moves.
    var element: String
    /// The estimated time for one image in vector multiply-adds.
    var time: Double

    init(_ note: KernelNote) {
      family = note.family
      algorithm = note.algorithm
      element = note.element.rawValue
      time = note.time
    }
  }

  public struct AttributeDocument: Encodable, Sendable {
    var value: AttributeValue

    public func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      switch value {
      case .bool(let value): try container.encode(value)
      case .int(let value): try container.encode(value)
      case .ints(let values): try container.encode(values)
      case .float(let value): try container.encode(Number(value))
      case .floats(let values): try container.encode(values.map(Number.init))
      case .string(let value): try container.encode(value)
      case .strings(let values): try container.encode(values)
      case .type(let type): try container.encode(type.rawValue)
      case .shape(let shape): try container.encode(shape.dimensions.map { Manifest.Extent($0) })
      }
    }

    /// JSON has no infinities: they are the strings `"inf"`, `"-inf"` and `"nan"`.
    private struct Number: Encodable {
      var value: Double
      init(_ value: Double) { self.value = value }
      func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if value.isFinite { try container.encode(value) } else { try container.encode("\(value)") }
      }
    }
  }

  public struct OutputDocument: Encodable, Sendable {
    var name: String
    var id: Int
  }

  public struct MemoryDocument: Encodable, Sendable {
    public struct PlacementDocument: Encodable, Sendable {
      var id: Int
      var name: String?
      var offset: Int
      var bytes: Int
      var perBatch: Bool
      var firstStep: Int
      var lastStep: Int
      enum CodingKeys: String, CodingKey {
        case id, name, offset, bytes
        case perBatch = "per_batch"
        case firstStep = "first_step"
        case lastStep = "last_step"
      }
    }

    var arenaBytes: Int
    var lowerBoundBytes: Int
    var fixedBytes: Int
    /// Bytes that kernels need per thread in addition to the arena; absent for a graph without kernels.
    var scratchBytesPerThread: Int?
    var alignment: Int
    var placements: [PlacementDocument]
    /// Pairs of value ids: the first shares the memory of the second.
    var aliases: [[Int]]

    enum CodingKeys: String, CodingKey {
      case arenaBytes = "arena_bytes"
      case lowerBoundBytes = "lower_bound_bytes"
      case fixedBytes = "fixed_bytes"
      case scratchBytesPerThread = "scratch_bytes_per_thread"
      case alignment, placements, aliases
    }
  }

  /// The frozen operators and cached values of a training step.
  public struct TrainingDocument: Encodable, Sendable {
    var frozen: [TrainingStage.FrozenOperator]
    var cached: [TrainingStage.CachedValue]
  }

  var stage: String
  var name: String
  var inputs: [Tensor]
  var parameters: [ParameterDocument]
  var nodes: [NodeDocument]
  var outputs: [OutputDocument]
  var memory: MemoryDocument?
  var training: TrainingDocument?
  // Repeated at the top level for scripts.
  var arenaBytes: Int?
  var lowerBoundBytes: Int?

  enum CodingKeys: String, CodingKey {
    case stage, name, inputs, parameters, nodes, outputs, memory, training
    case arenaBytes = "arena_bytes"
    case lowerBoundBytes = "lower_bound_bytes"
  }

  /// - Parameter stage: the name of the stage in `graft dump --stage`.
  /// - Throws: ``GraftError`` for a graph with operators that are not in the catalog.
  public init(
    _ graph: Graph, stage: String, plan: MemoryPlan? = nil, scratchBytesPerThread: Int? = nil
  ) throws {
    let numbers = graph.makeValueNumbers()
    func number(_ id: ValueID) -> Int { numbers[id] ?? -1 }
    func tensor(_ id: ValueID) -> Tensor {
      let value = graph[id]
      let layout = value.type.layout
      return Tensor(
        id: number(id), name: value.name, dtype: value.type.dtype.rawValue,
        shape: value.type.shape.dimensions.map { Manifest.Extent($0) },
        layout: layout.isPlain
          ? nil
          : LayoutDocument(
            channelBlock: layout.channelBlock, border: [layout.borderHeight, layout.borderWidth]))
    }
    self.stage = stage
    name = graph.name
    inputs = graph.inputs.map(tensor)
    parameters = graph.parameters.map { id in
      let parameter = graph[id].parameter
      return ParameterDocument(
        tensor: tensor(id), elements: graph.type(of: id).shape.elementCount?.constant ?? 0,
        trained: parameter?.isTrained ?? false, group: parameter?.group,
        derivation: parameter?.derivation)
    }
    nodes = try graph.nodes.map { node in
      NodeDocument(
        opcode: node.opcode.rawValue, operands: node.operands.map { $0.map(number) },
        results: node.results.map(tensor),
        attributes: Dictionary(
          uniqueKeysWithValues: node.attributes.values.map {
            ($0.key, AttributeDocument(value: $0.value))
          }),
        origins: node.origins,
        multiplyAdds: try Catalog.operation(of: node).cost(
          operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node)
        ).multiplyAdds,
        kernel: node.kernel.map(KernelDocument.init))
    }
    outputs = graph.outputs.map { OutputDocument(name: $0.name, id: number($0.value)) }
    guard let plan else { return }
    arenaBytes = plan.arenaBytes
    lowerBoundBytes = plan.lowerBoundBytes
    memory = MemoryDocument(
      arenaBytes: plan.arenaBytes, lowerBoundBytes: plan.lowerBoundBytes,
      fixedBytes: plan.fixedBytes, scratchBytesPerThread: scratchBytesPerThread,
      alignment: plan.alignment,
      placements: plan.placements.map { id, place in
        MemoryDocument.PlacementDocument(
          id: number(id), name: graph[id].name, offset: place.offset, bytes: place.byteCount,
          perBatch: place.isPerBatch, firstStep: place.lifetime.lowerBound,
          lastStep: place.lifetime.upperBound)
      }.sorted { $0.id < $1.id },
      aliases: plan.aliases.map { [number($0.key), number($0.value)] }.sorted { $0[0] < $1[0] })
  }

  /// A training step with its phases, memory plan, frozen operators and cached values.
  /// - Throws: ``GraftError`` as ``init(_:stage:plan:)``.
  public init(_ moment: TrainingStage) throws {
    try self.init(moment.graph, stage: Compiler.Stage.training.rawValue, plan: moment.plan)
    for (index, phase) in zip(nodes.indices, moment.phases) { nodes[index].phase = phase }
    for (index, isSecond) in zip(nodes.indices, moment.recomputed) {
      nodes[index].recomputed = isSecond
    }
    training = TrainingDocument(frozen: moment.frozen, cached: moment.cached)
  }

  /// Deterministic JSON: keys sorted.
  public func json(pretty: Bool = true) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting =
      pretty
      ? [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes] : [.sortedKeys]
    return String(decoding: try encoder.encode(self), as: UTF8.self)
  }
}
