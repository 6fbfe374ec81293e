// NumPy's .npy format, versions 1 to 3 (numpy.lib.format): reading and writing the header. No maintained
// Swift package exists. Only little-endian arrays in C order are supported.

import GraftDiagnostics
import GraftIR

/// The supported element types; bfloat16, which NumPy lacks, as written by ml_dtypes.
public typealias NPYElement = DataType

extension NPYElement {
  /// Bytes per element.
  public var size: Int { byteCount }

  fileprivate init(description: String) throws {
    // NumPy writes `|` for single bytes, others write `<`.
    let single = description.hasPrefix("<") && description.hasSuffix("1")
    let own = single ? "|" + description.dropFirst() : description
    if let element = NPYElement.allCases.first(where: { $0.storage.numPy == own }) {
      self = element
      return
    }
    let known = NPYElement.allCases.map(\.storage.numPy).joined(separator: ", ")
    throw GraftError(
      .invalidData,
      description.hasPrefix(">")
        ? "the elements \(description.quotedForDisplay) are big-endian"
        : "element type \(description.quotedForDisplay) is not supported, expected one of \(known)",
      advice: "Convert the array: x.astype('<f4').")
  }
}

/// The header of a .npy file.
public struct NPYHeader: Hashable, Sendable {
  public var element: NPYElement
  public var shape: [Int]
  /// The offset of the elements in bytes.
  public private(set) var dataOffset: Int
  /// The number of elements.
  public private(set) var count: Int

  /// The maximum header length in bytes; NumPy's headers have a few hundred.
  static let lengthLimit = 1 << 16
  /// NumPy's maximum rank.
  static let rankLimit = 64
  private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  /// - Throws: ``GraftError`` of kind `invalidArgument` for negative or overflowing sizes.
  init(element: NPYElement, shape: [Int], dataOffset: Int = 0) throws {
    self.element = element
    self.shape = shape
    self.dataOffset = dataOffset
    guard shape.count <= Self.rankLimit else {
      throw GraftError(.invalidData, "an array of \(shape.count) axes; at most 64 are supported")
    }
    var count = 1
    var overflows = false
    for extent in shape {
      let product = count.multipliedReportingOverflow(by: extent)
      overflows = overflows || product.overflow || extent < 0
      count = product.partialValue
    }
    let bytes = count.multipliedReportingOverflow(by: element.size)
    guard !overflows, !bytes.overflow else {
      throw GraftError(.invalidData, "an array of impossible shape \(shape)")
    }
    self.count = count
  }

  /// The size of the elements, in bytes.
  public var byteCount: Int { count * element.size }

  /// The length of everything before the elements, given the first 12 bytes of a file.
  static func headerLength(_ start: [UInt8]) throws -> Int {
    guard start.count >= 10, start.starts(with: magic) else {
      throw GraftError(.invalidData, "not a NumPy file: it does not start with \\x93NUMPY")
    }
    let version = start[6]
    let length: Int
    switch version {
    case 1: length = 10 + Int(start[8]) + Int(start[9]) << 8
    case 2, 3:
      guard start.count >= 12 else {
        throw GraftError(.invalidData, "the file ends within its header")
      }
      length = 12 + (0..<4).reduce(0) { $0 | Int(start[8 + $1]) << (8 * $1) }
    default:
      throw GraftError(.invalidData, "version \(version) of NumPy's format; 1 to 3 are supported")
    }
    guard length <= lengthLimit else {
      throw GraftError(
        .invalidData, "a header of \(length) bytes; at most \(lengthLimit) are supported")
    }
    return length
  }

  /// Reads the header that fills `bytes`.
  init(parsing bytes: [UInt8]) throws {
    let prefix = bytes.count > 6 && bytes[6] == 1 ? 10 : 12
    let text = String(decoding: bytes.dropFirst(prefix), as: UTF8.self)
    var parser = LiteralParser(text)
    let fields = try parser.dictionary()
    guard case .text(let description)? = fields["descr"] else {
      throw GraftError(
        .invalidData, "the header has no single element type (\"descr\")",
        advice: "Structured arrays are not supported.")
    }
    guard case .boolean(let fortran)? = fields["fortran_order"],
      case .tuple(let shape)? = fields["shape"], fields.count == 3
    else {
      throw GraftError(
        .invalidData, "the header must have descr, fortran_order and shape, and nothing else")
    }
    guard !fortran else {
      throw GraftError(
        .invalidData, "the array is stored in Fortran order",
        advice: "Save numpy.ascontiguousarray(x).")
    }
    try self.init(
      element: NPYElement(description: description), shape: shape, dataOffset: bytes.count)
  }

  /// The header as NumPy writes it (version 1.0), padded with spaces to a multiple of 64 bytes and to at
  /// least `minimumLength` bytes.
  func encoded(minimumLength: Int = 0) -> [UInt8] {
    let extents = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    let text =
      "{'descr': '\(element.storage.numPy)', 'fortran_order': False, 'shape': (\(extents)), }"
    let total = (max(10 + text.utf8.count + 1, minimumLength) + 63) / 64 * 64
    let length = total - 10
    var bytes = Self.magic + [1, 0]
    bytes += [UInt8(truncatingIfNeeded: length), UInt8(truncatingIfNeeded: length >> 8)]
    bytes += Array(text.utf8)
    bytes += [UInt8](repeating: UInt8(ascii: " "), count: total - bytes.count - 1)
    return bytes + [UInt8(ascii: "\n")]
  }
}

/// A parser of the Python literals in headers: a dictionary of strings, booleans and tuples of integers.
private struct LiteralParser {
  enum Value {
    case text(String)
    case boolean(Bool)
    case tuple([Int])
  }

  private var rest: Substring.UTF8View

  init(_ text: String) { rest = text[...].utf8 }

  mutating func dictionary() throws -> [String: Value] {
    var fields: [String: Value] = [:]
    try expect("{")
    while !take("}") {
      let key = try text()
      try expect(":")
      guard fields.updateValue(try value(), forKey: key) == nil else { throw malformed() }
      if !take(",") {
        try expect("}")
        break
      }
    }
    skipSpaces()
    guard rest.isEmpty else { throw malformed() }
    return fields
  }

  private mutating func value() throws -> Value {
    if take("True") { return .boolean(true) }
    if take("False") { return .boolean(false) }
    if take("(") { return .tuple(try tuple()) }
    return .text(try text())
  }

  private mutating func tuple() throws -> [Int] {
    var extents: [Int] = []
    while !take(")") {
      guard extents.count < 1024 else { throw malformed() }
      skipSpaces()
      let digits = rest.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
      guard !digits.isEmpty, let text = String(digits) else { throw malformed() }
      guard let extent = Int(text) else {
        throw GraftError(.invalidData, "an array of impossible size \(text.escapedForDisplay)")
      }
      extents.append(extent)
      rest = rest.dropFirst(digits.count)
      _ = take("L")  // Python 2
      if !take(",") {
        try expect(")")
        break
      }
    }
    return extents
  }

  private mutating func text() throws -> String {
    for quote in ["'", "\""] where take(quote) {
      let inner = rest.prefix { $0 != quote.utf8.first && $0 != UInt8(ascii: "\\") }
      rest = rest.dropFirst(inner.count)
      guard rest.first == quote.utf8.first, let text = String(inner) else { throw malformed() }
      rest = rest.dropFirst()
      return text
    }
    throw malformed()
  }

  private mutating func skipSpaces() {
    rest = rest.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
  }

  private mutating func take(_ token: String) -> Bool {
    skipSpaces()
    guard rest.starts(with: token.utf8) else { return false }
    rest = rest.dropFirst(token.utf8.count)
    return true
  }

  private mutating func expect(_ token: String) throws {
    guard take(token) else { throw malformed() }
  }

  private func malformed() -> GraftError {
    GraftError(.invalidData, "the NumPy header is malformed")
  }
}
