// libonnx's own checker, on the model without its weights, where the library knows the model's
// version of ONNX. It runs after our own check of names and order, whose messages say more.

import COnnxChecker
import Foundation
import GraftDiagnostics

enum LibraryCheck {
  /// - Throws: ``GraftError`` of kind `invalidModel` with what the checker says.
  static func check(_ opened: OpenModel, modelPath: String) throws {
    let opset = opened.model.opsets[""] ?? 0
    guard opset <= COnnxChecker_newest_opset(),
      opened.model.irVersion <= COnnxChecker_newest_ir_version()
    else { return }
    let folder = (modelPath as NSString).deletingLastPathComponent
    var message = [CChar](repeating: 0, count: 4096)
    let status = opened.skeleton.bytes.withUnsafeBufferPointer { bytes in
      message.withUnsafeMutableBufferPointer { message in
        COnnxChecker_check_model(
          bytes.baseAddress, UInt64(bytes.count), folder.isEmpty ? "." : folder,
          message.baseAddress, UInt64(message.count))
      }
    }
    guard status != Int32(COnnxChecker_accepted) else { return }
    let text = String(
      decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let words = text.split(whereSeparator: \.isWhitespace).map { String($0).escapedForDisplay }
    throw GraftError(
      .invalidModel, "ONNX's checker refuses the model: \(words.joined(separator: " "))")
  }
}
