// Elementwise comparison of two tensors. ONNX Less, opsets 7, 9, 13;
// https://onnx.ai/onnx/operators/onnx__Less.html

import GraftIR

/// y = 1 where a < b, else 0, with multidirectional broadcasting.
public struct Less: Comparison {
  public static let opcode: Opcode = "less"
  public static let summary = "whether a < b"
  public static let onnxName = "Less"

  public init() {}

  public static func holds<Element: Comparable>(_ a: Element, _ b: Element) -> Bool { a < b }
}
