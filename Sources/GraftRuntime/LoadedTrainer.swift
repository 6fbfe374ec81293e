// Sessions of a training library: training state and steps. Learning rate schedules, epochs and data are up
// to callers.

import CGraftABI
import GraftDiagnostics
import GraftIR

/// A network in training. Only one caller at a time; a concurrent call throws an error.
///
/// The same library, seed and calls give the same bits with any number of threads.
public final class LoadedTrainer: @unchecked Sendable {
  // The C session detects concurrent callers; everything else is immutable.
  public let library: TrainingLibrary
  let session: OpaquePointer
  public let threads: Int

  public var description: TrainingDescription { library.description }

  /// Reads train.bin of the bundle in folder `bundle` and starts from its initial state.
  /// - Parameters:
  ///   - seed: the random seed of shuffling and dropout.
  ///   - largestBatch: the maximum batch size of steps and evaluations.
  /// - Throws: ``GraftError`` of kind `machine` if the CPU lacks features or memory is exhausted, of kind
  ///   `invalidBundle` if train.bin does not belong to the library, of kind `inputOutput` if it cannot be
  ///   read.
  public init(
    library: TrainingLibrary, bundle: String, seed: UInt64, largestBatch: Int, threads: Int = 1
  ) throws {
    guard largestBatch > 0, (1...4096).contains(threads) else {
      throw GraftError(
        .invalidArgument,
        "a batch of \(largestBatch) on \(threads) threads: expected a batch of at least 1 and "
          + "1 to 4096 threads")
    }
    var options = graft_options()
    options.struct_bytes = UInt32(MemoryLayout<graft_options>.size)
    options.largest_batch = UInt64(largestBatch)
    options.threads = UInt32(threads)
    var session: OpaquePointer?
    let create = library.api.create
    try bundle.withCString { path in
      options.bundle_path = path
      try withMessage { create?(&options, seed, &session, $0, $1) ?? GRAFT_INVALID_ARGUMENT }
    }
    guard let session else {
      throw GraftError(.invalidBundle, "the library could not create a session")
    }
    self.library = library
    self.session = session
    self.threads = threads
  }

  deinit { library.api.destroy?(session) }

  /// Gives the memory of activations back to the system until the next step or evaluation.
  /// - Throws: ``GraftError`` if the session is in use by another caller.
  public func releaseActivations() throws {
    try withMessage { library.api.trim?(session, $0, $1) ?? GRAFT_OK }
  }

  /// The hyperparameters of one parameter group; finite, at least 0, betas below 1. Those that the compiled
  /// optimizer does not use are ignored.
  public struct Hyperparameters: Hashable, Sendable {
    public var learningRate: Float
    public var momentum: Float
    public var weightDecay: Float
    /// Adam's (Kingma and Ba 2015), like the next two.
    public var beta1: Float
    public var beta2: Float
    public var epsilon: Float

    public init(
      learningRate: Float, momentum: Float = 0, weightDecay: Float = 0, beta1: Float = 0.9,
      beta2: Float = 0.999, epsilon: Float = 1e-8
    ) {
      self.learningRate = learningRate
      self.momentum = momentum
      self.weightDecay = weightDecay
      self.beta1 = beta1
      self.beta2 = beta2
      self.epsilon = epsilon
    }
  }

  /// The settings of one call of ``step(batch:inputs:settings:loss:logits:taps:)``.
  public struct StepSettings: Hashable, Sendable {
    /// One entry per group in ``TrainingDescription/groupNames``.
    public var hyperparameters: [Hyperparameters]
    /// The maximum Euclidean norm of all gradients together; nil for no limit.
    public var clipNorm: Float?
    /// The temperature of distillation, which divides logits (Hinton et al. 2015).
    public var temperature: Float
    /// Whether to accumulate onto the gradients of previous micro-batches.
    public var continuesAccumulation: Bool
    /// Whether other micro-batches follow, so that gradients are accumulated and weights are not updated yet.
    public var awaitsMicroBatches: Bool

    public init(
      hyperparameters: [Hyperparameters], clipNorm: Float? = nil, temperature: Float = 1,
      continuesAccumulation: Bool = false, awaitsMicroBatches: Bool = false
    ) {
      self.hyperparameters = hyperparameters
      self.clipNorm = clipNorm
      self.temperature = temperature
      self.continuesAccumulation = continuesAccumulation
      self.awaitsMicroBatches = awaitsMicroBatches
    }
  }

  /// 0 ..< `count` in the shuffled order of this epoch, which depends only on seed, epoch and count: a
  /// Fisher-Yates shuffle with Philox4x32-10 (Salmon et al. 2011).
  public func order(epoch: Int, count: Int) throws -> [Int] {
    guard epoch >= 0, let count = UInt32(exactly: count) else {
      throw GraftError(.invalidArgument, "epoch \(epoch) of \(count) images has no order")
    }
    var order = [UInt32](repeating: 0, count: Int(count))
    try order.withUnsafeMutableBufferPointer { order in
      try withMessage {
        library.api.epoch_order?(session, UInt64(epoch), count, order.baseAddress, $0, $1)
          ?? GRAFT_INVALID_ARGUMENT
      }
    }
    return order.map(Int.init)
  }

  /// One training step: forward, backward and, unless more micro-batches follow, the update.
  ///
  /// - Parameters:
  ///   - batch: N; any number up to the session's largest.
  ///   - inputs: one buffer per input in ``TrainingDescription/stepInputs``, of exactly its bytes.
  ///   - loss: [N] float32; its sum is the mean loss of the batch if targets include the factor 1 / N.
  ///   - logits: [N, C] float32, before the update.
  ///   - taps: values of ``TrainingDescription/step`` to copy.
  /// - Throws: ``GraftError`` if a buffer has the wrong size, a hyperparameter is invalid, or the session is
  ///   in use by another caller; nothing has happened then.
  public func step(
    batch: Int, inputs: [UnsafeRawBufferPointer], settings: StepSettings,
    loss: UnsafeMutableRawBufferPointer? = nil, logits: UnsafeMutableRawBufferPointer? = nil,
    taps: [LoadedModel.Tap] = []
  ) throws {
    guard batch > 0, inputs.count == description.stepInputs.count,
      taps.allSatisfy({ description.step.values.indices.contains($0.value) })
    else {
      throw GraftError(
        .invalidArgument,
        "a batch of \(batch) with \(inputs.count) inputs; expected "
          + "\(description.stepInputs.count) inputs, and taps of values that there are")
    }
    let rows = settings.hyperparameters.map(graft_hyperparameters.init)
    let rawTaps = taps.map(graft_tap.init)
    try withCallInputs(inputs) { pointers, bytes in
      try rows.withUnsafeBufferPointer { rows in
        try rawTaps.withUnsafeBufferPointer { rawTaps in
          var step = graft_training_step()
          step.struct_bytes = UInt32(MemoryLayout<graft_training_step>.size)
          step.flags =
            (settings.continuesAccumulation ? GRAFT_STEP_CONTINUES : 0)
            | (settings.awaitsMicroBatches ? GRAFT_STEP_GOES_ON : 0)
          step.batch = UInt64(batch)
          step.inputs = pointers
          step.input_bytes = bytes
          step.hyperparameters = rows.baseAddress
          step.hyperparameter_count = UInt32(clamping: rows.count)
          step.clip_norm = settings.clipNorm ?? .infinity
          step.temperature = settings.temperature
          step.tap_count = UInt32(rawTaps.count)
          step.taps = rawTaps.baseAddress
          step.loss = loss?.baseAddress?.assumingMemoryBound(to: Float.self)
          step.loss_bytes = UInt64(loss?.count ?? 0)
          step.logits = logits?.baseAddress?.assumingMemoryBound(to: Float.self)
          step.logits_bytes = UInt64(logits?.count ?? 0)
          try withMessage {
            library.api.step?(session, &step, $0, $1) ?? GRAFT_INVALID_ARGUMENT
          }
        }
      }
    }
  }

  /// One training step on float32 values, which are converted to the element types of the inputs.
  /// - Returns: the loss of each image, and the logits [N, C] before the update.
  public func step(
    batch: Int, inputs: [[Float]], settings: StepSettings
  ) throws -> (loss: [Float], logits: [Float]) {
    guard batch > 0, !batch.multipliedReportingOverflow(by: description.classCount).overflow else {
      throw GraftError(.invalidArgument, "a batch of \(batch), expected at least 1")
    }
    var results = [
      [Float](repeating: 0, count: batch),
      [Float](repeating: 0, count: batch * description.classCount),
    ]
    try withBuffers(inputs, for: description.stepInputs) { inputs in
      try withMutableBuffers(&results) { results in
        try step(
          batch: batch, inputs: inputs, settings: settings, loss: results[0], logits: results[1])
      }
    }
    return (results[0], results[1])
  }

  /// Evaluates the network with the current state on values at the freeze line; the state does not change.
  /// - Parameters:
  ///   - inputs: one buffer per input of ``TrainingDescription/evaluation``.
  ///   - outputs: one buffer per output; the first one is the logits.
  ///   - taps: values of ``TrainingDescription/evaluation`` to copy.
  public func evaluate(
    batch: Int, inputs: [UnsafeRawBufferPointer], outputs: [UnsafeMutableRawBufferPointer],
    taps: [LoadedModel.Tap] = []
  ) throws {
    let evaluation = description.evaluation
    guard batch > 0, inputs.count == evaluation.inputs.count,
      outputs.count == evaluation.outputs.count,
      taps.allSatisfy({ evaluation.values.indices.contains($0.value) })
    else {
      throw GraftError(
        .invalidArgument,
        "a batch of \(batch) with \(inputs.count) inputs and \(outputs.count) outputs; expected "
          + "\(evaluation.inputs.count) and \(evaluation.outputs.count), and taps of values that "
          + "there are")
    }
    let rawTaps = taps.map(graft_tap.init)
    try withCallInputs(inputs) { pointers, bytes in
      try outputs.map(\.baseAddress).withUnsafeBufferPointer { outputPointers in
        try outputs.map { UInt64($0.count) }.withUnsafeBufferPointer { outputBytes in
          try rawTaps.withUnsafeBufferPointer { rawTaps in
            var call = graft_call()
            call.struct_bytes = UInt32(MemoryLayout<graft_call>.size)
            call.end_step = UInt32(evaluation.stepNames.count)
            call.tap_count = UInt32(rawTaps.count)
            call.batch = UInt64(batch)
            call.inputs = pointers
            call.input_bytes = bytes
            call.outputs = outputPointers.baseAddress
            call.output_bytes = outputBytes.baseAddress
            call.taps = rawTaps.baseAddress
            try withMessage {
              library.api.evaluate?(session, &call, $0, $1) ?? GRAFT_INVALID_ARGUMENT
            }
          }
        }
      }
    }
  }

  /// Evaluates the network with the current state on float32 values.
  /// - Returns: the logits [N, C].
  public func evaluate(batch: Int, inputs: [[Float]]) throws -> [Float] {
    guard batch > 0, !batch.multipliedReportingOverflow(by: description.classCount).overflow else {
      throw GraftError(.invalidArgument, "a batch of \(batch), expected at least 1")
    }
    var results = [[Float](repeating: 0, count: batch * description.classCount)]
    try withBuffers(inputs, for: description.evaluation.inputs) { inputs in
      try withMutableBuffers(&results) { results in
        try evaluate(batch: batch, inputs: inputs, outputs: results)
      }
    }
    return results[0]
  }

  /// Nanoseconds of each kernel step in the last training step, on the caller's thread. The first call
  /// enables the clock and returns an empty array.
  public func stepTimes() -> [UInt64] {
    var times = [UInt64](repeating: 0, count: description.step.stepNames.count)
    let count = times.withUnsafeMutableBufferPointer { buffer in
      library.api.step_times?(session, buffer.baseAddress, UInt32(buffer.count)) ?? 0
    }
    return Array(times.prefix(Int(count)))
  }
}

/// Calls `body` with the inputs as the C interface takes them: addresses, and their bytes.
private func withCallInputs(
  _ inputs: [UnsafeRawBufferPointer],
  _ body: (UnsafePointer<UnsafeRawPointer?>?, UnsafePointer<UInt64>?) throws -> Void
) throws {
  try inputs.map(\.baseAddress).withUnsafeBufferPointer { pointers in
    try inputs.map { UInt64($0.count) }.withUnsafeBufferPointer { bytes in
      try body(pointers.baseAddress, bytes.baseAddress)
    }
  }
}

extension graft_hyperparameters {
  init(_ group: LoadedTrainer.Hyperparameters) {
    self.init(
      learning_rate: group.learningRate, momentum: group.momentum,
      weight_decay: group.weightDecay, beta1: group.beta1, beta2: group.beta2,
      epsilon: group.epsilon)
  }
}
