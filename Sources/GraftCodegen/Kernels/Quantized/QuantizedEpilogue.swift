// What the kernels of sums on bytes have in common: their constants, and the C that makes a result of a sum.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The operands of a sum of products of bytes with constant weights.
struct QuantizedSum {
  let input: ValueID
  let weight: ValueID
  let bias: ValueID
  let multiplier: ValueID
  let addend: ValueID?
  let output: ValueID
  let xZero: Int
  let requantization: Requantization
  /// Whether the residual is bytes.
  let addsBytes: Bool

  init(
    _ node: Node, xZero: Int, _ requantization: Requantization, _ context: SelectionContext
  ) throws {
    input = try node.requiredOperand(0)
    weight = try node.requiredOperand(1)
    bias = try node.requiredOperand(2)
    multiplier = try node.requiredOperand(3)
    addend = node.operand(4)
    output = try node.requiredResult()
    self.xZero = xZero
    self.requantization = requantization
    addsBytes = addend.map { context.type($0).dtype == .uint8 } ?? false
  }

  /// The C type of the result's elements.
  var element: String { requantization.zero == nil ? "float" : "byte" }

  /// For a kernel's name.
  var suffix: String {
    let residual = addend == nil ? "" : addsBytes ? "_plus_bytes" : "_plus_floats"
    return residual + requantization.activation.nameSuffix
      + (requantization.zero == nil ? "_to_f32" : "")
  }

  /// The values of a template: the residual at the address `added`, and what is stored of `value`.
  /// - Parameter added: C of the residual's address for this vector.
  func templateValues(added: String, loads: (bytes: String, floats: String)) -> [String: String] {
    let (multiplier, zero) = (requantization.residualMultiplier, requantization.residualZero)
    var values = EpilogueC(requantization).templateValues
    values["element"] = element
    values["fill_border"] = requantization.zero == nil ? "fill_float_border" : "fill_border"
    values["add_residual"] = ""
    values["residual_parameter"] = ""
    values["added_parameter"] = ""
    values["added_argument"] = ""
    guard addend != nil else { return values }
    let type = addsBytes ? "byte" : "float"
    values["residual_parameter"] = "const \(type) *residual,"
    values["added_parameter"] = "const \(type) *added,"
    values["added_argument"] = "added, "
    let load = addsBytes ? loads.bytes : loads.floats
    let moved = zero == 0 ? "" : " - \(CText.float(Double(zero)))"
    let scaled = multiplier == 1 ? "" : " * \(CText.float(multiplier))"
    values["add_residual"] =
      addsBytes
      ? "const vf addend = (\(load)(\(added))\(moved))\(scaled);\nvalue += addend;"
      : "value += \(load)(\(added));"
    return values
  }
}

/// C that applies an activation to `value` and stores it.
struct EpilogueC {
  private let activation: Activation
  private let rate: Double
  private let zero: Int?

  init(_ requantization: Requantization) {
    activation = requantization.activation
    rate = requantization.rate
    zero = requantization.zero
  }

  /// The same for a result with a quantization of its own.
  init(_ activation: Activation, _ result: Quantization?) {
    self.activation = activation
    rate = result.map { 1 / $0.scale } ?? 1
    zero = result?.zero
  }

  /// `finish`, which changes `value`; `store`, the function; `stored`, its argument; `store_four`, the function for
  /// the values of four neighboring pixels, and `limits`, what follows them.
  var templateValues: [String: String] {
    guard let zero else {
      return [
        "store": "store", "stored": "value", "store_four": "store_four", "limits": "",
        "finish": activation == .none ? "" : "value = \(activation.expression("value"));",
      ]
    }
    var (low, high) = (Double(-zero), Double(255 - zero))
    var lines: [String] = []
    // Limits are those of the bytes' range or stricter ones.
    if rate == 1, activation == .relu {
      low = 0
    } else if rate == 1, let limits = activation.limits {
      (low, high) = (min(high, max(low, limits.low)), max(low, min(high, limits.high)))
    } else if activation != .none {
      lines.append("value = \(activation.expression("value"));")
    }
    if rate != 1 { lines.append("value = value * \(CText.float(rate));") }
    let limits = ", \(CText.float(low)), \(CText.float(high)), \(zero)"
    return [
      "store": "store_bytes", "stored": "bytes_of(value\(limits))",
      "store_four": "store_four_bytes", "limits": limits,
      "finish": lines.joined(separator: "\n"),
    ]
  }
}

extension Activation {
  /// The limits of a clip.
  fileprivate var limits: (low: Double, high: Double)? {
    (function as? Clip).map { ($0.low, $0.high) }
  }
}

extension Lowering {
  /// The C address of a value of bytes.
  mutating func bytes(_ value: ValueID, isConst: Bool = true) throws -> String {
    "(\(isConst ? "const " : "")byte *)(\(isConst ? "const " : "")void *)"
      + (try address(value))
  }

  /// The arguments of a kernel of `sum` up to the result, and the result.
  /// - Parameters:
  ///   - packed: the address of the packed weights.
  ///   - padded: outputs with zeros behind them.
  mutating func arguments(
    of sum: QuantizedSum, packed: String, outputs: Int, padded: Int
  ) throws -> [String] {
    var arguments = [
      try bytes(sum.input), "(const byte *)(const void *)" + packed,
      "(const int *)(const void *)" + (try offsets(of: sum, outputs: outputs, padded: padded)),
      try channelVector(sum.multiplier, count: outputs, padded: padded),
    ]
    if let addend = sum.addend {
      arguments.append(sum.addsBytes ? try bytes(addend) : try address(addend))
    }
    let output = try address(sum.output)
    return arguments
      + [sum.element == "byte" ? "(byte *)(void *)" + output : output]
  }

  /// The address of one int32 for each output, with which its sum of w · x begins: the bias, less the products with
  /// the zero point of x.
  private mutating func offsets(of sum: QuantizedSum, outputs: Int, padded: Int) throws -> String {
    let (bias, weight) = (try data(of: sum.bias), try data(of: sum.weight))
    let zero = sum.xZero
    let offset = weights.add(
      [identities.of(sum.bias), identities.of(sum.weight)],
      form: "offsets \(padded) for zero point \(zero)", byteCount: padded * 4
    ) { packed in
      let offsets = packed.bindMemory(to: Int32.self)
      let biases = bias.integers() ?? []
      let depth = weight.elementCount / max(1, outputs)
      weight.withUnsafeBytes { elements in
        for output in 0..<min(outputs, biases.count) {
          let row = elements[output * depth..<(output + 1) * depth]
          let total = row.reduce(0) { $0 + Int(Int8(bitPattern: $1)) }
          offsets[output] = Int32(truncatingIfNeeded: biases[output] - zero * total)
        }
      }
    }
    return Place.weights(offset).expression
  }

  /// The address of packed int8 weights.
  mutating func packedBytes(
    _ weight: ValueID, form: String, byteCount: Int,
    fill:
      @escaping (_ source: UnsafeRawBufferPointer, _ packed: UnsafeMutableRawBufferPointer)
      -> Void
  ) throws -> String {
    let source = try data(of: weight)
    return Place.weights(
      weights.add([identities.of(weight)], form: form, byteCount: byteCount) { packed in
        source.withUnsafeBytes { fill($0, packed) }
      }
    ).expression
  }
}
