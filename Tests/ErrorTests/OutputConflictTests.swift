// Outputs over inputs, through the real executable: refused before any work, and nothing is changed.

import Foundation
import GraftTesting
import Testing

private let training = fixtures.appending(path: "training")

@Suite("Outputs that are in the way of something")
struct OutputConflictTests {
  private func bundle(in scratch: Scratch) throws -> String {
    let bundle = scratch.url("network.graft").path
    let result = try GraftProgram.run([
      "compile", training.appending(path: "network.onnx").path, "-o", bundle, "--preprocess",
      "cifar10", "--tune", "off",
    ])
    #expect(result.status == 0, "\(result.errors)")
    return bundle
  }

  @Test("every command refuses an output that is an input or another output, and changes nothing")
  func conflicts() throws {
    let scratch = try Scratch()
    let bundle = try bundle(in: scratch)
    let picture = repository.appending(path: "models/digits/train/0/0000.png")
    let pictures = try ["a.png", "b.png"].map { name in
      try scratch.write(Array(Data(contentsOf: picture)), name)
    }
    let (out, manifest) = (scratch.url("out").path, bundle + "/manifest.json")
    let data = ["--data", training.path]
    let finetune = ["finetune", bundle] + data
    let cases: [(arguments: [String], message: String)] = [
      (["predict", bundle, "--csv"] + pictures, "is not a text file, which --csv writes"),
      (
        ["predict", bundle, "--csv", pictures[0]] + pictures,
        "is not a text file, which --csv writes"
      ),
      (["predict", bundle, pictures[1], "--csv", manifest], "is inside the input BUNDLE"),
      (["evaluate", bundle, "--predictions", manifest] + data, "is inside the input BUNDLE"),
      (
        ["evaluate", bundle, "--predictions", out, "--confusion", out] + data,
        "the output --predictions is also the output --confusion"
      ),
      (["preprocess", bundle, "--output-dir", training.path] + data, "is the input --data"),
      (["export", bundle, "-o", manifest], "is inside the input BUNDLE"),
      (["compile", bundle, "-o", bundle + "/"], "the output -o is the input MODEL"),
      (finetune + ["-o", bundle + "/x.graft"], "is inside the input BUNDLE"),
      (finetune + ["-o", out, "--checkpoint", bundle], "is a bundle"),
      (
        finetune + ["-o", out, "--checkpoint", out], "the output --checkpoint is also the output -o"
      ),
      (
        finetune + ["-o", out + "/", "--metrics", out], "the output --metrics is also the output -o"
      ),
      (finetune + ["-o", out, "--report", out + "/r.html"], "cannot be written"),
      (finetune + ["-o", out, "--tensorboard", bundle + "/tb"], "is inside the input BUNDLE"),
      (finetune + ["-o", "/"], "the output path has no file name"),
      (finetune + ["-o", out, "--resume", scratch.url("typo").path], "no checkpoint to resume"),
    ]
    let before = scratch.listing
    for (arguments, message) in cases {
      try GraftProgram.expectFailure(arguments, saying: [message], "\(arguments)")
      #expect(scratch.listing == before, "\(arguments)")
    }
    #expect(try Data(contentsOf: URL(filePath: pictures[0])) == Data(contentsOf: picture))
    #expect(try GraftProgram.run(["verify", bundle]).status == 0)
  }

  @Test("a checkpoint of an earlier run is kept until --overwrite")
  func earlierCheckpoint() throws {
    let scratch = try Scratch()
    let bundle = try bundle(in: scratch)
    let (output, state) = (scratch.url("out.graft").path, scratch.url("state").path)
    let arguments = [
      "finetune", bundle, "--data", training.path, "--epochs", "1", "--batch-size", "4", "--lr",
      "1e-8", "-o", output + "/", "--checkpoint", state,
    ]
    let first = try GraftProgram.run(arguments)
    #expect(first.status == 0, "\(first.errors)")
    #expect(!FileManager.default.fileExists(atPath: output + ".lock"))
    let file = URL(filePath: state + "/state.safetensors")
    let before = try Data(contentsOf: file)
    try GraftProgram.expectFailure(
      arguments, saying: ["the checkpoint of an earlier run", "--resume \(state)", "--overwrite"])
    #expect(try Data(contentsOf: file) == before)
    #expect(try GraftProgram.run(arguments + ["--overwrite"]).status == 0)
    #expect(try Data(contentsOf: file) != before)
  }

  /// The paths of each command as the executable tells them: every argument that completes to a file or a
  /// folder.
  private func declaredPaths() throws -> [String: Set<String>] {
    let result = try GraftProgram.run(["--experimental-dump-help"])
    let document = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    let root = (document as? [String: Any])?["command"] as? [String: Any]
    var paths: [String: Set<String>] = [:]
    for command in root?["subcommands"] as? [[String: Any]] ?? [] {
      guard let name = command["commandName"] as? String, name != "help" else { continue }
      let arguments = command["arguments"] as? [[String: Any]] ?? []
      paths[name] = Set(
        arguments.compactMap { argument in
          let kinds = (argument["completionKind"] as? [String: Any])?.keys
          guard kinds.map({ $0.contains("file") || $0.contains("directory") }) == true else {
            return nil
          }
          if argument["kind"] as? String == "positional" {
            return (argument["valueName"] as? String ?? "").uppercased()
          }
          let preferred = (argument["preferredName"] as? [String: Any])?["name"] as? String ?? ""
          return ["o", "output"].contains(preferred) ? "-o" : "--" + preferred
        })
    }
    return paths
  }

  @Test("docs/files.md lists every path of every command")
  func documented() throws {
    let text = try String(contentsOf: repository.appending(path: "docs/files.md"), encoding: .utf8)
    var listed: [String: Set<String>] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix("| `") {
      let words = line.split(separator: "`").enumerated().filter { $0.offset % 2 == 1 }
        .map { String($0.element) }
      listed[words[0]] = Set(words.dropFirst())
    }
    for (command, paths) in try declaredPaths() {
      #expect(
        listed[command]?.subtracting(["--input"])
          == paths.map { name in
            name == "IMAGES" ? "IMAGE" : name
          }.reduce(into: Set()) { $0.insert($1) }.subtracting(["--input"]), "\(command)")
    }
  }
}
