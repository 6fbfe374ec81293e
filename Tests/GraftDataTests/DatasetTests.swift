// Data folders of every kind, real and hostile, and the loader that makes batches of them.

import Foundation
import GraftData
import GraftDiagnostics
import Testing

/// A gray PNG of one value.
private func picture(_ value: UInt8, edge: Int = 4) throws -> [UInt8] {
  try Image(
    width: edge, height: edge, channels: 1, pixels: [UInt8](repeating: value, count: edge * edge)
  ).encodedPNG()
}

private func link(_ path: String, to target: String) throws {
  try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
}

@Suite struct ImageFolderTests {
  @Test func takesClassesAndFilesInCodePointOrder() throws {
    try withTemporaryFolder { folder in
      // U+1F600 sorts behind U+FF5A by code point, before it in UTF-16.
      for name in ["b/2.png", "b/10.PNG", "B/x.jpeg.png", "😀/1.png", "ｚ/1.png", "é/1.png"] {
        try write(picture(1), to: name, in: folder)
      }
      let data = try ImageFolder(folder)
      #expect(data.classes == ["B", "b", "é", "ｚ", "😀"])
      #expect(
        (0..<data.count).map(data.name)
          == ["B/x.jpeg.png", "b/10.PNG", "b/2.png", "é/1.png", "ｚ/1.png", "😀/1.png"])
      #expect((0..<data.count).map(data.label) == [0, 1, 1, 2, 3, 4])
      #expect(data.warnings.isEmpty)
    }
  }

  @Test func countsStrayFilesByKindAndFollowsLinks() throws {
    try withTemporaryFolder { folder in
      try write(picture(1), to: "cat/1.png", in: folder)
      try write(picture(2), to: "elsewhere/2.png", in: folder + "/..")
      defer { try? FileManager.default.removeItem(atPath: folder + "/../elsewhere") }
      try link(folder + "/dog", to: "../elsewhere")
      try link(folder + "/cat/linked.png", to: "1.png")
      try link(folder + "/cat/nowhere.png", to: "absent.png")
      try link(folder + "/cat/circle.png", to: "circle.png")
      try link(folder + "/loop", to: ".")
      try link(folder + "/up", to: "..")
      try link(folder + "/cat/self", to: ".")
      for name in ["README.md", "cat/a.txt", "cat/b.TXT", "cat/c.webp", "top.jpg", "cat/Makefile"] {
        try write([1], to: name, in: folder)
      }
      try write([1], to: ".git/config", in: folder)
      let data = try ImageFolder(folder)
      #expect(data.classes == ["cat", "dog"])
      #expect((0..<data.count).map(data.name) == ["cat/1.png", "cat/linked.png", "dog/2.png"])
      let warning = try #require(data.warnings.first)
      for part in [
        "12 entries are not", "2 .txt", "1 .md", "1 .webp", "1 without extension",
        "1 image outside class folders", "2 broken links", "2 links to a parent folder",
      ] { #expect(warning.message.contains(part), "\(warning.message) lacks \(part)") }
    }
  }

  @Test func matchesLabelsByName() throws {
    try withTemporaryFolder { folder in
      try write(picture(1), to: "dog/1.png", in: folder)
      try write(picture(1), to: "cat/1.png", in: folder)
      try FileManager.default.createDirectory(
        atPath: folder + "/notes", withIntermediateDirectories: false)
      let data = try ImageFolder(folder, labels: ["dog", "bird", "cat"], classCount: 3)
      #expect(data.classes == ["dog", "bird", "cat"])
      #expect((0..<data.count).map(data.label) == [2, 0])
      expectError(
        .invalidData, containing: "1 of 2 classes is not among the network's labels: \"cat\"",
        "Its labels are: \"dog\", \"bird\""
      ) { _ = try ImageFolder(folder, labels: ["dog", "bird"]) }
      expectError(.invalidData, containing: "more than one class labeled \"cat\"") {
        _ = try ImageFolder(folder, labels: ["cat", "dog", "cat"])
      }
      expectError(
        .invalidData, containing: "there are 3 classes (\"cat\", \"dog\", \"notes\")",
        "the network has 10 classes"
      ) { _ = try ImageFolder(folder, classCount: 10) }
    }
  }

  /// "é" as one scalar and as two.
  private static let forms = ["caf\u{e9}", "cafe\u{301}"]

  @Test("Names that differ in their Unicode normal form are one name everywhere")
  func unicodeNormalForms() throws {
    try withTemporaryFolder { folder in
      try write(picture(1), to: "\(Self.forms[0])/1.png", in: folder)
      try write(picture(1), to: "dog/1.png", in: folder)
      let data = try ImageFolder(folder, labels: ["dog", Self.forms[1]])
      #expect((0..<2).map(data.label) == [1, 0])
      // What copying leaves empty does not matter.
      try FileManager.default.createDirectory(
        atPath: "\(folder)/\(Self.forms[1])", withIntermediateDirectories: false)
      #expect(try ImageFolder(folder).count == 2)
      try write(picture(1), to: "\(Self.forms[1])/2.png", in: folder)
      for labels in [nil, ["dog", Self.forms[0]]] {
        expectError(
          .invalidData, containing: "two class folders are named", "63 61 66 c3 a9",
          "63 61 66 65 cc 81", "Move the images of one into the other"
        ) { _ = try ImageFolder(folder, labels: labels) }
      }
    }
  }

  @Test func namesTheClassesOfOneName() throws {
    try withTemporaryFolder { folder in
      try write(picture(1), to: "crane/1.png", in: folder)
      let labels = ["crane (1)", "dog", "crane (2)"]
      expectError(.invalidData, containing: "2 classes named \"crane\"", "\"crane (2)\"") {
        _ = try ImageFolder(folder, labels: labels)
      }
    }
  }

  @Test func refusesEmptyFolders() throws {
    try withTemporaryFolder { folder in
      expectError(.invalidData, containing: "there is no JPEG or PNG file in a class folder") {
        _ = try ImageFolder(folder)
      }
      try write([1], to: "cat/notes.txt", in: folder)
      expectError(.invalidData, containing: "no JPEG or PNG file", "1 .txt") {
        _ = try ImageFolder(folder)
      }
      expectError(.inputOutput, containing: "/absent: cannot be opened: No such file") {
        _ = try ImageFolder(folder + "/absent")
      }
      expectError(.inputOutput, containing: "notes.txt: cannot be opened: Not a directory") {
        _ = try ImageFolder(folder + "/cat/notes.txt")
      }
    }
  }
}

@Suite struct CIFAR10Tests {
  /// Records of the given labels; pixel (y, x) of channel c is label + 10·c + y + x.
  static func batch(_ labels: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    for label in labels {
      bytes.append(label)
      for channel in 0..<3 {
        for pixel in 0..<1024 {
          let value = Int(label) + 10 * channel + pixel / 32 + pixel % 32
          bytes.append(UInt8(truncatingIfNeeded: value))
        }
      }
    }
    return bytes
  }

  @Test func readsBatches() throws {
    try withTemporaryFolder { folder in
      try write(Self.batch([3, 9]), to: "data_batch_2.bin", in: folder)
      try write(Self.batch([0]), to: "data_batch_1.bin", in: folder)
      try write(Self.batch([7]) + [1, 2], to: "test_batch.bin", in: folder)
      let all = try CIFAR10Batches(folder)
      #expect((0..<all.count).map(all.label) == [0, 3, 9, 7])
      #expect(all.name(of: 2) == "data_batch_2.bin#1")
      #expect(
        all.warnings.map(\.message) == [
          "the file ends within a record; the 1 complete ones before it are used"
        ])
      guard case .image(let image) = try all.sample(at: 1).content else {
        Issue.record("no picture")
        return
      }
      #expect(image[x: 5, y: 2] == [10, 20, 30])
      #expect(try CIFAR10Batches(folder, part: .test).count == 1)
      #expect(try CIFAR10Batches(folder, part: .training).count == 3)
      let request = DatasetRequest(inputs: [], part: .test)
      #expect(try openDataset(at: folder, for: request).dataset.count == 1)

      let names = [
        "ship", "horse", "frog", "dog", "deer", "cat", "bird", "automobile", "airplane", "truck",
      ]
      #expect(try CIFAR10Batches(folder, labels: names).label(of: 0) == 8)
      expectError(.invalidData, containing: "10 of 10 classes are not among") {
        _ = try CIFAR10Batches(folder, labels: ["x"])
      }
      expectError(.invalidData, containing: "there are 10 classes", "the network has 100 classes") {
        _ = try CIFAR10Batches(folder, classCount: 100)
      }
    }
  }

  @Test func namesBrokenRecordsAndEmptyFiles() throws {
    try withTemporaryFolder { folder in
      try write(Self.batch([1, 200]), to: "test_batch.bin", in: folder)
      let data = try CIFAR10Batches(folder)
      #expect(data.label(of: 1) == nil)
      expectError(.invalidData, containing: "test_batch.bin: record 1 has the label 200") {
        _ = try data.sample(at: 1)
      }
      try write([1, 2, 3], to: "test_batch.bin", in: folder)
      expectError(.invalidData, containing: "no complete record of a CIFAR-10 batch") {
        _ = try CIFAR10Batches(folder)
      }
    }
  }
}

@Suite struct TensorFolderTests {
  static let input = TensorSpecification(name: "a/b", shape: [2])

  @Test func readsInputsAndAnswers() throws {
    try withTemporaryFolder { folder in
      let x = try NPYArray([1, 2, 3, 4, 5, 6] as [Float], shape: [3, 2]).encoded()
      try write(x, to: "x.npy", in: folder)
      try write(NPYArray([2, 0, 1] as [Int64], shape: [3]).encoded(), to: "y.npy", in: folder)
      let request = DatasetRequest(inputs: [Self.input])
      let data = try openDataset(at: folder, for: request).dataset
      #expect(data.count == 3 && !data.holdsImages)
      let sample = try data.sample(at: 1)
      #expect(sample.target == .label(0))
      guard case .tensors(let values) = sample.content else {
        Issue.record("no tensors")
        return
      }
      #expect(values == [[3, 4]])

      // Two inputs, each in a file of its own name, and answers for regression.
      try write(x, to: "a%2Fb.npy", in: folder)
      try write(NPYArray([9, 8, 7] as [Float], shape: [3]).encoded(), to: "c.npy", in: folder)
      try write(x, to: "y.npy", in: folder)
      let both = try TensorFolder(
        folder, inputs: [Self.input, TensorSpecification(name: "c", shape: [])],
        answers: .values(TensorSpecification(name: "o", shape: [2, 1])))
      #expect(try both.sample(at: 2).target == .values([5, 6]))
      expectError(
        .invalidData, containing: "y.npy: shape [3, 2] of <f4 is not N × the output's shape [3]"
      ) {
        _ = try TensorFolder(
          folder, inputs: [Self.input],
          answers: .values(TensorSpecification(name: "o", shape: [3])))
      }
    }
  }

  @Test func saysWhatDoesNotFit() throws {
    try withTemporaryFolder { folder in
      expectError(.inputOutput, containing: "x.npy: cannot be opened") {
        _ = try TensorFolder(folder, inputs: [Self.input])
      }
      try write(NPYArray([1, 2, 3] as [Float], shape: [1, 3]).encoded(), to: "x.npy", in: folder)
      expectError(
        .invalidData, containing: "shape [1, 3] does not match the input \"a/b\"", "N × [2]"
      ) {
        _ = try TensorFolder(folder, inputs: [Self.input])
      }
      try write(NPYArray([] as [Float], shape: [0, 2]).encoded(), to: "x.npy", in: folder)
      expectError(.invalidData, containing: "x.npy: the file has no items") {
        _ = try TensorFolder(folder, inputs: [Self.input])
      }
      try write(NPYArray([1, 2] as [Float], shape: [1, 2]).encoded(), to: "x.npy", in: folder)
      try write(NPYArray([1, 2] as [Int64], shape: [2]).encoded(), to: "y.npy", in: folder)
      expectError(.invalidData, containing: "y.npy: 2 labels (shape [2]), but 1 items in") {
        _ = try TensorFolder(folder, inputs: [Self.input])
      }
      try write(NPYArray([-1] as [Int64], shape: [1]).encoded(), to: "y.npy", in: folder)
      expectError(.invalidData, containing: "y.npy: row 0 has the class -1; classes are numbered") {
        _ = try TensorFolder(folder, inputs: [Self.input])
      }
      try write([1], to: "c.npy", in: folder)
      expectError(.invalidData, containing: "c.npy: not a NumPy file") {
        _ = try TensorFolder(
          folder, inputs: [TensorSpecification(name: "c", shape: [1])])
      }
    }
  }
}

@Suite struct BatchLoaderTests {
  static let input = [TensorSpecification(name: "x", shape: [3, 4, 4])]

  static func spec() throws -> Preprocessing {
    try Preprocessing(
      resize: nil, crop: nil, color: .rgb, layout: .nchw, scale: 1, mean: [0, 0, 0],
      std: [1, 1, 1])
  }

  /// 23 pictures whose value is their number, of which 5 and 11 are broken.
  static func withPictures(_ body: (ImageFolder) throws -> Void) throws {
    try withTemporaryFolder { folder in
      for number in 0..<23 {
        let bytes =
          number == 5 || number == 11
          ? Array("broken".utf8) : try picture(UInt8(number))
        try write(bytes, to: "class\(number % 2)/\(number + 100).png", in: folder)
      }
      try body(try ImageFolder(folder))
    }
  }

  @Test("Any number of threads gives the same batches in order", arguments: [1, 2, 7])
  func keepsOrder(threads: Int) throws {
    try Self.withPictures { data in
      let loader = try BatchLoader(
        data, feeding: Self.input, preprocessing: Self.spec(), batchSize: 4, threads: threads)
      var values: [Float] = []
      var sizes: [Int] = []
      var labels: [Target] = []
      while let batch = try loader.next() {
        sizes.append(batch.count)
        #expect(batch.inputs[0].count == batch.count * 48)
        values += stride(from: 0, to: batch.inputs[0].count, by: 48).map { batch.inputs[0][$0] }
        labels += batch.targets
      }
      let expected =
        Array(stride(from: 0, to: 23, by: 2))
        + stride(from: 1, to: 23, by: 2).filter { ![5, 11].contains($0) }
      #expect(values == expected.map { Float($0) })
      #expect(labels == expected.map { .label($0 % 2) })
      #expect(sizes == [4, 4, 4, 4, 4, 1])
      #expect(loader.brokenCount == 2 && loader.deliveredCount == 21)
      #expect(
        loader.brokenItems.map { data.name(of: $0.index) } == ["class1/105.png", "class1/111.png"])
      let error = try #require(loader.brokenItems.first?.error)
      #expect(error.description.contains("class1/105.png: not an image"))
      #expect(
        loader.warnings.map(\.message) == [
          "2 items are skipped, not an image: class1/105.png, class1/111.png"
        ])
    }
  }

  @Test func takesAnOrder() throws {
    try Self.withPictures { data in
      let loader = try BatchLoader(
        data, feeding: Self.input, preprocessing: Self.spec(), batchSize: 3, threads: 2,
        order: [2, 0, 2])
      let batch = try #require(try loader.next())
      #expect(batch.indices == [2, 0, 2])
      #expect([0, 48, 96].map { batch.inputs[0][$0] } == [4, 0, 4])
      #expect(try loader.next() == nil)
    }
  }

  @Test func stopsWhenCancelledOrDropped() throws {
    try Self.withPictures { data in
      let loader = try BatchLoader(
        data, feeding: Self.input, preprocessing: Self.spec(), batchSize: 2, threads: 2)
      _ = try loader.next()
      loader.cancel()
      expectError(.cancelled, containing: "reading the data was cancelled") {
        _ = try loader.next()
      }
    }
  }

  @Test func refusesWhatCannotBeFed() throws {
    try withTemporaryFolder { folder in
      try write(Array("no".utf8), to: "a/1.png", in: folder)
      try write(picture(1, edge: 9), to: "a/2.jpg", in: folder)
      let data = try ImageFolder(folder)
      let loader = try BatchLoader(
        data, feeding: Self.input, preprocessing: Self.spec(), batchSize: 2, threads: 2)
      expectError(.invalidData, containing: "none of the 2 items could be read", "not an image") {
        _ = try loader.next()
      }
      #expect(
        loader.brokenItems.last?.error.description.contains(
          "a/2.jpg: the image is 9 × 9 and becomes an input of shape [3, 9, 9]; the network needs [3, 4, 4]"
        ) == true
      )
      expectError(.invalidArgument, containing: "images need preprocessing") {
        _ = try BatchLoader(
          data, feeding: Self.input, preprocessing: nil, batchSize: 2, threads: 2)
      }
      expectError(.invalidArgument, containing: "network with 2 inputs") {
        _ = try BatchLoader(
          data, feeding: Self.input + Self.input, preprocessing: Self.spec(), batchSize: 2,
          threads: 2)
      }
    }
  }

  @Test func feedsListsOfFiles() throws {
    try withTemporaryFolder { folder in
      try write(picture(9), to: "a.png", in: folder)
      let list = ImageList([folder + "/a.png", folder + "/b.png"])
      let loader = try BatchLoader(
        list, feeding: Self.input, preprocessing: Self.spec(), batchSize: 2, threads: 4)
      let batch = try #require(try loader.next())
      #expect(batch.count == 1 && batch.inputs[0][0] == 9 && batch.targets == [.unknown])
      #expect(
        loader.brokenItems[0].error.description.hasPrefix(folder + "/b.png: cannot be opened"))
    }
  }
}
