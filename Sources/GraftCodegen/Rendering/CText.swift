// Escaping of untrusted text (names of nodes, tensors, models) in C source. All such text must go through
// here: characters with a meaning in C become octal escapes.

import GraftIR
import GraftOps

/// Builds pieces of C text.
enum CText {
  /// `text` with every byte escaped as `\ooo` that is not known to be harmless: safe in a string literal,
  /// where C restores the bytes, and in a comment, which it cannot end.
  static func escaped(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
      if harmless.contains(byte) {
        result.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        let digits = String(byte, radix: 8)
        result += "\\" + String(repeating: "0", count: 3 - digits.count) + digits
      }
    }
    return result
  }

  private static let harmless = Set(
    ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 "
      + "_.,:;=<>+-()[]{}|#&'^~%/@").utf8)

  /// A string literal with the bytes of `text`.
  static func literal(_ text: String) -> String { "\"\(escaped(text))\"" }

  /// `text` for a comment: with single quotes for double ones, escaped, shortened where it is very
  /// long, and broken into lines that begin with ` * `.
  static func comment(_ text: String, longest: Int = 400) -> String {
    let escaped = escaped(text.replacing("\"", with: "'"))
    return wrapped(escaped.count <= longest ? escaped : escaped.prefix(longest) + " ...")
  }

  /// Breaks text at spaces so that the lines of a comment stay within 100 columns where they can.
  static func wrapped(_ text: String) -> String {
    var lines: [String] = [""]
    for word in text.split(separator: " ") {
      let last = lines[lines.count - 1]
      if last.isEmpty {
        lines[lines.count - 1] = String(word)
      } else if last.count + word.count + 1 <= 95 {
        lines[lines.count - 1] = "\(last) \(word)"
      } else {
        lines.append(String(word))
      }
    }
    return lines.joined(separator: "\n * ")
  }

  /// A float constant that C reads back as the same number.
  static func float(_ value: Double) -> String {
    let single = Float(value)
    if single.isNaN { return "__builtin_nanf(\"\")" }
    if single.isInfinite { return single < 0 ? "-__builtin_inff()" : "__builtin_inff()" }
    return "\(single)f"
  }

  /// The bits that hold a number as an element of `dtype`.
  static func element(_ value: ScalarConstant, _ dtype: DataType) throws -> String {
    if dtype == .float32 { return float(value.real) }
    let data =
      switch value {
      case .integer(let whole): try TensorData(packing: [whole], as: dtype, shape: [])
      case .real(let real): try TensorData(packing: [real], as: dtype, shape: [])
      }
    if dtype == .float64 {
      let real = value.real
      if real.isNaN || real.isInfinite { return "(double)" + float(real) }
      return "\(real)"
    }
    let bits = data.withUnsafeBytes { $0.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) } }
    return "(\(dtype.storage.cType))\(bits)ull"
  }

  /// The elements between braces, broken into lines.
  static func table(_ elements: [Int]) -> String {
    stride(from: 0, to: elements.count, by: 16).map { start in
      elements[start..<min(start + 16, elements.count)].map(String.init).joined(separator: ", ")
    }.joined(separator: ",\n    ")
  }
}
