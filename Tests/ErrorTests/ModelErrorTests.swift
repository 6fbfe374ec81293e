import Foundation
import GraftTesting
import Testing

@Suite("Models that cannot be compiled")
struct ModelErrorTests {
  @Test(
    "a bad model ends in status 1, a message that names it, and no output", arguments: BadModel.all)
  func badModel(_ model: BadModel) throws {
    let scratch = try Scratch()
    let path = try scratch.write(model.bytes, "model.onnx")
    try GraftProgram.expectFailure(
      ["compile", path, "-o", scratch.url("out.graft").path], saying: ["model.onnx"] + model.says)
    #expect(scratch.listing == ["model.onnx"])
    try GraftProgram.expectFailure(["dump", path], saying: model.says)
  }

  // SkeletonTests cuts the same network at every 4 KiB.
  @Test("a real network that ends too early is told as such")
  func truncated() throws {
    let whole = try Data(contentsOf: resnet20)
    let cuts = [
      4096, 65_536, whole.count / 8192 * 4096, whole.count / 4096 * 4096, whole.count - 1,
    ]
    for cut in cuts {
      let scratch = try Scratch()
      let path = try scratch.write(Array(whole[..<cut]), "model.onnx")
      try GraftProgram.expectFailure(
        ["compile", path, "-o", scratch.url("out.graft").path],
        saying: ["model.onnx", "the file is truncated"], "cut at \(cut)")
      #expect(scratch.listing == ["model.onnx"])
    }
  }

  // MARK: External data

  private func model(external entries: [(String, String)]) -> [UInt8] {
    var model = ModelFile()
    model.input("x", ["N", 3, 8, 8])
    model.initializer("w", [1, 3, 1, 1], type: 1, data: ModelFile.external(entries))
    model.node("Conv", ["x", "w"], ["y"], name: "conv")
    model.output("y", ["N", 1, 8, 8])
    return model.bytes
  }

  @Test(
    "external data stays in the model's folder",
    arguments: [
      ("/etc/hostname", "absolute path"), ("../secret.bin", #"contains "..""#),
      ("link.bin", "symbolic link to a file outside"),
      ("short.bin", "too short: it has 8 bytes, 12 are needed"), ("none.bin", "No such file"),
    ])
  func externalData(_ location: String, _ reason: String) throws {
    let scratch = try Scratch()
    try scratch.write([UInt8](repeating: 0, count: 12), "secret.bin")
    try scratch.write([UInt8](repeating: 0, count: 8), "models/short.bin")
    try FileManager.default.createSymbolicLink(
      atPath: scratch.url("models/link.bin").path, withDestinationPath: "../secret.bin")
    let path = try scratch.write(model(external: [("location", location)]), "models/model.onnx")
    let before = scratch.listing
    try GraftProgram.expectFailure(
      ["compile", path, "-o", scratch.url("out.graft").path],
      saying: ["model.onnx", #"node "w""#, reason, "\"\(location)\""])
    #expect(scratch.listing == before)
  }

  @Test("where the model is a link, its data may lie where that leads, and nowhere else")
  func linkedModel() throws {
    let scratch = try Scratch()
    let snapshot = scratch.url("snapshots/1")
    try FileManager.default.createDirectory(at: snapshot, withIntermediateDirectories: true)
    func link(_ name: String, to target: String) throws {
      try FileManager.default.createSymbolicLink(
        atPath: snapshot.appending(path: name).path, withDestinationPath: target)
    }
    try scratch.write([UInt8](repeating: 0, count: 12), "blobs/b2")
    try scratch.write([UInt8](repeating: 0, count: 12), "secret.bin")
    try link("data.bin", to: "../../blobs/b2")
    try link("secret.bin", to: "../../secret.bin")
    for (index, location) in ["data.bin", "b2", "secret.bin"].enumerated() {
      try scratch.write(model(external: [("location", location)]), "blobs/m\(index)")
      try link("model\(index).onnx", to: "../../blobs/m\(index)")
    }
    for index in 0..<2 {
      let path = snapshot.appending(path: "model\(index).onnx").path
      #expect(try GraftProgram.run(["dump", path]).status == 0)
    }
    try GraftProgram.expectFailure(
      ["dump", snapshot.appending(path: "model2.onnx").path],
      saying: ["model2.onnx", "symbolic link to a file outside"])
  }
}

@Suite("Files and folders that cannot be used")
struct FileErrorTests {
  private let good = fixtures.appending(path: "classifier.onnx").path

  @Test("a model that is not there, or is a folder")
  func missing() throws {
    let scratch = try Scratch()
    let output = scratch.url("out.graft").path
    try GraftProgram.expectFailure(
      ["compile", scratch.url("none.onnx").path, "-o", output], saying: ["none.onnx"])
    try GraftProgram.expectFailure(
      ["compile", scratch.folder.path, "-o", output], saying: [scratch.folder.path])
    #expect(scratch.listing.isEmpty)
  }

  @Test("a model that must not be read", .enabled(if: geteuid() != 0, "root may read everything"))
  func unreadable() throws {
    let scratch = try Scratch()
    let path = try scratch.write(ModelFile.convolution().bytes, "model.onnx")
    try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: path)
    try GraftProgram.expectFailure(
      ["compile", path, "-o", scratch.url("out.graft").path],
      saying: ["model.onnx", "Permission denied"])
  }

  @Test("an output that cannot be written, or that is something else")
  func unwritable() throws {
    let scratch = try Scratch()
    let file = try scratch.write([1, 2, 3], "precious.txt")
    let before = scratch.listing
    let outputs = [
      ("/proc/out.graft", "/proc/"), (scratch.url("precious.txt/out.graft").path, "cannot be"),
      (file, "exists and is not a bundle"),
    ]
    for (output, reason) in outputs {
      try GraftProgram.expectFailure(["compile", good, "-o", output], saying: [reason], output)
    }
    #expect(scratch.listing == before)
    #expect(try Data(contentsOf: URL(filePath: file)) == Data([1, 2, 3]))
  }

  @Test("an output that is the input")
  func outputIsInput() throws {
    let scratch = try Scratch()
    let bytes = ModelFile.convolution().bytes
    let path = try scratch.write(bytes, "model.onnx")
    try GraftProgram.expectFailure(["compile", path, "-o", path], saying: ["model.onnx"])
    #expect(try Data(contentsOf: URL(filePath: path)) == Data(bytes))
    #expect(scratch.listing == ["model.onnx"])
  }

  @Test("no clang on PATH")
  func noCompiler() throws {
    let scratch = try Scratch()
    try GraftProgram.expectFailure(
      ["compile", good, "-o", scratch.url("out.graft").path], saying: ["no clang on PATH"],
      environment: ["PATH": "/nonexistent", "GRAFT_CLANG": ""])
    #expect(scratch.listing.isEmpty)
  }

  /// Whether a small file system of one's own can be had, to fill it.
  private static let canMount = runs(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"])

  @Test("a full disk", .enabled(if: canMount, "no file system of our own to fill"))
  func fullDisk() throws {
    let scratch = try Scratch()
    let folder = scratch.url("small")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let graft = try GraftProgram.locate()
    let script = """
      mount -t tmpfs -o size=16k none '\(folder.path)' || exit 99
      '\(graft)' compile '\(good)' -o '\(folder.path)/out.graft' 2>'\(scratch.url("stderr").path)'
      status=$?
      ls -A '\(folder.path)' >'\(scratch.url("left").path)'
      exit $status
      """
    #expect(Self.status(["unshare", "-rm", "sh", "-c", script]) == 1)
    let errors = try String(contentsOf: scratch.url("stderr"), encoding: .utf8)
    #expect(errors.contains("No space left"), "\(errors)")
    #expect(try String(contentsOf: scratch.url("left"), encoding: .utf8).isEmpty)
  }

  private static func runs(_ command: [String]) -> Bool { status(command) == 0 }

  private static func status(_ command: [String]) -> Int32? {
    try? GraftProgram.run("/usr/bin/env", command).status
  }
}
