// CIFAR-10's binary batches (https://www.cs.toronto.edu/~kriz/cifar.html): records of a label byte and
// 32 × 32 pixels, all red ones first.

import GraftDiagnostics

/// A folder of `data_batch_*.bin` and `test_batch.bin`.
public struct CIFAR10Batches: Dataset {
  /// Which files of the folder to read.
  public enum Part: Hashable, Sendable {
    case training, test, all
  }

  static let edge = 32
  static let recordSize = 1 + 3 * edge * edge
  static let standardClasses = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]

  public let location: String
  public let classes: [String]
  public let warnings: [Warning]
  private let files: [InputFile]
  private let names: [String]
  /// The index of the first item of each file, and the total number of items.
  private let starts: [Int]
  /// The network's index of each of the ten labels.
  private let indices: [Int]
  /// The labels of all records, read in advance.
  private let labels: [UInt8]

  public var count: Int { labels.count }
  public var holdsImages: Bool { true }
  public var summary: String { "\(count) images of CIFAR-10's batches" }

  static func isTraining(_ name: String) -> Bool {
    name.hasPrefix("data_batch_") && name.hasSuffix(".bin")
  }

  static let testName = "test_batch.bin"

  /// - Parameters:
  ///   - labels: The network's class names, if it has them; the ten classes (with names from
  ///     `batches.meta.txt` if it
  ///     exists) are matched by name.
  ///   - classCount: The number of the network's classes, if it is fixed.
  /// - Throws: ``GraftError``: `inputOutput` if a file cannot be read, `invalidData` if there is no complete
  ///   record or the classes are not the network's.
  public init(
    _ path: String, part: Part = .all, labels: [String]? = nil, classCount: Int? = nil
  ) throws {
    let listing = try FolderListing(of: path)
    var wanted: [String] = []
    if part != .test { wanted += listing.entries.map(\.name).filter(Self.isTraining) }
    if part != .training { wanted += listing.entries.map(\.name).filter { $0 == Self.testName } }
    var warnings: [Warning] = []
    var files: [InputFile] = []
    var starts = [0]
    var stored: [UInt8] = []
    for name in wanted {
      let file = try InputFile(path + "/" + name)
      let records = file.size / Self.recordSize
      if !file.size.isMultiple(of: Self.recordSize) {
        warnings.append(
          Warning(
            "the file ends within a record; the \(records) complete ones before it are used",
            at: SourceLocation(file: file.path)))
      }
      stored += try Self.labels(in: file, records: records)
      files.append(file)
      starts.append(stored.count)
    }
    guard !stored.isEmpty else {
      throw GraftError(
        .invalidData, "there is no complete record of a CIFAR-10 batch",
        at: SourceLocation(file: path),
        advice: "data_batch_*.bin and test_batch.bin have \(Self.recordSize) bytes per image.")
    }
    let mapping = try ClassMapping(
      names: Self.classNames(in: path), labels: labels, count: classCount, at: path)
    location = path
    classes = mapping.classes
    self.warnings = warnings
    self.files = files
    names = wanted
    self.starts = starts
    indices = mapping.indices
    self.labels = stored
  }

  private static func labels(in file: InputFile, records: Int) throws -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(records)
    let chunk = 256
    for first in stride(from: 0, to: records, by: chunk) {
      let count = min(chunk, records - first)
      let bytes = try file.read(count: count * recordSize, at: first * recordSize)
      for record in 0..<count { result.append(bytes[record * recordSize]) }
    }
    return result
  }

  private static func classNames(in path: String) -> [String] {
    guard let bytes = try? InputFile(path + "/batches.meta.txt").readAll(limit: 1 << 16) else {
      return standardClasses
    }
    let lines = String(decoding: bytes, as: UTF8.self).split { $0.isNewline }
      .map { String($0.drop { $0.isWhitespace }) }.filter { !$0.isEmpty }
    return lines.count == standardClasses.count && Set(lines).count == lines.count
      ? lines : standardClasses
  }

  private func place(of index: Int) -> (file: Int, record: Int) {
    let file = (starts.firstIndex { $0 > index } ?? 1) - 1
    return (file, index - starts[file])
  }

  public func name(of index: Int) -> String {
    guard labels.indices ~= index else { return "" }
    let place = place(of: index)
    return "\(names[place.file])#\(place.record)"
  }

  public func label(of index: Int) -> Int? {
    guard labels.indices ~= index, Int(labels[index]) < indices.count else { return nil }
    return indices[Int(labels[index])]
  }

  public func sample(at index: Int) throws -> Sample {
    try check(index)
    let place = place(of: index)
    guard let label = label(of: index) else {
      throw GraftError(
        .invalidData, "record \(place.record) has the label \(labels[index]), expected 0 … 9",
        at: SourceLocation(file: files[place.file].path))
    }
    let record = try files[place.file].read(
      count: Self.recordSize, at: place.record * Self.recordSize)
    let plane = Self.edge * Self.edge
    let pixels = [UInt8](unsafeUninitializedCapacity: 3 * plane) { target, count in
      record.withUnsafeBufferPointer { source in
        for pixel in 0..<plane {
          for channel in 0..<3 {
            target[pixel * 3 + channel] = source[1 + channel * plane + pixel]
          }
        }
      }
      count = 3 * plane
    }
    let image = Image(unchecked: pixels, width: Self.edge, height: Self.edge, channels: 3)
    return Sample(content: .image(image), target: .label(label))
  }
}
