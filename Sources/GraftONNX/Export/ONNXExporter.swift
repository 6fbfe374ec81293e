// Writes a graph as an ONNX file. Weights are passed to the sink without copying, with their original bytes
// and names; only nodes and headers are built in memory.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The options of an export.
public struct ONNXExportOptions: Sendable {
  /// The version of the operator set to write; at least 17.
  public var opset: Int
  /// The producer name in the file.
  public var producerVersion: String

  /// - Parameter importedOpset: the version that the model was imported with, kept where it is newer
  ///   than 17.
  public init(importedOpset: Int = 17, producerVersion: String = "") {
    opset = max(17, importedOpset)
    self.producerVersion = producerVersion
  }
}

/// Writes ONNX files.
public enum ONNXExporter {
  /// The maximum size of a protobuf message, 2 GiB.
  static let largestFile = Int(Int32.max)

  /// Writes `graph` incrementally as a ModelProto.
  ///
  /// Fused operators are decomposed. Layouts must be plain.
  /// Names of inputs, outputs, parameters and nodes are kept where they are unique. The free batch is
  /// the dimension parameter `N`.
  /// - Parameter sink: receives the bytes of the file in order; its errors end the export.
  /// - Throws: ``GraftError``: `unsupported` for an operator or a shape that ONNX cannot express and
  ///   for more than 2 GiB, `invalidGraph` for a parameter without data.
  public static func write(
    _ graph: Graph, options: ONNXExportOptions = ONNXExportOptions(),
    to sink: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    let graph = try ExportLowering(graph).graph
    var options = options
    var plan = try ExportPlan(graph, opset: options.opset)
    if plan.firstOpset > options.opset {
      // Passes recognize operators that are newer than the file.
      options.opset = plan.firstOpset
      plan = try ExportPlan(graph, opset: options.opset)
    }
    let body = try graphBody(graph, plan)
    let weights = plan.initializers.map { (head: tensorHead($0), data: $0.data) }
    var graphSize = body.count
    for weight in weights { graphSize += weight.head.count + weight.data.byteCount }
    var head = WireWriter()
    head.integer(FieldNumber.Model.irVersion, irVersion(opset: options.opset))
    head.string(FieldNumber.Model.producerName, "graft")
    if !options.producerVersion.isEmpty {
      head.string(FieldNumber.Model.producerVersion, options.producerVersion)
    }
    head.message(FieldNumber.Model.opsetImport) {
      $0.integer(FieldNumber.OperatorSet.version, options.opset)
    }
    head.header(FieldNumber.Model.graph, byteCount: graphSize)
    guard graphSize <= largestFile - head.bytes.count else {
      throw GraftError(
        .unsupported,
        "the model would have \(graphSize) bytes, an ONNX file can have at most "
          + "\(largestFile)")
    }
    try head.bytes.withUnsafeBytes(sink)
    try body.withUnsafeBytes(sink)
    for weight in weights {
      try weight.head.withUnsafeBytes(sink)
      try weight.data.withUnsafeBytes(sink)
    }
  }

  /// The IR version that ONNX released together with an operator set.
  private static func irVersion(opset: Int) -> Int {
    switch opset {
    case ...18: 8
    case 19...20: 9
    case 21...22: 10
    case 23: 11
    case 24: 12
    case 25...27: 13
    default: 14
    }
  }

  /// The graph without its initializers: fields of a message may come in any order.
  private static func graphBody(_ graph: Graph, _ plan: ExportPlan) throws -> [UInt8] {
    var writer = WireWriter()
    writer.string(FieldNumber.Graph.name, graph.name)
    for input in plan.inputs { write(input, FieldNumber.Graph.input, &writer) }
    for output in plan.outputs { write(output, FieldNumber.Graph.output, &writer) }
    for node in plan.nodes {
      try writer.message(FieldNumber.Graph.node) { try write(node, &$0) }
    }
    return writer.bytes
  }

  /// The fields of an initializer before its bytes, as a field of the graph.
  private static func tensorHead(_ tensor: ExportPlan.Initializer) -> [UInt8] {
    var inner = tensorFields(tensor.data, name: tensor.name)
    inner.header(FieldNumber.Tensor.rawData, byteCount: tensor.data.byteCount)
    var outer = WireWriter()
    outer.header(
      FieldNumber.Graph.initializer, byteCount: inner.bytes.count + tensor.data.byteCount)
    return outer.bytes + inner.bytes
  }

  private static func tensorFields(_ data: TensorData, name: String) -> WireWriter {
    var writer = WireWriter()
    for extent in data.shape { writer.integer(FieldNumber.Tensor.dims, extent) }
    writer.integer(FieldNumber.Tensor.dataType, ElementTypes.number(of: data.dtype))
    if !name.isEmpty { writer.string(FieldNumber.Tensor.name, name) }
    return writer
  }

  private static func write(_ value: ExportPlan.Value, _ field: Int, _ writer: inout WireWriter) {
    writer.message(field) { info in
      info.string(FieldNumber.ValueInfo.name, value.name)
      info.message(FieldNumber.ValueInfo.type) { type in
        type.message(FieldNumber.Kind.tensor) { tensor in
          tensor.integer(
            FieldNumber.TensorKind.elementType, ElementTypes.number(of: value.type.dtype))
          tensor.message(FieldNumber.TensorKind.shape) { shape in
            for dimension in value.type.shape.dimensions {
              shape.message(FieldNumber.Shape.dimension) {
                if let constant = dimension.constant {
                  $0.integer(FieldNumber.Dimension.value, constant)
                } else {
                  $0.string(FieldNumber.Dimension.parameter, dimension.description)
                }
              }
            }
          }
        }
      }
    }
  }

  private static func write(_ node: ExportPlan.Node, _ writer: inout WireWriter) throws {
    for input in node.inputs { writer.string(FieldNumber.Node.input, input) }
    for output in node.outputs { writer.string(FieldNumber.Node.output, output) }
    writer.string(FieldNumber.Node.name, node.name)
    writer.string(FieldNumber.Node.opType, node.opType)
    for (name, value) in node.attributes {
      writer.message(FieldNumber.Node.attribute) { write(name, value, &$0) }
    }
  }

  /// An attribute; `type` holds the numbers of AttributeProto.AttributeType.
  private static func write(
    _ name: String, _ value: ONNXAttributeValue, _ writer: inout WireWriter
  ) {
    writer.string(FieldNumber.Attribute.name, name)
    let type: Int
    switch value {
    case .float(let value):
      writer.float(FieldNumber.Attribute.float, Float(value))
      type = 1
    case .int(let value):
      writer.integer(FieldNumber.Attribute.int, value)
      type = 2
    case .string(let value):
      writer.string(FieldNumber.Attribute.string, value)
      type = 3
    case .tensor(let data):
      var tensor = tensorFields(data, name: "")
      tensor.message(FieldNumber.Tensor.rawData, data.withUnsafeBytes { Array($0) })
      writer.message(FieldNumber.Attribute.tensor, tensor.bytes)
      type = 4
    case .floats(let values):
      for value in values { writer.float(FieldNumber.Attribute.floats, Float(value)) }
      type = 6
    case .ints(let values):
      for value in values { writer.integer(FieldNumber.Attribute.ints, value) }
      type = 7
    case .strings(let values):
      for value in values { writer.string(FieldNumber.Attribute.strings, value) }
      type = 8
    }
    writer.integer(FieldNumber.Attribute.type, type)
  }
}
