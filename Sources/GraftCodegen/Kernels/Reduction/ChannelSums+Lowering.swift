// Sums over a batch, one or two for each channel: gradients of biases, statistics of a batch, gradients of
// a normalization's scale and bias. There is one kernel for channel blocks, one for plain images, and one for tables,
// whose channels are innermost. Rows are summed in float vectors, rows of rows in double, in an order that only the
// shapes decide: parts of the batch first, which threads share, then the parts in turn.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The summands, and how results are computed from the sums.
private struct ChannelSums {
  /// For the kernels' names.
  var name: String
  /// The images, [batch, channels, …] and laid alike, as a, b.
  var images: [ValueID]
  /// What they are where channels are innermost: the number of rows, and channels.
  var table: (rows: Dimension, channels: Int)?
  /// Values with one number for each row of a table, that the summands read, by name.
  var rowNumbers: [(name: String, value: ValueID)] = []
  /// Vectors [channels] that the summands read, as p, q.
  var vectors: [ValueID] = []
  /// Whether p is each channel's first element instead.
  var isShifted = false
  /// C over a_value and p_value, one for each sum.
  var summands: [String]
  /// C over sum[0] …, count and the channel i, which writes results as y0, y1 ….
  var finish: String
  /// More vectors [channels], that only `finish` reads, by name.
  var finishVectors: [(name: String, value: ValueID)] = []
  var results: [ValueID]
}

extension Lowering {
  /// The sum over some axes, of which one may be the batch.
  mutating func lower(_ operation: ReduceSum, _ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    let rank = type(input).rank
    var sums = ChannelSums(
      name: "channel_sum", images: [input], summands: ["a_value"],
      finish: "y0[i] = (float)sum[0];", results: [output])
    if rank >= 2, operation.axes == Array(0..<(rank - 1)), type(input).layout.isPlain,
      type(input).dtype == .float32, let table = table(type(input).shape, from: rank - 1)
    {
      sums.table = table
      return try channelSums(sums)
    }
    if rank >= 2, operation.axes == [0] + Array(2..<rank), !type(input).shape[1].isBatch {
      return try channelSums(sums)
    }
    try reduce(input, to: output, axes: operation.axes, .sum(type(output).dtype))
  }

  /// Mean, variance and unbiased variance. Both sums are of differences from the channel's first
  /// element, so that nothing cancels where the mean is much larger than the deviation.
  mutating func lowerBatchStatistics(_ node: Node) throws {
    try channelSums(
      ChannelSums(
        name: "batch_statistics", images: [try operand(0, of: node)], isShifted: true,
        summands: ["(a_value - p_value)", "(a_value - p_value) * (a_value - p_value)"],
        finish: """
          const double mean = sum[0] / count;
          const double squares = sum[1] - sum[0] * mean;
          const double deviation = squares > 0 || squares != squares ? squares : 0;
          y0[i] = (float)(p[i] + mean);
          y1[i] = (float)(deviation / count);
          y2[i] = (float)(deviation / (count > 1 ? count - 1 : 1));
          """,
        results: node.results))
  }

  mutating func lower(_ operation: BatchNormalizationParameterGradient, _ node: Node) throws {
    try channelSums(
      ChannelSums(
        name: "normalization_gradient",
        images: [try operand(0, of: node), try operand(1, of: node)],
        vectors: [try operand(2, of: node)],
        summands: ["a_value * (b_value - p_value)", "a_value"],
        finish: """
          y0[i] = (float)(sum[0] / __builtin_sqrt((double)variance[i] + \(operation.epsilon)));
          y1[i] = (float)sum[1];
          """,
        finishVectors: [("variance", try operand(3, of: node))], results: node.results))
  }

  mutating func lower(_ operation: LayerNormalizationParameterGradient, _ node: Node) throws {
    let x = try operand(1, of: node)
    try channelSums(
      ChannelSums(
        name: "layer_normalization_parameter_gradient", images: [try operand(0, of: node), x],
        table: table(type(x).shape, from: operation.axis),
        rowNumbers: [("mean", try operand(2, of: node)), ("factor", try operand(3, of: node))],
        summands: ["a_value * ((b_value - mean) * factor)", "a_value"],
        finish: "y0[i] = (float)sum[0];\ny1[i] = (float)sum[1];", results: node.results))
  }

  /// The rows and elements of a row if a value's rows are the axes from `axis` on.
  private func table(_ shape: TensorShape, from axis: Int) -> (rows: Dimension, channels: Int)? {
    guard let rows = TensorShape(Array(shape.dimensions[..<axis])).elementCount,
      let count = TensorShape(Array(shape.dimensions[axis...])).elementCount?.constant, count > 0
    else { return nil }
    return (rows, count)
  }

  // MARK: Kernels

  private mutating func channelSums(_ sums: ChannelSums) throws {
    try requireFloat(sums.images + sums.vectors + sums.rowNumbers.map(\.value) + sums.results)
    guard let image = sums.images.first,
      sums.results.allSatisfy({ type($0).layout.isPlain })
    else { throw GraftError(.inconsistency, "sums over a batch are plain vectors") }
    if let table = sums.table ?? table(of: type(image)) {
      try channelSumsColumns(sums, rows: table.rows, channels: table.channels)
    } else if type(image).layout.isPlain {
      try channelSumsPlain(sums, image)
    } else {
      try channelSumsBlocked(sums, image)
    }
  }

  /// Parts of a batch that make work for some threads where there are few blocks of channels.
  private func parts(for blocks: Int) -> Int { max(1, min(16, (32 + blocks - 1) / blocks)) }

  private func workspaceDoubles(_ address: String) -> String { "(double *)(void *)\(address)" }

  private mutating func channelSumsBlocked(_ sums: ChannelSums, _ image: ValueID) throws {
    let geometry = try ImageGeometry(type(image))
    guard geometry.block == target.lanes else {
      throw GraftError(.inconsistency, "expected blocks of \(target.lanes), found \(type(image))")
    }
    let names = Self.operandNames
    var rows: [String] = []
    var loads: [String] = []
    for (name, value) in zip(names, sums.images) {
      let source = try ImageGeometry(type(value))
      guard source.block == geometry.block, source.height == geometry.height,
        source.width == geometry.width, source.channels == geometry.channels
      else { throw GraftError(.inconsistency, "\(type(value)) beside \(type(image))") }
      rows.append(
        "const float *\(name)_row = \(name) + plane * \(source.plane) + \(source.origin) "
          + "+ row * \(source.row);")
      loads.append("const vf \(name)_value = load(\(name)_row + column * LANES);")
    }
    let vector =
      "load_part(p + block * LANES, smaller(LANES, CHANNELS - block * LANES))"
    let parts = parts(for: geometry.blocks)
    let form = "\(geometry.channels)_\(geometry.height)x\(geometry.width)"
    let kernel = try library.add(
      "\(sums.name)_f32_\(form)",
      algorithm: "rows in float, parts in double, threads split blocks and \(parts) parts"
    ) { name in
      try Templates.channelSumsBlocked.render([
        "banner": "Sums of \(sums.summands.joined(separator: " and ")) over the batch and "
          + "\(geometry.height)x\(geometry.width) pixels.",
        "name": name, "parameters": sumParameters(sums), "channels": "\(geometry.channels)",
        "blocks": "\(geometry.blocks)", "height": "\(geometry.height)",
        "width": "\(geometry.width)", "parts": "\(parts)", "sums": "\(sums.summands.count)",
        "vectors": sums.isShifted
          ? "const vf p_value = load(a + block * \(geometry.plane) + \(geometry.origin));"
          : sums.vectors.isEmpty ? "" : "const vf p_value = \(vector);",
        "row_addresses": rows.joined(separator: "\n"), "loads": loads.joined(separator: "\n"),
        "accumulate": accumulations(sums).joined(separator: "\n"),
      ])
    }
    let count = sums.summands.count * parts * geometry.blocks * target.lanes
    let partial = workspaceDoubles(workspace(floats: 2 * count))
    let images = geometry.images.expression
    emit(
      kernel, try sumArguments(sums) + [partial, images],
      units: WorkUnits(fixed: parts * geometry.blocks))
    let shift =
      "a[i / LANES * \(geometry.plane) + \(geometry.origin) + i % LANES]"
    try finish(
      sums, form: form, channels: geometry.channels, parts: parts, partial: partial,
      images: images, pixels: geometry.height * geometry.width, shift: shift)
  }

  /// A plain image of one pixel is a table.
  private func table(of image: TensorType) -> (rows: Dimension, channels: Int)? {
    guard image.layout.isPlain, image.rank >= 2,
      image.shape.dimensions.dropFirst(2).allSatisfy({ $0 == 1 })
    else { return nil }
    return table(image.shape, from: 1)
  }

  private mutating func channelSumsColumns(
    _ sums: ChannelSums, rows: Dimension, channels: Int
  ) throws {
    let lanes = target.lanes
    let blocks = (channels + lanes - 1) / lanes
    // Of 4, 3, 2 and 1 vectors at a time the most that leave fewest empty.
    let vectors = [4, 3, 2, 1].min { ($0 - blocks % $0) % $0 < ($1 - blocks % $1) % $1 } ?? 1
    let groups = (blocks + vectors - 1) / vectors
    let isWhole = channels.isMultiple(of: lanes) && blocks.isMultiple(of: vectors)
    let parts = parts(for: groups)
    func load(_ address: String) -> String {
      isWhole
        ? "load(\(address))"
        : "lanes[v] == LANES ? load(\(address)) : load_part(\(address), lanes[v])"
    }
    let loads = zip(Self.operandNames, sums.images).map { name, _ in
      "const vf \(name)_value = \(load("\(name) + place + v * LANES"));"
    }
    let hasVector = sums.isShifted || !sums.vectors.isEmpty
    let vector = sums.isShifted ? "a" : "p"
    let kernel = try library.add(
      "\(sums.name)_f32_columns_\(channels)",
      algorithm: "64 rows in float, parts in double, threads split columns and \(parts) parts"
    ) { name in
      try Templates.channelSumsColumns.render([
        "banner": "Sums of \(sums.summands.joined(separator: " and ")) over rows of \(channels).",
        "name": name, "parameters": sumParameters(sums), "channels": "\(channels)",
        "blocks": "\(blocks)", "vectors": "\(vectors)", "parts": "\(parts)",
        "sums": "\(sums.summands.count)", "whole": isWhole ? "1" : "0",
        "vector_declaration": hasVector ? "vf p_values[VECTORS];" : "",
        "vector_load": hasVector ? "p_values[v] = \(load("\(vector) + at"));" : "",
        "row_loads": sums.rowNumbers.map { "const float \($0.name) = \($0.name)s[row];" }
          .joined(separator: "\n"),
        "loads": (loads + (hasVector ? ["const vf p_value = p_values[v];"] : []))
          .joined(separator: "\n"),
        "accumulate": sums.summands.enumerated().map { "sum[v][\($0.offset)] += \($0.element);" }
          .joined(separator: "\n"),
      ])
    }
    let partial = workspaceDoubles(
      workspace(floats: 2 * sums.summands.count * parts * blocks * lanes))
    emit(
      kernel, try sumArguments(sums) + [partial, rows.expression],
      units: WorkUnits(fixed: parts * groups))
    try finish(
      sums, form: "columns_\(channels)", channels: channels, parts: parts, partial: partial,
      images: rows.expression, pixels: 1, shift: "a[i]")
  }

  private mutating func channelSumsPlain(_ sums: ChannelSums, _ image: ValueID) throws {
    let shape = type(image).shape
    guard shape.rank >= 2, let channels = shape[1].constant, channels > 0,
      let inner = TensorShape(Array(shape.dimensions[2...])).elementCount?.constant, inner > 0
    else { throw GraftError(.unsupported, "sums over the batch of \(type(image))") }
    let loads = zip(Self.operandNames, sums.images).map { name, _ in
      "const vf \(name)_value = lanes == LANES ? load(\(name) + row + i) "
        + ": load_part(\(name) + row + i, lanes);"
    }
    let lanes = target.lanes
    let parts = parts(for: (channels + 7) / 8)
    // Beside the last column a summand that is shifted is not zero.
    let accumulate =
      inner.isMultiple(of: lanes)
      ? accumulations(sums)
      : sums.summands.enumerated().map { index, summand in
        "sum[\(index)] += lanes == LANES ? \(summand) : keep_lanes(\(summand), lanes);"
      }
    let kernel = try library.add(
      "\(sums.name)_f32_plain_\(channels)x\(inner)",
      algorithm: "rows in float, parts in double, threads split channels and \(parts) parts"
    ) { name in
      try Templates.channelSumsPlain.render([
        "banner": "Sums of \(sums.summands.joined(separator: " and ")) over the batch and "
          + "\(inner) elements.",
        "name": name, "parameters": sumParameters(sums), "channels": "\(channels)",
        "blocks": "\((channels + lanes - 1) / lanes)", "inner": "\(inner)", "parts": "\(parts)",
        "sums": "\(sums.summands.count)",
        "vectors": sums.isShifted
          ? "const vf p_value = splat(a[channel * INNER]);"
          : sums.vectors.isEmpty ? "" : "const vf p_value = splat(p[channel]);",
        "loads": loads.joined(separator: "\n"),
        "accumulate": accumulate.joined(separator: "\n"),
      ])
    }
    let blocks = (channels + lanes - 1) / lanes
    let partial = workspaceDoubles(
      workspace(floats: 2 * sums.summands.count * parts * blocks * lanes))
    let images = shape[0].expression
    emit(
      kernel, try sumArguments(sums) + [partial, images],
      units: WorkUnits(fixed: parts * channels))
    try finish(
      sums, form: "plain_\(channels)x\(inner)", channels: channels, parts: parts,
      partial: partial, images: images, pixels: inner, shift: "a[i * \(inner)]")
  }

  private func sumParameters(_ sums: ChannelSums) -> String {
    (Self.operandNames.prefix(sums.images.count).map { "const float *\($0)," }
      + (sums.vectors.isEmpty ? [] : ["const float *p,"])
      + sums.rowNumbers.map { "const float *\($0.name)s," }).joined(separator: " ")
  }

  private mutating func sumArguments(_ sums: ChannelSums) throws -> [String] {
    try (sums.images + sums.vectors + sums.rowNumbers.map(\.value)).map { try address($0) }
  }

  private func accumulations(_ sums: ChannelSums) -> [String] {
    sums.summands.enumerated().map { "sum[\($0.offset)] += \($0.element);" }
  }

  /// The second step: adds the partial sums and writes the results.
  private mutating func finish(
    _ sums: ChannelSums, form: String, channels: Int, parts: Int, partial: String,
    images: String, pixels: Int, shift: String
  ) throws {
    let blocks = (channels + target.lanes - 1) / target.lanes
    var parameters = sums.finishVectors.map { "const float *\($0.name)," }
    if sums.isShifted { parameters.append("const float *a,") }
    parameters += sums.results.indices.map { "float *restrict y\($0)," }
    let text = sums.finish.replacing("p[i]", with: shift)
    let kernel = try library.add(
      "\(sums.name)_finish_f32_\(form)", algorithm: "parts in turn, threads split channels"
    ) { name in
      try Templates.channelSumsFinish.render([
        "banner": "Adds up \(parts) parts of the sums of \(channels) channels.", "name": name,
        "parameters": parameters.joined(separator: " "), "channels": "\(channels)",
        "blocks": "\(blocks)", "parts": "\(parts)", "sums": "\(sums.summands.count)",
        "pixels": "\(pixels)", "finish": text,
      ])
    }
    var arguments = [partial]
    arguments += try sums.finishVectors.map { try address($0.value) }
    if sums.isShifted, let image = sums.images.first { arguments.append(try address(image)) }
    arguments += try sums.results.map { try address($0) }
    emit(kernel, arguments + [images], units: WorkUnits(fixed: blocks))
  }
}

extension Templates {
  static let channelSumsBlocked = Template(
    "channel_sums_blocked.c", PackageResources.channel_sums_blocked_c_in)
  static let channelSumsColumns = Template(
    "channel_sums_columns.c", PackageResources.channel_sums_columns_c_in)
  static let channelSumsPlain = Template(
    "channel_sums_plain.c", PackageResources.channel_sums_plain_c_in)
  static let channelSumsFinish = Template(
    "channel_sums_finish.c", PackageResources.channel_sums_finish_c_in)
}
