// The preprocessing as JSON. Unknown keys are errors, because ignoring a misspelled key would silently reduce
// accuracy.

import Foundation
import GraftDiagnostics

extension Preprocessing {
  /// Reads a specification from a JSON file.
  /// - Throws: ``GraftError``: `inputOutput` if it cannot be read, `invalidArgument` if it is
  ///   no specification; both name the file.
  public init(contentsOf path: String) throws {
    let bytes = try InputFile(path).readAll(limit: 1 << 20)
    self = try at(SourceLocation(file: path)) { try Preprocessing(json: bytes) }
  }

  /// Reads a specification from JSON text in UTF-8.
  public init(json bytes: [UInt8]) throws {
    do {
      self = try JSONDecoder().decode(Preprocessing.self, from: Data(bytes))
    } catch let error as DecodingError {
      throw Self.error(for: error)
    }
  }

  /// The specification as JSON, keys sorted, so that equal ones have equal bytes.
  public func json() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return [UInt8](try encoder.encode(self))
  }

  private static func error(for error: DecodingError) -> GraftError {
    switch error {
    case .typeMismatch(_, let context), .valueNotFound(_, let context),
      .keyNotFound(_, let context), .dataCorrupted(let context):
      let path = context.codingPath.map(\.stringValue).joined(separator: ".")
      if path.isEmpty {
        return GraftError(
          .invalidArgument,
          "preprocessing is not a JSON object: \(context.debugDescription.escapedForDisplay)")
      }
      return self.error(path, "has the wrong type: \(context.debugDescription)")
    @unknown default:
      return GraftError(.invalidArgument, "preprocessing is not valid JSON")
    }
  }
}

extension Preprocessing: Codable {
  public init(from decoder: any Decoder) throws {
    let object = try StrictObject(
      decoder,
      known: ["resize", "crop", "color", "layout", "scale", "mean", "std", "output"])
    let color: Color = try object.choice("color")
    let input = PixelValues(
      color: color, scale: try object.required("scale"), mean: try object.required("mean"),
      std: try object.required("std"))
    try self.init(
      resize: object.optional("resize", Resize.self),
      crop: object.optional("crop", CenterCrop.self), color: color,
      layout: object.choice("layout"), scale: input.scale, mean: input.mean, std: input.std,
      output: object.optional("output", OutputKeys.self)?.values(like: input))
  }

  public func encode(to encoder: any Encoder) throws {
    var object = encoder.container(keyedBy: AnyKey.self)
    try object.encodeIfPresent(resize, forKey: "resize")
    try object.encodeIfPresent(crop, forKey: "crop")
    try object.encode(layout.rawValue, forKey: "layout")
    try input.encode(to: &object)
    if let output {
      var own = object.nestedContainer(keyedBy: AnyKey.self, forKey: "output")
      try output.encode(to: &own)
    }
  }
}

extension PixelValues {
  fileprivate func encode(to object: inout KeyedEncodingContainer<AnyKey>) throws {
    try object.encode(color.rawValue, forKey: "color")
    try object.encode(scale, forKey: "scale")
    try object.encode(mean, forKey: "mean")
    try object.encode(std, forKey: "std")
  }
}

/// The object `output`. What is absent is as for the input.
private struct OutputKeys: Decodable {
  let color: Preprocessing.Color?
  let scale: Double?
  let mean: [Double]?
  let std: [Double]?

  init(from decoder: any Decoder) throws {
    let object = try StrictObject(decoder, known: ["color", "scale", "mean", "std"])
    color = object.has("color") ? try object.choice("color") : nil
    scale = try object.optional("scale", Double.self)
    mean = try object.optional("mean", [Double].self)
    std = try object.optional("std", [Double].self)
  }

  func values(like input: PixelValues) -> PixelValues {
    PixelValues(
      color: color ?? input.color, scale: scale ?? input.scale, mean: mean ?? input.mean,
      std: std ?? input.std)
  }
}

extension Preprocessing.Resize: Codable {
  public init(from decoder: any Decoder) throws {
    let object = try StrictObject(
      decoder, known: ["shorter", "exact", "filter", "antialias"])
    let shorter: Int? = try object.optional("shorter", Int.self)
    let exact: [Int]? = try object.optional("exact", [Int].self)
    let target: Preprocessing.ResizeTarget
    switch (shorter, exact) {
    case (let edge?, nil): target = .shorter(edge)
    case (nil, let size?) where size.count == 2: target = .exact(height: size[0], width: size[1])
    case (nil, .some): throw object.error("exact", "must be [height, width]")
    default: throw object.error(nil, "needs either \"shorter\" or \"exact\"")
    }
    self.init(
      target, filter: try object.choice("filter", default: .bilinear),
      antialias: try object.optional("antialias", Bool.self) ?? true)
  }

  public func encode(to encoder: any Encoder) throws {
    var object = encoder.container(keyedBy: AnyKey.self)
    switch target {
    case .shorter(let edge): try object.encode(edge, forKey: "shorter")
    case .exact(let height, let width): try object.encode([height, width], forKey: "exact")
    }
    try object.encode(filter.rawValue, forKey: "filter")
    try object.encode(antialias, forKey: "antialias")
  }
}

extension Preprocessing.CenterCrop: Codable {
  public init(from decoder: any Decoder) throws {
    let object = try StrictObject(decoder, known: ["center"])
    let size: [Int] = try object.required("center")
    guard size.count == 2 else { throw object.error("center", "must be [height, width]") }
    self.init(height: size[0], width: size[1])
  }

  public func encode(to encoder: any Encoder) throws {
    var object = encoder.container(keyedBy: AnyKey.self)
    try object.encode([height, width], forKey: "center")
  }
}

/// Any text as a key.
private struct AnyKey: CodingKey, ExpressibleByStringLiteral {
  let stringValue: String
  var intValue: Int? { nil }
  init(stringLiteral value: String) { stringValue = value }
  init(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

/// A JSON object with only known keys; its errors name keys with their path.
private struct StrictObject {
  private let container: KeyedDecodingContainer<AnyKey>
  private let path: [String]

  init(_ decoder: any Decoder, known: [String]) throws {
    container = try decoder.container(keyedBy: AnyKey.self)
    // Within a manifest the path starts with the manifest's own keys, which do not matter here.
    path = decoder.codingPath.map(\.stringValue).filter {
      ["resize", "crop", "output"].contains($0)
    }
    let strangers = container.allKeys.map(\.stringValue).filter { !known.contains($0) }.sorted()
    if let stranger = strangers.first {
      throw error(
        stranger, "is an unknown key", advice: "The keys are: \(known.joined(separator: ", ")).")
    }
  }

  func error(_ key: String?, _ problem: String, advice: String? = nil) -> GraftError {
    let name = (path + (key.map { [$0] } ?? [])).joined(separator: ".")
    return Preprocessing.error(name, problem, advice: advice)
  }

  /// The value of a key that may be absent or null.
  func optional<Value: Decodable>(_ key: AnyKey, _ type: Value.Type) throws -> Value? {
    do {
      return try container.decodeIfPresent(type, forKey: key)
    } catch let error as GraftError {
      throw error
    } catch {
      // Foundation throws another error type for a fraction where an integer is expected.
      throw self.error(key.stringValue, "must be \(Self.name(of: type))")
    }
  }

  private static func name(of type: Any.Type) -> String {
    switch type {
    case is Int.Type: return "an integer"
    case is Double.Type: return "a number"
    case is Bool.Type: return "true or false"
    case is String.Type: return "a string"
    case is [Int].Type: return "a list of integers"
    case is [Double].Type: return "a list of numbers"
    default: return "an object"
    }
  }

  /// Whether a key is there and not null.
  func has(_ key: AnyKey) -> Bool {
    container.contains(key) && (try? container.decodeNil(forKey: key)) != true
  }

  func required<Value: Decodable>(_ key: AnyKey) throws -> Value {
    guard let value = try optional(key, Value.self) else {
      throw error(key.stringValue, "is missing")
    }
    return value
  }

  func choice<Choice: RawRepresentable & CaseIterable>(
    _ key: AnyKey, default fallback: Choice? = nil
  ) throws -> Choice where Choice.RawValue == String {
    guard let text = try optional(key, String.self) else {
      guard let fallback else { throw error(key.stringValue, "is missing") }
      return fallback
    }
    guard let value = Choice(rawValue: text) else {
      let all = Choice.allCases.map(\.rawValue).joined(separator: ", ")
      throw error(key.stringValue, "must be one of \(all), found \(text.quotedForDisplay)")
    }
    return value
  }
}
