// Drawings as PNG files, rendered by Cairo.

import CCairo
import GraftDiagnostics

extension Drawing {
  /// The drawing on a white background as a PNG file.
  /// - Throws: ``GraftError``: `invalidData` if it is larger than images may be, `machine` if Cairo
  ///   cannot draw it.
  public func png() throws -> [UInt8] {
    _ = try Image.checkedCount(width: width, height: height, channels: 3)
    guard let extentX = Int32(exactly: width), let extentY = Int32(exactly: height) else {
      throw GraftError(.invalidData, "\(height) × \(width) pixels are too many for a chart")
    }
    let surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, extentX, extentY)
    defer { cairo_surface_destroy(surface) }
    let context = cairo_create(surface)
    defer { cairo_destroy(context) }
    cairo_set_source_rgb(context, 1, 1, 1)
    cairo_paint(context)
    cairo_select_font_face(
      context, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL)
    cairo_set_font_size(context, Self.fontSize)
    for shape in shapes { Self.draw(shape, on: context) }
    cairo_surface_flush(surface)
    try Self.check(cairo_status(context))

    var file = PNGBytes()
    let status = withUnsafeMutablePointer(to: &file) { file in
      cairo_surface_write_to_png_stream(surface, appendBytes, file)
    }
    try Self.check(status)
    return file.bytes
  }

  private static func check(_ status: cairo_status_t) throws {
    guard status == CAIRO_STATUS_SUCCESS else {
      let reason = cairo_status_to_string(status).map { String(cString: $0) } ?? "\(status)"
      throw GraftError(.machine, "the chart cannot be drawn: \(reason)")
    }
  }

  private static func draw(_ shape: Shape, on context: OpaquePointer?) {
    func use(_ style: Style, opacity: Double = 1) {
      let (red, green, blue) = style.color
      cairo_set_source_rgba(
        context, Double(red) / 255, Double(green) / 255, Double(blue) / 255, opacity)
    }
    func stroke(_ style: Style, width: Double) {
      use(style)
      cairo_set_dash(context, style.dashes, Int32(style.dashes.count), 0)
      cairo_set_line_width(context, width)
      cairo_stroke(context)
    }
    switch shape {
    case .box(let x, let y, let width, let height, let style, let opacity, _):
      use(style, opacity: opacity)
      cairo_rectangle(context, x, y, width, height)
      cairo_fill(context)
    case .line(let x1, let y1, let x2, let y2, let style):
      cairo_move_to(context, x1, y1)
      cairo_line_to(context, x2, y2)
      stroke(style, width: 1)
    case .curve(let points, let style):
      cairo_new_path(context)
      for point in points { cairo_line_to(context, point.x, point.y) }
      stroke(style, width: 2)
    case .dot(let center, let radius, let style, let opacity, _):
      use(style, opacity: opacity)
      cairo_new_path(context)
      cairo_arc(context, center.x, center.y, radius, 0, 2 * .pi)
      cairo_fill(context)
    case .text(let x, let y, let text, let style, let anchor, let rotation):
      use(style)
      var extents = cairo_text_extents_t()
      cairo_text_extents(context, text, &extents)
      let shift =
        anchor == .start ? 0 : anchor == .middle ? extents.x_advance / 2 : extents.x_advance
      cairo_save(context)
      cairo_translate(context, x, y)
      cairo_rotate(context, rotation * .pi / 180)
      cairo_move_to(context, -shift, 0)
      cairo_show_text(context, text)
      cairo_restore(context)
    }
  }
}

private struct PNGBytes { var bytes: [UInt8] = [] }

private func appendBytes(
  _ target: UnsafeMutableRawPointer?, _ bytes: UnsafePointer<UInt8>?, _ count: UInt32
) -> cairo_status_t {
  guard let file = target?.assumingMemoryBound(to: PNGBytes.self), let bytes else {
    return CAIRO_STATUS_WRITE_ERROR
  }
  file.pointee.bytes += UnsafeBufferPointer(start: bytes, count: Int(count))
  return CAIRO_STATUS_SUCCESS
}
