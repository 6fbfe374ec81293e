// Elementwise comparison of two tensors. ONNX Equal, opsets 7, 11, 13, 19;
// https://onnx.ai/onnx/operators/onnx__Equal.html

import GraftIR

/// y = 1 where a == b, else 0, with multidirectional broadcasting.
public struct Equal: Comparison {
  public static let opcode: Opcode = "equal"
  public static let summary = "whether a == b"
  public static let onnxName = "Equal"

  public init() {}

  public static func holds<Element: Comparable>(_ a: Element, _ b: Element) -> Bool { a == b }
}
