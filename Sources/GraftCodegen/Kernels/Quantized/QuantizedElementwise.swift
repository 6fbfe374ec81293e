// Elementwise functions, pools and conversions that read or write bytes.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let quantizedElementwise = KernelFamily(
    name: "quantized elementwise",
    rules: [
      .serving(Quantized.self) { operation, node, context in
        let images = (node.presentOperands + node.results).map(context.type).filter {
          $0.rank == 4 && $0.dtype == .uint8
        }
        guard images.allSatisfy({ $0.layout.channelBlock == context.target.lanes }) else {
          return []
        }
        return [QuantizedElementwise(operation, cost: context.arithmeticTime(node, operation))]
      },
      .emitting(Quantize.self, movesElements: true) { operation, node, program in
        try program.convert(
          node, convert: operation.isSigned ? "(byte)(byte_of((" : "byte_of((",
          end:
            ") / \(CText.float(operation.to.scale)), \(CText.float(Double(-operation.to.zero))), "
            + "\(CText.float(Double(255 - operation.to.zero))), \(operation.to.zero))"
            + (operation.isSigned ? " ^ 128)" : ""),
          name: operation.isSigned ? "quantize_signed" : "quantize")
      },
      .emitting(Dequantize.self, movesElements: true) { operation, node, program in
        try program.convert(
          node, convert: operation.isSigned ? "((float)(" : "((float)",
          end: (operation.isSigned ? " ^ 128)" : "")
            + " - \(CText.float(Double(operation.from.zero)))) * "
            + CText.float(operation.from.scale),
          name: operation.isSigned ? "dequantize_signed" : "dequantize")
      },
    ])
}

private struct QuantizedElementwise: KernelSchedule {
  let operation: Quantized
  let cost: Double

  init(_ operation: Quantized, cost: Double) {
    self.operation = operation
    self.cost = cost
  }

  let summary = ""
  var arithmetic: DataType? { .float32 }

  func emit(_ node: Node, into program: inout Lowering) throws {
    if try program.lowerPool(operation, node) { return }
    let result = try program.result(of: node)
    if let sum = operation.exactSum {
      let whole = Quantization(scale: 1, zero: operation.shift)
      return try program.mapBlocked(
        MapFunction(
          name: "exact_add",
          expression:
            "a_value * \(CText.float(Double(sum.first))) + (b_value * \(CText.float(Double(sum.second))) + "
            + "\(CText.float(Double(sum.offset))))"),
        node.presentOperands.map { .value($0) }, to: result, quantizations: [whole, whole],
        target: whole)
    }
    let (function, vectors) = try Lowering.function(of: operation.operation)
    let sources = node.presentOperands.enumerated().map { index, value -> MapSource in
      vectors.contains(index) ? .channels(value) : .value(value)
    }
    guard program.type(result).layout.isBlocked else {
      throw GraftError(.inconsistency, "bytes are mapped in blocks of channels only")
    }
    try program.mapBlocked(
      function, sources, to: result, quantizations: operation.sources, target: operation.result)
  }
}

/// What a pool's template needs where operand or result are bytes.
struct BytesOfPool {
  var source: Quantization?
  var result: Quantization?
  /// Whether elements are only compared, so that they stay bytes.
  var movesElements: Bool
  /// See ``Quantized/isExactMean``.
  var isExactMean = false
  /// See ``Quantized/shift``.
  var shift = 0
  /// See ``Quantized/factorOfMean(of:)``.
  var factor: Float?

  var name: String { "\(source == nil ? "f32" : "u8")\(result == nil ? "_to_f32" : "")" }

  /// Whether elements move as they are, without becoming real numbers.
  private var staysBytes: Bool { movesElements && source != nil && source == result }

  /// C of what no element lies below.
  var least: String { staysBytes ? "(element){0}" : "(element){0} - __builtin_inff()" }

  /// C that adds an element of a mean; an exact one is of real numbers.
  var sum: String {
    guard isExactMean, let source else { return "value += next;" }
    return "const element real = next * \(CText.float(source.scale));\nvalue += real;"
  }

  /// - Parameter place: C of the result's address.
  func values(at place: String) -> [String: String] {
    var values = [
      "x_scalar": source == nil ? "float" : "byte", "y_scalar": result == nil ? "float" : "byte",
      "fill_border": result == nil ? "fill_float_border" : "fill_border",
    ]
    if staysBytes {
      values["element"] = "vbu"
      values["save"] = "*(element *)(\(place)) = value;"
      return values
    }
    values["element"] = "vf"
    // Padding counts as zero, so that elements are summed less their zero point.
    let moved = source.map { $0.zero == 0 ? "" : "\(CText.float(Double(-$0.zero))) + " } ?? ""
    values["load"] = source == nil ? "load" : "\(moved)from_bytes"
    if let result, isExactMean {
      values["save"] =
        "value = value / \(CText.float(result.scale));\n"
        + "value = value + \(CText.float(Double(result.zero - shift)));\n"
        + "store_bytes(\(place), bytes_of(value, \(CText.float(Double(-shift))), "
        + "\(CText.float(Double(255 - shift))), \(shift)));"
      return values
    }
    let step = factor.map(Double.init) ?? source?.scale
    let real = step.map { "value = value * \(CText.float($0));\n" } ?? ""
    // A factor gives steps of the result.
    let target = factor == nil ? result : result.map { Quantization(scale: 1, zero: $0.zero) }
    let epilogue = EpilogueC(.none, target).templateValues
    values["save"] =
      real + (epilogue["finish"].map { $0.isEmpty ? "" : $0 + "\n" } ?? "")
      + "\(epilogue["store"] ?? "store")(\(place), \(epilogue["stored"] ?? "value"));"
    return values
  }
}

extension Quantization {
  /// C of the real numbers that a vector of elements stands for.
  func real(_ elements: String) -> String {
    (zero == 0 ? elements : "(\(elements) - \(CText.float(Double(zero))))")
      + (scale == 1 ? "" : " * \(CText.float(scale))")
  }
}

extension Lowering {
  /// Lowers a pool between bytes.
  /// - Returns: whether the operator is one.
  fileprivate mutating func lowerPool(_ operation: Quantized, _ node: Node) throws -> Bool {
    let selects =
      (operation.operation as? any QuantizableElementwise)
      .map { Swift.type(of: $0).selectsElements } ?? false
    var bytes = BytesOfPool(
      source: operation.sources.first ?? nil, result: operation.result, movesElements: selects,
      isExactMean: operation.isExactMean, shift: operation.shift)
    switch operation.operation {
    case let pool as MaxPool: try lower(pool, node, bytes)
    case let pool as AveragePool: try lower(pool, node, bytes)
    case is GlobalAveragePool:
      let image = try type(operand(0, of: node)).shape.dimensions.dropFirst(2)
      bytes.factor = TensorShape(Array(image)).elementCount?.constant.flatMap(
        operation.factorOfMean(of:))
      try lowerGlobalPool(node, isAverage: true, bytes)
    case is GlobalMaxPool: try lowerGlobalPool(node, isAverage: false, bytes)
    default: return false
    }
    return true
  }

  /// The elements of `node`'s operand as another element type, in its result's layout.
  /// - Parameters:
  ///   - convert: C before an element.
  ///   - end: C after it.
  fileprivate mutating func convert(
    _ node: Node, convert: String, end: String, name: String
  ) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    let isQuantizing = type(output).dtype != .float32
    let scalars = isQuantizing ? ("float", "byte") : ("byte", "float")
    let addresses = [
      isQuantizing ? try address(input) : try bytes(input),
      isQuantizing ? try bytes(output, isConst: false) : try address(output),
    ]
    if type(input).layout.isPlain, type(output).layout.isPlain {
      guard let count = type(output).shape.elementCount else {
        throw GraftError(.inconsistency, "\(type(output)) has too many elements")
      }
      let piece = 4096
      let kernel = try library.add(
        "\(name)_\(count.coefficient)", algorithm: "threads split pieces of \(piece)"
      ) { name in
        try Templates.convertElements.render([
          "banner": "The elements of another type, one after the other.", "name": name,
          "count": "\(count.coefficient)", "piece": "\(piece)", "x_scalar": scalars.0,
          "y_scalar": scalars.1, "convert": convert, "convert_end": end,
        ])
      }
      let units = (count.coefficient + piece - 1) / piece
      return emit(
        kernel, addresses,
        units: count.isBatch ? WorkUnits(perBatch: units) : WorkUnits(fixed: units))
    }
    let (x, y) = (try ImageGeometry(type(input)), try ImageGeometry(type(output)))
    let isFew = isQuantizing && x.block == 1 && y.block == Layout.fewChannels && y.blocks == 1
    let kernel = try library.add(
      "\(name)_\(x.channels)_\(x.height)x\(x.width)_c\(x.block)_to_c\(y.block)",
      algorithm: "row by row, threads split rows"
    ) { name in
      try (isFew ? Templates.quantizePlanes : Templates.convertLayout).render(
        imageValues(x, y).merging([
          "banner": "[\(x.channels), \(x.height), \(x.width)] as elements of another type.",
          "name": name, "x_scalar": scalars.0, "y_scalar": scalars.1, "convert": convert,
          "convert_end": end, "fill_border": isQuantizing ? "fill_border" : "fill_float_border",
        ]) { $1 })
    }
    emit(kernel, addresses, units: WorkUnits(y.blocks * y.height, times: y.images))
  }
}

extension Templates {
  static let convertElements = Template(
    "convert_elements.c", PackageResources.convert_elements_c_in)
  static let quantizePlanes = Template(
    "quantize_planes.c", PackageResources.quantize_planes_c_in)
}
