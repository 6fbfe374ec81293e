import Foundation
import GraftTesting
import Testing

/// One bundle for all tests, compiled by the real executable; each test damages a copy.
private let compiled: Result<Scratch, any Error> = Result {
  let scratch = try Scratch()
  let outcome = try GraftProgram.run([
    "compile", fixtures.appending(path: "classifier.onnx").path, "-o",
    scratch.url("good.graft").path,
    "--preprocess", "none", "--tune", "off",
  ])
  try #require(outcome.status == 0, "\(outcome.errors)")
  return scratch
}

@Suite("Bundles and data that cannot be used")
struct BundleErrorTests {
  private func copy(into scratch: Scratch) throws -> URL {
    let bundle = scratch.url("copy.graft")
    try FileManager.default.copyItem(at: try compiled.get().url("good.graft"), to: bundle)
    return bundle
  }

  private var input: String { fixtures.appending(path: "classifier.input0.npy").path }

  @Test("the bundle is good before anything is done to it")
  func good() throws {
    let outcome = try GraftProgram.run(["verify", try compiled.get().url("good.graft").path])
    #expect(outcome.status == 0, "\(outcome.errors)")
  }

  @Test("one flipped bit in any file of a bundle is found, and the file named")
  func flippedBit() throws {
    let scratch = try Scratch()
    let bundle = try copy(into: scratch)
    let names = try FileManager.default.subpathsOfDirectory(atPath: bundle.path).sorted()
    #expect(names.contains("manifest.json") && names.contains("libmodel.so"))
    for name in names {
      let url = bundle.appending(path: name)
      guard let good = try? Data(contentsOf: url), !good.isEmpty else { continue }
      var bad = good
      bad[bad.count / 2] ^= 1
      try bad.write(to: url)
      // The digest beside the manifest is told as the manifest's damage.
      let named = name.hasPrefix("manifest") ? "manifest" : name
      try GraftProgram.expectFailure(["verify", bundle.path], saying: ["copy.graft", named], name)
      try good.write(to: url)
    }
    #expect(try GraftProgram.run(["verify", bundle.path]).status == 0)
  }

  @Test(
    "a bundle whose code or weights are damaged is not run",
    arguments: [
      "libmodel.so", "packed.bin", "manifest.json",
    ])
  func damagedRun(_ name: String) throws {
    let scratch = try Scratch()
    let bundle = try copy(into: scratch)
    let url = bundle.appending(path: name)
    var bytes = try Data(contentsOf: url)
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: url)
    let before = scratch.listing
    let stem = name.split(separator: ".")[0]
    let inputName = try inputName()
    try GraftProgram.expectFailure(
      [
        "run", bundle.path, "--input", "\(inputName)=\(input)", "--output-dir",
        scratch.url("out").path,
      ], saying: [String(stem)])
    #expect(scratch.listing == before)
  }

  /// The name of the only input, from the manifest.
  private func inputName() throws -> String {
    struct Manifest: Decodable {
      struct Tensor: Decodable { var name: String }
      var inputs: [Tensor]
    }
    let data = try Data(
      contentsOf: try compiled.get().url("good.graft").appending(path: "manifest.json"))
    return try #require(JSONDecoder().decode(Manifest.self, from: data).inputs.first).name
  }

  @Test("a folder that is no bundle")
  func noBundle() throws {
    let scratch = try Scratch()
    for command in ["verify", "bench"] {
      try GraftProgram.expectFailure(
        [command, scratch.folder.path], saying: ["not a bundle"], command)
    }
  }

  @Test("a picture that is none, and a folder without pictures")
  func noPictures() throws {
    let scratch = try Scratch()
    let spec =
      #"{"resize":{"exact":[8,8],"filter":"bilinear","antialias":true},"color":"RGB","#
      + #""layout":"NCHW","scale":0.00392156862745098,"mean":[0,0,0],"std":[1,1,1]}"#
    let preprocess = try scratch.write(Array(spec.utf8), "spec.json")
    let bundle = scratch.url("pictures.graft").path
    let shape = try Self.pictureModel(scratch)
    let outcome = try GraftProgram.run([
      "compile", shape, "-o", bundle, "--preprocess", preprocess, "--tune", "off",
    ])
    try #require(outcome.status == 0, "\(outcome.errors)")
    let text = try scratch.write(Array("no picture".utf8), "note.jpg")
    try expectAnswersBesideBrokenPictures(bundle, text, scratch)
    let empty = scratch.url("empty")
    try FileManager.default.createDirectory(at: empty, withIntermediateDirectories: true)
    try GraftProgram.expectFailure(["evaluate", bundle, "--data", empty.path], saying: ["empty"])
    try GraftProgram.expectFailure(
      ["evaluate", bundle, "--data", scratch.url("none").path], saying: ["none"])
  }

  /// The other pictures are answered, and the broken one's line says why, wherever answers are written.
  private func expectAnswersBesideBrokenPictures(
    _ bundle: String, _ broken: String, _ scratch: Scratch
  ) throws {
    let picture = repository.appending(path: "models/digits/train/0/0000.png").path
    let images = [picture, broken, scratch.url("absent.png").path, picture]
    let csv = scratch.url("answers.csv").path
    let text = try GraftProgram.run(["predict", bundle] + images + ["--csv", csv, "--top-k", "1"])
    #expect(text.status == 1)
    #expect(text.errors.contains("note.jpg: not an image"), "\(text.errors)")
    #expect(text.errors.contains("2 of 4 images could not be classified"), "\(text.errors)")
    let lines = text.output.split(separator: "\n")
    #expect(lines.count == 8, "\(text.output)")
    #expect(lines[3].contains("not an image: neither a JPEG nor a PNG file"))
    #expect(lines[5].contains("cannot be opened"))
    #expect(lines[7].contains(" %  "))
    let table = try String(contentsOfFile: csv, encoding: .utf8).split(separator: "\r\n")
    #expect(table.count == 5 && table[0] == "file,rank,class,probability,error")
    #expect(table[2].hasSuffix("note.jpg,,,,not an image: neither a JPEG nor a PNG file"))

    struct Document: Decodable {
      struct Answer: Decodable {
        struct Candidate: Decodable { var label: String }
        var file: String
        var classes: [Candidate]
        var error: String?
      }
      var predictions: [Answer]
    }
    let json = try GraftProgram.run(["predict", bundle] + images + ["--json"])
    #expect(json.status == 1)
    let document = try JSONDecoder().decode(Document.self, from: Data(json.output.utf8))
    #expect(document.predictions.map(\.file) == images)
    #expect(document.predictions.map { $0.error == nil } == [true, false, false, true])
    #expect(document.predictions.map { $0.classes.isEmpty } == [false, true, true, false])
  }

  /// A classifier of pictures of 8 × 8.
  private static func pictureModel(_ scratch: Scratch) throws -> String {
    var model = ModelFile.convolution()
    model.graph.removeLast()
    model.node("GlobalAveragePool", ["y"], ["p"])
    model.node("Flatten", ["p"], ["logits"])
    model.output("logits", ["N", 4])
    return try scratch.write(model.bytes, "pictures.onnx")
  }
}
