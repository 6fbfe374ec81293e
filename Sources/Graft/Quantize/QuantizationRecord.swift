// What a bundle remembers of how its network was put on bytes, so that it can be compiled again: an entry of the
// manifest, and a file with the range of every value.

import Foundation
import GraftDiagnostics
import GraftIR

/// How a network was put on bytes.
public struct QuantizationRecord: Sendable, Equatable {
  public var method: CalibrationMethod
  /// The number of items that the ranges were taken from.
  public var items: Int
  /// The least and the greatest number to represent, by ``ValueKeys``; nil for a value that has no finite range.
  var ranges: [String: ClosedRange<Float>?]
  /// The layers that stay float32 for the sake of accuracy.
  public var kept: [Manifest.Quantization.KeptLayer] = []

  /// `int8 by the ranges of 512 items (minmax)`
  public var summary: String {
    "int8 by the ranges of \(items) \(items == 1 ? "item" : "items") (\(method.rawValue))"
  }

  /// The record with the ranges of a part of the network only, as imported. What has none there stays float32.
  package func restricted(to part: Graph) throws -> QuantizationRecord {
    let optimized = try Compiler().lower(part, to: .optimized).graph
    var own = self
    own.ranges = [:]
    for (key, _) in ValueKeys(optimized).values {
      own.ranges.updateValue(ranges[key] ?? nil, forKey: key)
    }
    return own
  }
}

extension QuantizationRecord {
  /// The largest size of the file of ranges in bytes; only names can make it large.
  static let largestFile = 64 << 20

  /// The ranges as deterministic JSON: an object with `[low, high]` or null for each value.
  func encodedRanges() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    var data = try encoder.encode(
      ranges.mapValues { range in
        range.map { [Double($0.lowerBound), Double($0.upperBound)] }
      })
    data.append(0x0a)
    return data
  }

  /// - Throws: ``GraftError`` of kind `invalidBundle` that names the value, if a range is none.
  static func decodeRanges(_ data: Data) throws -> [String: ClosedRange<Float>?] {
    let found: [String: [Double]?]
    do { found = try JSONDecoder().decode([String: [Double]?].self, from: data) } catch {
      let cause = (error as? DecodingError)?.plainDescription ?? "a number is out of range"
      throw GraftError(.invalidBundle, "the ranges of values are damaged: \(cause)")
    }
    var ranges: [String: ClosedRange<Float>?] = [:]
    for (name, ends) in found.sorted(by: { $0.key < $1.key }) {
      guard let ends else {
        ranges.updateValue(nil, forKey: name)
        continue
      }
      let numbers = ends.prefix(3).map { Float($0) }
      guard numbers.count == 2, numbers.allSatisfy(\.isFinite), numbers[0] <= numbers[1] else {
        throw GraftError(
          .invalidBundle,
          "the range of \(name.quotedForDisplay) must be two finite numbers in ascending order, "
            + "found \(numbers)")
      }
      ranges[name] = numbers[0]...numbers[1]
    }
    return ranges
  }
}

extension ModelBundle {
  /// How the network was put on bytes; nil if it computes in float32.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if the file of ranges is damaged.
  package func loadQuantization() throws -> QuantizationRecord? {
    guard manifest.quantization != nil else { return nil }
    try checkDigests(of: [BundleLayout.ranges])
    return try parseQuantization()
  }

  func parseQuantization() throws -> QuantizationRecord? {
    guard let entry = manifest.quantization else { return nil }
    try at(SourceLocation(file: path(of: BundleLayout.manifest))) { try entry.check() }
    let file = path(of: BundleLayout.ranges)
    let data = try Self.contents(of: file, limit: QuantizationRecord.largestFile)
    let ranges = try at(SourceLocation(file: file)) {
      do { return try QuantizationRecord.decodeRanges(data) } catch var error as GraftError {
        error.advice =
          "Calibrate again with --precision int8 --calibrate DATA, or go back to float32: graft compile BUNDLE "
          + "-o NEW.graft --precision float32."
        throw error
      }
    }
    return QuantizationRecord(
      method: entry.calibrator, items: entry.items, ranges: ranges, kept: entry.kept ?? [])
  }

  /// Checks that the ranges and the layers that stayed wide are of values that the network can have.
  func checkQuantization(_ graphs: [Graph]) throws {
    guard let record = try parseQuantization() else {
      guard manifest.files[BundleLayout.ranges] == nil else {
        throw GraftError(
          .invalidBundle, "is in a bundle whose manifest has no quantization",
          at: SourceLocation(file: path(of: BundleLayout.ranges)), advice: "Recompile the model.")
      }
      return
    }
    let names = Set(graphs.flatMap { graph in graph.allValues.compactMap { graph[$0].name } })
    func check(_ keys: [String], _ file: String) throws {
      guard let unknown = keys.sorted().first(where: { !ValueKeys.isPossible($0, names: names) })
      else { return }
      throw GraftError(
        .invalidBundle, "names \(unknown.quotedForDisplay), which is no value of the network",
        at: SourceLocation(file: path(of: file)), advice: "Recompile the model.")
    }
    try check(Array(record.ranges.keys), BundleLayout.ranges)
    try check(record.kept.map(\.value), BundleLayout.manifest)
  }
}
