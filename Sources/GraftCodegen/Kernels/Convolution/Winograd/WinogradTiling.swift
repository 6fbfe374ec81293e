// How an image is cut into the tiles that Winograd's algorithm transforms, and channels into blocks.

import GraftOps

/// Tiles of the result of a convolution, and blocks of its channels.
struct WinogradTiling: Hashable {
  var transform: WinogradTransform
  /// Tiles of an image.
  var tileRows: Int
  var tileColumns: Int
  var inputBlocks: Int
  var outputBlocks: Int

  var tiles: Int { tileRows * tileColumns }
  var side: Int { transform.side }
  var points: Int { side * side }

  init(_ shape: ConvolutionShape, transform: WinogradTransform, lanes: Int) {
    self.transform = transform
    tileRows = (shape.resultHeight + transform.step - 1) / transform.step
    tileColumns = (shape.resultWidth + transform.step - 1) / transform.step
    inputBlocks = (shape.channels + lanes - 1) / lanes
    outputBlocks = (shape.outputs + lanes - 1) / lanes
  }
}
