// The end of a training step: gradient norms, gradient accumulation, running statistics, and the optimizers,
// each one in-place pass over a tensor.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  /// Elements of one unit of an update.
  private static let updatePiece = 4096

  /// A hyperparameter of the group in C, where `row` is the group's.
  private func column(_ hyperparameter: Hyperparameter) -> String {
    "row[\(hyperparameter.rawValue)]"
  }

  mutating func lower(_ operation: SGDUpdate, _ node: Node) throws {
    let hasMomentum = node.operand(3) != nil
    let factor = node.operand(4) == nil ? "" : "factor[0] * "
    let direction =
      !hasMomentum
      ? "g" : operation.isNesterov ? "g + \(column(.momentum)) * new_momentum" : "new_momentum"
    var compute = ["const vf g = \(factor)gradient_value + \(column(.weightDecay)) * w_value;"]
    if hasMomentum {
      compute.append("const vf new_momentum = \(column(.momentum)) * momentum_value + g;")
    }
    compute.append("const vf new_w = w_value - \(column(.learningRate)) * (\(direction));")
    try update(
      node, name: "sgd\(operation.isNesterov ? "_nesterov" : hasMomentum ? "_momentum" : "")",
      group: operation.group, slots: hasMomentum ? ["momentum": 3] : [:], factor: 4,
      compute: compute)
  }

  mutating func lower(_ operation: AdamUpdate, _ node: Node) throws {
    let factor = node.operand(5) == nil ? "" : "factor[0] * "
    let gradient = "\(factor)gradient_value"
    let compute = [
      operation.isDecoupled
        ? "const vf g = \(gradient);"
        : "const vf g = \(gradient) + \(column(.weightDecay)) * w_value;",
      operation.isDecoupled
        ? "const vf decayed = w_value - \(column(.learningRate)) * \(column(.weightDecay)) * w_value;"
        : "const vf decayed = w_value;",
      "const vf new_first = \(column(.beta1)) * first_value + (1 - \(column(.beta1))) * g;",
      "const vf new_second = \(column(.beta2)) * second_value + (1 - \(column(.beta2))) * g * g;",
      "const vf deviation = __builtin_elementwise_sqrt(new_second) * scale + \(column(.epsilon));",
      "const vf new_w = decayed - rate * new_first / deviation;",
    ]
    try update(
      node, name: operation.isDecoupled ? "adamw" : "adam", group: operation.group,
      slots: ["first": 3, "second": 4], factor: 5, compute: compute,
      settings: [
        "const float rate = \(column(.learningRate)) / \(column(.biasCorrection1));",
        "const float scale = 1 / __builtin_sqrtf(\(column(.biasCorrection2)));",
      ])
  }

  /// One step of an optimizer. `compute` sets new_w and a new_… for each slot from w_value,
  /// gradient_value, a …_value for each slot, row and factor.
  private mutating func update(
    _ node: Node, name: String, group: Int, slots: KeyValuePairs<String, Int>, factor: Int,
    compute: [String], settings: [String] = []
  ) throws {
    let (w, gradient) = (try operand(0, of: node), try operand(1, of: node))
    let table = try operand(2, of: node)
    let slotValues = try slots.map { (name: $0.key, value: try operand($0.value, of: node)) }
    try requireFloat([w, gradient, table] + slotValues.map(\.value) + node.results)
    guard let count = type(w).shape.elementCount?.constant,
      node.results.count == 1 + slotValues.count,
      ([w, gradient] + node.results).allSatisfy({ type($0).layout.isPlain })
    else { throw GraftError(.unsupported, "an update of \(type(w))") }
    let sources = [(name: "w", value: w), (name: "gradient", value: gradient)] + slotValues
    let targets = ["w"] + slotValues.map(\.name)
    let hasFactor = node.operand(factor) != nil
    let parameters =
      sources.map { "const float *\($0.name)," } + ["const float *hyperparameters,"]
      + (hasFactor ? ["const float *factor,"] : []) + targets.map { "float *\($0)_result," }
    let piece = Self.updatePiece
    let kernel = try library.add(
      "\(name)_update_f32_group_\(group)\(hasFactor ? "_clipped" : "")",
      algorithm: "one pass in place, threads split pieces of \(piece)"
    ) { name in
      try Templates.update.render([
        "banner": "\(node.opcode) of any number of elements in group \(group).", "name": name,
        "parameters": parameters.joined(separator: "\n"), "piece": "\(piece)",
        "settings":
          ([
            "const float *row = hyperparameters + \(group * TrainingInterface.hyperparameterCount);"
          ] + settings)
          .joined(separator: "\n"),
        "variables": sources.map { "\($0.name)_value" }.joined(separator: ", "),
        "loads": sources.map { "\($0.name)_value = load(\($0.name) + i);" }
          .joined(separator: "\n"),
        "part_loads": sources.map { "\($0.name)_value = load_part(\($0.name) + i, lanes);" }
          .joined(separator: "\n"),
        "compute": compute.joined(separator: "\n"),
        "stores": targets.map { "store(\($0)_result + i, new_\($0));" }.joined(separator: "\n"),
        "part_stores": targets.map { "store_part(\($0)_result + i, new_\($0), lanes);" }
          .joined(separator: "\n"),
      ])
    }
    var arguments = try sources.map { try address($0.value) } + [address(table)]
    if hasFactor { arguments.append(try address(try operand(factor, of: node))) }
    arguments += try node.results.map { try address($0) }
    emit(
      kernel, arguments + ["\(count)"], units: WorkUnits(fixed: (count + piece - 1) / piece))
  }

  mutating func lower(_ operation: MovingAverage, _ node: Node) throws {
    let share = operation.momentum
    try map(
      MapFunction(
        name: "moving_average",
        expression: "a_value * \(CText.float(1 - share)) + b_value * \(CText.float(share))"),
      [try operand(0, of: node), try operand(1, of: node)], to: try result(of: node))
  }

  /// sum, gradient, settings → gradient + kept · sum, and the gradient alone where that is 0.
  mutating func lowerAccumulate(_ node: Node) throws {
    let keep =
      "\(try address(try operand(2, of: node))) + \(TrainingInterface.Setting.keptGradients.rawValue)"
    try map(
      MapFunction(
        name: "accumulate",
        expression: "pick(c_value == splat(0.0f), b_value, b_value + c_value * a_value)"),
      [.value(try operand(0, of: node)), .value(try operand(1, of: node)), .number(keep)],
      to: try result(of: node))
  }

  mutating func lowerSquareSum(_ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    try requireFloat([input, output])
    guard let count = type(input).shape.elementCount?.constant, type(input).layout.isPlain else {
      throw GraftError(.unsupported, "a sum of squares of \(type(input))")
    }
    let piece = 16384
    let pieces = max(1, (count + piece - 1) / piece)
    let partial = "(double *)(void *)\(workspace(floats: 2 * pieces))"
    let kernel = try library.add(
      "square_sum_f32", algorithm: "threads split pieces of \(piece)"
    ) { name in
      try Templates.squareSum.render([
        "banner": "Sums of the squares of \(piece) elements at a time.", "name": name,
        "piece": "\(piece)",
      ])
    }
    emit(kernel, [try address(input), partial, "\(count)"], units: WorkUnits(fixed: pieces))
    let total = try library.add("total_f64", algorithm: "pieces in turn") { name in
      try Templates.total.render(["banner": "Adds up partial sums.", "name": name])
    }
    emit(total, [partial, try address(output), "\(pieces)"], units: WorkUnits(fixed: 1))
  }

  /// min(1, norm / (√Σ sums + 10⁻⁶)), some sums at a time.
  mutating func lowerClipFactor(_ node: Node) throws {
    let settings = try operand(0, of: node)
    let sums = Array(node.presentOperands.dropFirst())
    let output = try result(of: node)
    try requireFloat([settings, output] + sums)
    let total = "(double *)(void *)\(workspace(floats: 2))"
    let most = 16
    for start in Swift.stride(from: 0, to: max(1, sums.count), by: most) {
      let part = sums[min(start, sums.count)..<min(start + most, sums.count)]
      let isFirst = start == 0
      let kernel = try library.add(
        "add_sums_\(part.count)\(isFirst ? "" : "_more")", algorithm: "in turn, in double"
      ) { name in
        try Templates.addSums.render([
          "banner": "Adds up \(part.count) sums.", "name": name,
          "parameters": part.indices.map { "const float *s\($0 - start)," }
            .joined(separator: " "),
          "start": isFirst ? "0.0" : "total[unit]",
          "terms": part.indices.map { " + s\($0 - start)[0]" }.joined(),
        ])
      }
      emit(kernel, try part.map { try address($0) } + [total], units: WorkUnits(fixed: 1))
    }
    let limit = "settings[\(TrainingInterface.Setting.clipNorm.rawValue)]"
    let kernel = try library.add("clip_factor_f32", algorithm: "one number") { name in
      try Templates.clipFactor.render([
        "banner": "The factor that brings a norm under \(limit).", "name": name, "limit": limit,
      ])
    }
    try emit(
      kernel, [address(settings), total, address(output)], units: WorkUnits(fixed: 1))
  }
}

extension Templates {
  static let update = Template("update.c", PackageResources.update_c_in)
  static let squareSum = Template("square_sum.c", PackageResources.square_sum_c_in)
  static let total = Template("total.c", PackageResources.total_c_in)
  static let addSums = Template("add_sums.c", PackageResources.add_sums_c_in)
  static let clipFactor = Template("clip_factor.c", PackageResources.clip_factor_c_in)
}
