// Pools over windows and over whole images. Windows are clamped to the image, so borders do not matter.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  mutating func lower(
    _ operation: MaxPool, _ node: Node, _ bytes: BytesOfPool? = nil
  ) throws {
    if let bytes {
      return try pool(
        node, window: operation.window, name: "max_pool", bytes: bytes,
        values: [
          "start": bytes.least, "count_start": "", "finish": "",
          "accumulate": "value = __builtin_elementwise_max(value, next);",
        ])
    }
    try pool(
      node, window: operation.window, name: "max_pool",
      values: [
        "start": "(element){0} - __builtin_inff()", "count_start": "", "finish": "",
        "accumulate": "value = \(largest(try result(of: node), "next", "value"));",
      ])
  }

  /// C of the larger of two elements of a pool; NaN where either is.
  private func largest(_ result: ValueID, _ a: String, _ b: String) -> String {
    type(result).layout.isBlocked
      ? "largest(\(a), \(b))" : "\(a) > \(b) || \(a) != \(a) ? \(a) : \(b)"
  }

  mutating func lower(
    _ operation: AveragePool, _ node: Node, _ bytes: BytesOfPool? = nil
  ) throws {
    let window = operation.window
    let padsCount = operation.countIncludePad
    // Rows and columns of a window that count: inside the image, or inside the padded image.
    let count =
      padsCount
      ? """
      int rows = 0, columns = 0;
      for (int kh = 0; kh < KERNEL_HEIGHT; kh++) {
        rows += top + kh * DILATION_HEIGHT < X_HEIGHT + \(window.pads[2]);
      }
      for (int kw = 0; kw < KERNEL_WIDTH; kw++) {
        columns += left + kw * DILATION_WIDTH < X_WIDTH + \(window.pads[3]);
      }
      const float count = (float)(rows * columns);
      """ : "float count = 0;"
    let sum = bytes?.sum ?? "value += next;"
    try pool(
      node, window: window, name: padsCount ? "average_pool_padded" : "average_pool",
      bytes: bytes,
      values: [
        "start": "(element){0}", "count_start": count,
        "accumulate": padsCount ? sum : sum + "\ncount += 1;",
        "finish": "value /= count;",
      ])
  }

  private mutating func pool(
    _ node: Node, window: Window, name: String, bytes: BytesOfPool? = nil,
    values: [String: String]
  ) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    if bytes == nil { try requireFloat([input, output]) }
    let x = try ImageGeometry(type(input))
    let y = try ImageGeometry(type(output))
    try requireSameBlock(x, y)
    let label =
      "\(name)_\(bytes?.name ?? "f32")_\(window.kernel[0])x\(window.kernel[1])_s\(window.strides[0])x"
      + "\(window.strides[1])_\(x.channels)_\(x.height)x\(x.width)\(y.block == 1 ? "_plain" : "")"
    let kernel = try library.add(label, algorithm: "a row of windows at a time, threads split rows")
    {
      name in
      try Templates.pool.render(
        imageValues(x, y).merging([
          "banner": "\(node.opcode) of [\(x.channels), \(x.height), \(x.width)]: kernel "
            + "\(window.kernel), strides \(window.strides), pads \(window.pads), dilations "
            + "\(window.dilations), windows clamped to the image.",
          "name": name,
          "kernel_height": "\(window.kernel[0])", "kernel_width": "\(window.kernel[1])",
          "stride_height": "\(window.strides[0])", "stride_width": "\(window.strides[1])",
          "dilation_height": "\(window.dilations[0])", "dilation_width": "\(window.dilations[1])",
          "pad_top": "\(window.pads[0])", "pad_left": "\(window.pads[1])",
          "save": "*(element *)(to + column * BLOCK) = value;",
        ]) { $1 }.merging(values) { $1 }
          .merging(bytes?.values(at: "to + column * BLOCK") ?? [:]) { $1 })
    }
    try emit(
      kernel, poolArguments(input, output),
      units: WorkUnits(y.blocks * y.height, times: y.images))
  }

  /// The addresses of a pool's operand and result, of either element type.
  private mutating func poolArguments(_ input: ValueID, _ output: ValueID) throws -> [String] {
    [
      type(input).dtype == .uint8 ? try bytes(input) : try address(input),
      type(output).dtype == .uint8
        ? try bytes(output, isConst: false) : try address(output),
    ]
  }

  /// The mean or the largest element of each whole image.
  mutating func lowerGlobalPool(
    _ node: Node, isAverage: Bool, _ bytes: BytesOfPool? = nil
  ) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    if bytes == nil { try requireFloat([input, output]) }
    let x = try ImageGeometry(Self.asImage(type(input)))
    let y = try ImageGeometry(Self.asImage(type(output)))
    try requireSameBlock(x, y)
    let name = isAverage ? "global_average_pool" : "global_max_pool"
    let isOfBytes = bytes != nil
    let largest =
      isOfBytes
      ? (
        row: "__builtin_elementwise_max(of_row, next)",
        all: "__builtin_elementwise_max(value, of_row)"
      ) : (row: largest(output, "next", "of_row"), all: largest(output, "of_row", "value"))
    let kernel = try library.add(
      "\(name)_\(bytes?.name ?? "f32")_\(x.channels)_\(x.height)x\(x.width)"
        + (y.block == 1 ? "_plain" : ""),
      algorithm: "row sums, threads split blocks of channels"
    ) { name in
      return try Templates.globalPool.render(
        imageValues(x, y).merging([
          "banner": "\(node.opcode) of [\(x.channels), \(x.height), \(x.width)].", "name": name,
          "start": isAverage
            ? "(element){0}" : bytes?.least ?? "(element){0} - __builtin_inff()",
          "combine_row": isAverage ? "of_row + next" : largest.row,
          "combine": isAverage ? "value + of_row" : largest.all,
          "finish": isAverage && bytes?.factor == nil ? "value /= (float)(HEIGHT * WIDTH);" : "",
          "save": "*(element *)to = value;",
        ]) { $1 }.merging(bytes?.values(at: "to") ?? [:]) { $1 })
    }
    try emit(kernel, poolArguments(input, output), units: WorkUnits(y.blocks, times: y.images))
  }

  /// A plain value with other spatial axes than two as an image whose height they are, and whose width is 1.
  private static func asImage(_ type: TensorType) -> TensorType {
    guard type.rank != 4, type.rank >= 3, type.layout.isPlain,
      let pixels = TensorShape(Array(type.shape.dimensions.dropFirst(2))).elementCount
    else { return type }
    return TensorType(type.dtype, [type.shape[0], type.shape[1], pixels, 1])
  }

  /// Local response normalization across channels.
  mutating func lower(_ operation: LocalResponseNormalization, _ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    try requireFloat([input, output])
    let x = try ImageGeometry(type(input))
    let y = try ImageGeometry(type(output))
    try requireSameBlock(x, y)
    let size = operation.size
    let kernel = try library.add(
      "lrn_f32_\(size)_\(x.channels)_\(x.height)x\(x.width)\(y.block == 1 ? "_plain" : "")",
      algorithm: "all channels of a pixel at a time, threads split rows"
    ) { name in
      try Templates.localResponse.render(
        imageValues(x, y).merging([
          "banner": "lrn of [\(x.channels), \(x.height), \(x.width)] over \(size) channels.",
          "name": name, "before": "\((size - 1) / 2)", "after": "\(size - 1 - (size - 1) / 2)",
          "bias": CText.float(operation.bias),
          "scale": CText.float(operation.alpha / Double(size)),
          // 3/4 is what networks use; two square roots are exact enough and far quicker.
          "power": operation.beta == 0.75
            ? "(1.0f / (__builtin_sqrtf(base) * __builtin_sqrtf(__builtin_sqrtf(base))))"
            : "__builtin_powf(base, -\(CText.float(operation.beta)))",
        ]) { $1 })
    }
    try emit(
      kernel, [address(input), address(output)], units: WorkUnits(y.height, times: y.images))
  }

  func requireSameBlock(_ x: ImageGeometry, _ y: ImageGeometry) throws {
    guard x.block == y.block, y.block == 1 || y.block == target.lanes else {
      throw GraftError(
        .inconsistency,
        "operand and result lie in blocks of \(x.block) and \(y.block) channels, expected the same")
    }
  }

  /// The extents and strides that image templates ask for.
  func imageValues(_ x: ImageGeometry, _ y: ImageGeometry) -> [String: String] {
    [
      "element": y.block == 1 ? "float" : "vfu", "block": "\(y.block)",
      "channels": "\(y.channels)", "height": "\(y.height)", "width": "\(y.width)",
      "x_height": "\(x.height)", "x_width": "\(x.width)", "x_block": "\(x.block)",
      "x_image": "\(x.image)", "x_plane": "\(x.plane)", "x_row": "\(x.row)",
      "x_origin": "\(x.origin)", "y_block": "\(y.block)", "y_blocks": "\(y.blocks)",
      "y_plane": "\(y.plane)", "y_row": "\(y.row)", "y_origin": "\(y.origin)",
      "y_border_height": "\(y.borderHeight)", "y_border_width": "\(y.borderWidth)",
      "y_border_value": "\(y.borderValue)", "x_scalar": "float", "y_scalar": "float",
      "fill_border": "fill_float_border", "load": "*(const element *)",
      "convert": "", "convert_end": "",
    ]
  }
}

extension Templates {
  static let pool = Template("pool.c", PackageResources.pool_c_in)
  static let globalPool = Template("global_pool.c", PackageResources.global_pool_c_in)
  static let localResponse = Template("lrn.c", PackageResources.lrn_c_in)
}
