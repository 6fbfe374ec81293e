// Every command where the machine gives out: outputs that cannot be written, few descriptors, processes,
// little memory, small files. The contract: status 0, 1 or 64, never a signal, never a wait without end, and
// a message wherever standard error takes one.

import Foundation
import GraftTesting
import Testing

/// A bundle of a tiny classifier of pictures, and data for it, for all tests.
private let prepared: Result<Scratch, any Error> = Result {
  let scratch = try Scratch()
  var model = ModelFile.convolution()
  model.graph.removeLast()
  model.node("GlobalAveragePool", ["y"], ["p"])
  model.node("Flatten", ["p"], ["logits"])
  model.output("logits", ["N", 4])
  try scratch.write(model.bytes, "model.onnx")
  let spec =
    #"{"resize":{"exact":[8,8],"filter":"bilinear","antialias":true},"color":"RGB","#
    + #""layout":"NCHW","scale":0.00392156862745098,"mean":[0,0,0],"std":[1,1,1]}"#
  try scratch.write(Array(spec.utf8), "spec.json")
  let photo = repository.appending(path: "models/photos/cat.jpg")
  for index in 0..<8 {
    let folder = scratch.url("data/\(index % 4)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try FileManager.default.copyItem(at: photo, to: folder.appending(path: "\(index).jpg"))
  }
  let outcome = try GraftProgram.run([
    "compile", scratch.url("model.onnx").path, "-o", scratch.url("b.graft").path,
    "--preprocess", scratch.url("spec.json").path, "--tune", "off",
  ])
  try #require(outcome.status == 0, "\(outcome.errors)")
  // Another user may have to read it.
  let opened = try GraftProgram.run("/bin/chmod", ["-R", "a+rX", scratch.folder.path])
  try #require(opened.status == 0)
  return scratch
}

@Suite("Where the machine gives out")
struct LimitTests {
  /// A limit as a shell sets it, or a redirection.
  struct Limit: CustomTestStringConvertible, Sendable {
    var name: String
    var before = "true"
    var redirection = ""
    var hasErrors = true
    var testDescription: String { name }
  }

  static let limits = [
    Limit(name: "standard error closed", redirection: "2>&-", hasErrors: false),
    Limit(name: "standard error full", redirection: "2>/dev/full", hasErrors: false),
    Limit(name: "every descriptor closed", redirection: "<&- >&- 2>&-", hasErrors: false),
    Limit(name: "standard output full", redirection: ">/dev/full"),
    Limit(name: "16 descriptors", before: "ulimit -n 16"),
    Limit(name: "100 MB of addresses", before: "ulimit -v 100000"),
    Limit(name: "400 MB of addresses", before: "ulimit -v 400000"),
    Limit(name: "files of 4 kB", before: "ulimit -f 4"),
    Limit(name: "256 kB of stack", before: "ulimit -s 256"),
  ]

  /// Every command, writing into `out`.
  private static func commands(_ scratch: Scratch, _ out: String) -> [[String]] {
    let (bundle, data) = (scratch.url("b.graft").path, scratch.url("data").path)
    let picture = scratch.url("data/0/0.jpg").path
    return [
      ["compile", scratch.url("model.onnx").path, "-o", out + "/c.graft", "--tune", "off"],
      ["dump", bundle], ["dump", scratch.url("model.onnx").path, "--format", "json"],
      [
        "run", bundle, "--input", "x=\(scratch.url("absent.npy").path)", "--output-dir",
        out + "/r",
      ],
      ["predict", bundle, picture], ["evaluate", bundle, "--data", data],
      ["preprocess", bundle, "--data", data, "--output-dir", out + "/p"],
      ["export", bundle, "-o", out + "/e.onnx"], ["bench", bundle, "--seconds", "0.05"],
      ["verify", bundle], ["--version"], ["bench"],
      [
        "finetune", bundle, "--data", data, "-o", out + "/t.graft", "--epochs", "1",
        "--batch-size", "4",
      ],
    ]
  }

  private func check(_ limit: Limit, as launcher: [String] = []) throws {
    let scratch = try prepared.get()
    let program = try GraftProgram.locate()
    let own = try Scratch()
    for (index, command) in Self.commands(scratch, own.folder.path).enumerated() {
      let script = "\(limit.before) && exec \"$@\" \(limit.redirection)"
      let arguments =
        Array(launcher.dropFirst())
        + (launcher.isEmpty ? [] : ["/bin/sh"]) + ["-c", script, "sh"]
        + ["/usr/bin/timeout", "-s", "KILL", "300", program] + command
      let result = try GraftProgram.run(launcher.first ?? "/bin/sh", arguments)
      let what = "\(limit.name): \(command.first ?? ""), \(index)"
      // Where not even the program can be loaded, the loader says so.
      let isUnloaded =
        result.status == 127 && result.errors.contains("error while loading shared libraries")
      #expect(
        isUnloaded || [0, 1, 64].contains(result.status),
        "\(what): \(result.status) \(result.errors)")
      if result.status != 0, limit.hasErrors { #expect(!result.errors.isEmpty, "\(what)") }
    }
    let left = own.listing.filter { ($0 as NSString).lastPathComponent.hasPrefix(".") }
    #expect(left.isEmpty, "\(limit.name) leaves \(left)")
  }

  @Test("no command ends in a signal or waits without end", arguments: limits)
  func holds(_ limit: Limit) throws { try check(limit) }

  /// The limit on processes does not bind root.
  private static let otherUser = [
    "/usr/bin/setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups",
  ]

  private static let canBeAnotherUser: Bool = {
    guard getuid() == 0, let program = try? GraftProgram.locate() else { return false }
    let test = Array(otherUser.dropFirst()) + ["/usr/bin/test", "-x", program]
    return (try? GraftProgram.run(otherUser[0], test).status) == 0
  }()

  @Test(
    "no command waits without end where no thread and no program can be started",
    .enabled(
      if: canBeAnotherUser, "needs root, setpriv, and a build that other users may read"))
  func holdsWithFewProcesses() throws {
    try check(Limit(name: "3 processes", before: "ulimit -p 3"), as: Self.otherUser)
  }

  @Test("results that cannot be written are an error", arguments: [">/dev/full", ">&-"])
  func unwritableResults(_ redirection: String) throws {
    let program = try GraftProgram.locate()
    for command in [["verify", try prepared.get().url("b.graft").path], ["--version"], ["--help"]] {
      let result = try GraftProgram.run(
        "/bin/sh", ["-c", "exec \"$@\" \(redirection)", "sh", program] + command)
      #expect(result.status == 1 && result.errors.contains("standard output cannot be written"))
    }
  }

  @Test("a network that fixes its batch is timed at it")
  func fixedBatch() throws {
    let scratch = try Scratch()
    var model = ModelFile()
    model.input("x", [2, 3, 4, 4])
    model.integers("shape", [6, 16])
    model.node("Reshape", ["x", "shape"], ["r"])
    model.node("Relu", ["r"], ["y"])
    model.output("y", [6, 16])
    let bundle = scratch.url("fixed.graft").path
    let made = try GraftProgram.run([
      "compile", try scratch.write(model.bytes, "fixed.onnx"), "-o", bundle, "--tune", "off",
      "--preprocess", "none",
    ])
    try #require(made.status == 0, "\(made.errors)")
    for batch in [[], ["--batch", "2"]] {
      let result = try GraftProgram.run(["bench", bundle, "--seconds", "0.05", "--json"] + batch)
      #expect(result.status == 0 && result.output.contains("\"batch\" : 2"), "\(result.errors)")
    }
    try GraftProgram.expectFailure(
      ["bench", bundle, "--batch", "3"], saying: ["has the fixed batch size 2"])
  }
}
