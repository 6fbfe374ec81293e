// A bundle that is ready to run: digests checked, library loaded, weights in memory. Maps names and arrays to
// the bundle's C interface.

import GraftDiagnostics
import GraftIR
import GraftRuntime

/// Runs a compiled bundle.
///
/// ```swift
/// let session = try Session(ModelBundle(opening: "resnet20.graft"))
/// let outputs = try session.run(["image": image])
/// ```
///
/// Creating a session loads the bundle's library, and so executes its author's code. Only one caller at a
/// time; a concurrent call throws an error.
public final class Session: Sendable {
  /// An input or output.
  public struct Port: Sendable {
    public var name: String
    public var type: TensorType
  }

  public let bundle: ModelBundle
  private let model: LoadedModel

  public var inputs: [Port] { model.description.inputs.map { Port(name: $0.name, type: $0.type) } }
  public var outputs: [Port] {
    model.description.outputs.map { Port(name: $0.name, type: $0.type) }
  }
  /// The names of the steps, in order.
  public var stepNames: [String] { model.description.stepNames }
  public var threads: Int { model.threads }

  /// Loads the bundle's library and weights, and checks their digests.
  /// - Parameters:
  ///   - threads: by default the number of available cores.
  ///   - largestBatch: the batch size for which memory is allocated now; ``run(_:)`` reallocates if
  ///     necessary.
  /// - Throws: ``GraftError`` if a file is damaged, or the CPU lacks required features.
  public init(
    _ bundle: ModelBundle, threads: Int = AvailableCores.count, largestBatch: Int = 1
  ) throws {
    self.bundle = bundle
    try bundle.checkDigests(of: [BundleLayout.library])
    let library = try ModelLibrary(path: bundle.path(of: BundleLayout.library))
    try Self.check(bundle, against: library.description)
    let loading = LoadingModel()
    // Hashing and reading the weights take about equally long, so they run concurrently.
    try concurrently(2) { index in
      if index == 0 {
        try bundle.checkDigests(of: [BundleLayout.packed])
      } else {
        loading.model = try LoadedModel(
          library: library, bundle: bundle.path, largestBatch: largestBatch, threads: threads)
      }
    }
    guard let model = loading.model else {
      throw GraftError(.inconsistency, "the library could not create a session")
    }
    self.model = model
  }

  /// Checks that manifest and library agree on inputs and outputs: the manifest determines preprocessing and
  /// labels, the library the memory accesses.
  private static func check(_ bundle: ModelBundle, against library: LibraryDescription) throws {
    func agree(_ tensors: [Manifest.Tensor], _ described: [TensorDescription]) throws -> Bool {
      try tensors.count == described.count
        && zip(tensors, described).allSatisfy { tensor, description in
          let type = try tensor.type()
          return tensor.name == description.name && type.dtype == description.type.dtype
            && type.shape == description.type.shape
        }
    }
    guard try agree(bundle.manifest.inputs, library.inputs),
      try agree(bundle.manifest.outputs, library.outputs)
    else {
      throw GraftError(
        .invalidBundle,
        "the manifest's inputs and outputs differ from those of \(BundleLayout.library)",
        at: SourceLocation(file: bundle.path(of: BundleLayout.manifest)),
        advice: "Recompile the model.")
    }
  }

  /// Written by one thread, read after it is done.
  private final class LoadingModel: @unchecked Sendable { var model: LoadedModel? }

  /// Bytes of activations and scratch memory of a session for this batch size.
  public func arenaBytes(batch: Int) -> Int {
    model.library.arenaBytes(batch: batch, threads: threads) ?? 0
  }

  /// Runs the network on one tensor per input; their shapes determine the batch size.
  /// - Returns: the outputs by name.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if an input is missing, unknown or has the wrong
  ///   shape.
  public func run(_ inputs: [String: Tensor]) throws -> [String: Tensor] {
    let call = try prepare(inputs)
    try call.run()
    return call.outputs
  }

  /// Also returns intermediate values by their names in the model, if the optimized network still computes
  /// them.
  public func runKeepingValues(
    _ inputs: [String: Tensor]
  ) throws -> (outputs: [String: Tensor], values: [String: Tensor]) {
    let call = try prepare(inputs, keepingValues: true)
    try call.run()
    return (call.outputs, call.values)
  }

  /// Checks and copies the inputs once, for repeated calls.
  public func prepare(
    _ inputs: [String: Tensor], keepingValues: Bool = false
  ) throws -> PreparedCall {
    let ports = self.inputs
    for name in inputs.keys where !ports.contains(where: { $0.name == name }) {
      throw GraftError(
        .invalidArgument,
        "there is no input \(name.quotedForDisplay); the inputs are "
          + ports.map(\.name.quotedForDisplay).joined(separator: ", "))
    }
    var batch: Int?
    let ordered = try ports.map { port -> Tensor in
      guard let tensor = inputs[port.name] else {
        throw GraftError(.invalidArgument, "input \(port.name.quotedForDisplay) was not given")
      }
      try Self.check(tensor, against: port, batch: &batch)
      return try Self.converted(tensor, for: port)
    }
    try model.reserve(batch: batch ?? 1)
    return try PreparedCall(
      model, inputs: ordered, batch: batch ?? 1, keepingValues: keepingValues)
  }

  /// Determines the batch size from the first shape that has one, and checks the others against it.
  private static func check(_ tensor: Tensor, against port: Port, batch: inout Int?) throws {
    let shape = port.type.shape
    func mismatch() -> GraftError {
      GraftError(
        .invalidArgument,
        "input \(port.name.quotedForDisplay) has shape \(TensorShape(tensor.shape)), the network "
          + "takes \(shape)" + (batch.map { " at batch \($0)" } ?? ""))
    }
    guard tensor.rank == shape.rank else { throw mismatch() }
    for (extent, dimension) in zip(tensor.shape, shape.dimensions) where dimension.isBatch {
      guard extent > 0, extent.isMultiple(of: dimension.coefficient) else { throw mismatch() }
      batch = batch ?? extent / dimension.coefficient
    }
    guard try shape.extents(batch: batch ?? 1) == tensor.shape else { throw mismatch() }
  }

  private static func converted(_ tensor: Tensor, for port: Port) throws -> Tensor {
    do { return try tensor.converted(to: port.type.dtype) } catch let error as GraftError {
      throw GraftError(
        .invalidArgument, "input \(port.name.quotedForDisplay): \(error.message)",
        advice: error.advice)
    }
  }
}

/// A call with bound inputs that can be repeated. Not thread-safe.
public final class PreparedCall {
  private let model: LoadedModel
  private let batch: Int
  private let inputs: [Tensor]
  private var outputBuffers: [TensorBuffer]
  private var valueBuffers: [TensorBuffer]

  init(
    _ model: LoadedModel, inputs: [Tensor], batch: Int, keepingValues: Bool
  ) throws {
    self.model = model
    self.batch = batch
    self.inputs = inputs
    outputBuffers = try model.description.outputs.map { try TensorBuffer($0, batch: batch) }
    valueBuffers =
      keepingValues ? try model.description.values.map { try TensorBuffer($0, batch: batch) } : []
  }

  /// Runs the network once.
  public func run() throws {
    try withInputs { inputs in
      try model.run(
        batch: batch, inputs: inputs, outputs: outputBuffers.map(\.bytes),
        taps: valueBuffers.enumerated().map {
          LoadedModel.Tap(value: $0.offset, buffer: $0.element.bytes)
        })
    }
  }

  private func withInputs(
    _ collected: [UnsafeRawBufferPointer] = [], _ body: ([UnsafeRawBufferPointer]) throws -> Void
  ) throws {
    guard collected.count < inputs.count else { return try body(collected) }
    try inputs[collected.count].bytes.withUnsafeBytes {
      try withInputs(collected + [$0], body)
    }
  }

  /// The outputs of the last run, by name.
  public var outputs: [String: Tensor] { Self.tensors(outputBuffers) }

  /// The intermediate values of the last run, by name, if they were requested.
  public var values: [String: Tensor] { Self.tensors(valueBuffers) }

  /// Nanoseconds of each step of the last run; the first call enables the clock.
  public func stepNanoseconds() -> [UInt64] { model.stepTimes() }

  private static func tensors(_ buffers: [TensorBuffer]) -> [String: Tensor] {
    Dictionary(buffers.map { ($0.name, $0.tensor) }, uniquingKeysWith: { first, _ in first })
  }
}

/// Memory for a tensor that a library writes.
private final class TensorBuffer {
  let name: String
  private let dtype: DataType
  private let shape: [Int]
  let bytes: UnsafeMutableRawBufferPointer

  init(_ description: TensorDescription, batch: Int) throws {
    name = description.name
    dtype = description.type.dtype
    shape = try description.type.shape.extents(batch: batch)
    bytes = .allocate(byteCount: shape.reduce(dtype.byteCount, *), alignment: 64)
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit { bytes.deallocate() }

  var tensor: Tensor { Tensor(unchecked: dtype, shape, Array(bytes)) }
}
