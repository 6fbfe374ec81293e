// Files and folders that appear whole or not at all: over old ones, beside what is in the way, on a
// full disk, and when the process is interrupted.

import Foundation
import GraftData
import GraftDiagnostics
import Testing

private func contents(_ path: String) -> String? {
  FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
}

private func names(in folder: String) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
}

private struct Failure: Error {}

@Suite struct FileReplacementTests {
  @Test func writesAndReplaces() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/a.csv"
      try FileReplacement(at: path).write(Array("one".utf8))
      try FileReplacement(at: path).write(Array("two".utf8))
      #expect(contents(path) == "two")
      // A link stays a link.
      try FileManager.default.createSymbolicLink(
        atPath: folder + "/link", withDestinationPath: "a.csv")
      try FileReplacement(at: folder + "/link").write(Array("three".utf8))
      #expect(contents(path) == "three")
      #expect(try names(in: folder) == ["a.csv", "link"])
    }
  }

  @Test func leavesEverythingAsItWasOnFailure() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/a"
      try FileReplacement(at: path).write([1])
      #expect(throws: Failure.self) {
        try FileReplacement(at: path).write { temporary in
          try Data([9]).write(to: URL(fileURLWithPath: temporary))
          throw Failure()
        }
      }
      #expect(FileManager.default.contents(atPath: path) == Data([1]))
      #expect(try names(in: folder) == ["a"])
    }
  }

  @Test func refusesWhatIsInTheWay() throws {
    try withTemporaryFolder { folder in
      expectError(.inputOutput, containing: "/dev/null: exists and is not a regular file") {
        _ = try FileReplacement(at: "/dev/null")
      }
      expectError(.inputOutput, containing: "exists and is not a regular file") {
        _ = try FileReplacement(at: folder)
      }
      expectError(.inputOutput, containing: "cannot be written: No such file or directory") {
        _ = try FileReplacement(at: folder + "/absent/a")
      }
      try write([1], to: "bundle/manifest.json", in: folder)
      expectError(.invalidArgument, containing: "the output is the input") {
        _ = try FileReplacement(
          at: folder + "/bundle/manifest.json",
          keeping: [folder + "/bundle/../bundle/manifest.json"])
      }
      expectError(.invalidArgument, containing: "the output is inside the input") {
        _ = try FileReplacement(at: folder + "/bundle/new", keeping: [folder + "/bundle"])
      }
      expectError(.invalidArgument, containing: "the output path has no file name") {
        _ = try FileReplacement(at: "")
      }
    }
  }
}

@Suite struct DirectoryReplacementTests {
  private func make(_ text: String, at path: String) throws {
    try DirectoryReplacement(at: path).write { folder in
      for name in ["manifest.json", "sub/data"] {
        try GraftDataTests.write(Array(text.utf8), to: name, in: folder)
      }
    }
  }

  @Test func exchangesBundles() throws {
    try withTemporaryFolder { folder in
      try make("one", at: folder + "/b")
      try make("two", at: folder + "/b/")
      #expect(contents(folder + "/b/sub/data") == "two")
      #expect(try names(in: folder) == ["b"])
      #expect(throws: Failure.self) {
        try DirectoryReplacement(at: folder + "/b").write { _ in throw Failure() }
      }
      #expect(contents(folder + "/b/sub/data") == "two")
      #expect(try names(in: folder) == ["b"])
    }
  }

  @Test func refusesWhatIsNoBundleOrAnInput() throws {
    try withTemporaryFolder { folder in
      try write([1], to: "stuff/a", in: folder)
      expectError(.inputOutput, containing: "stuff: exists and is not a bundle") {
        _ = try DirectoryReplacement(at: folder + "/stuff")
      }
      expectError(.inputOutput, containing: "stuff/a: exists and is not a bundle") {
        _ = try DirectoryReplacement(at: folder + "/stuff/a")
      }
      try make("one", at: folder + "/b")
      expectError(.invalidArgument, containing: "the output is the input") {
        _ = try DirectoryReplacement(at: folder + "/b", keeping: [folder + "/./b"])
      }
      expectError(.inputOutput, containing: "cannot be written", "No such file or directory") {
        _ = try DirectoryReplacement(at: folder + "/absent/b")
      }
    }
  }

  @Test("An interrupt ends the process and leaves nothing", arguments: [SIGINT, SIGTERM])
  func removesTemporariesWhenInterrupted(number: Int32) async throws {
    let folder = NSTemporaryDirectory() + "/graft-data-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    await #expect(processExitsWith: .signal(number)) {
      [folder = folder as String, number = number as Int32] in
      // It may have been started with the signal ignored, as background jobs are.
      signal(number, SIG_DFL)
      TemporaryPaths.removeOnInterrupt()
      try DirectoryReplacement(at: folder + "/b").write { inner in
        for file in 0... {
          try? Data([1]).write(to: URL(fileURLWithPath: inner + "/\(file)"))
          if file == 20 { kill(getpid(), number) }
        }
      }
    }
    #expect(try names(in: folder) == [])
  }

  @Test(
    "A full disk is named and leaves nothing",
    .enabled(if: canMount, "needs a small tmpfs, which only root may mount"))
  func namesFullDisks() throws {
    try withTemporaryFolder { folder in
      try #require(Self.mount(on: folder))
      defer { _ = Self.run("umount", folder) }
      let large = [UInt8](repeating: 1, count: 200_000)
      expectError(
        .inputOutput, containing: folder + "/a.npy: cannot be written: No space left",
        "Free some disk space"
      ) {
        try FileReplacement(at: folder + "/a.npy").write(large)
      }
      expectError(.inputOutput, containing: "x.npy: cannot be written: No space left") {
        try DirectoryReplacement(at: folder + "/b").write { inner in
          let writer = try NPYWriter(inner + "/x.npy", element: .float32, rowShape: [50_000])
          try writer.append([Float](repeating: 0, count: 50_000))
          try writer.finish()
        }
      }
      #expect(try names(in: folder) == [])
    }
  }

  /// Containers may forbid mounting even to root.
  private static let canMount: Bool = {
    let tried = try? withTemporaryFolder { folder in
      mount(on: folder) && run("umount", folder)
    }
    return tried ?? false
  }()

  private static func mount(on folder: String) -> Bool {
    run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder)
  }

  private static func run(_ command: String...) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
}
