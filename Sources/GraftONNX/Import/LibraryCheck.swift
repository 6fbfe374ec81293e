// Runs libonnx's checker on the model without weights, if the library supports the model's ONNX version. It
// runs last, because Graft's own messages are more specific. Problems of nodes that an output depends on are
// errors; all others are warnings.

import COnnxChecker
import GraftDiagnostics

enum LibraryCheck {
  /// - Parameter isRead: for each node of the file's graph, whether an output depends on it.
  /// - Returns: warnings about the model as a whole.
  /// - Throws: ``GraftError`` of kind `invalidModel` with the checker's message about a node.
  static func check(_ opened: OpenModel, isRead: [Bool]) throws -> [Warning] {
    let opset = opened.model.opsets[""] ?? 0
    guard opset <= COnnxChecker_newest_opset() else { return [] }
    let flags = isRead.map { UInt8($0 ? 1 : 0) }
    var place: Int64 = -1
    let refusal = answer(about: opened) { bytes, message in
      COnnxChecker_check_nodes(
        bytes.baseAddress, UInt64(bytes.count), flags, UInt64(flags.count), &place,
        message.baseAddress, UInt64(message.count))
    }
    if let refusal {
      var location = SourceLocation()
      let nodes = opened.model.graph.nodes
      if place >= 0, place < nodes.count {
        let node = nodes[Int(place)]
        location = SourceLocation(node: node.displayName, operatorName: node.qualifiedType)
      }
      throw GraftError(
        .invalidModel, "ONNX's checker rejects the model: \(refusal)", at: location)
    }
    guard opened.model.irVersion <= COnnxChecker_newest_ir_version() else { return [] }
    let complaint = answer(about: opened) { bytes, message in
      COnnxChecker_check_model(
        bytes.baseAddress, UInt64(bytes.count), message.baseAddress, UInt64(message.count))
    }
    guard let complaint else { return [] }
    return [
      Warning("ONNX's checker rejects the file, but Graft can read it: \(complaint)")
    ]
  }

  /// The checker's message; nil if the model is valid.
  private static func answer(
    about opened: OpenModel,
    _ check: (UnsafeBufferPointer<UInt8>, UnsafeMutableBufferPointer<CChar>) -> Int32
  ) -> String? {
    var message = [CChar](repeating: 0, count: 4096)
    let status = opened.skeleton.bytes.withUnsafeBufferPointer { bytes in
      message.withUnsafeMutableBufferPointer { check(bytes, $0) }
    }
    guard status != Int32(COnnxChecker_accepted) else { return nil }
    let text = String(
      decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return text.split(whereSeparator: \.isWhitespace).map { String($0).escapedForDisplay }
      .joined(separator: " ")
  }
}
