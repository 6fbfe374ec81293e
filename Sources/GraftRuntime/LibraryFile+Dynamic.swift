// The dynamic section of a library, which tells the loader where its tables are. Tables must agree with the
// sections, and relocations may only write to writable memory.

import GraftDiagnostics

extension LibraryFile {
  /// Tags of the dynamic section that are checked, and the type of the section that each refers to.
  private enum Tag {
    static let end: UInt64 = 0
    static let needed: UInt64 = 1
    static let jumpRelocationBytes: UInt64 = 2
    static let strings: UInt64 = 5
    static let symbols: UInt64 = 6
    static let relocations: UInt64 = 7
    static let relocationBytes: UInt64 = 8
    static let relocationEntry: UInt64 = 9
    static let stringBytes: UInt64 = 10
    static let symbolEntry: UInt64 = 11
    static let initializer: UInt64 = 12
    static let finalizer: UInt64 = 13
    static let name: UInt64 = 14
    static let jumpRelocationKind: UInt64 = 20
    static let textRelocations: UInt64 = 22
    static let jumpRelocations: UInt64 = 23
    static let lastKnown: UInt64 = 37
    static let hash: UInt64 = 4
    static let gnuHash: UInt64 = 0x6fff_fef5

    /// Tags whose value is the address of a section of one type.
    static let tables: [UInt64: UInt32] = [
      hash: 5, gnuHash: 0x6fff_fff6, strings: 3, symbols: 11, relocations: 4, 36: 19, 25: 14,
      26: 15, 32: 16, 0x6fff_fff0: 0x6fff_ffff, 0x6fff_fffc: 0x6fff_fffd,
      0x6fff_fffe: 0x6fff_fffe,
    ]
    /// Tags whose value is the number of bytes of such a section.
    static let sizes: [UInt64: UInt32] = [stringBytes: 3, 27: 14, 28: 15, 33: 16, 35: 19]
    /// Tags whose value is the number of entries that such a section's header states.
    static let counts: [UInt64: UInt32] = [0x6fff_fffd: 0x6fff_fffd, 0x6fff_ffff: 0x6fff_fffe]
    /// Entry sizes, and the only supported kind of relocations.
    static let fixed: [UInt64: UInt64] = [
      relocationEntry: 24, symbolEntry: 24, jumpRelocationKind: relocations, 37: 8,
    ]
  }

  func checkDynamic() throws {
    let parts = segments.filter { $0.type == Segment.dynamic }
    let records = sections.filter { $0.type == 6 }
    guard parts.count == 1, records.count == 1, let part = parts.first, let record = records.first,
      part.address == record.address, part.offset == record.offset, part.fileBytes == record.bytes,
      part.memoryBytes == record.bytes, record.bytes % 16 == 0
    else { throw damaged("its dynamic section is not where its segments say") }
    let entries = try dynamicEntries(from: part.offset, count: part.fileBytes / 16)
    for (tag, value) in entries {
      guard tag <= Tag.lastKnown || tag >= 0x6000_0000 else {
        throw damaged("its dynamic section has the unknown tag \(tag)")
      }
      try check(tag, value)
    }
    let tags = Dictionary(entries, uniquingKeysWith: { first, _ in first })
    guard tags[Tag.strings] != nil, tags[Tag.stringBytes] != nil, tags[Tag.symbols] != nil,
      tags[Tag.symbolEntry] != nil, tags[Tag.hash] != nil || tags[Tag.gnuHash] != nil,
      tags[Tag.textRelocations] == nil
    else { throw damaged("its dynamic section lacks what the loader needs") }
    for (tag, value) in entries where tag == Tag.needed || tag == Tag.name {
      guard value < tags[Tag.stringBytes] ?? 0 else {
        throw damaged("its dynamic section names a library beyond its strings")
      }
    }
    try checkRelocations(
      at: tags[Tag.relocations], bytes: tags[Tag.relocationBytes],
      hasEntrySize: tags[Tag.relocationEntry] != nil)
    try checkRelocations(
      at: tags[Tag.jumpRelocations], bytes: tags[Tag.jumpRelocationBytes],
      hasEntrySize: tags[Tag.jumpRelocationKind] != nil)
  }

  private func dynamicEntries(
    from start: UInt64, count: UInt64
  ) throws -> [(tag: UInt64, value: UInt64)] {
    var entries: [(UInt64, UInt64)] = []
    for index in 0..<min(count, 4096) {
      let tag = try number(UInt64.self, at: start + 16 * index)
      if tag == Tag.end { return entries }
      entries.append((tag, try number(UInt64.self, at: start + 16 * index + 8)))
    }
    throw damaged("its dynamic section has no end")
  }

  private func check(_ tag: UInt64, _ value: UInt64) throws {
    func isSection(_ type: UInt32, _ fits: (Section) -> Bool) -> Bool {
      sections.contains { $0.isLoaded && $0.type == type && fits($0) }
    }
    let isRight =
      if let type = Tag.tables[tag] {
        isSection(type) { $0.address == value }
      } else if let type = Tag.sizes[tag] {
        isSection(type) { $0.bytes == value }
      } else if let type = Tag.counts[tag] {
        isSection(type) { UInt64($0.information) == value }
      } else if tag == Tag.initializer || tag == Tag.finalizer {
        sections.contains { $0.isExecutable && $0.address == value }
      } else if let known = Tag.fixed[tag] {
        value == known
      } else {
        true
      }
    guard isRight else {
      throw damaged("its dynamic section and its sections do not agree on tag \(tag)")
    }
  }

  /// Checks that relocations write addresses to data, and that their symbol indices are valid.
  private func checkRelocations(at address: UInt64?, bytes: UInt64?, hasEntrySize: Bool) throws {
    guard let address else {
      guard bytes == nil else { throw damaged("it has relocations without an address") }
      return
    }
    let tables = sections.filter { $0.isLoaded && $0.type == 4 && $0.address >= address }
    guard let bytes, hasEntrySize, bytes % 24 == 0, bytes < 1 << 32,
      let first = tables.first(where: { $0.address == address }), first.bytes <= bytes,
      tables.contains(where: { $0.address - address + $0.bytes == bytes })
    else { throw damaged("its relocations are not where its sections are") }
    let symbols = sections.first { $0.type == 11 }.map { $0.bytes / 24 } ?? 0
    let written = segments.filter { $0.type == Segment.loaded && $0.isWritable }
    for entry in 0..<(bytes / 24) {
      let start = first.offset + 24 * entry
      let target = try number(UInt64.self, at: start)
      let symbol = try number(UInt64.self, at: start + 8) >> 32
      let isWritable = written.contains {
        target >= $0.address && $0.memoryBytes >= 8
          && target - $0.address <= $0.memoryBytes - 8
      }
      guard isWritable, symbol < symbols else {
        throw damaged("a relocation writes where nothing may be written")
      }
    }
  }
}
