// Going on from a checkpoint through the real executable: with the recorded options alone, and refused,
// before any work, where an option or the data are not what they were.

import Foundation
import GraftTesting
import Testing

private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()
private let network = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/training/network.onnx").path

@Suite("Going on from a checkpoint")
struct ResumeTests {
  /// A bundle, pictures of two digits, and the state of two epochs of four in `folder`/state.
  private func begun(in folder: String) throws -> (bundle: String, data: String, state: String) {
    let (bundle, data, state) = (folder + "/net.graft", folder + "/data", folder + "/state")
    let made = try GraftProgram.run([
      "compile", network, "-o", bundle, "--preprocess", "cifar10", "--tune", "off",
    ])
    try #require(made.status == 0, "\(made.errors)")
    let digits = root.appending(path: "models/digits/train")
    for digit in ["0", "1"] {
      let from = digits.appending(path: digit)
      let to = data + "/" + digit
      try FileManager.default.createDirectory(atPath: to, withIntermediateDirectories: true)
      for name in try FileManager.default.contentsOfDirectory(atPath: from.path).sorted().prefix(8)
      {
        try FileManager.default.copyItem(
          atPath: from.appending(path: name).path, toPath: to + "/" + name)
      }
    }
    try Data("notes".utf8).write(to: URL(filePath: data + "/0/notes.txt"))
    let run = try GraftProgram.run([
      "finetune", bundle, "--data", data, "-o", folder + "/first.graft", "--epochs", "2",
      "--schedule", "constant", "--batch-size", "4", "--lr", "0.01", "--checkpoint", state,
    ])
    try #require(run.status == 0, "\(run.errors)")
    return (bundle, data, state)
  }

  @Test("the checkpoint's options are enough; what differs is named before any work")
  func resumes() throws {
    try withTemporaryFolder { folder in
      let (bundle, data, state) = try begun(in: folder)
      try FileManager.default.removeItem(atPath: folder + "/first.graft")
      let alone = try GraftProgram.run(["finetune", "--resume", state])
      #expect(alone.status == 0, "\(alone.errors)")
      #expect(FileManager.default.fileExists(atPath: folder + "/first.graft"))
      // What is left out of the data is told before the frozen layers run.
      let lines = alone.errors.split(separator: "\n")
      let told = lines.firstIndex { $0.contains("1 entry is not a JPEG or PNG file") }
      let work = lines.firstIndex { $0.contains("of frozen features") }
      #expect(try #require(told) < #require(work), "\(alone.errors)")
      let report = try String(contentsOfFile: folder + "/first.graft/report.html", encoding: .utf8)
      #expect(report.contains("1 entry is not a JPEG or PNG file"))

      let output = ["-o", folder + "/second.graft"]
      for (options, message) in [
        (["--lr", "0.1"], "--lr was 0.01 in the checkpoint, is 0.1 now"),
        (
          ["--batch-size", "8", "--nesterov"],
          "--batch-size was 4 in the checkpoint, is 8 now; "
            + "--nesterov was off in the checkpoint, is on now"
        ),
        (["--val", data], "--val was not given in the checkpoint, but is now"),
      ] {
        let result = try GraftProgram.run(["finetune", "--resume", state] + options + output)
        #expect(result.status == 1 && result.errors.contains(message), "\(result.errors)")
        #expect(!result.errors.contains("frozen features"), "\(result.errors)")
      }
      // The same options again, and another place for the data.
      try FileManager.default.moveItem(atPath: data, toPath: data + "2")
      let moved = try GraftProgram.run(
        ["finetune", bundle, "--data", data + "2", "--lr", "0.010", "--resume", state] + output)
      #expect(moved.status == 0, "\(moved.errors)")

      let files = try FileManager.default.contentsOfDirectory(atPath: data + "2/0").sorted()
      try FileManager.default.removeItem(atPath: data + "2/0/" + files[0])
      try Data("x".utf8).write(to: URL(filePath: data + "2/0/" + files[1]))
      let changed = try GraftProgram.run(
        ["finetune", "--data", data + "2", "--resume", state] + output)
      #expect(changed.status == 1)
      for part in [
        "--data changed: 1 file gone: \"0/\(files[0])\"", "1 file with another size",
        "15 items instead of 16",
      ] {
        #expect(changed.errors.contains(part), "\(changed.errors)")
      }
    }
  }

  @Test("an interruption before the first epoch says that nothing is kept")
  func interrupted() throws {
    try withTemporaryFolder { folder in
      let (bundle, data, _) = try begun(in: folder)
      let program = try GraftProgram.locate()
      // The compiler that the step waits for sends the signal.
      let (clang, pid) = (folder + "/clang", folder + "/pid")
      let script = """
        #!/bin/sh
        case "$1" in --version) exec clang "$@";; esac
        kill -TERM $(cat '\(pid)')
        sleep 5

        """
      try Data(script.utf8).write(to: URL(filePath: clang))
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: clang)
      // Tests run on threads that hold signals back, which programs inherit.
      let unblocked = "sigprocmask(SIG_SETMASK, POSIX::SigSet->new); exec @ARGV"
      let result = try GraftProgram.run(
        "/bin/sh",
        [
          "-c", "echo $$ >'\(pid)'; exec \"$@\"", "sh", "/usr/bin/perl", "-MPOSIX", "-e", unblocked,
          program, "finetune", bundle, "--data", data,
          "-o", folder + "/x.graft", "--epochs", "1",
        ], environment: ProcessInfo.processInfo.environment.merging(["GRAFT_CLANG": clang]) { $1 })
      #expect(result.status != 0)
      #expect(
        result.errors.contains("interrupted before the end of the first epoch; nothing was saved"),
        "\(result.errors)")
    }
  }
}
