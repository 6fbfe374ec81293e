// A loaded libmodel.so: Swift wrapper of the C interface in graft.h. Does not check digests or the manifest;
// Graft does. Errors of the library become GraftErrors.

import CGraftABI
import GraftDiagnostics
import GraftIR

/// An input, output or intermediate value in the library's description.
public struct TensorDescription: Hashable, Sendable {
  public var name: String
  public var type: TensorType
}

/// The description of a program of a loaded library.
public struct LibraryDescription: Hashable, Sendable {
  public var inputs: [TensorDescription]
  public var outputs: [TensorDescription]
  /// The values that taps can copy, by index.
  public var values: [TensorDescription]
  public var stepNames: [String]
  /// For each of ``values``, the step after which it can be read.
  public var availableAfterStep: [Int]
  public var target: String
  public var requiredFeatures: String
  public var compiler: String
  public var buildID: [UInt8]
  public var packedBytes: Int
  public var arenaBytesPerImage: Int
  public var arenaBytesFixed: Int
  public var hasFreeBatch: Bool
}

/// A program of a bundle's library. Loading it only calls the functions that return tables.
public final class ModelLibrary: @unchecked Sendable {
  // Immutable; the table and its pointers are valid while the library is loaded.
  private let opened: DynamicLibrary
  let api: graft_model_api
  public let path: String
  public let description: LibraryDescription

  /// Loads the library at `path`, an absolute path or one relative to the working directory. This is its first
  /// program.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if it cannot be loaded, was not made by Graft, or has
  ///   another version.
  public convenience init(path: String) throws {
    let opened = try DynamicLibrary(path: path)
    let function = unsafeBitCast(
      try opened.symbol("graft_model"),
      to: (@convention(c) () -> UnsafePointer<graft_model_api>?).self)
    try self.init(table: function(), of: opened, at: path)
  }

  private init(
    table: UnsafePointer<graft_model_api>?, of opened: DynamicLibrary, at path: String
  ) throws {
    guard let table, let api = graft_model_api(copying: table) else {
      throw opened.hasAnotherVersion(than: GRAFT_ABI_VERSION)
    }
    guard let description = api.describe() else {
      throw GraftError(.invalidBundle, "\(path.quotedForDisplay) does not describe itself")
    }
    self.api = api
    self.description = try LibraryDescription(description.pointee)
    self.opened = opened
    self.path = path
  }

  /// All programs of the library, this one first if it is the first: one for each set of input shapes that it
  /// was compiled for. A library from before format 1.8 has one.
  /// - Throws: ``GraftError`` of kind `invalidBundle` as ``init(path:)``.
  public func programs() throws -> [ModelLibrary] {
    guard let program = api.program else { return [self] }
    var programs: [ModelLibrary] = []
    while let table = program(UInt32(programs.count)) {
      programs.append(try ModelLibrary(table: table, of: opened, at: path))
    }
    return programs
  }

  /// The program number `index`, from 0.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if the library does not have it.
  public func program(_ index: Int) throws -> ModelLibrary {
    let programs = try programs()
    guard programs.indices.contains(index) else {
      throw GraftError(
        .invalidBundle,
        "\(path.quotedForDisplay) has \(programs.count) programs, not one of number \(index)")
    }
    return programs[index]
  }

  /// Bytes of a session in addition to its weights; nil if the count overflows.
  public func arenaBytes(batch: Int, threads: Int) -> Int? {
    guard batch > 0, threads > 0, threads <= Int(UInt32.max) else { return nil }
    let bytes = api.arena_bytes(UInt64(batch), UInt32(threads))
    return bytes == 0 && description.arenaBytesPerImage > 0 ? nil : Int(exactly: bytes)
  }
}

extension graft_model_api {
  /// Bytes of the table before format 1.8, up to `program`.
  private static let leastBytes =
    MemoryLayout<graft_model_api>.offset(of: \.program) ?? MemoryLayout<graft_model_api>.size

  /// A copy of a library's table; entries that it does not have yet are nil. Nil if it has another version.
  fileprivate init?(copying table: UnsafePointer<graft_model_api>) {
    let start = UnsafeRawPointer(table)
    let version = start.load(as: UInt32.self)
    let bytes = Int(start.load(fromByteOffset: MemoryLayout<UInt32>.size, as: UInt32.self))
    guard version == GRAFT_ABI_VERSION, bytes >= Self.leastBytes else { return nil }
    self.init()
    withUnsafeMutableBytes(of: &self) {
      $0.copyMemory(from: UnsafeRawBufferPointer(start: start, count: min(bytes, $0.count)))
    }
  }
}

extension LibraryDescription {
  init(_ raw: graft_description) throws {
    inputs = try Self.tensors(raw.inputs, raw.input_count)
    outputs = try Self.tensors(raw.outputs, raw.output_count)
    values = try Self.tensors(raw.values, raw.value_count)
    availableAfterStep = (0..<Int(raw.value_count)).map { index in
      raw.values.map { Int($0[index].available_after_step) } ?? 0
    }
    stepNames = (0..<Int(raw.step_count)).map { index in
      raw.step_names?[index].map { String(cString: $0) } ?? ""
    }
    target = raw.target.map { String(cString: $0) } ?? ""
    requiredFeatures = raw.required_features.map { String(cString: $0) } ?? ""
    compiler = raw.compiler.map { String(cString: $0) } ?? ""
    buildID = withUnsafeBytes(of: raw.build_id) { Array($0) }
    packedBytes = Int(clamping: raw.packed_bytes)
    arenaBytesPerImage = Int(clamping: raw.arena_bytes_per_image)
    arenaBytesFixed = Int(clamping: raw.arena_bytes_fixed)
    hasFreeBatch = raw.has_batch != 0
  }

  static func tensors(
    _ pointer: UnsafePointer<graft_tensor>?, _ count: UInt32
  ) throws -> [TensorDescription] {
    guard count > 0 else { return [] }
    guard let pointer else {
      throw GraftError(.invalidBundle, "the library's tables are missing")
    }
    return try UnsafeBufferPointer(start: pointer, count: Int(count)).map(TensorDescription.init)
  }
}

extension TensorDescription {
  init(_ raw: graft_tensor) throws {
    let extents = withUnsafeBytes(of: raw.extents) {
      Array($0.bindMemory(to: graft_extent.self).prefix(Int(min(raw.rank, 8))))
    }
    name = raw.name.map { String(cString: $0) } ?? ""
    type = TensorType(
      try DataType(raw.dtype),
      TensorShape(
        extents.map { $0.scale == 0 ? Dimension(Int($0.base)) : .batch(times: Int($0.scale)) }))
  }
}

extension DataType {
  init(_ raw: graft_dtype) throws {
    switch raw {
    case GRAFT_FLOAT32: self = .float32
    case GRAFT_FLOAT16: self = .float16
    case GRAFT_BFLOAT16: self = .bfloat16
    case GRAFT_FLOAT64: self = .float64
    case GRAFT_INT8: self = .int8
    case GRAFT_UINT8: self = .uint8
    case GRAFT_INT32: self = .int32
    case GRAFT_INT64: self = .int64
    case GRAFT_BOOL: self = .bool
    case GRAFT_INT16: self = .int16
    case GRAFT_UINT16: self = .uint16
    case GRAFT_UINT32: self = .uint32
    case GRAFT_UINT64: self = .uint64
    default:
      throw GraftError(.invalidBundle, "the library knows an element type \(raw.rawValue)")
    }
  }
}
