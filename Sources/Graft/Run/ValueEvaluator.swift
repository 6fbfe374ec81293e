// Evaluation of a regression: a network whose outputs are values, such as numbers or the pixels of an image.

import GraftData
import GraftDiagnostics

/// Measures the errors of a bundle's outputs on data with target values: x.npy and y.npy, whose items have the
/// output's shape.
public struct ValueEvaluator {
  /// The JSON object of `graft evaluate --json`; absent numbers do not apply to the data.
  public struct Report: Encodable, Sendable {
    public var items: Int
    /// The number of files that could not be read and were skipped.
    public var skipped: Int
    /// The mean squared and absolute error of a value.
    public var meanSquaredError: Double
    public var meanAbsoluteError: Double
    /// The share of the targets' variance that the outputs explain, 1 at best, averaged over the outputs.
    public var determination: Double?
    /// For outputs that are images, of one or three channels: the peak signal-to-noise ratio in decibels and the
    /// structural similarity (Wang et al. 2004), averaged over the images.
    public var peakSignalToNoise: Double?
    public var structuralSimilarity: Double?
    public var itemsPerSecond: Double

    enum CodingKeys: String, CodingKey {
      case items, skipped
      case meanSquaredError = "mse"
      case meanAbsoluteError = "mae"
      case determination = "r2"
      case peakSignalToNoise = "psnr"
      case structuralSimilarity = "ssim"
      case itemsPerSecond = "items_per_second"
    }
  }

  public private(set) var warnings: [Warning] = []
  private var metrics: ValueMetrics
  private var names: [String] = []
  private let network: ImageNetwork
  private let session: Session
  private let batchSize: Int

  /// - Parameter output: the output with the values; nil takes the first.
  /// - Throws: ``GraftError`` if the bundle is damaged or has no such output.
  public init(
    _ bundle: ModelBundle, output: String? = nil, threads: Int = AvailableCores.count,
    batchSize: Int = 64
  ) throws {
    network = try ImageNetwork(bundle, output: output)
    self.batchSize = network.batchSize(batchSize)
    session = try Session(bundle, threads: threads, largestBatch: self.batchSize)
    metrics = ValueMetrics(width: network.outputWidth, image: nil)
    warnings = network.warnings
  }

  /// How many items show which values an image can have.
  private static let shownItems = 64

  /// Runs the network on all of the data at `path`.
  /// - Parameter progress: called after every batch with the number of items done and in total.
  /// - Throws: ``GraftError`` if the data cannot be used; broken files are skipped with a warning.
  public mutating func evaluate(
    _ path: String, progress: (Int, Int) -> Void = { _, _ in }
  ) throws -> Report {
    let (dataset, opening) = try network.open(path, answers: .values(network.output))
    warnings += opening
    let shown = DatasetSample(Self.shownItems, of: dataset)
    let values = try (0..<shown.count).flatMap {
      try Self.values(shown.sample(at: $0).target) ?? []
    }
    metrics = ValueMetrics(
      width: network.outputWidth,
      image: ImageSimilarity(
        shape: network.output.shape, peak: ImageSimilarity.peak(of: values)))
    let clock = ContinuousClock()
    let start = clock.now
    let loader = try network.loader(dataset, batchSize: batchSize, threads: session.threads)
    while let batch = try loader.next() {
      let outputs = try session.run(try network.tensors(batch))
      try add(batch, outputs[network.output.name]?.elements ?? [], of: dataset)
      progress(loader.deliveredCount + loader.brokenCount, dataset.count)
    }
    warnings += loader.warnings
    let seconds = (clock.now - start) / .seconds(1)
    guard let squared = metrics.meanSquaredError, let absolute = metrics.meanAbsoluteError else {
      throw GraftError(
        .invalidData, "no item could be read", at: SourceLocation(file: path))
    }
    return Report(
      items: loader.deliveredCount, skipped: loader.brokenCount, meanSquaredError: squared,
      meanAbsoluteError: absolute, determination: metrics.determination,
      peakSignalToNoise: metrics.peakSignalToNoise.flatMap { $0.isFinite ? $0 : nil },
      structuralSimilarity: metrics.structuralSimilarity,
      itemsPerSecond: Double(loader.deliveredCount) / max(seconds, 1e-9))
  }

  private static func values(_ target: Target) -> [Float]? {
    if case .values(let values) = target { values } else { nil }
  }

  private mutating func add(
    _ batch: Batch, _ values: [Float], of dataset: any Dataset
  ) throws {
    let width = network.outputWidth
    for (item, index) in batch.indices.enumerated() {
      let row = values[item * width..<(item + 1) * width]
      guard let targets = Self.values(batch.targets[item]) else {
        throw GraftError(
          .invalidData, "\(dataset.name(of: index).quotedForDisplay) has no values",
          at: SourceLocation(file: dataset.location))
      }
      try at(SourceLocation(file: dataset.path(of: index))) {
        try network.check(row)
        try metrics.add(outputs: row, targets: targets)
      }
      names.append(dataset.name(of: index))
    }
  }

  /// - Throws: ``GraftError`` of kind `invalidArgument`: values have no confusion matrix.
  public func writeConfusion(to path: String) throws {
    throw GraftError(
      .invalidArgument, "--confusion needs classes, and the network's outputs are values")
  }

  /// Writes one CSV line per item: file, mse, mae, and for images psnr and ssim.
  public func writePredictions(to path: String) throws {
    var text = CSV.line(["file", "mse", "mae", "psnr", "ssim"])
    for (name, item) in zip(names, metrics.items) {
      text += CSV.line([
        name, "\(item.meanSquaredError)", "\(item.meanAbsoluteError)",
        item.peakSignalToNoise.map { "\($0)" } ?? "",
        item.structuralSimilarity.map { "\($0)" } ?? "",
      ])
    }
    try FileReplacement(at: path).write(Array(text.utf8))
  }
}
