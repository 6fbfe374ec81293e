// Activations that kernels can fuse: a separate operator, or an attribute of a fused node of this type. Each
// is defined in its operator's file; its C code is in GraftCodegen's table of elementwise functions.

import GraftDiagnostics
import GraftIR
import RealModule

/// An elementwise operator that kernels can apply to their result before storing it.
///
/// Attributes of a fused node identify it by its opcode and ``UnaryElementwise/parameters``, so only the
/// operator must be registered.
public protocol ActivationFunction: UnaryElementwise, DifferentiableOperator {
  /// - Parameter parameters: as ``UnaryElementwise/parameters`` gives them, ``parameterCount`` of them.
  init(parameters: [Double])
  static var parameterCount: Int { get }
  /// Whether the derivative is computed from the function's result, so that training need not keep its
  /// argument; otherwise it is computed from the argument.
  var derivativeReadsResult: Bool { get }
  /// The derivative, from the result or the argument according to ``derivativeReadsResult``; at a
  /// nondifferentiable point the same as PyTorch's.
  func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar
  /// Whether all results are nonnegative.
  var isNonNegative: Bool { get }
}

extension ActivationFunction {
  public static var group: OperatorGroup { .activation }
  public static var parameterCount: Int { 0 }
  public var isNonNegative: Bool { false }
  public var fusedActivation: Activation? { Activation(self) }

  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let value = derivativeReadsResult ? builder.result() : try builder.operand(0)
    try builder.setGradient(
      of: 0,
      try builder.apply(
        ActivationGradient(activation: Activation(self)), [try builder.incoming(), value]))
  }

  func map<Scalar: Real & BinaryFloatingPoint>(_ elements: [Scalar]) -> [Scalar] {
    elements.map { apply($0) }
  }

  func derivatives<Scalar: Real & BinaryFloatingPoint>(_ elements: [Scalar]) -> [Scalar] {
    elements.map { derivative($0) }
  }
}

extension ActivationFunction where Self: PlainUnaryElementwise {
  public init(parameters: [Double]) { self.init() }
}

/// A fused activation, applied after bias and residual; or none.
public struct Activation: Sendable {
  /// The operator whose function it is; nil for ``none``.
  public let function: (any ActivationFunction)?

  public init(_ function: any ActivationFunction) { self.function = function }
  private init() { function = nil }

  public static let none = Activation()
  public static let relu = Activation(Relu())
  public static func clip(low: Double, high: Double) -> Activation {
    Activation(Clip(low: low, high: high))
  }
  public static func leakyRelu(alpha: Double) -> Activation { Activation(LeakyRelu(alpha: alpha)) }
  public static let sigmoid = Activation(Sigmoid())
  public static let tanh = Activation(Tanh())
  public static func hardSigmoid(alpha: Double, beta: Double) -> Activation {
    Activation(HardSigmoid(alpha: alpha, beta: beta))
  }
  public static let hardSwish = Activation(HardSwish())
  public static let silu = Activation(Silu())

  /// The name as attributes store it: the operator's.
  public var name: String { function.map { type(of: $0).opcode.rawValue } ?? "none" }

  var parameters: [Double] { function?.parameters ?? [] }

  init(name: String, parameters: [Double]) throws {
    if name == "none", parameters.isEmpty {
      self = .none
      return
    }
    guard
      let type = Catalog.type(of: Opcode(rawValue: name)) as? any ActivationFunction.Type,
      type.parameterCount == parameters.count
    else {
      throw GraftError(
        .invalidGraph,
        "unknown activation \(name.quotedForDisplay) with \(parameters.count) parameters")
    }
    function = type.init(parameters: parameters)
  }

  /// The function itself.
  public func callAsFunction<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    function?.apply(x) ?? x
  }

  /// The activation g with g(factor · x) = factor · f(x) for all x; nil if there is none.
  public func scaled(by factor: Double) -> Activation? {
    switch function {
    case nil: self
    case is Relu, is LeakyRelu: self
    case let clip as Clip: .clip(low: clip.low * factor, high: clip.high * factor)
    default: nil
    }
  }

  /// The function of each element.
  func callAsFunction<Scalar: Real & BinaryFloatingPoint>(_ elements: [Scalar]) -> [Scalar] {
    function?.map(elements) ?? elements
  }

  /// Whether the derivative is computed from the result; see ``ActivationFunction``.
  public var gradientReadsResult: Bool { function?.derivativeReadsResult ?? true }

  /// The derivative, from the result or the argument according to ``gradientReadsResult``.
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar {
    function?.derivative(value) ?? 1
  }

  /// The derivative at each element.
  func derivatives<Scalar: Real & BinaryFloatingPoint>(_ elements: [Scalar]) -> [Scalar] {
    function?.derivatives(elements) ?? elements.map { _ in 1 }
  }
}

extension Activation: Hashable {
  public static func == (a: Activation, b: Activation) -> Bool {
    a.name == b.name && a.parameters == b.parameters
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(name)
    hasher.combine(parameters)
  }
}

extension Activation: CustomStringConvertible {
  /// `clip(low: 0.0, high: 6.0)`, `relu`, `none`.
  public var description: String {
    guard let function, !parameters.isEmpty else { return name }
    let mirror = Mirror(reflecting: function).children
    let fields = mirror.compactMap { field in field.label.map { "\($0): \(field.value)" } }
    return "\(name)(\(fields.joined(separator: ", ")))"
  }
}

extension Attributes {
  /// Reads the fused activation; none if the attribute is absent.
  public func activation() throws -> Activation {
    guard self["activation"] != nil else { return .none }
    return try Activation(
      name: string("activation"), parameters: floats("activation_parameters", default: []))
  }

  /// Writes the fused activation; nothing for none.
  mutating func set(_ activation: Activation) {
    guard activation != .none else { return }
    self["activation"] = .string(activation.name)
    if !activation.parameters.isEmpty {
      self["activation_parameters"] = .floats(activation.parameters)
    }
  }
}

/// An operator whose kernels can apply an activation before storing, and before that add a residual if one of
/// its operands is one.
public protocol ActivationFusing: Operator {
  var activation: Activation { get set }
}

extension ActivationFusing {
  /// The operator without its activation and residual, and these after it.
  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    let position = Self.position(of: .residual)
    let residual = position.flatMap { builder.optionalOperand($0) }
    guard activation != .none || residual != nil else { return nil }
    var bare = self
    bare.activation = .none
    let count = position ?? builder.node.operands.count
    var value = try builder.apply(bare, Array(builder.node.operands.prefix(count)))
    if let residual { value = try builder.apply(Add(), [value, residual]) }
    return try builder.apply(activation, to: value)
  }
}
