// A network whose output is NaN for some pictures: every command says so, and for which picture.

import Foundation
import Graft
import GraftData
import GraftTesting
import Testing

@Suite("Outputs that are NaN")
struct NaNOutputTests {
  /// √(mean of each channel − ½), of pixels from 0 to 1: NaN for dark pictures; then a head of two classes.
  private static func network() -> ModelFile {
    var model = ModelFile()
    model.input("x", ["N", 3, 8, 8])
    model.weights("half", [1], value: 0.5)
    model.weights("fc.weight", [2, 3])
    model.weights("fc.bias", [2], value: 0.25)
    model.node("GlobalAveragePool", ["x"], ["means"])
    model.node("Flatten", ["means"], ["features"])
    model.node("Sub", ["features", "half"], ["difference"])
    model.node("Sqrt", ["difference"], ["root"])
    model.node(
      "Gemm", ["root", "fc.weight", "fc.bias"], ["y"], name: "fc",
      attributes: [ModelFile.attribute("transB", int: 1)])
    model.output("y", ["N", 2])
    return model
  }

  private struct Files {
    let bundle: String
    let data: String
    let bright: String
    let dark: String

    init(in folder: String) throws {
      bundle = folder + "/net.graft"
      data = folder + "/data"
      bright = data + "/a/bright.png"
      dark = data + "/b/dark.png"
      try Data(network().bytes).write(to: URL(filePath: folder + "/net.onnx"))
      try Data(
        """
        {"color": "RGB", "layout": "NCHW", "scale": 0.00392156862745098, "mean": [0, 0, 0], "std": [1, 1, 1]}
        """.utf8
      ).write(to: URL(filePath: folder + "/pixels.json"))
      let run = try GraftProgram.run([
        "compile", folder + "/net.onnx", "-o", bundle, "--tune", "off", "--preprocess",
        folder + "/pixels.json",
      ])
      try #require(run.status == 0, "\(run.errors)")
      for (path, level) in [(bright, UInt8(250)), (dark, 3)] {
        let url = URL(filePath: path)
        try FileManager.default.createDirectory(
          at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        let image = try Image(
          width: 8, height: 8, channels: 3, pixels: Array(repeating: level, count: 192))
        try Data(image.encodedPNG()).write(to: url)
      }
    }
  }

  @Test("predict goes on with the other pictures, in text, JSON and CSV")
  func predict() throws {
    try withTemporaryFolder { folder in
      let files = try Files(in: folder)
      let text = try GraftProgram.run(["predict", files.bundle, files.dark, files.bright])
      #expect(text.status == 1)
      #expect((text.output + text.errors).contains("contains NaN"), "\(text.output)\(text.errors)")
      #expect(text.output.contains("bright.png") && !text.output.contains("nan %"))
      let json = try GraftProgram.run([
        "predict", files.bundle, files.dark, files.bright, "--json", "--csv", folder + "/p.csv",
      ])
      #expect(json.status == 1)
      let parsed = try JSONSerialization.jsonObject(with: Data(json.output.utf8))
      #expect("\(parsed)".contains("contains NaN") && "\(parsed)".contains("bright.png"))
      let table = try String(contentsOfFile: folder + "/p.csv", encoding: .utf8)
      #expect(table.contains("contains NaN") && table.contains("bright.png"))
    }
  }

  @Test("evaluate and finetune name the first picture")
  func evaluateAndFinetune() throws {
    try withTemporaryFolder { folder in
      let files = try Files(in: folder)
      let evaluated = try GraftProgram.run(["evaluate", files.bundle, "--data", files.data])
      #expect(evaluated.status == 1)
      #expect(
        evaluated.errors.contains("dark.png") && evaluated.errors.contains("NaN"),
        "\(evaluated.errors)")
      let tuned = try GraftProgram.run([
        "finetune", files.bundle, "--data", files.data, "-o", folder + "/t.graft", "--epochs", "1",
        "--val-split", "0",
      ])
      #expect(tuned.status == 1)
      #expect(
        tuned.errors.contains("dark.png") && tuned.errors.contains("is not finite"),
        "\(tuned.errors)")
      #expect(!tuned.errors.contains("--lr"))
      #expect(!FileManager.default.fileExists(atPath: folder + "/t.graft"))
    }
  }

  @Test(
    "finetune names a picture of a later batch too, not the learning rate",
    arguments: [["--unfreeze", "none"], ["--unfreeze", "all", "--head", "keep"]])
  func laterBatch(_ options: [String]) throws {
    try withTemporaryFolder { folder in
      let files = try Files(in: folder)
      let manager = FileManager.default
      for number in 0..<30 {
        let name = "bright\(number).png"
        try manager.copyItem(atPath: files.bright, toPath: files.data + "/a/" + name)
        try manager.copyItem(atPath: files.bright, toPath: files.data + "/b/" + name)
      }
      let tuned = try GraftProgram.run(
        [
          "finetune", files.bundle, "--data", files.data, "-o", folder + "/t.graft", "--epochs",
          "1", "--val-split", "0", "--batch-size", "2",
        ] + options)
      #expect(tuned.status == 1)
      #expect(
        tuned.errors.contains("dark.png") && tuned.errors.contains("is not finite"),
        "\(tuned.errors)")
      #expect(!tuned.errors.contains("--lr"))
    }
  }
}
