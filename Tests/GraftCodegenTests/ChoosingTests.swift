// Choosing and rendering apart from any compiler: schedules are legal, templates say what they lack,
// names cannot break out of C.

import Foundation
import GraftDiagnostics
import GraftOps
import Testing

@testable import GraftCodegen
@testable import GraftIR

@Suite struct ChoosingTests {
  @Test func tilesCoverEveryPixelOnce() {
    for target in [Target.generic, .x8664v3, .x8664v4, .aarch64] {
      for pixels in 1...200 {
        for most in 1...12 {
          let (parts, narrow, wide) = RegisterTile.balanced(pixels, most: most)
          #expect(parts * narrow + wide == pixels)
          #expect(narrow + (wide > 0 ? 1 : 0) <= most && narrow >= 1 && wide < parts)
        }
      }
      for blocks in 1...40 {
        let (tileBlocks, pixels) = RegisterTile.choose(outputBlocks: blocks, target: target)
        let product = target.hasFusedMultiplyAdd ? 0 : 1
        #expect(tileBlocks <= blocks)
        #expect(tileBlocks * pixels + tileBlocks + 1 + product <= target.registers)
      }
    }
  }

  @Test func groupedWindowsHoldTheirChannels() throws {
    for (channels, outputs, groups) in [
      (96, 256, 2), (20, 40, 4), (33, 66, 11), (7, 14, 7), (60, 60, 3),
    ] {
      let shape = ConvolutionShape(
        channels: channels, height: 8, width: 8, outputs: outputs, resultHeight: 8, resultWidth: 8,
        window: Window(kernel: [3, 3], pads: [1, 1, 1, 1]), groups: groups)
      let direct = DirectSchedule(shape, isPlanar: false, target: .x8664v3)
      let windows = try #require(direct.windows)
      #expect(windows.isUniform || direct.chunk == direct.inputBlocks)
      for output in 0..<outputs {
        let group = output / (direct.tileBlocks * 8)
        let channel = output / (outputs / groups) * (channels / groups)
        #expect(windows.first[group] * 8 <= channel)
        let end = windows.first[group] + windows.counts[group]
        #expect(end * 8 >= channel + channels / groups)
        #expect(windows.counts[group] <= direct.inputBlocks && end <= (channels + 7) / 8)
      }
    }
  }

  /// Tiles of two blocks would multiply groups of 4 and of 8 channels by as many zeros and more.
  @Test func narrowGroupsTakeNarrowTiles() {
    func tileBlocks(_ perGroup: Int) -> Int {
      let shape = ConvolutionShape(
        channels: 32 * perGroup, height: 14, width: 14, outputs: 32 * perGroup, resultHeight: 14,
        resultWidth: 14, window: Window(kernel: [3, 3], pads: [1, 1, 1, 1]), groups: 32)
      return DirectSchedule(shape, isPlanar: false, target: .x8664v3).tileBlocks
    }
    #expect([4, 8, 16, 32].map(tileBlocks) == [1, 1, 2, 2])
  }

  /// ShuffleNet's groups of 80 to 20 channels: only the tile that reaches over two groups reads both.
  @Test func windowsOfWideGroupsStayWhole() throws {
    let shape = ConvolutionShape(
      channels: 240, height: 28, width: 28, outputs: 60, resultHeight: 28, resultWidth: 28,
      window: Window(kernel: [1, 1]), groups: 3)
    let direct = DirectSchedule(shape, isPlanar: false, target: .x8664v3)
    #expect(direct.windows?.counts == [10, 10, 20, 10, 10, 10, 10, 10])
    #expect(direct.windows?.first == [0, 0, 0, 10, 10, 20, 20, 20])
  }

  @Test func smallImagesSplitOutputsAndLargeOnesPixels() {
    func splitsTiles(_ size: Int, _ channels: Int) -> Bool {
      let shape = ConvolutionShape(
        channels: channels, height: size, width: size, outputs: channels, resultHeight: size,
        resultWidth: size, window: Window(kernel: [3, 3], pads: [1, 1, 1, 1]), groups: 1)
      return DirectSchedule(shape, isPlanar: false, target: .x8664v3).splitsTiles
    }
    #expect(splitsTiles(56, 64))
    #expect(!splitsTiles(14, 256))
    #expect(splitsTiles(8, 64))
  }

  /// Winograd's algorithm for gradients of 3x3 weights with stride 1 that read blocks of channels, over tiles
  /// that fit the cache: whole register tiles, sets that cover every channel and output once.
  @Test func winogradTakesGradientsOfWeights() throws {
    func schedule(
      _ channels: Int, _ size: Int, stride: Int = 1, isPlanar: Bool = false, target: Target
    ) throws -> any WeightGradientKernel {
      let window = Window(kernel: [3, 3], strides: [stride, stride], pads: [1, 1, 1, 1])
      let result = (size - 1) / stride + 1
      func image(_ side: Int, block: Int, border: Int) throws -> ImageGeometry {
        var type = TensorType(
          .float32, TensorShape([.batch, Dimension(channels), Dimension(side), Dimension(side)]))
        type.layout = Layout(channelBlock: block, borderHeight: border, borderWidth: border)
        return try ImageGeometry(type)
      }
      return try WeightGradientNode(
        shape: ConvolutionShape(
          channels: channels, height: size, width: size, outputs: channels, resultHeight: result,
          resultWidth: result, window: window, groups: 1),
        x: image(size, block: isPlanar ? 1 : target.lanes, border: 1),
        dy: image(result, block: target.lanes, border: 0), images: 32, target: target,
        values: (ValueID(0), ValueID(1), ValueID(2))
      ).schedule()
    }
    for target in [Target.generic, .x8664v3, .x8664v4, .aarch64] {
      for (channels, size) in [(64, 56), (128, 28), (200, 14), (512, 7)] {
        let kernel = try schedule(channels, size, target: target) as? WinogradWeightGradient
        let winograd = try #require(
          kernel?.schedule, "\(channels) channels of \(size)x\(size) on \(target.name)")
        let lanes = target.lanes
        #expect(winograd.transform == .four)
        #expect(lanes.isMultiple(of: winograd.tileOutputs))
        #expect(winograd.inputSets * winograd.setInputs >= winograd.inputBlocks)
        #expect((winograd.inputSets - 1) * winograd.setInputs < winograd.inputBlocks)
        #expect(
          winograd.inputSets == 1 || winograd.setInputs.isMultiple(of: winograd.tileBlocks))
        let results =
          winograd.side * winograd.setInputs * winograd.setOutputs * lanes * lanes
        #expect((results + winograd.scratchFloats(lanes: lanes)) * 4 <= target.cacheBytes)
      }
      #expect(try schedule(64, 56, stride: 2, target: target) is BlockedWeightGradient)
      #expect(try schedule(3, 56, isPlanar: true, target: target) is BlockedWeightGradient)
    }
  }

  @Test func templatesNameWhatIsMissing() {
    let template = Template(name: "t.c", text: "int a;\nint @b@;\n  @lines@\nend")
    let error = BundleTests.failure { _ = try template.render(["lines": ""]) }
    #expect(error?.message == "template t.c, line 2: no value for @b@")
    #expect(
      (try? template.render(["b": "x", "lines": "one\ntwo"])) == "int a;\nint x;\n  one\n  two\nend"
    )
    #expect((try? template.render(["b": "x", "lines": ""])) == "int a;\nint x;\nend")
    let odd = BundleTests.failure { _ = try Template(name: "t.c", text: "a @ b").render([:]) }
    #expect(odd?.message == "template t.c, line 1: an unmatched @")
  }

  @Test func namesCannotLeaveTheirComment() {
    #expect(CText.escaped("a*/b\"\\\n?") == "a\\052/b\\042\\134\\012\\077")
    #expect(CText.escaped("é") == "\\303\\251")
    #expect(CText.float(0.1) == "0.1f")
    #expect(CText.float(-.infinity) == "-__builtin_inff()")
    #expect(CText.comment(String(repeating: "x", count: 10_000)).count < 500)
  }

  @Test func targetsOfMachines() throws {
    let zen3 = "flags\t: sse4_2 popcnt avx avx2 bmi1 bmi2 f16c fma abm movbe"
    #expect(Target.best(forCPU: zen3) == .x8664v3)
    let skylake = zen3 + " avx512f avx512bw avx512cd avx512dq avx512vl"
    #expect(Target.best(forCPU: skylake) == .x8664v4)
    #expect(Target.best(forCPU: "flags: sse2") == .generic)
    #expect(BundleTests.failure { _ = try Target(named: "vax") }?.kind == .invalidArgument)
  }

  @Test func missingCompilerIsNamed() {
    let error = BundleTests.failure { _ = try Toolchain.find(environment: ["PATH": "/nowhere"]) }
    #expect(error?.message == "no clang on PATH")
    let wrong = BundleTests.failure {
      _ = try Toolchain.find(environment: ["GRAFT_CLANG": "/nowhere/clang"])
    }
    #expect(wrong?.message == "GRAFT_CLANG is \"/nowhere/clang\", which is not executable")
  }
}
