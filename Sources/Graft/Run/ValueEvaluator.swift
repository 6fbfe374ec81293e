// Evaluation of a regression: a network whose outputs are values, such as numbers or the pixels of an image.

import GraftData
import GraftDiagnostics

/// Measures the errors of a bundle's outputs on data with target values: x.npy and y.npy, whose items have the
/// output's shape, or inputs/ and targets/ for a network whose output is an image. All errors are of the output's
/// values, not of pixels.
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
    /// structural similarity (Wang et al. 2004), averaged over the images. The first is absent where an output
    /// equals its target, for then it is infinite.
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
  /// What the data were, once they were evaluated.
  public private(set) var data = ""
  private var metrics: ValueMetrics
  private var names: [String] = []
  private var network: ImageNetwork
  private let session: Session
  private let batchSize: Int

  /// - Parameter output: the output with the values; nil takes the first.
  /// - Throws: ``GraftError`` if the bundle is damaged or has no such output.
  public init(
    _ bundle: ModelBundle, output: String? = nil, threads: Int = AvailableCores.count,
    batchSize: Int = 64
  ) throws {
    network = try ImageNetwork(bundle, output: output)
    self.batchSize = batchSize
    session = try Session(
      bundle, threads: threads, largestBatch: network.batchSize(batchSize),
      program: network.program)
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
    network = try network.taking(dataAt: path)
    let (dataset, opening) = try network.open(
      path, answers: network.picture == nil ? .values(network.output) : network.targetKind)
    warnings += opening
    data = dataset.summary
    metrics = ValueMetrics(width: network.outputWidth, image: Self.similarity(network, dataset))
    let run = try network.run(
      on: dataset, with: session, batchSize: batchSize, progress: progress
    ) { try add($0, of: dataset) }
    warnings += run.warnings
    guard let squared = metrics.meanSquaredError, let absolute = metrics.meanAbsoluteError else {
      throw GraftError(
        .invalidData, "no item could be read", at: SourceLocation(file: path))
    }
    return Report(
      items: run.items, skipped: run.skipped, meanSquaredError: squared,
      meanAbsoluteError: absolute, determination: metrics.determination,
      peakSignalToNoise: metrics.peakSignalToNoise.flatMap { $0.isFinite ? $0 : nil },
      structuralSimilarity: metrics.structuralSimilarity,
      itemsPerSecond: run.itemsPerSecond)
  }

  /// How images compare, by the values that the preprocessing says they can have, or that the first readable targets
  /// have; nil where the output is no image.
  private static func similarity(
    _ network: ImageNetwork, _ dataset: any Dataset
  ) -> ImageSimilarity? {
    if let picture = network.picture {
      return ImageSimilarity(shape: network.output.shape, peak: picture.coder.values.span)
    }
    let shown = DatasetSample(shownItems, of: dataset)
    // What cannot be read is skipped, and told, when its turn comes.
    let seen = (0..<shown.count).flatMap { index in
      (try? shown.sample(at: index)).flatMap { values($0.target) } ?? []
    }
    return ImageSimilarity(
      shape: network.output.shape, peak: ImageSimilarity.peak(of: seen))
  }

  private static func values(_ target: Target) -> [Float]? {
    if case .values(let values) = target { values } else { nil }
  }

  private mutating func add(_ answer: ImageNetwork.Answer, of dataset: any Dataset) throws {
    guard let targets = Self.values(answer.target) else {
      throw GraftError(
        .invalidData, "\(answer.file.quotedForDisplay) has no values",
        at: SourceLocation(file: dataset.location))
    }
    try metrics.add(outputs: answer.row, targets: targets)
    names.append(answer.file)
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
