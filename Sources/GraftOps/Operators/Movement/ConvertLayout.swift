// A change of layout, and of nothing else. The layout pass puts it in and takes it out.

import GraftIR

/// y = x in another layout: element type and shape stay, and the layout that the result's type states
/// is the one that the kernel writes.
public struct ConvertLayout: PassThrough {
  public static let opcode: Opcode = "convert_layout"
  public static let summary = "the same values in another layout"

  public init() {}
  public init(attributes: Attributes) throws {}

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .conversion
  }
}
