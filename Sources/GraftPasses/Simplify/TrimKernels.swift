// Rows and columns of a convolution's kernel that never meet the image.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A dilated kernel may be wider than its image: of atrous spatial pyramid pooling's 3×3 kernels (Chen et al. 2017) with
/// dilation 24 on 14×14 pixels only the middle meets any. Its other rows and columns multiply padding alone, and are
/// dropped.
///
/// ```
/// %2 = convolution(%0, %1) {strides=[1, 1], pads=[24, 24, 24, 24], dilations=[24, 24]} : f32[N,8,14,14]
/// ```
/// with weights [8, 4, 3, 3] becomes
/// ```
/// %2 = convolution(%0, %1) {strides=[1, 1], pads=[0, 0, 0, 0], dilations=[24, 24]} : f32[N,8,14,14]
/// ```
/// with weights [8, 4, 1, 1].
public struct TrimKernels: Pass {
  public static let name = "trim-kernels"
  public static let summary = "drops rows and columns of kernels that only meet padding"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs {
      let node = graph[id]
      guard let operation = try graph.operation(node, as: Convolution.self),
        let x = node.operand(0), let w = node.operand(1), let result = node.results.first,
        let extents = graph.type(of: w).shape.constants
      else { continue }
      let window = try operation.window(graph.type(of: w))
      let image = graph.type(of: x).shape
      let output = graph.type(of: result).shape
      let kept = (0..<2).map { axis in
        Self.taps(
          window, axis, image: image[axis + 2].constant ?? 0,
          output: output[axis + 2].constant ?? 0)
      }
      guard kept[0].count < extents[2] || kept[1].count < extents[3],
        kept.allSatisfy({ !$0.isEmpty })
      else { continue }
      guard context.isConstant(w, in: graph), let data = graph[w].parameter?.data else {
        context.left(graph.title(node), because: "its weights are not constant")
        continue
      }
      let weights = data.doubles()
      let trimmed = (0..<(extents[0] * extents[1])).flatMap { plane in
        kept[0].flatMap { row in
          kept[1].map { column in weights[(plane * extents[2] + row) * extents[3] + column] }
        }
      }
      guard
        let smaller = try graph.addDerived(
          "\(graph.name(w)).trimmed", trimmed,
          shape: [extents[0], extents[1], kept[0].count, kept[1].count],
          derivation: "taps of \(graph.title(node)) that meet the image")
      else { continue }
      var convolution = operation
      for axis in 0..<2 {
        let dilation = operation.dilations[axis]
        convolution.pads[axis] = operation.pads[axis] - kept[axis].lowerBound * dilation
        convolution.pads[axis + 2] =
          operation.pads[axis + 2]
          - (extents[axis + 2] - kept[axis].upperBound) * dilation
      }
      // Pads are not negative: then the kernel keeps its size.
      guard convolution.pads.allSatisfy({ $0 >= 0 }) else {
        graph.removeParameter(smaller)
        continue
      }
      context.did(
        "trimmed the kernel of \(graph.title(node)) to \(kept[0].count)x\(kept[1].count)")
      try graph.replace(
        node, with: convolution, [x, smaller] + node.operands.dropFirst(2))
    }
  }

  /// The taps along an axis that meet the image for some element of the result.
  private static func taps(
    _ window: Window, _ axis: Int, image: Int, output: Int
  ) -> Range<Int> {
    let meeting = (0..<window.kernel[axis]).filter { tap in
      let first = tap * window.dilations[axis] - window.pads[axis]
      let last = first + (output - 1) * window.strides[axis]
      // A stride may step over a small image, which is rare: such a tap counts as meeting it.
      return last >= 0 && first < image
    }
    guard let first = meeting.first, let last = meeting.last else { return 0..<0 }
    return first..<(last + 1)
  }
}
