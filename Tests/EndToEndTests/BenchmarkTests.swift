// What graft bench says of each step: the work that the network asks for, and what the machine could do.
// Expected figures are products of the fixture's extents.

import Foundation
import Graft
import GraftTesting
import Testing

@Suite struct BenchmarkTests {
  /// winograd_residual: 1×1 from 3 to 27 channels and two 3×3 of 27 on 13 × 10 pixels, then 3×3 to 21 channels
  /// on 13 × 9.
  private static let multiplyAdds = [
    13 * 10 * 27 * 3, 13 * 10 * 27 * 27 * 9, 13 * 10 * 27 * 27 * 9, 13 * 9 * 21 * 27 * 9,
  ]
  /// What F(4×4, 3×3) multiplies: 36 points of 4 × 3 tiles; and F(2×2, 3×3): 16 of 7 × 5.
  private static let performed = [
    [13 * 10 * 27 * 3, 36 * 12 * 27 * 27, 36 * 12 * 27 * 27, 36 * 12 * 21 * 27],
    [13 * 10 * 27 * 3, 16 * 35 * 27 * 27, 16 * 35 * 27 * 27, 16 * 35 * 21 * 27],
  ]

  private func compile(isCompact: Bool, to path: String) throws {
    var options = Compiler.Options()
    options.isCompact = isCompact
    try Compiler(options).compile(ModelFixture.named("winograd_residual").modelPath, to: path)
  }

  @Test(arguments: [false, true])
  func workIsTheNetworks(isCompact: Bool) throws {
    try withTemporaryFolder { folder in
      let path = folder + "/net.graft"
      try compile(isCompact: isCompact, to: path)
      let manifest = try ModelBundle(opening: path).manifest
      let all = try #require(manifest.work)
      #expect(all.count == manifest.schedule.count)
      let steps = zip(manifest.schedule, all).filter { $0.1.multiplyAdds > 0 }
      #expect(steps.map(\.1.multiplyAdds) == Self.multiplyAdds)
      for (index, (line, work)) in steps.enumerated() {
        let algorithm = ["F(4x4", "F(2x2"].firstIndex { line.contains($0) }
        #expect(algorithm == nil || !isCompact)
        let expected = algorithm.map { Self.performed[$0] } ?? Self.multiplyAdds
        #expect(work.performedMultiplyAdds == expected[index], "\(line)")
      }
      if !isCompact { #expect(steps.contains { $0.0.contains("Winograd") }) }
    }
  }

  /// On a machine so slow that arithmetic, or memory, is all there is to wait for.
  @Test func sharesAreThoseOfTheLimits() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/net.graft"
      try compile(isCompact: false, to: path)
      let work = try #require(ModelBundle(opening: path).manifest.work)
      let benchmark = try Benchmark(loading: path, threads: 1, largestBatch: 3)
      for (limit, gigaflops, gigabytes) in [
        (Benchmark.Report.Layer.Limit.arithmetic, 1.0, 1e6), (.memory, 1e9, 1.0),
      ] {
        let report = try benchmark.run(
          batch: 3, seconds: 0.01,
          machine: MachineLimits(
            target: "made up", threads: 1, gigaflops: gigaflops, byteGigaops: gigaflops,
            halfGigaflops: gigaflops, gigabytesPerSecond: gigabytes))
        #expect(report.layers.count == work.count)
        for (layer, work) in zip(report.layers, work) where work.multiplyAdds > 0 {
          #expect(layer.limit == limit)
          let seconds = layer.milliseconds / 1000
          let operations = 2 * 3 * Double(work.multiplyAdds)
          #expect(abs(try #require(layer.gigaflops) * seconds * 1e9 / operations - 1) < 1e-9)
          let least =
            limit == .arithmetic
            ? 2 * 3 * Double(work.performedMultiplyAdds) / 1e9
            : Double(work.weightBytes > 0 ? work.weightBytes : 3 * work.activationBytes) / 1e9
          #expect(abs(try #require(layer.share) * seconds / least - 1) < 1e-9)
        }
        #expect(report.layerTable().contains("% of \(limit.rawValue)"))
        #expect(report.layerTable().contains(": Winograd F("))
      }
      let unmeasured = try benchmark.run(batch: 1, seconds: 0.01)
      #expect(unmeasured.layers.allSatisfy { $0.share == nil && $0.limit == nil })
    }
  }

  /// No core of today does less than 10⁸ operations a second, or more than 10¹² .
  @Test(arguments: [1, 2])
  func limitsAreThoseOfAMachine(threads: Int) throws {
    for target in [CompilationTarget.generic, .native] {
      let limits = try MachineLimits.measure(target: target, threads: threads)
      #expect(limits.target == target.name && limits.threads == threads)
      #expect((0.1...1000).contains(limits.gigaflops))
      #expect((0.1...20_000).contains(limits.byteGigaops))
      #expect((0.1...10_000).contains(limits.halfGigaflops))
      #expect((0.1...1000).contains(limits.gigabytesPerSecond))
    }
  }

  @Test func theCommandLineMeasuresTheMachine() throws {
    let measured = try GraftProgram.run(["bench", "--machine", "--threads", "1", "--json"])
    #expect(measured.status == 0, "\(measured.errors)")
    let object = try JSONSerialization.jsonObject(with: Data(measured.output.utf8))
    let limits = try #require(object as? [String: Any])
    #expect(limits["threads"] as? Int == 1)
    #expect(try #require(limits["gflops"] as? Double) > 0.1)
    #expect(try #require(limits["int8_gops"] as? Double) > 0.1)
    #expect(try #require(limits["bfloat16_gflops"] as? Double) > 0.1)
    #expect(try #require(limits["read_gb_per_s"] as? Double) > 0.1)
    #expect(try GraftProgram.run(["bench"]).status == 64)
  }

  /// Two threads on one core are not much slower than one: a machine is busy now and then, so the best of
  /// several rounds counts.
  @Test func threadsWithoutACoreEach() throws {
    let taskset = "/usr/bin/taskset"
    try #require(FileManager.default.isExecutableFile(atPath: taskset), "no \(taskset)")
    try withTemporaryFolder { folder in
      let path = folder + "/net.graft"
      try Compiler().compile(ModelFixture.named("winograd_residual").modelPath, to: path)
      let program = try GraftProgram.locate()
      func median(threads: Int) throws -> Double {
        let result = try GraftProgram.run(
          taskset,
          [
            "-c", "0", program, "bench", path, "--threads", "\(threads)", "--seconds", "0.3",
            "--json",
          ])
        let report = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
        return try #require((report as? [String: Any])?["median_ms"] as? Double)
      }
      let ratios = try (0..<4).map { _ in try median(threads: 2) / median(threads: 1) }
      #expect(ratios.min() ?? .infinity <= 1.5, "\(ratios)")
    }
  }
}
