// Packing of weights in the order of a kernel: constants at compile time in packed.bin; trained or computed
// weights at run time in the workspace before each use, by C from the same description. (A matrix product
// packs one panel at a time.)

import GraftDiagnostics
import GraftIR

/// The order in which a kernel reads its weights.
struct WeightOrder {
  /// Distinguishes it from other orders of the same parameter.
  var form: String
  var floatCount: Int
  /// Lanes of the target's vectors.
  var lanes: Int
  var panels: WeightPanels
  /// The C function that packs at run time.
  var kernelName: String
  var algorithm: String
  var banner: String
}

extension Lowering {
  /// The address of `weight` in `order`.
  mutating func packed(_ weight: ValueID, _ order: WeightOrder) throws -> String {
    guard isConstant(weight) else { return try packedBeforeUse(weight, order) }
    let source = try data(of: weight)
    return packedConstant([weight], form: order.form, floatCount: order.floatCount) {
      try order.panels.pack(source.floats(), into: $0, lanes: order.lanes)
    }
  }

  mutating func packedConstant(
    _ values: [ValueID], form: String, floatCount: Int,
    fill: @escaping (UnsafeMutableBufferPointer<Float>) throws -> Void
  ) -> String {
    Place.weights(
      weights.add(values.map(identities.of), form: form, floatCount: floatCount, fill: fill)
    ).expression
  }

  /// The address of weights that are packed into the workspace before each use.
  private mutating func packedBeforeUse(
    _ weight: ValueID, _ order: WeightOrder
  ) throws -> String {
    try requireFloat([weight])
    let kernel = try library.add(order.kernelName, algorithm: order.algorithm) { name in
      try order.panels.template.render(
        order.panels.templateValues.merging(["name": name, "banner": order.banner]) { $1 })
    }
    let packed = workspace(floats: order.floatCount)
    try emit(kernel, [address(weight), packed], units: WorkUnits(fixed: order.panels.count))
    return packed
  }

  /// One float a channel that is no constant: read in place where the zeros behind a state buffer
  /// are enough, else copied into the workspace with zeros behind it.
  mutating func computedVector(
    _ value: ValueID, count: Int, padded: Int, scale: Float
  ) throws -> String {
    try requireFloat([value])
    guard type(value).layout.isPlain, type(value).shape.elementCount == Dimension(count) else {
      throw GraftError(.inconsistency, "expected \(count) elements, found \(type(value))")
    }
    let source = try address(value)
    let lineFloats = 16
    let stored = (count + lineFloats - 1) / lineFloats * lineFloats
    if scale == 1 && padded <= (places.isState(value) ? stored : count) { return source }
    let kernel = try library.add(
      "copy_vector_f32_\(count)_to_\(padded)", algorithm: "one run with zeros behind it"
    ) { name in
      try Templates.copyVector.render([
        "banner": "Copies \(count) elements times \(CText.float(Double(scale))), then zeros up to "
          + "\(padded).",
        "name": name, "count": "\(count)", "padded": "\(padded)",
        "scale": CText.float(Double(scale)),
      ])
    }
    let copied = workspace(floats: padded)
    emit(kernel, [source, copied], units: WorkUnits(fixed: 1))
    return copied
  }
}

/// Copies of small constants.
enum WeightPacking {
  /// A plain copy; what lies past it stays zero.
  static func vector(
    _ values: [Float], into packed: UnsafeMutableBufferPointer<Float>, scale: Float = 1
  ) {
    for (index, value) in values.enumerated() where index < packed.count {
      packed[index] = value * scale
    }
  }
}

extension Templates {
  static let copyVector = Template("copy_vector.c", PackageResources.copy_vector_c_in)
}
