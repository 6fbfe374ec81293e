// Metrics of a regression against scikit-learn and scikit-image (tools/make-data-fixtures), and their limits.

import Foundation
import GraftData
import GraftDiagnostics
import Testing

@Suite struct ValueMetricsTests {
  struct Report: Decodable {
    struct Numbers: Decodable {
      var outputs, targets: [Float]
      var mse, mae, r2: Double
    }
    struct Pictures: Decodable {
      var outputs, targets: [Float]
      var psnr, ssim: Double
    }
    var numbers: Numbers
    var pictures: Pictures
  }

  private let report: Report

  init() throws {
    report = try JSONDecoder().decode(
      Report.self, from: Data(contentsOf: Fixture.all.appendingPathComponent("values.json")))
  }

  @Test func numbersAgreeWithScikitLearn() throws {
    let numbers = report.numbers
    var metrics = ValueMetrics(width: 3, image: ImageSimilarity(shape: [3], peak: 1))
    for start in stride(from: 0, to: numbers.outputs.count, by: 3) {
      try metrics.add(
        outputs: numbers.outputs[start..<(start + 3)],
        targets: Array(numbers.targets[start..<(start + 3)]))
    }
    #expect(abs((metrics.meanSquaredError ?? 0) - numbers.mse) < 1e-7)
    #expect(abs((metrics.meanAbsoluteError ?? 0) - numbers.mae) < 1e-7)
    #expect(abs((metrics.determination ?? 0) - numbers.r2) < 1e-6)
    #expect(metrics.peakSignalToNoise == nil && metrics.structuralSimilarity == nil)
  }

  @Test(arguments: [false, true]) func picturesAgreeWithScikitImage(isInterleaved: Bool) throws {
    let pictures = report.pictures
    let (channels, height, width) = (3, 14, 13)
    let size = channels * height * width
    let shape = isInterleaved ? [height, width, channels] : [channels, height, width]
    let peak = ImageSimilarity.peak(of: pictures.targets)
    #expect(peak == 1)
    var metrics = ValueMetrics(width: size, image: ImageSimilarity(shape: shape, peak: peak))
    func ordered(_ values: ArraySlice<Float>) -> [Float] {
      let all = Array(values)
      guard isInterleaved else { return all }
      return (0..<size).map { all[$0 % channels * height * width + $0 / channels] }
    }
    for start in [0, size] {
      try metrics.add(
        outputs: ordered(pictures.outputs[start..<(start + size)])[...],
        targets: ordered(pictures.targets[start..<(start + size)]))
    }
    #expect(abs((metrics.peakSignalToNoise ?? 0) - pictures.psnr) < 1e-5)
    #expect(abs((metrics.structuralSimilarity ?? 0) - pictures.ssim) < 1e-9)
  }

  @Test func equalAndSmallPictures() throws {
    let image = ImageSimilarity(shape: [1, 4, 20], peak: 255)
    var metrics = ValueMetrics(width: 80, image: image)
    let values = [Float](repeating: 7, count: 80)
    try metrics.add(outputs: values[...], targets: values)
    #expect(metrics.items[0].peakSignalToNoise == .infinity)
    #expect(metrics.items[0].structuralSimilarity == nil)
    #expect(metrics.determination == nil)
    #expect(ImageSimilarity(shape: [2, 4, 20], peak: 1) == nil)
    #expect(ImageSimilarity.peak(of: [-1, 0.5]) == 2 && ImageSimilarity.peak(of: [0, 200]) == 255)
    #expect(throws: GraftError.self) {
      try metrics.add(outputs: values[..<4], targets: values)
    }
  }
}
