// NumPy arrays on disk that need not fit in memory: random access to rows, and appending an unknown number of
// rows.

import GraftDiagnostics
import GraftIR

/// A .npy file that is open for reading. Rows are the entries of the first axis; it may be read concurrently.
/// The file is not memory-mapped (see ``InputFile``).
public struct NPYFile: Sendable {
  let file: InputFile
  let header: NPYHeader

  public var path: String { file.path }
  public var element: NPYElement { header.element }
  public var shape: [Int] { header.shape }
  /// The extent of the first axis; 1 for an array without axes.
  public var rowCount: Int { shape.first ?? 1 }
  /// The shape of one row.
  public var rowShape: [Int] { Array(shape.dropFirst()) }

  /// Opens a file and checks its header against its length.
  /// - Throws: ``GraftError`` that names the file: `inputOutput`, or `invalidData` if it is not a supported
  ///   array.
  public init(_ path: String) throws {
    let file = try InputFile(path)
    self.file = file
    header = try at(SourceLocation(file: path)) {
      let start = try file.read(count: min(file.size, 12), at: 0)
      let length = try NPYHeader.headerLength(start)
      guard length <= file.size else {
        throw GraftError(.invalidData, "the file ends within its header")
      }
      let header = try NPYHeader(parsing: file.read(count: length, at: 0))
      try header.check(fileSize: file.size)
      return header
    }
  }

  /// The number of elements per row.
  public var rowElements: Int { rowCount == 0 ? 0 : header.count / rowCount }

  /// The elements of some rows as float32.
  public func floats(rows: Range<Int>) throws -> [Float] { element.floats(try bytes(of: rows)) }

  /// The elements of some rows as integers.
  public func integers(rows: Range<Int>) throws -> [Int] {
    let bytes = try bytes(of: rows)
    return try at(SourceLocation(file: path)) { try element.integers(bytes) }
  }

  private func bytes(of rows: Range<Int>) throws -> [UInt8] {
    guard rows.lowerBound >= 0, rows.upperBound <= rowCount else {
      throw GraftError(
        .invalidArgument, "rows \(rows) of an array that has \(rowCount)",
        at: SourceLocation(file: path))
    }
    let size = rowElements * element.size
    return try file.read(
      count: rows.count * size, at: header.dataOffset + rows.lowerBound * size)
  }
}

/// A .npy file that is written row by row and renamed to its destination by ``finish()``.
public final class NPYWriter {
  private let pending: PendingFile
  private let file: OutputFile
  private let element: NPYElement
  private let rowShape: [Int]
  private let rowElements: Int
  private let headerLength: Int
  /// The number of rows written so far.
  public private(set) var rowCount = 0

  /// Starts a file, which may replace a regular one.
  /// - Throws: ``GraftError`` that names the file where it cannot be written.
  public init(_ path: String, element: NPYElement, rowShape: [Int]) throws {
    self.element = element
    self.rowShape = rowShape
    rowElements = try NPYHeader(element: element, shape: rowShape).count
    let pending = PendingFile(replacing: try FileReplacement(at: path).path)
    self.pending = pending
    file = try pending.namingErrors { try OutputFile(pending.temporary) }
    // Space for the largest possible number of rows.
    let header = try NPYHeader(element: element, shape: [0] + rowShape).encoded(minimumLength: 192)
    headerLength = header.count
    try pending.namingErrors { try header.withUnsafeBytes { try file.write($0) } }
  }

  /// Appends whole rows, as elements of the file's type.
  /// - Throws: ``GraftError`` if the count is not a multiple of the row size, a value is out of range, or
  ///   writing fails.
  public func append(_ values: [Float]) throws {
    guard rowElements > 0, values.count.isMultiple(of: rowElements) else {
      throw GraftError(.inconsistency, "\(values.count) values are not whole rows of \(rowShape)")
    }
    let bytes = try element.bytes(of: values)
    try pending.namingErrors { try bytes.withUnsafeBytes { try file.write($0) } }
    rowCount += values.count / rowElements
  }

  /// Writes the number of rows, syncs the file, and renames it to its destination.
  public func finish() throws {
    let header = try NPYHeader(element: element, shape: [rowCount] + rowShape)
      .encoded(minimumLength: headerLength)
    guard header.count == headerLength else {
      throw GraftError(.inconsistency, "the header is longer than its reserved space")
    }
    try pending.namingErrors {
      try header.withUnsafeBytes { try file.overwrite($0, at: 0) }
      try file.close()
    }
    try pending.commit()
  }
}
