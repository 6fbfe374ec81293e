// The gradient of weights over plain images, one weight at a time.

import GraftDiagnostics
import GraftIR
import GraftOps

struct PlainWeightGradient: WeightGradientKernel {
  let node: WeightGradientNode

  /// - Throws: ``GraftError`` of kind `inconsistency` unless both images are plain.
  init(_ node: WeightGradientNode) throws {
    guard node.isPlanar, !node.x.hasBorder, !node.dy.hasBorder else {
      throw GraftError(.inconsistency, "expected two plain images, found a border or a block")
    }
    self.node = node
  }

  var summary: String { "one weight at a time, vectors of columns, threads split weights" }

  // As for a convolution of plain images.
  var cost: Double { Double(units) * Double(shape.resultPixels) }

  var units: Int {
    shape.outputs * shape.channelsPerGroup * shape.window.kernel[0] * shape.window.kernel[1]
  }

  var form: String { "_plain" }
  var template: Template { Templates.weightGradientPlain }

  var templateValues: [String: String] {
    let window = shape.window
    return [
      "channels": "\(shape.channels)", "x_height": "\(shape.height)",
      "x_width": "\(shape.width)", "stride_height": "\(window.strides[0])",
      "stride_width": "\(window.strides[1])", "dilation_height": "\(window.dilations[0])",
      "dilation_width": "\(window.dilations[1])", "pad_top": "\(window.pads[0])",
      "pad_left": "\(window.pads[1])",
    ]
  }
}

extension Templates {
  static let weightGradientPlain = Template(
    "convolution_weight_gradient_plain.c", PackageResources.convolution_weight_gradient_plain_c_in)
}
