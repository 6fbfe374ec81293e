// Pools over regions that the network computes, and their gradient.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let regionPool = KernelFamily(
    name: "region-pool",
    rules: [
      .emitting(RegionPool.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(RegionPoolGradient.self) { operation, node, program in
        try program.lower(operation, node)
      },
    ])
}

extension Lowering {
  /// The channels that share the weights of a place.
  private static let channelGroup = 16

  mutating func lower(_ operation: RegionPool, _ node: Node) throws {
    let (input, regions) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    try requireFloat([input, regions, output])
    guard let shape = type(input).shape.constants, shape[2] * shape[3] <= Int32.max else {
      throw GraftError(.unsupported, "regions of \(type(input))")
    }
    let count = type(regions).shape[0]
    let values = regionValues(operation, images: shape[0], channels: shape[1], Array(shape[2...]))
    let label =
      "region_pool_\(operation.kind.rawValue)_f32_\(shape.map(String.init).joined(separator: "x"))_"
      + operation.bins.map(String.init).joined(separator: "x")
    let banner =
      "\(operation.kind.rawValue) of \(type(regions)) regions of \(type(input)), bins \(operation.bins)."
    guard operation.kind != .pixels else {
      let kernel = try library.add(label, algorithm: "pixel by pixel, threads split channels") {
        name in
        try Templates.regionPixels.render(
          values.merging([
            "banner": banner, "name": name, "scale": CText.float(operation.scale),
          ]) { $1 })
      }
      return try emit(
        kernel, [address(input), address(regions), address(output)],
        units: WorkUnits(shape[1], times: count))
    }
    let batches = try operand(2, of: node)
    let isMean = operation.kind == .average
    let kernel = try library.add(
      label,
      algorithm: "place by place, \(Self.channelGroup) channels at a time, threads split these"
    ) { name in
      try Templates.regionPool.render(
        values.merging(regionText(operation)) { $1 }.merging([
          "banner": banner, "name": name, "group": "\(Self.channelGroup)",
          "start": isMean ? "0" : "-__builtin_inff()",
          // A place outside of the image counts as 0.
          "outside": isMean
            ? "" : "for (size_t c = 0; c < GROUP; c++) values[c] = values[c] > 0 ? values[c] : 0;",
          "combine": isMean
            ? "values[c] += a + b + d + e;"
            : """
            const float ab = a > b ? a : b, de = d > e ? d : e, largest = ab > de ? ab : de;
            values[c] = values[c] > largest ? values[c] : largest;
            """,
          "finish": isMean ? "values[c] * scale" : "places_high * places_wide > 0 ? values[c] : 0",
        ]) { $1 })
    }
    let groups = (shape[1] + Self.channelGroup - 1) / Self.channelGroup
    try emit(
      kernel,
      [
        address(input), address(regions), "(const long long *)(const void *)\(address(batches))",
        address(output),
      ], units: WorkUnits(groups, times: count))
  }

  /// Threads split channels, so that they share no sum.
  mutating func lower(_ operation: RegionPoolGradient, _ node: Node) throws {
    let (gradient, regions) = (try operand(0, of: node), try operand(1, of: node))
    let (batches, output) = (try operand(2, of: node), try result(of: node))
    try requireFloat([gradient, regions, output])
    guard let shape = type(output).shape.constants, shape[2] * shape[3] <= Int32.max else {
      throw GraftError(.unsupported, "the gradient of regions of \(type(output))")
    }
    let pool = operation.pool
    let kernel = try library.add(
      "region_pool_gradient_f32_\(shape.map(String.init).joined(separator: "x"))_"
        + pool.bins.map(String.init).joined(separator: "x"),
      algorithm: "place by place, threads split channels"
    ) { name in
      try Templates.regionPoolGradient.render(
        regionValues(pool, images: shape[0], channels: shape[1], Array(shape[2...]))
          .merging(regionText(pool)) { $1 }.merging([
            "banner": "Gradient of the means of \(type(regions)) regions of \(type(output)).",
            "name": name,
          ]) { $1 })
    }
    try emit(
      kernel,
      [
        address(gradient), address(regions), "(const long long *)(const void *)\(address(batches))",
        address(output), type(regions).shape[0].expression,
      ], units: WorkUnits(fixed: shape[1]))
  }

  private func regionValues(
    _ operation: RegionPool, images: Int, channels: Int, _ extents: [Int]
  ) -> [String: String] {
    [
      "images": "\(images)", "channels": "\(channels)", "height": "\(extents[0])",
      "width": "\(extents[1])", "rows": "\(operation.bins[0])", "columns": "\(operation.bins[1])",
    ]
  }

  /// C of a region's size, of a place in it, and of the weights of the pixels around the place.
  private func regionText(_ operation: RegionPool) -> [String: String] {
    let (scale, offset) = (CText.float(operation.scale), operation.isHalfPixel ? "0.5f" : "0.0f")
    let limit =
      operation.isHalfPixel
      ? "" : "high = high > 1 ? high : 1;\nwide = wide > 1 ? wide : 1;"
    let share =
      operation.kind == .average
      ? "const float scale = 1 / (float)(places_high * places_wide > 0 ? places_high * places_wide : 1);"
      : ""
    let most = RegionPool.mostPlaces
    func places(_ bin: String) -> String {
      operation.places > 0
        ? "\(operation.places)"
        : "\(bin) > 0 ? (int)__builtin_ceilf(\(bin) < \(most) ? \(bin) : \(most)) : 0"
    }
    return [
      "setup": """
      const float *box = regions + region * 4;
      const ptrdiff index = (ptrdiff)batches[region];
      const ptrdiff image = nearest(index < 0 ? index + IMAGES : index, IMAGES);
      const float left = box[0] * \(scale) - \(offset), top = box[1] * \(scale) - \(offset);
      float wide = box[2] * \(scale) - \(offset) - left, high = box[3] * \(scale) - \(offset) - top;
      \(limit)
      const float bin_high = high / ROWS, bin_wide = wide / COLUMNS;
      const int places_high = \(places("bin_high"));
      const int places_wide = \(places("bin_wide"));
      \(share)
      """,
      "place": """
      const float v = top + (float)(bin / COLUMNS) * bin_high +
                      ((float)(i / places_wide) + 0.5f) * bin_high / (float)places_high;
      const float u = left + (float)(bin % COLUMNS) * bin_wide +
                      ((float)(i % places_wide) + 0.5f) * bin_wide / (float)places_wide;
      const int is_inside = v >= -1 && v <= HEIGHT && u >= -1 && u <= WIDTH;
      """,
      "weights": """
      const float row = v < 0 ? 0 : v < HEIGHT - 1 ? v : HEIGHT - 1;
      const float column = u < 0 ? 0 : u < WIDTH - 1 ? u : WIDTH - 1;
      const int above = (int)row, before = (int)column;
      const int below = above + 1 < HEIGHT ? above + 1 : above;
      const int behind = before + 1 < WIDTH ? before + 1 : before;
      const float dv = row - (float)above, du = column - (float)before;
      const float w00 = (1 - dv) * (1 - du), w01 = (1 - dv) * du, w10 = dv * (1 - du), w11 = dv * du;
      const int p00 = above * WIDTH + before, p01 = above * WIDTH + behind;
      const int p10 = below * WIDTH + before, p11 = below * WIDTH + behind;
      """,
    ]
  }
}

extension Templates {
  static let regionPool = Template("region_pool.c", PackageResources.region_pool_c_in)
  static let regionPoolGradient = Template(
    "region_pool_gradient.c", PackageResources.region_pool_gradient_c_in)
  static let regionPixels = Template("region_pixels.c", PackageResources.region_pixels_c_in)
}
