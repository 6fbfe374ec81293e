// Numbers in steps. ONNX Range, opset 11, of integers known at compile time;
// https://onnx.ai/onnx/operators/onnx__Range.html

import GraftDiagnostics
import GraftIR

/// y [⌈(limit − start) / delta⌉] of an integer type = start, start + delta, … short of limit.
///
/// - C1: delta is not 0, and dtype is an integer type.
/// - C2: there are few enough numbers to be shape arithmetic.
public struct NumberRange: ONNXExportable {
  public static let opcode: Opcode = "range"
  public static let group = OperatorGroup.movement
  public static let summary = "integers at constant steps"
  public static let operands: [OperandRule] = []
  public static let isCompileTimeOnly = true

  public var start: Int
  public var limit: Int
  public var delta: Int
  public var dtype: DataType

  public init(start: Int, limit: Int, delta: Int, dtype: DataType = .int64) {
    self.start = start
    self.limit = limit
    self.delta = delta
    self.dtype = dtype
  }

  public init(attributes: Attributes) throws {
    start = try attributes.int("start")
    limit = try attributes.int("limit")
    delta = try attributes.int("delta")
    dtype = try attributes.type("dtype")
  }

  public var attributes: Attributes {
    [
      "start": .int(start), "limit": .int(limit), "delta": .int(delta), "dtype": .type(dtype),
    ]
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    try require(
      "C1", delta != 0 && dtype.isInteger, "steps of \(delta) in \(dtype.rawValue)")
    return [TensorType(dtype, TensorShape([try count()]))]
  }

  private func count() throws -> Int {
    let (span, overflow) = limit.subtractingReportingOverflow(start)
    if delta > 0 ? limit <= start : limit >= start { return 0 }
    let (quotient, divisionOverflow) = span.dividedReportingOverflow(by: delta)
    try require(
      "C2", !overflow && !divisionOverflow && quotient < largestFoldedCount,
      "the range from \(start) to \(limit) by \(delta) is too long")
    return quotient + (span % delta == 0 ? 0 : 1)
  }

  private func numbers() throws -> DenseTensor<Dimension> {
    let count = try count()
    return try DenseTensor(
      shape: [count], elements: (0..<count).map { Dimension(start + $0 * delta) })
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    [.integer(try numbers())]
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? { [try numbers()] }

  public static let onnx = [
    ONNXBinding("Range", since: 11) { node in
      let dtype = try node.input(0).type.dtype
      guard dtype.isInteger else {
        throw GraftError(.unsupported, "a range of \(dtype.rawValue)")
      }
      func number(_ index: Int, _ name: String) throws -> Int {
        guard let values = try node.fixedIntegers(index, named: name), values.count == 1 else {
          throw GraftError(.invalidModel, "input \(name.quotedForDisplay) must be a scalar")
        }
        return values[0]
      }
      return ImportedOperator(
        NumberRange(
          start: try number(0, "start"), limit: try number(1, "limit"),
          delta: try number(2, "delta"), dtype: dtype),
        operands: [])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "Range",
      inputs: try [start, limit, delta].map {
        .constant(try ScalarConstant.integer($0).data(dtype, shape: []))
      })
  }
}
