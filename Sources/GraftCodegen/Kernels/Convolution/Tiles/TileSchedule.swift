// How a convolution becomes products of tiles (AMX): 16 pixels × 64 bytes of channels times 64 bytes of channels × 16
// outputs in one instruction. What lies in those bytes, int8 or bfloat16, is the kernels' business.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A direct sum whose left factors are tiles of neighboring pixels. A tile's row is 64 bytes of one pixel and those
/// right of it, all channels of a pixel side by side; what does not lie so is gathered first.
struct TileSchedule: Hashable {
  let shape: ConvolutionShape
  let x: ImageGeometry
  let y: ImageGeometry
  let residual: ImageGeometry?
  /// Bytes of a factor.
  let factorBytes: Int
  /// Whether all pixels of the result count as one row.
  let isFlat: Bool
  /// Whether x is gathered into scratch memory.
  let gathers: Bool
  /// Lines of pixels, each of `lineTiles` tiles: rows of the result, or single tiles where it is flat.
  let lines: Int
  let lineTiles: Int
  let tilePixels: Int
  /// Lines whose pixels are gathered together.
  let strip: Int
  let splitsLines: Bool

  /// Rows of a tile, and bytes of a row.
  private static let (rows, rowBytes) = (16, 64)
  /// Pixels that are stored together.
  private static let leastPixels = 4
  /// Channels of a pixel that is made of planes.
  static let planes = 4

  /// Nil for targets without tiles, for images of a few pixels, for grouped convolutions, for more than a few planes,
  /// and for pixels of few bytes that would have to be gathered.
  init?(
    _ shape: ConvolutionShape, x: ImageGeometry, y: ImageGeometry, residual: ImageGeometry?,
    factorBytes: Int, converts: Bool, _ variant: ConvolutionVariant?, target: Target
  ) {
    guard target.hasTiles, shape.groups == 1, x.block > 1 || x.channels <= Self.planes else {
      return nil
    }
    (self.shape, self.x, self.y, self.residual) = (shape, x, y, residual)
    self.factorBytes = factorBytes
    let hasBorder = y.hasBorder || residual?.hasBorder ?? false
    isFlat = shape.window.kernel == [1, 1] && !hasBorder
    gathers =
      converts || x.blocks > 1 || isFlat && (x.hasBorder || shape.window.strides != [1, 1])
    guard !gathers || x.block == 1 || x.block == y.block else { return nil }
    let width = isFlat ? shape.resultPixels : y.width
    let tiles = (width + Self.rows - 1) / Self.rows
    tilePixels = (width + tiles - 1) / tiles
    guard tilePixels >= Self.leastPixels else { return nil }
    (lines, lineTiles) = isFlat ? (tiles, 1) : (y.height, tiles)
    let groups = (y.blocks + 1) / 2
    splitsLines =
      variant?.split.map { $0 == .tiles } ?? (shape.resultPixels >= 28 * 28 || groups < 8)
    let pixels =
      isFlat ? tilePixels : shape.window.strides[0] * (x.width + 2 * x.borderWidth)
    let channels = x.block == 1 ? Self.planes : x.blocks * x.block
    var most = max(1, target.cacheBytes / 4 / (pixels * channels * factorBytes))
    if let blocking = variant?.blocking { most = blocking.scaling(most) }
    strip = gathers ? RegisterTile.evenly(lines, most: most) : lines
  }

  private var lanes: Int { y.block }
  var groups: Int { (y.blocks + 1) / 2 }
  /// Bytes from one pixel to the next.
  private var pixelBytes: Int {
    (x.block == 1 ? Self.planes : x.blocks * x.block) * factorBytes
  }
  /// Whether a row of the kernel lies in one run of bytes.
  private var isContiguous: Bool { shape.window.dilations[1] == 1 || shape.window.kernel[1] == 1 }
  private var columnSteps: Int { isContiguous ? 1 : shape.window.kernel[1] }
  /// Tiles that cover a run of bytes.
  private var run: Int {
    ((isContiguous ? shape.window.kernel[1] : 1) * pixelBytes + Self.rowBytes - 1) / Self.rowBytes
  }
  private var steps: Int { shape.window.kernel[0] * columnSteps * run }
  /// Bytes of the weights of one block of outputs.
  private var planeWeights: Int { steps * Self.rowBytes * lanes }
  var weightBytes: Int { planeWeights * y.blocks }

  /// Rows and columns of x that are gathered for a strip.
  private var gatheredRows: Int {
    isFlat
      ? (strip * tilePixels + y.width - 1) / y.width + 1
      : (strip - 1) * shape.window.strides[0] + kernelRows
  }
  private var kernelRows: Int { (shape.window.kernel[0] - 1) * shape.window.dilations[0] + 1 }
  private var gatheredColumns: Int {
    isFlat
      ? y.width
      : (y.width - 1) * shape.window.strides[1]
        + (shape.window.kernel[1] - 1) * shape.window.dilations[1] + 1
  }

  var summary: String {
    "direct, tiles of \(2 * lanes) outputs x \(2 * tilePixels) pixels"
      + (gathers ? ", \(strip) of \(lines) lines gathered together" : "")
      + ", threads split "
      + (splitsLines ? "\(lines) lines of pixels" : "\(groups) output groups")
  }

  var units: WorkUnits { WorkUnits(splitsLines ? lines : groups, times: y.images) }

  /// A product of tiles takes as long as two vector multiply-adds for each row of the left factor, and for eight at
  /// least. Sums go through memory.
  var cost: Double {
    let tiles = Double(lines * lineTiles * y.blocks)
    let products = tiles * Double(steps) * 2 * Double(max(8, tilePixels))
    let sums = tiles * Double(tilePixels) * 4
    let gathered =
      gathers
      ? Double(shape.height * shape.width * pixelBytes / (factorBytes * lanes) + 1) * 3 : 0
    return products + sums + gathered
  }

  /// The last tile of a row reaches past its end, and the last one past the end of all activations; scratch memory
  /// lies there.
  var scratchBytes: Int {
    (gathers ? gatheredRows * gatheredColumns * pixelBytes : 0) + Self.rowBytes * 2
  }

  /// The key of the packed weights.
  var form: String {
    "tiles of \(pixelBytes) bytes of \(factorBytes), \(columnSteps) columns, \(shape.window.kernel)"
  }

  /// [outputs, channels, kernel height, kernel width] → [output block pair][kernel height][column step][tile of a
  /// run][output block][four bytes of the run][lane][byte of the four], for every weight.
  /// - Parameter move: is given the index of a weight, and of its first byte in the packed ones.
  func pack(_ move: (_ source: Int, _ packed: Int) -> Void) {
    let (height, width) = (shape.window.kernel[0], shape.window.kernel[1])
    let tile = Self.rowBytes * lanes
    for output in 0..<shape.outputs {
      let (plane, lane) = (output / lanes, output % lanes)
      let blocks = min(2, y.blocks - plane / 2 * 2)
      let start = plane / 2 * 2 * planeWeights + plane % 2 * tile + lane * 4
      for channel in 0..<shape.channels {
        for row in 0..<height {
          for column in 0..<width {
            let place = (isContiguous ? column * pixelBytes : 0) + channel * factorBytes
            let step =
              (row * columnSteps + (isContiguous ? 0 : column)) * run + place / Self.rowBytes
            let byte = place % Self.rowBytes
            move(
              ((output * shape.channels + channel) * height + row) * width + column,
              start + step * blocks * tile + byte / 4 * lanes * 4 + byte % 4)
          }
        }
      }
    }
  }

  // MARK: C

  /// The values of the template but for those of the kernel's types.
  /// - Parameters:
  ///   - xType: the C type of x's elements.
  ///   - gather: the values of the gathering function's types.
  func templateValues(
    _ name: String, xType: String, gather: [String: String]
  ) throws -> [String: String] {
    let window = shape.window
    // What a step along an image is in x itself, or where it was gathered to.
    let row = gathers ? gatheredColumns * pixelBytes : x.row * factorBytes
    return shape.windowValues(over: x).merging([
      "name": name, "x_type": xType,
      "height": "\(y.height)", "width": "\(y.width)", "output_blocks": "\(y.blocks)",
      "y_plane": "\(y.plane)", "y_origin": "\(y.origin)", "y_line": "\(isFlat ? 0 : y.row)",
      "y_border_height": "\(y.borderHeight)", "y_border_width": "\(y.borderWidth)",
      "y_border_value": "\(y.borderValue)",
      "tile_pixels": "\(tilePixels)", "lines": "\(lines)", "line_tiles": "\(lineTiles)",
      "line_pixels": "\(isFlat ? shape.resultPixels : y.width)", "is_flat": isFlat ? "1" : "0",
      "strip": "\(strip)", "split_lines": splitsLines ? "1" : "0",
      "column_steps": "\(columnSteps)", "run": "\(run)", "plane_weights": "\(planeWeights)",
      "x_line": isFlat ? "0" : "\(window.strides[0] * row)",
      "pixel": "\(isFlat ? pixelBytes : window.strides[1] * pixelBytes)",
      "kernel_row": "\(window.dilations[0] * row)",
      "kernel_column": "\(window.dilations[1] * pixelBytes)",
      "gather": try gathers ? gatheringFunction(name, xType, gather) : "",
      "begin_strip": beginStrip(name),
      "scratch_parameter": gathers ? "void *scratch," : "",
      "added_address": residual.map {
        ".added = residual + (n * OUTPUT_BLOCKS + plane + o) * \($0.plane) + \($0.origin) + row * "
          + "\(isFlat ? 0 : $0.row) + pixel * LANES,"
      } ?? "",
    ]) { $1 }
  }

  /// The residual's address where the template adds it.
  static let added = "tile->added + (pixel + p) * LANES"

  private func gatheringFunction(
    _ name: String, _ xType: String, _ types: [String: String]
  ) throws -> String {
    let strides = isFlat ? shape.window.strides : [1, 1]
    let template = x.block == 1 ? Templates.gatherPlanes : Templates.gatherBlocks
    return try template.render(
      types.merging([
        "name": name, "x_type": xType, "input_blocks": "\(x.blocks)",
        "channels": "\(x.channels)", "x_plane": "\(x.plane)",
        "gather_step": "\(strides[1] * x.block)", "gather_row": "\(strides[0] * x.row)",
      ]) { $1 })
  }

  /// C that defines where tiles of a strip begin: `first`, the bytes of pixel `first_pixel` of line `first_line`.
  private func beginStrip(_ name: String) -> String {
    let image = "x + n * X_IMAGE + X_ORIGIN"
    guard gathers else {
      return "const byte *first = \(image);\nconst size_t first_line = 0, first_pixel = 0;"
    }
    // Weights past the last channel are zero, but what they are multiplied by must not be a NaN.
    let end = """
      __builtin_memset(
          (byte *)scratch + gathered_rows * \(gatheredColumns * pixelBytes), 0, \(2 * Self.rowBytes));
      """
    let stride = shape.window.strides[0] * x.row
    if isFlat {
      return """
        const size_t last = smaller((strip + tiles) * TILE_PIXELS, LINE_PIXELS);
        const size_t gathered_row =
            smaller(strip * TILE_PIXELS, LINE_PIXELS - TILE_PIXELS) / \(y.width);
        const size_t gathered_rows = (last + \(y.width - 1)) / \(y.width) - gathered_row;
        \(name)_gather(\(image) + gathered_row * \(stride), scratch, gathered_rows, \(y.width));
        \(end)
        const byte *first = scratch;
        const size_t first_line = 0, first_pixel = gathered_row * \(y.width);
        """
    }
    return """
      const size_t gathered_rows =
          (tiles / LINE_TILES - 1) * \(shape.window.strides[0]) + \(kernelRows);
      \(name)_gather(\(image) + strip * \(stride), scratch, gathered_rows, \(gatheredColumns));
      \(end)
      const byte *first = scratch;
      const size_t first_line = strip, first_pixel = 0;
      """
  }
}

extension Target {
  /// Whether one instruction multiplies tiles.
  var hasTiles: Bool { requiredFeatures.contains("amx-tile") }
}

extension Templates {
  static let convolutionTiles = Template(
    "convolution_tiles.c", PackageResources.convolution_tiles_c_in)
  static let gatherBlocks = Template("gather_blocks.c", PackageResources.gather_blocks_c_in)
  static let gatherPlanes = Template("gather_planes.c", PackageResources.gather_planes_c_in)
}
