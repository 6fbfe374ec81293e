// Decoding against Pillow (tools/make-image-fixtures), resizing against Pillow and PyTorch, and what
// is said of files that are no pictures.

import Foundation
import GraftData
import GraftDiagnostics
import GraftTesting
import Testing

@Suite struct ImageDecodingTests {
  static let inputs = (FileManager.default.subpaths(atPath: Fixture.folder.path) ?? [])
    .filter { ($0.hasPrefix("jpeg-") || $0.hasPrefix("png-")) && !$0.contains(".expected.") }
    .sorted()

  @Test("Every kind of JPEG and PNG decodes as Pillow decodes it", arguments: inputs)
  func decodesAsPillow(name: String) throws {
    let stem = name.split(separator: ".")[0]
    let image = try Fixture.image(name)
    let expected = try Fixture.image("\(stem).expected.png")
    let found = difference(image, expected)
    // libjpeg-turbo 2 and 3 (Pillow's) agree on every value of these.
    #expect(found.greatest == 0, "differs by \(found)")
  }

  @Test func thereAreInputs() { #expect(!Self.inputs.isEmpty) }

  /// The expected pictures above are PNG files too: this one is spelled out.
  @Test func decodesKnownPixels() throws {
    let bytes = try Image(
      width: 2, height: 2, channels: 3, pixels: [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7]
    ).encodedPNG()
    let image = try Image(decoding: bytes)
    #expect(image.pixels == [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    #expect(image[x: 1, y: 1] == [9, 8, 7])
    #expect(image[x: 2, y: 1] == nil)
    let dot = try Image(
      decoding: Array(
        Data(
          base64Encoded:
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
        ) ?? Data()))
    #expect(dot.channels == 3 && dot.width == 1 && dot.height == 1)
  }

  @Test(arguments: [1, 3]) func encodesAndDecodesBack(channels: Int) throws {
    let pixels = (0..<37 * 11 * channels).map { UInt8(truncatingIfNeeded: $0 &* 73 &+ $0 >> 3) }
    let image = try Image(width: 37, height: 11, channels: channels, pixels: pixels)
    #expect(try Image(decoding: image.encodedPNG()) == image)
  }

  @Test func namesWhatIsNotAnImage() throws {
    try withTemporaryFolder { folder in
      try write(Array("hello".utf8), to: "a.jpg", in: folder)
      try write([], to: "b.png", in: folder)
      expectError(
        .invalidData, containing: "a.jpg: not an image: neither a JPEG nor a PNG file"
      ) { _ = try Image(contentsOf: folder + "/a.jpg") }
      expectError(.invalidData, containing: "b.png: not an image: the file is empty") {
        _ = try Image(contentsOf: folder + "/b.png")
      }
      expectError(.inputOutput, containing: "c.png: cannot be opened: No such file") {
        _ = try Image(contentsOf: folder + "/c.png")
      }
      expectError(.inputOutput, containing: "cannot be read: it is a folder") {
        _ = try Image(contentsOf: folder)
      }
    }
  }

  @Test(arguments: [
    "jpeg-420.jpg", "jpeg-progressive.jpg", "jpeg-cmyk.jpg", "png-rgb-16.png",
    "png-rgb-interlaced.png", "png-gray-1.png",
  ])
  func refusesTruncatedFiles(name: String) throws {
    let bytes = try Fixture.bytes(name)
    // From the signature to where entropy-coded data surely goes on; the last bytes hold no pixels.
    for length in stride(from: 8, to: bytes.count - 30, by: 7) {
      expectError(.invalidData, containing: "the image is truncated: the file ends before") {
        _ = try Image(decoding: Array(bytes.prefix(length)))
      }
    }
  }

  @Test func refusesHugeSizesBeforeAllocating() throws {
    // A PNG header that asks for 900,000 × 900,000 pixels, and a JPEG frame of 65,500 × 65,500.
    var png = try Fixture.bytes("png-rgba.png")
    let side: [UInt8] = [0, 0x0D, 0xBB, 0xA0]
    png.replaceSubrange(16..<24, with: side + side)
    let header = crc32(png[12..<29])
    png.replaceSubrange(
      29..<33, with: (0..<4).map { UInt8(truncatingIfNeeded: header >> (24 - 8 * $0)) })
    expectError(.invalidData, containing: "900000 × 900000 pixels exceeds the limit of 178956970") {
      _ = try Image(decoding: png)
    }
    var jpeg = try Fixture.bytes("jpeg-420.jpg")
    let frame = try #require(
      jpeg.indices.dropLast().first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
    jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0xFF, 0xDC, 0xFF, 0xDC])
    expectError(.invalidData, containing: "65500 × 65500 pixels exceeds the limit") {
      _ = try Image(decoding: jpeg)
    }
  }

  @Test func saysWhatIsDamaged() throws {
    var png = try Fixture.bytes("png-rgba.png")
    png[20] ^= 0xFF
    expectError(.invalidData, containing: "the image is damaged", "CRC") {
      _ = try Image(decoding: png)
    }
    var jpeg = try Fixture.bytes("jpeg-420.jpg")
    let frame = try #require(
      jpeg.indices.dropLast().first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
    jpeg[frame + 4] = 9
    expectError(.invalidData, containing: "the image is damaged: Unsupported JPEG data precision 9")
    {
      _ = try Image(decoding: jpeg)
    }
  }

  @Test("Damage anywhere gives pixels or an error, never a trap")
  func survivesRandomDamage() throws {
    var random = SplitMix(seed: 7)
    for name in Self.inputs {
      let whole = try Fixture.bytes(name)
      for _ in 0..<20 {
        var bytes = whole
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
            in: 0...255, using: &random)
        }
        do {
          let image = try Image(decoding: bytes)
          #expect(image.pixels.count == image.width * image.height * image.channels)
        } catch let error as GraftError {
          #expect([.invalidData, .unsupported].contains(error.kind), "\(error)")
        }
      }
    }
  }

  @Test func checksSizesOfGivenPixels() {
    expectError(.invalidData, containing: "3 values for an image of 2 × 2 × 1") {
      _ = try Image(width: 2, height: 2, channels: 1, pixels: [1, 2, 3])
    }
    expectError(.invalidData, containing: "cannot be 0 × 2") {
      _ = try Image(width: 0, height: 2, channels: 1, pixels: [])
    }
    expectError(.invalidData, containing: "exceeds the limit of") {
      _ = try Image(width: .max, height: .max, channels: 3, pixels: [])
    }
  }

  private func crc32(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(UInt32.max) { sum, byte in
      (0..<8).reduce(sum ^ UInt32(byte)) { value, _ in
        value & 1 == 1 ? 0xEDB8_8320 ^ value >> 1 : value >> 1
      }
    }
  }
}

@Suite struct ImageResizingTests {
  static let sizes = [(64, 44), (110, 75), (37, 71), (1, 1), (91, 20), (30, 63), (5, 63), (180, 7)]

  @Test("Resizing gives Pillow's very pixels", arguments: ResampleFilter.allCases, sizes)
  func resizesAsPillow(filter: ResampleFilter, size: (Int, Int)) throws {
    let image = try Fixture.image("photo.png")
    let expected = try Fixture.image("resized-\(filter.rawValue)-\(size.0)x\(size.1).png")
    let resized = try image.resized(width: size.0, height: size.1, filter: filter)
    let found = difference(resized, expected)
    // Pillow 13, which made the fixtures, goes down before across at this one size.
    let allowed = size == (180, 7) ? 1 : 0
    #expect(found.greatest <= allowed, "differs by \(found)")
  }

  @Test(arguments: ResampleFilter.allCases) func resizesGrayAsPillow(filter: ResampleFilter) throws
  {
    let image = try Fixture.image("photo.png").convertedToGray()
    let expected = try Fixture.image("resized-gray-\(filter.rawValue)-50x33.png")
    let found = difference(try image.resized(width: 50, height: 33, filter: filter), expected)
    #expect(found.greatest == 0, "differs by \(found)")
  }

  @Test(
    "Without antialiasing, PyTorch's interpolate within one level",
    arguments: ResampleFilter.allCases, [(64, 44), (110, 75)])
  func interpolatesAsPyTorch(filter: ResampleFilter, size: (Int, Int)) throws {
    let image = try Fixture.image("photo.png")
    let expected = try Fixture.image("interpolated-\(filter.rawValue)-\(size.0)x\(size.1).png")
    let found = difference(
      try image.resized(width: size.0, height: size.1, filter: filter, antialias: false), expected)
    #expect(found.greatest <= 1, "differs by \(found)")
  }

  @Test("A window holds what cropping the whole result would", arguments: ResampleFilter.allCases)
  func computesWindows(filter: ResampleFilter) throws {
    let image = try Fixture.image("photo.png")
    for (width, height) in [(64, 44), (110, 75), (91, 30), (91, 63)] {
      let whole = try image.resized(width: width, height: height, filter: filter)
      let window = try image.resized(
        width: width, height: height, filter: filter, window: (columns: 7..<25, rows: 3..<28))
      #expect(try whole.cropped(x: 7, y: 3, width: 18, height: 25) == window)
    }
  }

  @Test func keepsAPictureThatHasTheSize() throws {
    let image = try Fixture.image("photo.png")
    #expect(try image.resized(width: 91, height: 63, filter: .bicubic) == image)
  }

  @Test func refusesImpossibleSizes() throws {
    let image = try Fixture.image("photo.png")
    expectError(.invalidData, containing: "cannot be 0 × 5") {
      _ = try image.resized(width: 0, height: 5, filter: .bilinear)
    }
    expectError(.invalidData, containing: "exceeds the limit of") {
      _ = try image.resized(width: 1 << 30, height: 1 << 20, filter: .bilinear)
    }
    expectError(.invalidData, containing: "no region 2..<9") {
      _ = try image.resized(width: 8, height: 8, filter: .bilinear, window: (2..<9, 0..<4))
    }
  }

  @Test func crops() throws {
    let image = try Image(width: 3, height: 2, channels: 1, pixels: [1, 2, 3, 4, 5, 6])
    #expect(try image.cropped(x: 1, y: 0, width: 2, height: 1).pixels == [2, 3])
    #expect(
      try image.cropped(x: -1, y: 1, width: 5, height: 2).pixels == [0, 4, 5, 6, 0, 0, 0, 0, 0, 0])
    #expect(try image.cropped(x: .min, y: .max, width: 1, height: 1).pixels == [0])
    #expect(image.mirrored().pixels == [3, 2, 1, 6, 5, 4])
  }
}
