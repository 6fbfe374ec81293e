// Elementwise comparison of two tensors. ONNX Greater, opsets 7, 9, 13;
// https://onnx.ai/onnx/operators/onnx__Greater.html

import GraftIR

/// y = 1 where a > b, else 0, with multidirectional broadcasting.
public struct Greater: Comparison {
  public static let opcode: Opcode = "greater"
  public static let summary = "whether a > b"
  public static let onnxName = "Greater"

  public init() {}

  public static func holds<Element: Comparable>(_ a: Element, _ b: Element) -> Bool { a > b }
}
