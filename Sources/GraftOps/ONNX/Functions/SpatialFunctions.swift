// Convolutions and pools of one and three spatial axes, made of those of two.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  /// (Σ |x|^p)^(1/p) over windows or whole images: the mean of powers times their number.
  static let powerPools: [ONNXFunction] = [
    ONNXFunction("LpPool", since: 2) { f in
      let x = try f.input(0)
      let p = try f.node.int("p", default: 2)
      guard p >= 1, try !f.node.flag("ceil_mode", default: false),
        let kernel = try f.node.optionalInts("kernel_shape")
      else { throw GraftError(.unsupported, "p below 1, or ceil_mode") }
      let powers = try f.apply(Power(exponent: Double(p)), try f.apply(AbsoluteValue(), x))
      guard let mean = try f.pool("AveragePool", powers) else { return nil }
      let sum = try f.apply(
        Multiply(), mean, try f.scalar(Double(saturatingProduct(kernel)), like: x))
      return [try f.apply(Power(exponent: 1 / Double(p)), sum)]
    },
    ONNXFunction("GlobalLpPool", since: 2) { f in
      let x = try f.input(0)
      let p = try f.node.int("p", default: 2)
      guard p >= 1, x.rank >= 3 else { throw GraftError(.unsupported, "p below 1") }
      let powers = try f.apply(Power(exponent: Double(p)), try f.apply(AbsoluteValue(), x))
      let sum = try f.apply(ReduceSum(axes: Array(2..<x.rank), keepsAxes: true), powers)
      return [try f.apply(Power(exponent: 1 / Double(p)), sum)]
    },
  ]

  static let spatial: [ONNXFunction] =
    ["Conv", "ConvTranspose", "MaxPool", "AveragePool"].map { opType in
      ONNXFunction(opType) { f in
        let x = try f.input(0)
        if opType == "MaxPool", let y = try f.poolOfBytes(x) { return [y] }
        if opType == "MaxPool", f.node.readOutputCount > 1 || x.type.dtype.isInteger {
          return try f.maxima(x)
        }
        switch x.rank {
        case 3: return [try f.line(opType, x)]
        case 5 where opType == "Conv": return [try f.volume(x)]
        case 5 where opType == "ConvTranspose": return [try f.transposedVolume(x)]
        case 5 where opType.hasSuffix("Pool"): return [try f.volumePool(opType, x)]
        default: return nil
        }
      }
    }
}

/// The attributes that have an entry for each spatial axis, with what an absent one means.
private let spatialAttributes = [
  "kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0, "output_shape": 1,
]

extension FunctionBuilder {
  /// The node's operator on other terms, with other attributes.
  private mutating func apply(
    _ opType: String, _ terms: [Term?], _ change: (inout ONNXNode) -> Void
  ) throws -> Term {
    var node = node
    for (index, term) in terms.enumerated() where node.inputs.indices.contains(index) {
      if let term { node.inputs[index]?.type = term.type }
    }
    // A window of a LpPool has a fixed number of elements.
    if self.node.opType == "LpPool" { node.attributes["count_include_pad"] = .int(1) }
    change(&node)
    guard
      let binding = Catalog.bindings(onnx: opType).first(where: { $0.opsets.contains(node.opset) })
    else { throw GraftError(.inconsistency, "no binding of \(opType)") }
    let imported = try binding.read(node)
    let operands = imported.operands.map {
      $0.flatMap { terms.indices.contains($0) ? terms[$0] : nil }
    }
    return try results(of: imported.operation, operands)[0]
  }

  /// The maxima of images of 8-bit integers as those of the real numbers that are the same; nil for others.
  fileprivate mutating func poolOfBytes(_ x: Term) throws -> Term? {
    guard node.readOutputCount <= 1, x.rank == 4, [.int8, .uint8].contains(x.type.dtype) else {
      return nil
    }
    let isSigned = x.type.dtype == .int8
    let whole = Quantization(scale: 1, zero: isSigned ? Quantization.signShift : 0)
    let real = try apply(Dequantize(from: whole, isSigned: isSigned), x)
    return try pool("MaxPool", real).map {
      try apply(Quantize(to: whole, isSigned: isSigned), $0)
    }
  }

  /// A pool of one to three spatial axes; nil for others.
  fileprivate mutating func pool(_ opType: String, _ x: Term) throws -> Term? {
    switch x.rank {
    case 3: try line(opType, x)
    case 4: try apply(opType, [x]) { _ in }
    case 5: try volumePool(opType, x)
    default: nil
    }
  }

  /// One spatial axis: images of height 1.
  fileprivate mutating func line(_ opType: String, _ x: Term) throws -> Term {
    func wide(_ shape: TensorShape) throws -> TensorShape {
      guard shape.rank == 3 else {
        throw GraftError(.invalidModel, "weights of rank 3, found \(shape)")
      }
      return [shape[0], shape[1], 1, shape[2]]
    }
    var terms: [Term?] = [try reshape(x, to: try wide(x.shape))]
    if !opType.hasSuffix("Pool") {
      let w = try input(1)
      terms.append(try reshape(w, to: try wide(w.shape)))
      if let bias = optionalInput(2) { terms.append(bias) }
    }
    let y = try apply(opType, terms) { node in
      for (name, neutral) in spatialAttributes {
        if case .ints(let values)? = node.attributes[name] {
          node.attributes[name] = .ints(
            name == "output_shape" && values.count == 3
              ? [values[0], values[1], 1, values[2]] : [neutral] + values)
        }
      }
      if case .ints(let pads)? = node.attributes["pads"], pads.count == 2 {
        node.attributes["pads"] = .ints([0, pads[0], 0, pads[1]])
      }
    }
    return try reshape(y, to: [y.shape[0], y.shape[1], y.shape[3]])
  }

  /// The entries of an attribute for one and for two of three spatial axes.
  private func parts(_ name: String) throws -> (first: [Int], others: [Int])? {
    guard let values = try node.optionalInts(name) else { return nil }
    if name == "pads" {
      guard values.count == 6 else {
        throw GraftError(.invalidModel, "pads must have six numbers, found \(values)")
      }
      return ([values[0], values[3]], [values[1], values[2], values[4], values[5]])
    }
    guard values.count == 3 else {
      throw GraftError(.invalidModel, "\(name) must have three numbers, found \(values)")
    }
    return ([values[0]], Array(values[1...]))
  }

  /// A pool over depth, height and width: of each slice, then of the slices.
  fileprivate mutating func volumePool(_ opType: String, _ x: Term) throws -> Term {
    guard let channels = x.shape[1].constant, let depth = x.shape[2].constant else {
      throw GraftError(.unsupported, "\(x.type) has no constant size")
    }
    var split: [String: (first: [Int], others: [Int])] = [:]
    for name in ["kernel_shape", "strides", "dilations", "pads"] { split[name] = try parts(name) }
    let slices = try reshape(
      x, to: [x.shape[0], Dimension(channels * depth), x.shape[3], x.shape[4]])
    let pooled = try apply(opType, [slices]) { node in
      for (name, values) in split { node.attributes[name] = .ints(values.others) }
    }
    guard let height = pooled.shape[2].constant, let width = pooled.shape[3].constant else {
      throw GraftError(.unsupported, "\(x.type) has no constant size")
    }
    let columns = try reshape(
      pooled, to: [x.shape[0], Dimension(channels), Dimension(depth), Dimension(height * width)])
    let y = try apply(opType, [columns]) { node in
      for (name, values) in split {
        node.attributes[name] = .ints(
          name == "pads" ? [values.first[0], 0, values.first[1], 0] : values.first + [1])
      }
    }
    return try reshape(
      y, to: [x.shape[0], Dimension(channels), y.shape[2], Dimension(height), Dimension(width)])
  }

  /// A convolution over depth, height and width: one of two axes whose channels are those of all slices that the
  /// kernel's depth reaches, for each slice of the result.
  fileprivate mutating func volume(_ x: Term) throws -> Term {
    let w = try input(1)
    guard let weights = w.shape.constants, weights.count == 5, let channels = x.shape[1].constant,
      let depth = x.shape[2].constant, let height = x.shape[3].constant,
      let width = x.shape[4].constant
    else {
      throw GraftError(.unsupported, "\(x.type) and weights \(w.type) without constant sizes")
    }
    let groups = try node.int("group", default: 1)
    let (taps, each) = (weights[2], weights[1])
    guard groups >= 1, channels.isMultiple(of: groups), channels / groups == each,
      weights[0].isMultiple(of: groups)
    else {
      throw GraftError(
        .invalidModel, "\(channels) channels in \(groups) groups do not match weights \(w.shape)")
    }
    let (stride, dilation) = (
      try parts("strides")?.first[0] ?? 1, try parts("dilations")?.first[0] ?? 1
    )
    guard [stride, dilation].allSatisfy({ (1...Window.largest).contains($0) }) else {
      throw GraftError(.invalidModel, "strides and dilations must be positive")
    }
    guard (1...Self.mostTaps).contains(taps) else {
      throw GraftError(.unsupported, "a kernel of \(taps) slices")
    }
    let reach = (taps - 1) * dilation + 1
    var pads = try parts("pads")?.first ?? [0, 0]
    let mode = try node.string("auto_pad", default: "NOTSET")
    if mode == "VALID" { pads = [0, 0] }
    if mode.hasPrefix("SAME") {
      let total = max(0, ((depth + stride - 1) / stride - 1) * stride + reach - depth)
      pads =
        mode == "SAME_UPPER" ? [total / 2, total - total / 2] : [total - total / 2, total / 2]
    }
    guard pads.allSatisfy({ (0...Window.largest).contains($0) }), depth + pads[0] + pads[1] >= reach
    else { throw GraftError(.invalidModel, "the kernel's depth \(reach) exceeds \(depth)") }
    let slices = (depth + pads[0] + pads[1] - reach) / stride + 1

    // [N, depth, C, H, W], with slices of zeros at both ends.
    var turned = try transpose(x, by: [0, 2, 1, 3, 4])
    if pads != [0, 0] {
      turned = try apply(
        Pad(pads: [0, pads[0], 0, 0, 0, 0, pads[1], 0, 0, 0]), turned)
    }
    let reached = try (0..<taps).map { tap -> Term in
      let slice = try apply(
        Slice(axes: [1], starts: [tap * dilation], extents: [slices], steps: [stride]), turned)
      return try reshape(
        slice,
        to: TensorShape(
          [slice.shape[0]] + [slices, groups, 1, each, height, width].map { Dimension($0) }))
    }
    let joined = taps == 1 ? reached[0] : try results(of: Concatenate(axis: 3), reached)[0]
    guard let images = x.shape[0].multiplied(by: Dimension(slices)) else {
      throw GraftError(.unsupported, "\(slices) slices of \(x.type)")
    }
    let image = try reshape(
      joined,
      to: [images, Dimension(channels * taps), Dimension(height), Dimension(width)])
    let kernels = try reshape(
      try transpose(w, by: [0, 2, 1, 3, 4]),
      to: TensorShape([weights[0], taps * each, weights[3], weights[4]]))
    var split: [String: [Int]] = [:]
    for name in ["kernel_shape", "strides", "dilations", "pads"] {
      split[name] = try parts(name)?.others
    }
    let y = try apply("Conv", [image, kernels, optionalInput(2)]) { node in
      for (name, values) in split { node.attributes[name] = .ints(values) }
    }
    let volume = try reshape(
      y, to: [x.shape[0], Dimension(slices), y.shape[1], y.shape[2], y.shape[3]])
    return try transpose(volume, by: [0, 2, 1, 3, 4])
  }

  /// A transposed convolution over depth, height and width: one of two axes of every slice, with a result for each
  /// tap of the kernel's depth, which are added up at their distances.
  fileprivate mutating func transposedVolume(_ x: Term) throws -> Term {
    let w = try input(1)
    guard let weights = w.shape.constants, weights.count == 5, let channels = x.shape[1].constant,
      let sizes = TensorShape(Array(x.shape.dimensions[2...])).constants
    else {
      throw GraftError(.unsupported, "\(x.type) and weights \(w.type) without constant sizes")
    }
    let depth = sizes[0]
    guard (1...Window.largest).contains(depth), let images = x.shape[0].multiplied(by: x.shape[2]),
      weights.allSatisfy({ (1...Window.largest).contains($0) })
    else { throw GraftError(.unsupported, "\(x.type) and weights \(w.type)") }
    // The depth's pads, as a transposed convolution over depth and height has them.
    var part = node
    part.inputs = [
      ONNXNode.Input(type: TensorType(x.type.dtype, TensorShape(x.shape.dimensions.dropLast()))),
      ONNXNode.Input(type: TensorType(w.type.dtype, TensorShape(w.shape.dimensions.dropLast()))),
    ]
    for name in spatialAttributes.keys + ["pads"] {
      if case .ints(let values)? = node.attributes[name] {
        part.attributes[name] = .ints(spatialEntries(values, name, keeping: [0, 1]))
      }
    }
    guard
      let binding = Catalog.bindings(onnx: "ConvTranspose").first(where: {
        $0.opsets.contains(node.opset)
      }), let along = try binding.read(part).operation as? TransposedConvolution
    else { throw GraftError(.inconsistency, "no binding of ConvTranspose") }
    let (stride, dilation) = (along.strides[0], along.dilations[0])
    let result =
      (depth - 1) * stride + (weights[2] - 1) * dilation + 1 + along.outputPads[0] - along.pads[0]
      - along.pads[2]
    guard (1...Window.largest).contains(result), depth * stride <= Window.largest else {
      throw GraftError(.invalidModel, "a result of \(result) slices")
    }
    guard weights[2] <= Self.mostTaps else {
      throw GraftError(.unsupported, "a kernel of \(weights[2]) slices")
    }

    let slices = try reshape(
      try transpose(x, by: [0, 2, 1, 3, 4]), to: [images, x.shape[1], x.shape[3], x.shape[4]])
    let (outputs, overflow) = weights[1].multipliedReportingOverflow(by: weights[2])
    guard !overflow, channels == weights[0] else {
      throw GraftError(.invalidModel, "\(channels) channels do not match weights \(w.shape)")
    }
    let kernels = try reshape(w, to: TensorShape([weights[0], outputs, weights[3], weights[4]]))
    let y = try apply("ConvTranspose", [slices, kernels]) { node in
      for name in spatialAttributes.keys + ["pads"] {
        if case .ints(let values)? = node.attributes[name] {
          node.attributes[name] = .ints(spatialEntries(values, name, keeping: [1, 2]))
        }
      }
      node.inputs = Array(node.inputs.prefix(2))
    }
    guard let made = y.shape[1].constant, let pixels = y.shape[2].multiplied(by: y.shape[3]) else {
      throw GraftError(.unsupported, "\(x.type) has no constant size")
    }
    let all = Dimension(made / weights[2])
    let byTap = try transpose(
      try reshape(
        y, to: [x.shape[0], Dimension(depth), all, Dimension(weights[2]), pixels]),
      by: [0, 2, 3, 1, 4])
    var terms: [Term] = []
    for tap in 0..<weights[2] {
      let before = tap * dilation - along.pads[0]
      let after = result - depth * stride - before
      guard before > -depth * stride, after > -depth * stride else { continue }
      let own = try apply(
        Slice(axes: [2], starts: [tap], extents: [1], steps: [1]), byTap)
      var spread = try reshape(own, to: [x.shape[0], all, Dimension(depth), 1, pixels])
      if stride > 1 {
        spread = try apply(Pad(pads: [0, 0, 0, 0, 0, 0, 0, 0, stride - 1, 0]), spread)
      }
      spread = try reshape(spread, to: [x.shape[0], all, Dimension(depth * stride), pixels])
      terms.append(
        before == 0 && after == 0
          ? spread : try apply(Pad(pads: [0, 0, before, 0, 0, 0, after, 0]), spread))
    }
    guard let first = terms.first else {
      throw GraftError(.unsupported, "pads \(along.pads) leave nothing of the result")
    }
    let sum = terms.count == 1 ? first : try results(of: Sum(), terms)[0]
    let volume = try reshape(
      sum, to: [x.shape[0], all, Dimension(result), y.shape[2], y.shape[3]])
    guard let bias = optionalInput(2) else { return volume }
    return try apply(Add(), volume, try reshape(bias, to: [all, 1, 1, 1]))
  }
}

/// The entries of a node's list for some of its spatial axes; those of pads and output shapes have more.
private func spatialEntries(_ values: [Int], _ name: String, keeping axes: [Int]) -> [Int] {
  switch (name, values.count) {
  case ("pads", 6): axes.map { values[$0] } + axes.map { values[$0 + 3] }
  case ("output_shape", 5): axes.map { values[$0 + 2] }
  case (_, 3): axes.map { values[$0] }
  default: values
  }
}
