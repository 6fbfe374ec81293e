// Event files byte for byte as TensorBoard's own writer makes them (tools/verify-tensorboard --fixture).

import Foundation
import GraftDiagnostics
import Testing

@testable import GraftData

@Suite struct EventFileTests {
  @Test func checksumIsCastagnolis() {
    // RFC 3720, appendix B.4, and the catalog's check value.
    #expect(EventFile.checksum(Array("123456789".utf8)) == 0xe306_9283)
    #expect(EventFile.checksum(Array(repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(EventFile.checksum([]) == 0)
  }

  @Test func bytesAreTensorBoards() throws {
    try withTemporaryFolder { folder in
      let file = try EventFile(folder + "/events", time: 1.5e9)
      try file.add([("train/loss", 2.25), ("val/accuracy", 0.1)], step: 1, time: 1.5e9 + 1)
      try file.add([("train/loss", 1e-8)], step: 300, time: 1.5e9 + 300)
      try file.close()
      #expect(
        try Data(contentsOf: URL(filePath: folder + "/events"))
          == Data(contentsOf: Fixture.all.appending(path: "tensorboard.tfevents")))
    }
  }

  @Test func filesOfOneFolderHaveNamesOfTheirOwn() throws {
    try withTemporaryFolder { folder in
      for _ in 0..<2 { try EventFile(in: folder + "/run", time: 1_700_000_000.5).close() }
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder + "/run").sorted() == [
          "events.out.tfevents.1700000000.graft", "events.out.tfevents.1700000000.graft.1",
        ])
    }
  }
}
