// Tokens of the IR's text form, with the line of each for error messages.

import GraftDiagnostics

enum Token: Hashable {
  case word(String)  // graph, f32, true, N, 2N, c8b1x1
  case value(Int)  // %12
  case number(String)  // 1, -2, 1.5, 1e-05
  case string(String)
  case symbol(Character)  // { } [ ] ( ) = : , @ _
  case end

  var shown: String {
    switch self {
    case .word(let text), .number(let text): text.quotedForDisplay
    case .value(let number): "\"%\(number)\""
    case .string(let text): "the string \(text.quotedForDisplay)"
    case .symbol(let symbol): "\"\(symbol)\""
    case .end: "the end of the text"
    }
  }
}

struct GraphLexer {
  private let scalars: [Unicode.Scalar]
  private var position = 0
  private(set) var line = 1

  init(_ text: String) { scalars = Array(text.unicodeScalars) }

  private var current: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

  mutating func next() throws -> Token {
    skipBlanks()
    guard let scalar = current else { return .end }
    switch scalar {
    case "{", "}", "[", "]", "(", ")", "=", ":", ",", "@":
      position += 1
      return .symbol(Character(scalar))
    case "%":
      position += 1
      let digits = take { ("0"..."9").contains($0) }
      guard let number = Int(digits) else { throw failure("a number after \"%\"") }
      return .value(number)
    case "\"": return .string(try string())
    case "-", "0"..."9": return numberOrDimension()
    default:
      let word = take {
        $0 == "_" || $0 == "." || ("a"..."z").contains($0) || ("A"..."Z").contains($0)
          || ("0"..."9").contains($0)
      }
      guard !word.isEmpty else { throw failure("a token") }
      return word == "_" ? .symbol("_") : .word(word)
    }
  }

  func failure(_ expected: String) -> GraftError {
    let found = current.map { String(Character($0)).quotedForDisplay } ?? "the end of the text"
    return GraftError(.invalidGraph, "line \(line): expected \(expected), found \(found)")
  }

  private mutating func skipBlanks() {
    while let scalar = current {
      if scalar == "\n" {
        line += 1
        position += 1
      } else if scalar == " " || scalar == "\t" || scalar == "\r" {
        position += 1
      } else if scalar == "/", position + 1 < scalars.count, scalars[position + 1] == "/" {
        while let next = current, next != "\n" { _ = next; position += 1 }
      } else {
        return
      }
    }
  }

  private mutating func take(while holds: (Unicode.Scalar) -> Bool) -> String {
    var view = String.UnicodeScalarView()
    while let scalar = current, holds(scalar) {
      view.append(scalar)
      position += 1
    }
    return String(view)
  }

  /// `-1`, `1.5`, `1e-05`, `-inf`, or a dimension such as `2N`.
  private mutating func numberOrDimension() -> Token {
    var text = ""
    if current == "-" {
      text = "-"
      position += 1
    }
    text += take { ("0"..."9").contains($0) }
    if current == "." {
      position += 1
      text += "." + take { ("0"..."9").contains($0) }
    }
    if current == "e" || current == "E" {
      position += 1
      text += "e"
      if current == "-" || current == "+" {
        text += current == "-" ? "-" : ""
        position += 1
      }
      text += take { ("0"..."9").contains($0) }
    }
    let letters = take { ("a"..."z").contains($0) || ("A"..."Z").contains($0) }
    return letters.isEmpty ? .number(text) : .word(text + letters)
  }

  private mutating func string() throws -> String {
    position += 1
    var view = String.UnicodeScalarView()
    while let scalar = current {
      position += 1
      if scalar == "\"" { return String(view) }
      if scalar == "\n" { break }
      guard scalar == "\\" else {
        view.append(scalar)
        continue
      }
      guard let escape = current else { break }
      position += 1
      switch escape {
      case "n": view.append("\n")
      case "t": view.append("\t")
      case "r": view.append("\r")
      case "\"", "\\": view.append(escape)
      case "u":
        guard current == "{" else { throw failure("\"{\" after \"\\u\"") }
        position += 1
        let digits = take { $0.properties.isASCIIHexDigit }
        guard digits.count <= 6, let code = UInt32(digits, radix: 16),
          let escaped = Unicode.Scalar(code), current == "}"
        else { throw failure("a code point in \"\\u{…}\"") }
        position += 1
        view.append(escaped)
      default: throw failure("an escape sequence")
      }
    }
    throw GraftError(.invalidGraph, "line \(line): a string has no closing quote")
  }
}
