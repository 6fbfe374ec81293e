// Gradient kernels other than sums and updates: activation derivatives, zero insertion, pooling gradients,
// transposed weights, dropout.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  mutating func lower(_ operation: ActivationGradient, _ node: Node) throws {
    let (gradient, value) = (try operand(0, of: node), try operand(1, of: node))
    guard operation.activation != .none else {
      return try map(
        MapFunction(name: "map", expression: "a_value"), [gradient], to: try result(of: node))
    }
    guard let expression = operation.activation.gradientExpression else {
      throw GraftError(
        .unsupported, "no kernel computes the derivative of \(operation.activation.name)")
    }
    try map(
      MapFunction(
        name: "activation_gradient\(operation.activation.nameSuffix)", expression: expression),
      [gradient, value], to: try result(of: node))
  }

  mutating func lower(_ operation: InsertZeros, _ node: Node) throws {
    try moveRows(node, name: "insert_zeros", Templates.insertZeros) { x, y in
      [
        "banner": "[\(x.channels), \(x.height), \(x.width)] with pixels \(operation.strides) "
          + "apart in \(y.height)x\(y.width).",
        "stride_height": "\(operation.strides[0])", "stride_width": "\(operation.strides[1])",
      ]
    }
  }

  // MARK: Pools

  /// One plane at a time, so that a unit of work owns all elements that a window's gradient is added to.
  mutating func lower(_ operation: MaxPoolGradient, _ node: Node) throws {
    let (image, pooled) = (try operand(1, of: node), try operand(2, of: node))
    let x = try ImageGeometry(type(image))
    let y = try ImageGeometry(type(pooled))
    try requireSameBlock(x, y)
    let isPlain = y.block == 1
    let at = "x + plane * \(x.plane) + \(x.origin) + (size_t)h * \(x.row) + (size_t)w * BLOCK"
    let best =
      "pooled + plane * \(y.plane) + \(y.origin) + row * \(y.row) + column * BLOCK"
    try poolGradient(
      node, window: operation.pool.window, name: "max_pool_gradient", sources: [image, pooled],
      values: [
        "parameters": "const float *restrict x, const float *restrict pooled,",
        "start": isPlain
          ? "const float best = *(\(best));\nint open = 1;"
          : "const vf best = load(\(best));\nvi open = (vi){0} - 1; /* lanes without a maximum yet */",
        "add": isPlain
          ? "const int first = open && *(\(at)) == best;\nif (first) *to += gradient;\n"
            + "if (first) open = 0;"
          : "const vi first = (load(\(at)) == best) & open;\n"
            + "*to += (vf)((vi)gradient & first);\nopen &= ~first;",
      ])
  }

  mutating func lower(_ operation: AveragePoolGradient, _ node: Node) throws {
    let window = operation.pool.window
    let padsCount = operation.pool.countIncludePad
    // Rows and columns of a window that count: inside the image, or inside the padded image.
    let below = padsCount ? " + \(window.pads[2])" : ""
    let right = padsCount ? " + \(window.pads[3])" : ""
    let start = """
      int rows = 0, columns = 0;
      for (int kh = 0; kh < KERNEL_HEIGHT; kh++) {
        const int h = top + kh * DILATION_HEIGHT;
        rows += h >= \(padsCount ? "-PAD_TOP" : "0") && h < X_HEIGHT\(below);
      }
      for (int kw = 0; kw < KERNEL_WIDTH; kw++) {
        const int w = left + kw * DILATION_WIDTH;
        columns += w >= \(padsCount ? "-PAD_LEFT" : "0") && w < X_WIDTH\(right);
      }
      gradient /= (float)(rows * columns > 0 ? rows * columns : 1);
      """
    try poolGradient(
      node, window: window,
      name: padsCount ? "average_pool_padded_gradient" : "average_pool_gradient",
      sources: [], values: ["parameters": "", "start": start, "add": "*to += gradient;"])
  }

  private mutating func poolGradient(
    _ node: Node, window: Window, name: String, sources: [ValueID], values: [String: String]
  ) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    try requireFloat([input, output] + sources)
    let dy = try ImageGeometry(type(input))
    let dx = try ImageGeometry(type(output))
    try requireSameBlock(dy, dx)
    let kernel = try library.add(
      "\(name)_f32_\(window.kernel[0])x\(window.kernel[1])_s\(window.strides[0])x"
        + "\(window.strides[1])_\(dx.channels)_\(dx.height)x\(dx.width)"
        + (dx.block == 1 ? "_plain" : ""),
      algorithm: "a plane at a time, threads split planes"
    ) { name in
      try Templates.poolGradient.render(
        [
          "banner": "\(node.opcode) of [\(dx.channels), \(dx.height), \(dx.width)]: kernel "
            + "\(window.kernel), strides \(window.strides), pads \(window.pads), dilations "
            + "\(window.dilations).",
          "name": name, "element": dx.block == 1 ? "float" : "vfu", "block": "\(dx.block)",
          "height": "\(dy.height)", "width": "\(dy.width)", "x_height": "\(dx.height)",
          "x_width": "\(dx.width)", "kernel_height": "\(window.kernel[0])",
          "kernel_width": "\(window.kernel[1])", "stride_height": "\(window.strides[0])",
          "stride_width": "\(window.strides[1])", "dilation_height": "\(window.dilations[0])",
          "dilation_width": "\(window.dilations[1])", "pad_top": "\(window.pads[0])",
          "pad_left": "\(window.pads[1])", "dx_plane": "\(dx.plane)", "dx_row": "\(dx.row)",
          "dx_origin": "\(dx.origin)", "dy_plane": "\(dy.plane)", "dy_row": "\(dy.row)",
          "dy_origin": "\(dy.origin)",
        ].merging(values) { $1 })
    }
    try emit(
      kernel, [address(input)] + sources.map { try address($0) } + [address(output)],
      units: WorkUnits(dx.blocks, times: dx.images))
  }

  // MARK: Weights

  mutating func lower(_ operation: TransposeWeights, _ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    try requireFloat([input, output])
    guard let extents = type(input).shape.constants, extents.count == 4 else {
      throw GraftError(.unsupported, "weights of a constant shape, found \(type(input))")
    }
    let groups = operation.groups
    let (outputs, channels, taps) = (extents[0], extents[1], extents[2] * extents[3])
    let kernel = try library.add(
      "transpose_weights_f32_\(taps)_\(channels * groups)to\(outputs)"
        + (groups == 1 ? "" : "_g\(groups)"),
      algorithm: "kernel by kernel, threads split channels"
    ) { name in
      try Templates.transposeWeights.render([
        "banner": "Weights \(extents) in \(groups) groups with inputs and outputs exchanged, "
          + "kernels turned.",
        "name": name, "group_channels": "\(channels)", "group_outputs": "\(outputs / groups)",
        "taps": "\(taps)",
      ])
    }
    try emit(
      kernel, [address(input), address(output)],
      units: WorkUnits(fixed: channels * groups))
  }

  // MARK: Dropout

  mutating func lower(_ operation: RandomDropout, _ node: Node) throws {
    let (input, random) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    try requireFloat([input, output])
    let shape = type(input).shape
    guard type(input).layout.isPlain, type(output).layout.isPlain,
      let count = TensorShape(Array(shape.dimensions.dropFirst())).elementCount?.constant, count > 0
    else { throw GraftError(.unsupported, "dropout of \(type(input))") }
    let piece = 1024
    let kernel = try library.add(
      "random_dropout_f32_\(count)_stream_\(operation.stream)",
      algorithm: "four elements for each block of random words, threads split \(piece) elements"
    ) { name in
      try Templates.randomDropout.render([
        "banner": "Dropout of \(operation.ratio) of \(count) elements, stream "
          + "\(operation.stream).",
        "name": name, "count": "\(count)", "piece": "\(piece)", "stream": "\(operation.stream)",
        "threshold": "\(operation.threshold)", "scale": CText.float(1 / (1 - operation.ratio)),
      ])
    }
    let words = "(const unsigned *)(const void *)\(try address(random))"
    try emit(
      kernel, [address(input), words, address(output)],
      units: WorkUnits((count + piece - 1) / piece, times: shape[0]))
  }
}

extension Templates {
  static let insertZeros = Template("insert_zeros.c", PackageResources.insert_zeros_c_in)
  static let poolGradient = Template("pool_gradient.c", PackageResources.pool_gradient_c_in)
  static let randomDropout = Template("random_dropout.c", PackageResources.random_dropout_c_in)
  static let transposeWeights = Template(
    "transpose_weights.c", PackageResources.transpose_weights_c_in)
}
