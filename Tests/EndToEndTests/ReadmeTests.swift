// What the README shows of the library compiles and does what it says.

import Foundation
import Graft
import GraftTesting
import Testing

@Suite struct ReadmeTests {
  private let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  @Test func theExampleIsTheReadmes() throws {
    let readme = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
    let example = try String(
      contentsOf: root.appending(path: "Tests/EndToEndTests/ReadmeExample.swift"), encoding: .utf8)
    let code = try #require(example.range(of: "import Graft")).lowerBound
    #expect(readme.contains("```swift\n\(example[code...])```\n"))
  }

  /// Four hundred digits: not enough to be good, but of the fifth held out far more than one in ten is right.
  @Test func theExampleTrains() throws {
    try withTemporaryFolder { folder in
      var options = Compiler.Options()
      options.preprocessing = "cifar10"
      let bundle = folder + "/resnet20.graft"
      try Compiler(options).compile(
        root.appending(path: "models/resnet20-cifar10.onnx").path, to: bundle)
      let files = FileManager.default
      for digit in 0..<10 {
        let source = root.appending(path: "models/digits/train/\(digit)").path
        let target = folder + "/photos/\(digit)"
        try files.createDirectory(atPath: target, withIntermediateDirectories: true)
        for name in try files.contentsOfDirectory(atPath: source).sorted().prefix(40) {
          try files.copyItem(atPath: source + "/" + name, toPath: target + "/" + name)
        }
      }
      let accuracy = try #require(
        try tune(bundle, photos: folder + "/photos", to: folder + "/tuned.graft"))
      #expect(accuracy >= 0.5)
      #expect(try ModelBundle(opening: folder + "/tuned.graft").manifest.labels?.count == 10)
    }
  }
}
