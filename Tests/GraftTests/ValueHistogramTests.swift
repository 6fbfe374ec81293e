// Ranges that calibrators choose from known distributions.

import Foundation
import GraftTesting
import Testing

@testable import Graft

@Suite struct ValueHistogramTests {
  private func histogram(_ parts: [[Float]]) -> ValueHistogram {
    var histogram = ValueHistogram()
    for part in parts { histogram.add(part) }
    return histogram
  }

  @Test func minmaxIsExact() {
    let seen = histogram([[0.25, -0.5], [3, 1], [-0.125]])
    #expect(seen.range(by: .minmax) == -0.5...3)
  }

  /// Of 20,000 numbers evenly from -1 to 1, one at each end is the outermost hundredth of a percent.
  @Test func percentileLeavesOutTheOutermost() throws {
    let even = (0..<20000).map { Float($0) / 10000 - 1 }
    let range = try #require(histogram([even, [40, -40]]).range(by: .percentile))
    #expect(range.lowerBound < -0.99 && range.lowerBound >= -1.05)
    #expect(range.upperBound > 0.99 && range.upperBound <= 1.05)
    #expect(histogram([[0, 1, 2, 3]]).range(by: .percentile) == 0...3)
  }

  private func normal(_ count: Int) -> [Float] {
    var random = SplitMix(seed: 3)
    return (0..<count).map { _ -> Float in
      let (u, v) = (random.number(in: 1e-9...1.0), random.number(in: 0...1.0))
      return Float((-2 * log(u)).squareRoot() * cos(2 * .pi * v))
    }
  }

  /// The range of 256 levels with the least squared error for a normal distribution ends at 3.92 standard deviations
  /// (Banner et al. 2019, "Post training 4-bit quantization", section 3: the clipping value of a normal distribution at 8 bits).
  @Test func theBestRangeOfANormalDistribution() throws {
    let range = try #require(histogram([normal(200_000)]).range(by: .mse))
    #expect(range.upperBound > 3.6 && range.upperBound < 4.3, "\(range)")
  }

  @Test func entropyLeavesOutliersOut() throws {
    let range = try #require(histogram([normal(200_000), [30, -30]]).range(by: .entropy))
    #expect(range.upperBound > 2.5 && range.upperBound < 9, "\(range)")
    #expect(range.lowerBound == -range.upperBound)
  }

  /// Behind a relu half of the numbers are 0, which says nothing about the others.
  @Test(arguments: CalibrationMethod.allCases)
  func zerosDoNotCount(method: CalibrationMethod) throws {
    let positive = normal(50_000).map { max(0, $0) }
    let range = try #require(histogram([positive]).range(by: method))
    #expect(range.upperBound > 2.5, "\(range)")
    #expect(range == histogram([positive.filter { $0 > 0 } + [0]]).range(by: method))
  }

  /// A distribution without outliers keeps its range.
  @Test func anEvenDistributionIsKept() throws {
    let even = (0..<20000).map { Float($0) / 20000 }
    let range = try #require(histogram([even]).range(by: .mse))
    #expect(range.upperBound > 0.97)
  }

  @Test(arguments: CalibrationMethod.allCases)
  func whatHasNoRange(method: CalibrationMethod) {
    #expect(histogram([]).range(by: method) == nil)
    #expect(histogram([[1, .infinity]]).range(by: method) == nil)
    #expect(histogram([[1, .nan]]).range(by: method) == nil)
    #expect(histogram([[0, 0, 0]]).range(by: method) == 0...0)
    #expect(histogram([[5]]).range(by: .minmax) == 5...5)
    #expect(histogram([[1e-38, 3e38]]).range(by: method) != nil)
  }
}
