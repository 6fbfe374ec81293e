// Convolutions of bytes: sums of four products in each lane. The direct one has the register tiles of the float32
// kernel; the depthwise one sums four neighboring pixels at a time.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let quantizedConvolution = KernelFamily(
    name: "quantized convolution",
    rules: [
      .serving(QuantizedConvolution.self) { operation, node, context in
        guard let convolution = try QuantizedConvolutionNode(operation, node, context) else {
          return []
        }
        if convolution.shape.isDepthwise { return [QuantizedDepthwise(convolution)] }
        let variant = context.preferences.variant(at: convolution.site)
        let direct = QuantizedDirect(convolution, variant ?? .direct)
        let tiles = [QuantizedTiles(convolution, variant)].compactMap { $0 }
        let transformed = operation.isExact ? [] : convolution.transformed(variant, context)
        // A variant that asks for another algorithm gets it where there is one.
        switch variant?.algorithm {
        case nil: return [direct] + tiles + transformed
        case .direct: return [direct]
        case .matrixTiles: return tiles.isEmpty ? [direct] : tiles
        case .winograd2, .winograd4: return transformed.isEmpty ? [direct] : transformed
        }
      }
    ])
}

/// The properties of a convolution of bytes for both kernels.
struct QuantizedConvolutionNode {
  let sum: QuantizedSum
  let shape: ConvolutionShape
  let x: ImageGeometry
  let y: ImageGeometry
  let residual: ImageGeometry?
  let target: Target

  /// Nil where the layouts are not those of the kernels: blocks of lanes, or of four for few channels.
  init?(_ operation: QuantizedConvolution, _ node: Node, _ context: SelectionContext) throws {
    sum = try QuantizedSum(
      node, xZero: operation.xZero, operation.requantization, context)
    x = try ImageGeometry(context.type(sum.input))
    y = try ImageGeometry(context.type(sum.output))
    let window = try operation.convolution.window(context.type(sum.weight))
    shape = ConvolutionShape(
      channels: x.channels, height: x.height, width: x.width, outputs: y.channels,
      resultHeight: y.height, resultWidth: y.width, window: window, groups: operation.groups)
    target = context.target
    residual = try sum.addend.map { try ImageGeometry(context.type($0)) }
    let isFew = x.block == Layout.fewChannels && x.blocks == 1 && !shape.isDepthwise
    guard y.block == target.lanes, x.block == target.lanes || isFew,
      residual?.block ?? y.block == y.block
    else { return nil }
  }

  var lanes: Int { target.lanes }

  var site: ConvolutionSite {
    ConvolutionSite(
      shape, isPlanar: x.block != lanes, images: y.images,
      form: sum.requantization.zero == nil ? "int8 to float32" : "int8")
  }

  var banner: String {
    let window = shape.window
    let requantization = sum.requantization
    let result = requantization.zero.map { "bytes with zero point \($0)" } ?? "float32"
    return CText.wrapped(
      """
      Convolution of bytes [\(shape.channels), \(shape.height), \(shape.width)] -> \
      [\(shape.outputs), \(shape.resultHeight), \(shape.resultWidth)], kernel \(window.kernel), \
      strides \(window.strides), pads \(window.pads), dilations \(window.dilations), groups \
      \(shape.groups), zero point \(sum.xZero), activation \(requantization.activation), to \(result).
      """)
  }

  var commonValues: [String: String] {
    [
      "height": "\(y.height)", "width": "\(y.width)", "output_blocks": "\(y.blocks)",
      "y_plane": "\(y.plane)", "y_row": "\(y.row)", "y_origin": "\(y.origin)",
      "y_border_height": "\(y.borderHeight)", "y_border_width": "\(y.borderWidth)",
      "y_border_value": "\(y.borderValue)",
    ].merging(shape.windowValues(over: x)) { $1 }
  }

  /// The time of `products` times four products in each lane, in vector multiply-adds.
  func cost(dots: Double) -> Double { dots * target.byteDotTime }
}

struct QuantizedDirect: MeasuredKernel {
  let convolution: QuantizedConvolutionNode
  private let tileBlocks: Int
  private let tiles: Int
  private let tilePixels: Int
  private let wideTiles: Int
  private let splitsTiles: Bool
  private let tilesPerBlock: Int

  init(_ convolution: QuantizedConvolutionNode, _ variant: ConvolutionVariant) {
    self.convolution = convolution
    let (shape, target) = (convolution.shape, convolution.target)
    let most: Int
    (tileBlocks, most) = RegisterTile.chooseForBytes(
      outputBlocks: convolution.y.blocks, preferred: variant.tileBlocks, target: target)
    (tiles, tilePixels, wideTiles) = RegisterTile.balanced(shape.resultPixels, most: most)
    let groups = (convolution.y.blocks + tileBlocks - 1) / tileBlocks
    splitsTiles =
      variant.split.map { $0 == .tiles } ?? (shape.resultPixels >= 28 * 28 || groups < 8)
    // The pixels of a block of tiles stay in the L2 cache while all groups of outputs read them.
    let rowsTouched = shape.window.kernel == [1, 1] ? 1 : shape.window.strides[0]
    let tileBytes =
      most * rowsTouched * shape.window.strides[1] * convolution.x.blocks * convolution.x.block
    var perBlock = max(24, target.cacheBytes / 4 / max(1, tileBytes))
    switch variant.blocking {
    case .half: perBlock = max(1, perBlock / 2)
    case .double: perBlock *= 2
    case nil: break
    }
    tilesPerBlock = RegisterTile.evenly(tiles, most: perBlock)
  }

  private var shape: ConvolutionShape { convolution.shape }
  private var lanes: Int { convolution.lanes }
  private var outputBlocks: Int { convolution.y.blocks }
  private var groups: Int { (outputBlocks + tileBlocks - 1) / tileBlocks }
  private var tilePixelsMost: Int { wideTiles > 0 ? tilePixels + 1 : tilePixels }
  /// Bytes of the weights of one block of outputs.
  private var planeWeights: Int {
    shape.window.kernel[0] * shape.window.kernel[1] * convolution.x.blocks * convolution.x.block
      * lanes
  }

  var summary: String {
    "direct, tile of \(tileBlocks * lanes) outputs x \(tilePixelsMost) pixels, threads split "
      + (splitsTiles ? "\(tiles) tiles of pixels" : "\(groups) output groups")
  }

  var cost: Double {
    convolution.cost(
      dots: Double(planeWeights / 4 / lanes) * Double(outputBlocks) * Double(shape.resultPixels))
  }

  var arithmetic: DataType? { .int8 }
  var site: ConvolutionSite? { convolution.site }
  var algorithm: ConvolutionAlgorithm { .direct }
  var identity: AnyHashable { [tileBlocks, tilesPerBlock, splitsTiles ? 1 : 0] }

  func emit(_ node: Node, into program: inout Lowering) throws {
    let (sum, x, y) = (convolution.sum, convolution.x, convolution.y)
    let kernel = try program.library.add(
      "conv_u8_\(convolution.shape.windowName)\(x.block == lanes ? "" : "_few")_\(shape.channels)to"
        + "\(shape.outputs)_\(shape.height)x\(shape.width)_\(tileBlocks)x\(tilePixelsMost)"
        + sum.suffix,
      algorithm: summary
    ) { name in
      // A kernel row without gaps is read as one run of bytes.
      let isContiguous = shape.window.dilations[1] == 1 || shape.window.kernel[1] == 1
      let last = outputBlocks % tileBlocks
      var values = sum.templateValues(
        added: "added + (size_t)o * \(convolution.residual?.plane ?? 0) + (pixel + (size_t)p) / "
          + "WIDTH * \(convolution.residual?.row ?? 0) + (pixel + (size_t)p) % WIDTH * LANES",
        loads: ("from_bytes", "load"))
      values["residual_plane"] = convolution.residual.map {
        "const \(sum.addsBytes ? "byte" : "float") *added = residual + "
          + "(n * OUTPUT_BLOCKS + plane) * \($0.plane) + \($0.origin);"
      }
      return try Templates.quantizedConvolution.render(
        convolution.commonValues.merging(values) { $1 }.merging([
          "banner": convolution.banner + "\n * " + CText.wrapped(summary) + ".", "name": name,
          "tile_blocks": "\(tileBlocks)", "tile_pixels": "\(tilePixels)",
          "tile_pixels_most": "\(tilePixelsMost)", "tiles": "\(tiles)",
          "wide_tiles": "\(wideTiles)", "groups": "\(groups)",
          "full_groups": "\(outputBlocks / tileBlocks)",
          "last_group_blocks": "\(last == 0 ? tileBlocks : last)",
          "split_tiles": splitsTiles ? "1" : "0", "tiles_a_block": "\(tilesPerBlock)",
          "input_blocks": "\(x.blocks)", "plane_weights": "\(planeWeights)",
          "column_steps": isContiguous ? "1" : "\(shape.window.kernel[1])",
          "depth": "\(isContiguous ? shape.window.kernel[1] * x.block : x.block)",
          "residual_plane": values["residual_plane"] ?? "",
        ]) { $1 })
    }
    let packed = try program.packedBytes(
      sum.weight,
      form: "int8 \(x.blocks) x \(x.block) to \(outputBlocks) by \(tileBlocks)",
      byteCount: planeWeights * outputBlocks, fill: pack)
    try program.emit(
      kernel,
      program.arguments(
        of: sum, packed: packed, outputs: shape.outputs, padded: y.blocks * lanes),
      units: WorkUnits(splitsTiles ? tiles : groups, times: y.images), site: site)
  }

  /// [outputs, channels, kernel height, kernel width] → [output group][input block][kernel height][kernel
  /// width][four channels][output block][lane][channel of the four], zeros past the last output and channel.
  private func pack(_ source: UnsafeRawBufferPointer, _ packed: UnsafeMutableRawBufferPointer) {
    let taps = shape.window.kernel[0] * shape.window.kernel[1]
    let block = convolution.x.block
    for output in 0..<shape.outputs {
      let (plane, lane) = (output / lanes, output % lanes)
      let group = plane / tileBlocks
      let blocks = min(tileBlocks, outputBlocks - group * tileBlocks)
      let start = group * tileBlocks * planeWeights + (plane % tileBlocks) * lanes * 4 + lane * 4
      for channel in 0..<shape.channels {
        let (inputBlock, inBlock) = (channel / block, channel % block)
        for tap in 0..<taps {
          let four = ((inputBlock * taps + tap) * block + inBlock) / 4
          packed[start + four * blocks * lanes * 4 + inBlock % 4] =
            source[(output * shape.channels + channel) * taps + tap]
        }
      }
    }
  }
}

struct QuantizedDepthwise: KernelSchedule {
  let convolution: QuantizedConvolutionNode
  /// Fours of pixels that a row of the kernel takes.
  private let fours: Int
  /// Neighboring results that read the same pixels.
  private let shifts: Int
  private let tile: Int
  private let bands: Int

  init(_ convolution: QuantizedConvolutionNode) {
    self.convolution = convolution
    let (window, target) = (convolution.shape.window, convolution.target)
    fours = (window.kernel[1] + 3) / 4
    shifts = (4 * fours - window.kernel[1]) / window.strides[1] + 1
    let registers = target.registers >= 32 ? 16 : 6
    tile = max(1, min(registers, convolution.y.width) / shifts)
    bands = max(
      1,
      min(convolution.y.height, (32 + convolution.y.blocks - 1) / convolution.y.blocks))
  }

  private var shape: ConvolutionShape { convolution.shape }
  private var lanes: Int { convolution.lanes }
  private var planeWeights: Int { shape.window.kernel[0] * fours * shifts * 4 * lanes }

  var summary: String {
    "depthwise, tile of \(lanes) channels x \(tile * shifts) pixels, threads split "
      + "\(convolution.y.blocks) blocks in \(bands) bands"
  }

  var cost: Double {
    let dots = Double(shape.window.kernel[0] * fours) * (1 + 1 / Double(shifts))
    return convolution.cost(
      dots: dots * Double(convolution.y.blocks) * Double(shape.resultPixels))
  }

  /// Fours of pixels reach past the end of a row, and the last ones past the end of all activations; scratch
  /// memory lies there.
  var scratchBytes: Int { 8 * fours * lanes * shifts }

  var arithmetic: DataType? { .int8 }

  func emit(_ node: Node, into program: inout Lowering) throws {
    let (sum, y) = (convolution.sum, convolution.y)
    let kernel = try program.library.add(
      "depthwise_u8_\(convolution.shape.windowName)_\(shape.channels)_\(shape.height)x\(shape.width)"
        + sum.suffix,
      algorithm: summary
    ) { name in
      let type = sum.addsBytes ? "byte" : "float"
      var values = sum.templateValues(added: "added + p * LANES", loads: ("from_bytes", "load"))
      values["residual_plane"] =
        convolution.residual.map {
          "const \(type) *addend = residual + plane * \($0.plane) + \($0.origin);"
        } ?? ""
      values["residual_row"] =
        convolution.residual.map { "const \(type) *added_row = addend + row * \($0.row);" } ?? ""
      if convolution.residual != nil {
        values["added_argument"] = "added_row + column * LANES, "
      }
      return try Templates.quantizedDepthwise.render(
        convolution.commonValues.merging(values) { $1 }.merging([
          "banner": convolution.banner + "\n * " + CText.wrapped(summary) + ".", "name": name,
          "tile": "\(tile)", "shifts": "\(shifts)", "fours": "\(fours)", "bands": "\(bands)",
          "plane_weights": "\(planeWeights)",
          "kernel_unroll": shape.window.kernel[0] * fours <= 10 ? "UNROLL" : "NO_UNROLL",
        ]) { $1 })
    }
    let packed = try program.packedBytes(
      sum.weight, form: "int8 depthwise \(fours) fours \(shifts) shifts of \(lanes)",
      byteCount: planeWeights * y.blocks, fill: pack)
    try program.emit(
      kernel,
      program.arguments(
        of: sum, packed: packed, outputs: shape.outputs, padded: y.blocks * lanes),
      units: WorkUnits(y.blocks * bands, times: y.images))
  }

  /// [channels, 1, kernel height, kernel width] → [channel block][kernel height][four][shift][lane][pixel of the
  /// four], where shift s begins s strides later.
  private func pack(_ source: UnsafeRawBufferPointer, _ packed: UnsafeMutableRawBufferPointer) {
    let window = shape.window
    let (height, width) = (window.kernel[0], window.kernel[1])
    for channel in 0..<shape.channels {
      for row in 0..<height {
        for shift in 0..<shifts {
          for tap in 0..<width {
            let pixel = shift * window.strides[1] + tap
            let at = ((row * fours + pixel / 4) * shifts + shift) * 4 * lanes
            packed[
              channel / lanes * planeWeights + at + channel % lanes * 4 + pixel % 4] =
              source[(channel * height + row) * width + tap]
          }
        }
      }
    }
  }
}

extension RegisterTile {
  /// Output blocks × pixels of a tile of int32 sums. Without an instruction for sums of four products, widened
  /// weights and pixels need registers too.
  static func chooseForBytes(
    outputBlocks: Int, preferred: Int? = nil, target: Target
  ) -> (blocks: Int, pixels: Int) {
    let (blocks, pixels) = choose(
      outputBlocks: outputBlocks, preferred: preferred, target: target)
    guard !target.hasByteDot else { return (blocks, pixels) }
    guard target.registers < 32 else { return (min(blocks, 2), 8) }
    return (min(blocks, 2), blocks == 1 ? 6 : 3)
  }

  /// The size of parts of at most `most` that divide `count` most evenly.
  static func evenly(_ count: Int, most: Int) -> Int {
    let (parts, _, _) = balanced(count, most: most)
    return (count + parts - 1) / parts
  }
}

extension Target {
  /// Whether one instruction sums four products of bytes in every lane.
  var hasByteDot: Bool {
    requiredFeatures.contains("avx512vnni") || requiredFeatures.contains("avxvnni")
  }

  /// The time of four products of bytes in every lane, in vector multiply-adds of float32.
  var byteDotTime: Double { hasByteDot ? 1 : 4 }
}

extension Templates {
  static let quantizedConvolution = Template(
    "quantized_convolution.c", PackageResources.quantized_convolution_c_in)
  static let quantizedDepthwise = Template(
    "quantized_depthwise.c", PackageResources.quantized_depthwise_c_in)
}
