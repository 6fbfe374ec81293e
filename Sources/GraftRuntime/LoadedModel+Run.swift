// Sessions of a loaded library: weights, arena, threads, and running them.

import CGraftABI
import GraftDiagnostics
import GraftIR

/// A network that is ready to run. Only one caller at a time; a concurrent call throws an error.
public final class LoadedModel: @unchecked Sendable {
  // The C session detects concurrent callers; everything else is immutable.
  public let library: ModelLibrary
  private let session: OpaquePointer
  /// Weights that sessions share; nil if the session has its own.
  private let weights: PackedMemory?
  public let threads: Int

  public var description: LibraryDescription { library.description }

  /// Reads the packed weights of the bundle in folder `bundle` and allocates memory for `largestBatch`.
  /// - Parameter mapsWeights: whether to memory-map packed.bin, which shares it between processes.
  /// - Throws: ``GraftError`` of kind `machine` if the CPU lacks features or memory is exhausted, of kind
  ///   `invalidBundle` if packed.bin does not belong to the library, of kind `inputOutput` if it cannot be
  ///   read.
  public convenience init(
    library: ModelLibrary, bundle: String, largestBatch: Int = 1, threads: Int = 1,
    mapsWeights: Bool = false
  ) throws {
    var options = graft_options()
    options.flags = mapsWeights ? UInt32(GRAFT_MAP_WEIGHTS) : 0
    try self.init(
      library: library, options, path: bundle, weights: nil, largestBatch: largestBatch,
      threads: threads)
  }

  /// Allocates memory for `largestBatch`, over weights that sessions of all programs of the library can share.
  /// - Throws: ``GraftError`` of kind `machine` if the CPU lacks features or memory is exhausted, of kind
  ///   `invalidBundle` if the weights do not belong to the library.
  public convenience init(
    library: ModelLibrary, weights: PackedMemory, largestBatch: Int = 1, threads: Int = 1
  ) throws {
    var options = graft_options()
    options.packed = weights.bytes.baseAddress
    options.packed_bytes = UInt64(weights.bytes.count)
    try self.init(
      library: library, options, path: nil, weights: weights, largestBatch: largestBatch,
      threads: threads)
  }

  private init(
    library: ModelLibrary, _ given: graft_options, path: String?, weights: PackedMemory?,
    largestBatch: Int, threads: Int
  ) throws {
    guard largestBatch > 0, (1...4096).contains(threads) else {
      throw GraftError(
        .invalidArgument,
        "a batch of \(largestBatch) on \(threads) threads: expected a batch of at least 1 and "
          + "1 to 4096 threads")
    }
    var options = given
    options.struct_bytes = UInt32(MemoryLayout<graft_options>.size)
    options.largest_batch = UInt64(largestBatch)
    options.threads = UInt32(threads)
    var session: OpaquePointer?
    let create = library.api.create
    func start(_ path: UnsafePointer<CChar>?) throws {
      options.bundle_path = path
      try withMessage { create?(&options, &session, $0, $1) ?? GRAFT_INVALID_ARGUMENT }
    }
    if let path { try path.withCString(start) } else { try start(nil) }
    guard let session else {
      throw GraftError(.invalidBundle, "the library could not create a session")
    }
    self.library = library
    self.session = session
    self.weights = weights
    self.threads = threads
  }

  deinit { library.api.destroy?(session) }

  /// Allocates memory for a larger batch.
  public func reserve(batch: Int) throws {
    guard batch > 0 else {
      throw GraftError(.invalidArgument, "a batch of \(batch), expected at least 1")
    }
    try withMessage { library.api.reserve?(session, UInt64(batch), $0, $1) ?? GRAFT_OK }
  }

  /// A value to copy out while the network runs.
  public struct Tap {
    /// The index into ``LibraryDescription/values``.
    public var value: Int
    /// A buffer of exactly the bytes of the value at the batch size of the call.
    public var buffer: UnsafeMutableRawBufferPointer

    public init(value: Int, buffer: UnsafeMutableRawBufferPointer) {
      self.value = value
      self.buffer = buffer
    }
  }

  /// Runs steps of the network on the caller's buffers, in plain row-major order.
  ///
  /// - Parameters:
  ///   - inputs: one buffer per input, of exactly its bytes at `batch`.
  ///   - outputs: one buffer per output.
  ///   - steps: the steps to run, all by default. A range that stops early does not write later outputs; one
  ///     that starts
  ///     later continues from the previous call.
  /// - Throws: ``GraftError`` if a buffer has the wrong size, or the session is in use by another caller.
  public func run(
    batch: Int, inputs: [UnsafeRawBufferPointer], outputs: [UnsafeMutableRawBufferPointer],
    taps: [Tap] = [], steps: Range<Int>? = nil
  ) throws {
    let stepCount = description.stepNames.count
    let steps = steps ?? 0..<stepCount
    guard batch > 0, steps.lowerBound >= 0, steps.upperBound <= stepCount,
      inputs.count == description.inputs.count, outputs.count == description.outputs.count,
      taps.allSatisfy({ description.values.indices.contains($0.value) })
    else {
      throw GraftError(
        .invalidArgument,
        "a batch of \(batch) with \(inputs.count) inputs, \(outputs.count) outputs and steps "
          + "\(steps); expected \(description.inputs.count) inputs, \(description.outputs.count) "
          + "outputs and steps within 0..<\(stepCount)")
    }
    let inputPointers = inputs.map { $0.baseAddress }
    let outputPointers = outputs.map { $0.baseAddress }
    let inputBytes = inputs.map { UInt64($0.count) }
    let outputBytes = outputs.map { UInt64($0.count) }
    let rawTaps = taps.map(graft_tap.init)
    try inputPointers.withUnsafeBufferPointer { inputPointers in
      try outputPointers.withUnsafeBufferPointer { outputPointers in
        try inputBytes.withUnsafeBufferPointer { inputBytes in
          try outputBytes.withUnsafeBufferPointer { outputBytes in
            try rawTaps.withUnsafeBufferPointer { rawTaps in
              var call = graft_call()
              call.struct_bytes = UInt32(MemoryLayout<graft_call>.size)
              call.first_step = UInt32(steps.lowerBound)
              call.end_step = UInt32(steps.upperBound)
              call.tap_count = UInt32(rawTaps.count)
              call.batch = UInt64(batch)
              call.inputs = inputPointers.baseAddress
              call.input_bytes = inputBytes.baseAddress
              call.outputs = outputPointers.baseAddress
              call.output_bytes = outputBytes.baseAddress
              call.taps = rawTaps.baseAddress
              try withMessage {
                library.api.run?(session, &call, $0, $1) ?? GRAFT_INVALID_ARGUMENT
              }
            }
          }
        }
      }
    }
  }

  /// Runs the whole network on float32 values, which are converted to the element types of the interface.
  /// - Parameter inputs: one array per input, row-major in its shape at `batch`.
  /// - Returns: one array per output.
  /// - Throws: ``GraftError`` of kind `invalidData` for a value that an input's type cannot represent.
  public func run(batch: Int, inputs: [[Float]]) throws -> [[Float]] {
    try numbers(of: description.outputs, batch: batch) { outputs in
      try withBuffers(inputs, for: description.inputs) { inputs in
        try run(batch: batch, inputs: inputs, outputs: outputs)
      }
    }
  }

  /// Nanoseconds of each step of the last call, on the caller's thread. The first call enables the clock and
  /// returns an empty array.
  public func stepTimes() -> [UInt64] {
    var times = [UInt64](repeating: 0, count: description.stepNames.count)
    let count = times.withUnsafeMutableBufferPointer { buffer in
      library.api.step_times?(session, buffer.baseAddress, UInt32(buffer.count)) ?? 0
    }
    return Array(times.prefix(Int(count)))
  }
}

extension graft_tap {
  /// A tap of a validated value index.
  init(_ tap: LoadedModel.Tap) {
    self.init(
      value: UInt32(tap.value), reserved: 0, data: tap.buffer.baseAddress,
      bytes: UInt64(tap.buffer.count))
  }
}

extension LoadedModel {
  /// Runs `steps` of the network on float32 values and copies intermediate values.
  /// - Parameters:
  ///   - values: indices into ``LibraryDescription/values`` of values that `steps` compute.
  /// - Returns: one array per index in `values`.
  public func run(
    batch: Int, inputs: [[Float]], tapping values: [Int], steps: Range<Int>
  ) throws -> [[Float]] {
    guard values.allSatisfy(description.values.indices.contains) else {
      throw GraftError(.invalidArgument, "there are \(description.values.count) values to tap")
    }
    return try numbers(of: values.map { description.values[$0] }, batch: batch) { taps in
      _ = try numbers(of: description.outputs, batch: batch) { outputs in
        try withBuffers(inputs, for: description.inputs) { inputs in
          try run(
            batch: batch, inputs: inputs, outputs: outputs,
            taps: zip(values, taps).map { Tap(value: $0, buffer: $1) }, steps: steps)
        }
      }
    }
  }
}
