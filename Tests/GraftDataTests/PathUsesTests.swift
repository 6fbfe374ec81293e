// What a command may write, given what it reads and what else it writes.

import Foundation
import GraftDiagnostics
import GraftTesting
import Testing

@testable import GraftData

@Suite struct PathUsesTests {
  /// A bundle, a photograph, class folders, tensors.
  private func withFiles(_ body: (String) throws -> Void) throws {
    try withTemporaryFolder { folder in
      for name in [
        "net.graft/manifest.json", "photo.jpg", "classes/cat/1.jpg", "tensors/x.npy",
        "empty/readme",
      ] { try write([1], to: name, in: folder) }
      try FileManager.default.createSymbolicLink(
        atPath: folder + "/link", withDestinationPath: "net.graft")
      try FileManager.default.createSymbolicLink(
        atPath: folder + "/dangling", withDestinationPath: "new.csv")
      try FileManager.default.linkItem(
        atPath: folder + "/photo.jpg", toPath: folder + "/hard.jpg")
      try FileManager.default.linkItem(
        atPath: folder + "/net.graft/manifest.json", toPath: folder + "/hard.json")
      try body(folder)
    }
  }

  private func uses(_ folder: String) -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", folder + "/net.graft")
    uses.read("IMAGE", folder + "/photo.jpg")
    uses.read("--data", folder + "/classes", .data)
    uses.read("--val", folder + "/tensors", .data)
    return uses
  }

  @Test func keepsOutputsFromInputs() throws {
    try withFiles { folder in
      let refused: [(String, PathUses.Output, String)] = [
        ("photo.jpg", .file, "is the input IMAGE"), ("hard.jpg", .file, "is the input IMAGE"),
        ("absent/../empty/.././photo.jpg", .file, "is the input IMAGE"),
        ("net.graft/manifest.json", .file, "is inside the input BUNDLE"),
        ("link/new.csv", .file, "is inside the input BUNDLE"),
        ("hard.json", .file, "is another name of \"manifest.json\" in the input BUNDLE"),
        ("net.graft", .bundle, "is the input BUNDLE"),
        ("net.graft/", .bundle, "is the input BUNDLE"),
        ("net.graft/x.graft", .bundle, "is inside the input BUNDLE"),
        ("net.graft/sub/deep", .files(["*"]), "is inside the input BUNDLE"),
        ("net.graft", .files(["*"]), "is a bundle"), ("link/", .files(["*"]), "is a bundle"),
        ("classes", .files(["a"]), "is the input --data"),
        ("classes/out", .files(["a"]), "is inside the data --data"),
        ("classes/out.graft", .bundle, "is inside the data --data"),
        ("classes/cat/table.csv", .file, "is inside the data --data"),
        ("classes/x.npy", .file, "is inside the data --data"),
        ("tensors/x.npy", .file, "is inside the data --val"),
        (".", .files(["photo.*"]), "would overwrite the input IMAGE"),
        ("", .file, "has no file name"), ("table/", .file, "has no file name"),
        ("empty/..", .file, "has no file name"), ("absent/t.csv", .file, "cannot be written"),
        ("empty", .bundle, "exists and is not a bundle"),
        ("empty", .file, "exists and is not a regular file"),
        ("photo.jpg/below", .files(["a"]), "the folder cannot be created"),
        ("", .bundle, "has no file name"), ("..", .bundle, "has no file name"),
      ]
      for (path, kind, message) in refused {
        var uses = uses(folder)
        uses.write("-o", path.isEmpty ? "" : folder + "/" + path, kind)
        let error = #expect(throws: GraftError.self, "\(path)") { try uses.check() }
        #expect(error?.message.contains(message) == true, "\(path): \(error?.message ?? "")")
      }
      let taken: [(String, PathUses.Output)] = [
        ("table.csv", .file), ("dangling", .file), ("classes/table.csv", .file),
        ("tensors/table.csv", .file), ("tensors/new.graft", .bundle), ("new.graft/", .bundle),
        ("empty", .files(["a"])), ("a/b/c", .files(["a"])), (".", .files(["y.npy"])),
      ]
      for (path, kind) in taken {
        var uses = uses(folder)
        uses.write("-o", folder + "/" + path, kind)
        #expect(throws: Never.self, "\(path)") { try uses.check() }
      }
    }
  }

  @Test func keepsWhatABundleWouldReplace() throws {
    try withFiles { folder in
      var uses = PathUses()
      uses.read("--labels", folder + "/net.graft/manifest.json")
      uses.write("-o", folder + "/net.graft", .bundle)
      let error = #expect(throws: GraftError.self) { try uses.check() }
      #expect(error?.message.contains("would replace the input --labels") == true)
    }
  }

  @Test func keepsOutputsFromEachOther() throws {
    try withFiles { folder in
      let pairs: [((String, PathUses.Output), (String, PathUses.Output), String?)] = [
        (("a", .file), ("./a", .file), "is also the output first"),
        (("a", .file), ("dangling", .file), nil),
        (("new.csv", .file), ("dangling", .file), "is also the output first"),
        (("new", .bundle), ("new/", .files(["s"])), "is also the output first"),
        (("new", .bundle), ("new/log", .files(["s"])), "is inside the output first"),
        (("new/log/x", .files(["s"])), ("new", .bundle), "conflicts with the output first"),
        (("s", .files(["a", "best-*"])), ("s", .files(["b"])), nil),
        (
          ("s", .files(["a", "best-*"])), ("s", .files(["*.b", "best-1"])), "is the folder of first"
        ),
        (("empty", .files(["a"])), ("empty/a", .file), "is a file of the output first"),
        (("empty", .files(["a"])), ("empty/b", .file), nil),
        (("s", .file), ("s/b", .files(["x"])), "is inside the output first"),
      ]
      for (first, second, message) in pairs {
        var uses = uses(folder)
        uses.write("first", folder + "/" + first.0, first.1)
        uses.write("second", folder + "/" + second.0, second.1)
        do {
          try uses.check()
          #expect(message == nil, "\(first) \(second)")
        } catch let error as GraftError {
          let isExpected = message.map { error.message.contains($0) } ?? false
          #expect(isExpected, "\(first) \(second): \(error.message)")
        }
      }
    }
  }

  @Test func locksWhatIsWritten() throws {
    try withTemporaryFolder { folder in
      let output = folder + "/out.graft"
      var first = try PathLock(on: output)
      #expect(first != nil)
      let error = #expect(throws: GraftError.self) { _ = try PathLock(on: output + "/") }
      #expect(error?.message == "another run (process \(getpid())) is writing it")
      first = nil
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
      // What a killed process leaves behind.
      try write(Array("1".utf8), to: "out.graft.lock", in: folder)
      first = try PathLock(on: output)
      #expect(first != nil)
      #expect(try PathLock(on: folder + "/absent/out.graft") == nil)
    }
  }
}
