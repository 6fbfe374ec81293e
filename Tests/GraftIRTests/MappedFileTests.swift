import CProcess
import Foundation
import GraftDiagnostics
import GraftIR
import GraftTesting
import Testing

/// Each in a process of its own: the handler of SIGBUS is the process's, and a cut file is remembered.
@Suite("Files that are cut short while they are mapped")
struct MappedFileTests {
  private static func path() -> String {
    NSTemporaryDirectory() + "/graft-cut-\(UUID().uuidString)"
  }

  @Test(
    "what is missing reads as zeros, and the file is named", arguments: [1, 4096, 5000, 12_287])
  func cut(to length: Int) async throws {
    await #expect(processExitsWith: .success) { [length = length as Int] in
      let path = MappedFileTests.path()
      try Data(repeating: 1, count: 12_288).write(to: URL(fileURLWithPath: path))
      defer { unlink(path) }
      CProcess_surviveCutFiles()
      var file: MappedFile? = try MappedFile(path)
      try MappedFile.checkNoneWasCut()
      truncate(path, off_t(length))
      let sum = file?.withUnsafeBytes { $0.reduce(0) { $0 + Int($1) } }
      #expect(sum == length)
      for _ in 0..<2 {
        do {
          try MappedFile.checkNoneWasCut()
          exit(1)
        } catch let error as GraftError {
          guard error.description.contains(path), error.description.contains("truncated") else {
            exit(2)
          }
        }
        // What was read before the mapping went may still be in use.
        file = nil
      }
      exit(sum == length ? 0 : 3)
    }
  }

  @Test("a file that another one replaced is whole")
  func replaced() async throws {
    await #expect(processExitsWith: .success) {
      let path = MappedFileTests.path()
      try Data(repeating: 1, count: 9000).write(to: URL(fileURLWithPath: path))
      defer { unlink(path) }
      CProcess_surviveCutFiles()
      let file = try MappedFile(path)
      try Data([1]).write(to: URL(fileURLWithPath: path + "2"))
      rename(path + "2", path)
      guard file.withUnsafeBytes({ $0.reduce(0) { $0 + Int($1) } }) == 9000 else { exit(1) }
      try MappedFile.checkNoneWasCut()
    }
  }

  @Test("another mapping, such as a library's, ends the process with a message that names the file")
  func otherMappings() async throws {
    let result = await #expect(
      processExitsWith: .exitCode(1), observing: [\.standardErrorContent]
    ) {
      let path = MappedFileTests.path()
      try Data(repeating: 1, count: 12_288).write(to: URL(fileURLWithPath: path))
      CProcess_surviveCutFiles()
      let file = open(path, O_RDONLY)
      let start = mmap(nil, 12_288, PROT_READ, MAP_SHARED, file, 0)
      truncate(path, 100)
      let byte = start?.load(fromByteOffset: 8192, as: UInt8.self)
      exit(Int32(byte ?? 0) + 10)
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(text.contains("graft-cut-") && text.contains("was truncated"), "\(text)")
  }
}
