// Elementwise operators of one to three values, with broadcasting and a fused activation: on blocked images,
// on plain values of equal shape, and on plain values that broadcast.

import GraftDiagnostics
import GraftIR
import GraftOps

/// An elementwise function: operands by name, an expression over them, an activation on top.
struct MapFunction: Hashable {
  /// For the kernel's name.
  var name: String
  /// C over the vectors a_value, b_value and so on.
  var expression: String
  var activation: Activation = .none
}

/// What an elementwise function reads.
enum MapSource {
  /// A value that broadcasts to the result as ONNX says.
  case value(ValueID)
  /// A value [channels], one number for each place on axis 1.
  case channels(ValueID)
  /// The same at an address of the workspace, with room for whole groups of lanes.
  case vector(String)
  /// The one float at an address.
  case number(String)

  var value: ValueID? {
    switch self {
    case .value(let value), .channels(let value): value
    case .vector, .number: nil
    }
  }
}

extension Lowering {
  static let operandNames = ["a", "b", "c", "d", "e", "f"]

  /// Maps `operands` to `result` elementwise.
  mutating func map(_ function: MapFunction, _ operands: [ValueID], to result: ValueID) throws {
    try map(function, operands.map { .value($0) }, to: result)
  }

  /// Maps `sources` to `result` elementwise.
  mutating func map(_ function: MapFunction, _ sources: [MapSource], to result: ValueID) throws {
    try requireFloat(sources.compactMap(\.value) + [result])
    if type(result).layout.isBlocked {
      try mapBlocked(function, sources, to: result)
    } else {
      try mapPlain(function, sources, to: result)
    }
  }

  // MARK: Blocked

  /// - Parameters:
  ///   - quantizations: of sources that are bytes; empty for float32 sources.
  ///   - target: that of a result of bytes.
  mutating func mapBlocked(
    _ function: MapFunction, _ sources: [MapSource], to result: ValueID,
    quantizations: [Quantization?] = [], target stored: Quantization? = nil
  ) throws {
    let y = try ImageGeometry(type(result))
    var parameters: [String] = []
    var rows: [String] = []
    var loads: [String] = []
    var arguments: [String] = []
    var forms: [String] = []
    for (index, (name, source)) in zip(Self.operandNames, sources).enumerated() {
      let quantization = quantizations.indices.contains(index) ? quantizations[index] : nil
      let source = try blockedOperand(source, name: name, like: y, quantization)
      parameters.append("const \(quantization == nil ? "float" : "byte") *\(name),")
      if !source.row.isEmpty { rows.append(source.row) }
      loads.append("const vf \(name)_value = \(source.load);")
      arguments.append(source.address)
      forms.append(source.form + (quantization == nil ? "" : "_\(name)bytes"))
    }
    let epilogue = EpilogueC(function.activation, stored).templateValues
    let name =
      "\(function.name)_\(stored == nil ? "f32" : "u8")_\(y.channels)_\(y.height)x\(y.width)\(forms.joined())"
      + function.activation.nameSuffix
    let kernel = try library.add(
      name, algorithm: "vectors of \(target.lanes) channels, threads split rows"
    ) { name in
      try Templates.mapBlocked.render(
        [
          "banner": "\(function.name) of [\(y.channels), \(y.height), \(y.width)] in blocks of "
            + "\(y.block) channels: \(function.expression), activation \(function.activation).",
          "name": name, "parameters": parameters.joined(separator: " "),
          "channels": "\(y.channels)", "blocks": "\(y.blocks)", "height": "\(y.height)",
          "width": "\(y.width)", "y_plane": "\(y.plane)", "y_row": "\(y.row)",
          "y_origin": "\(y.origin)", "y_border_height": "\(y.borderHeight)",
          "y_border_width": "\(y.borderWidth)", "row_addresses": rows.joined(separator: "\n"),
          "loads": loads.joined(separator: "\n"), "expression": function.expression,
          "element": stored == nil ? "float" : "byte", "y_border_value": "\(y.borderValue)",
          "fill_border": stored == nil ? "fill_float_border" : "fill_border",
        ].merging(epilogue) { $1 })
    }
    let destination = try stored == nil ? address(result) : bytes(result, isConst: false)
    emit(
      kernel, arguments + [destination],
      units: WorkUnits(y.blocks * y.height, times: y.images))
  }

  private struct MapOperand {
    var row: String
    var load: String
    var address: String
    /// What the kernel's name says of it; nothing for an image like the result.
    var form: String
  }

  private func channelOperand(_ name: String, address: String) -> MapOperand {
    MapOperand(
      row: "const float *\(name)_row = \(name) + block * LANES;", load: "load(\(name)_row)",
      address: address, form: "_\(name)channel")
  }

  private mutating func blockedOperand(
    _ source: MapSource, name: String, like y: ImageGeometry, _ quantization: Quantization?
  ) throws -> MapOperand {
    let operand: ValueID
    var isChannelVector = false
    switch source {
    case .vector(let address): return channelOperand(name, address: address)
    case .number(let address):
      return MapOperand(
        row: "", load: "splat(\(name)[0])", address: address, form: "_\(name)scalar")
    case .channels(let value): (operand, isChannelVector) = (value, true)
    case .value(let value): operand = value
    }
    let type = type(operand)
    if !type.shape.dependsOnBatch, type.layout.isPlain {
      let perChannel =
        isChannelVector
        || type.shape.dimensions.suffix(3) == [Dimension(y.channels), 1, 1]
      if perChannel, type.shape.elementCount == Dimension(y.channels) {
        let padded = y.blocks * y.block
        return channelOperand(
          name, address: try channelVector(operand, count: y.channels, padded: padded))
      }
      if type.shape.elementCount == 1 {
        return MapOperand(
          row: "", load: "splat(\(name)[0])", address: try address(operand),
          form: "_\(name)scalar")
      }
      guard !isConstant(operand) else {
        throw GraftError(
          .unsupported, "a constant \(type) beside a blocked \(y.channels)-channel image")
      }
    }
    let image = try ImageGeometry(type)
    guard image.channels == y.channels, image.images == y.images else {
      throw GraftError(.unsupported, "\(type) beside an image of \(y.channels) channels")
    }
    let isOne = image.height == 1 && image.width == 1 && (y.height > 1 || y.width > 1)
    guard isOne || (image.height == y.height && image.width == y.width) else {
      throw GraftError(.unsupported, "\(type) beside an image of \(y.height)x\(y.width)")
    }
    if image.block == 1, isOne {
      guard quantization == nil else {
        throw GraftError(.unsupported, "plain bytes beside a blocked image")
      }
      return MapOperand(
        row:
          "const float *\(name)_row = \(name) + plane / BLOCKS * \(image.image) + block * LANES;",
        load: "load_part(\(name)_row, smaller(LANES, CHANNELS - block * LANES))",
        address: try address(operand), form: "_\(name)plain")
    }
    guard image.block == y.block else {
      throw GraftError(.inconsistency, "\(type) has another channel block than the result")
    }
    let row = isOne ? "" : " + row * \(image.row)"
    if let quantization {
      let at = isOne ? "\(name)_row" : "\(name)_row + column * LANES"
      return MapOperand(
        row:
          "const byte *\(name)_row = \(name) + plane * \(image.plane) + \(image.origin)\(row);",
        load: quantization.real("from_bytes(\(at))"), address: try bytes(operand),
        form: isOne ? "_\(name)image" : "")
    }
    return MapOperand(
      row: "const float *\(name)_row = \(name) + plane * \(image.plane) + \(image.origin)\(row);",
      load: isOne ? "load(\(name)_row)" : "load(\(name)_row + column * LANES)",
      address: try address(operand), form: isOne ? "_\(name)image" : "")
  }

  // MARK: Plain

  private mutating func mapPlain(
    _ function: MapFunction, _ sources: [MapSource], to result: ValueID
  ) throws {
    let shape = type(result).shape
    let strides = try sources.map { source -> [Dimension] in
      let operand: ValueID
      switch source {
      case .value(let value): operand = value
      case .channels, .vector: return shape.dimensions.indices.map { $0 == 1 ? 1 : 0 }
      case .number: return shape.dimensions.map { _ in 0 }
      }
      guard type(operand).layout.isPlain else {
        throw GraftError(.inconsistency, "\(type(operand)) beside a plain result")
      }
      return try type(operand).shape.broadcastStrides(to: shape)
    }
    let loop = try StridedLoop(
      extents: shape.dimensions, strides: strides + [try shape.plainStrides()])
    let addresses = try sources.map { source in
      switch source {
      case .value(let value), .channels(let value): try address(value)
      case .vector(let address), .number(let address): address
      }
    }
    let arguments = addresses + [try address(result)]
    if loop.extents.count <= 1 {
      try mapFlat(function, loop, arguments, count: sources.count)
    } else {
      try mapRows(function, loop, arguments, count: sources.count)
    }
  }

  /// Loads of every operand, whole vectors and parts, for strides of 0 and 1.
  private func plainLoads(
    _ count: Int, at: (Int) -> String, stride: (Int) -> Dimension
  ) throws -> (whole: String, part: String) {
    var whole: [String] = []
    var part: [String] = []
    for index in 0..<count {
      let name = Self.operandNames[index]
      switch stride(index) {
      case 0:
        whole.append("\(name)_value = splat(*(\(at(index))));")
        part.append("\(name)_value = splat(*(\(at(index))));")
      case 1:
        whole.append("\(name)_value = load(\(at(index)) + i);")
        part.append("\(name)_value = load_part(\(at(index)) + i, lanes);")
      default:
        throw GraftError(.unsupported, "an elementwise operand with gaps in its last axis")
      }
    }
    return (whole.joined(separator: "\n"), part.joined(separator: "\n"))
  }

  private mutating func mapFlat(
    _ function: MapFunction, _ loop: StridedLoop, _ arguments: [String], count: Int
  ) throws {
    let extent = loop.extents.first ?? 1
    let piece = 4096
    let loads = try plainLoads(
      count, at: { Self.operandNames[$0] },
      stride: { loop.extents.isEmpty ? 0 : loop.strides[$0].first ?? 0 })
    let forms = (0..<count).map {
      loop.strides[$0].first == 1 ? "" : "_\(Self.operandNames[$0])scalar"
    }
    let kernel = try library.add(
      "\(function.name)_f32_\(extent.coefficient)\(forms.joined())\(function.activation.nameSuffix)",
      algorithm: "one run of \(extent.coefficient) elements, threads split pieces of \(piece)"
    ) { name in
      try Templates.mapFlat.render(
        plainValues(function, name: name, count: count, loads: loads).merging([
          "count": "\(extent.coefficient)", "piece": "\(piece)",
        ]) { $1 })
    }
    let units = (extent.coefficient + piece - 1) / piece
    emit(
      kernel, arguments,
      units: extent.isBatch ? WorkUnits(perBatch: units) : WorkUnits(fixed: units))
  }

  private mutating func mapRows(
    _ function: MapFunction, _ loop: StridedLoop, _ arguments: [String], count: Int
  ) throws {
    let names = Self.operandNames
    let rows = (0..<count).map {
      "const float *\(names[$0])_row = \(names[$0]) + \(loop.offset($0));"
    }
    let loads = try plainLoads(
      count, at: { "\(names[$0])_row" }, stride: { loop.innerStride($0) })
    let extents = loop.extents.map { $0.isBatch ? "n" : "\($0.coefficient)" }.joined(separator: "x")
    let constants = loop.innerCount
    let batch = BatchParameter(readBy: rows + [constants])
    let kernel = try library.add(
      "\(function.name)_f32_rows_\(extents)\(function.activation.nameSuffix)",
      algorithm: "rows of \(loop.innerExtent) elements, threads split rows"
    ) { name in
      try Templates.mapRows.render(
        plainValues(function, name: name, count: count, loads: loads).merging([
          "constants": constants, "batch": batch.declaration,
          "row_addresses": rows.joined(separator: "\n"),
        ]) { $1 })
    }
    emit(kernel, arguments + batch.arguments, units: loop.rows)
  }

  private func plainValues(
    _ function: MapFunction, name: String, count: Int, loads: (whole: String, part: String)
  ) -> [String: String] {
    let names = Self.operandNames.prefix(count)
    return [
      "banner": "\(function.name) of plain values: \(function.expression), activation "
        + "\(function.activation).",
      "name": name, "parameters": names.map { "const float *\($0)," }.joined(separator: " "),
      "whole_variables": names.map { "\($0)_value" }.joined(separator: ", "),
      "loads": loads.whole, "part_loads": loads.part, "expression": function.expression,
      "activation": function.activation.expression("value"),
    ]
  }

  /// The address of a parameter in plain order, packed as it is.
  mutating func plainParameter(_ value: ValueID) throws -> String {
    let data = try data(of: value)
    let offset = weights.add(
      [identities.of(value)], form: "plain",
      byteCount: max(1, data.elementCount * data.dtype.byteCount)
    ) { packed in
      data.withUnsafeBytes { packed.copyMemory(from: $0) }
    }
    return Place.weights(offset).expression
  }
}

extension Templates {
  static let mapBlocked = Template("map_blocked.c", PackageResources.map_blocked_c_in)
  static let mapFlat = Template("map_flat.c", PackageResources.map_flat_c_in)
  static let mapRows = Template("map_rows.c", PackageResources.map_rows_c_in)
}
