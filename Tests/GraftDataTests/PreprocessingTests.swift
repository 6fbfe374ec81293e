// The specification's JSON, what it refuses, its presets, and its results against torchvision's
// transforms (tools/make-image-fixtures).

import Foundation
import GraftData
import GraftDiagnostics
import GraftTesting
import Testing

@Suite struct PreprocessingTests {
  static let imagenet = """
    {"resize":{"shorter":256,"filter":"bilinear","antialias":true},"crop":{"center":[224,224]},
    "color":"RGB","layout":"NCHW","scale":0.00392156862745098,
    "mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}
    """

  static func spec(_ text: String) throws -> Preprocessing {
    try Preprocessing(json: Array(text.utf8))
  }

  @Test func presetsAreWhatTheManualSays() throws {
    let preset = try Preprocessing(.imagenet, inputShape: [3, 224, 224], layout: .nchw)
    #expect(try Self.spec(Self.imagenet) == preset)
    let inception = try Preprocessing(.imagenet, inputShape: [3, 299, 299], layout: .nchw)
    #expect(inception.resize?.target == .shorter(342))
    let cifar = try Preprocessing(.cifar10, inputShape: [32, 32, 3], layout: .nhwc)
    #expect(cifar.resize?.target == .exact(height: 32, width: 32))
    #expect(cifar.crop == nil && cifar.layout == .nhwc && cifar.input == preset.input)
    expectError(.invalidArgument, containing: "the preset imagenet is for square images") {
      _ = try Preprocessing(.imagenet, inputShape: [3, 224, 192], layout: .nchw)
    }
    expectError(.invalidArgument, containing: "shape [10] is not an image") {
      _ = try Preprocessing(.cifar10, inputShape: [10], layout: .nchw)
    }
  }

  @Test func readsBackWhatItWrites() throws {
    for layout in Preprocessing.Layout.allCases {
      for preset in Preprocessing.Preset.allCases {
        let spec = try Preprocessing(
          preset, inputShape: layout.shape(channels: 3, height: 64, width: 64), layout: layout)
        #expect(try Preprocessing(json: spec.json()) == spec)
      }
    }
    let text = String(decoding: try Self.spec(Self.imagenet).json(), as: UTF8.self)
    #expect(text.contains("\"scale\" : 0.00392156862745098"))
  }

  @Test(
    "What the specification does not know is refused by name",
    arguments: [
      ("\"color\":\"RGB\"", "\"color\":\"RGB\",\"gamma\":2", "\"gamma\" is an unknown key"),
      ("\"antialias\":true", "\"antialais\":true", "\"resize.antialais\" is an unknown key"),
      ("\"center\"", "\"centre\"", "\"crop.centre\" is an unknown key"),
      (
        "\"bilinear\"", "\"lanczos\"",
        "\"resize.filter\" must be one of bilinear, bicubic, found \"lanczos\""
      ),
      ("\"RGB\"", "\"rgb\"", "\"color\" must be one of RGB, BGR, L, found \"rgb\""),
      ("\"NCHW\"", "\"CHW\"", "\"layout\" must be one of NCHW, NHWC, found \"CHW\""),
      ("\"RGB\"", "\"L\"", "\"mean\" has 3 values; color L needs 1"),
      ("\"shorter\":256", "\"shorter\":0", "\"resize.shorter\" is 0, expected 1"),
      ("\"shorter\":256", "\"shorter\":2.5", "\"resize.shorter\" must be an integer"),
      ("\"shorter\":256", "\"shorter\":\"256\"", "\"resize.shorter\" must be an integer"),
      ("\"shorter\":256,", "", "\"resize\" needs either"),
      ("\"shorter\":256", "\"shorter\":256,\"exact\":[1,1]", "\"resize\" needs either"),
      ("\"shorter\":256", "\"exact\":[1,2,3]", "\"resize.exact\" must be [height, width]"),
      ("[224,224]", "[224]", "\"crop.center\" must be"),
      ("[224,224]", "[65535,65535]", "\"crop.center\" is 65535 × 65535, more than"),
      ("[224,224]", "[-1,224]", "\"crop.center\" is -1"),
      ("0.225]", "0]", "\"std\" is 0.0, but must be"),
      ("0.00392156862745098", "1e300", "\"scale\" is 1e+300, which is out of range"),
      ("0.00392156862745098", "1e999", "preprocessing"),
      ("\"scale\":0.00392156862745098,", "", "\"scale\" is missing"),
      ("{\"resize\"", "[{\"resize\"", "preprocessing is not a JSON object"),
      ("{\"resize\"", "{\"output\":1,\"resize\"", "\"output\" must be an object"),
      (
        "{\"resize\"", "{\"output\":{\"layout\":\"NCHW\"},\"resize\"",
        "\"output.layout\" is an unknown key"
      ),
      (
        "{\"resize\"", "{\"output\":{\"color\":\"L\"},\"resize\"",
        "\"output.mean\" has 3 values; color L needs 1"
      ),
      (
        "{\"resize\"", "{\"output\":{\"color\":\"gray\"},\"resize\"",
        "\"output.color\" must be one of RGB, BGR, L, found \"gray\""
      ),
      (
        "{\"resize\"", "{\"output\":{\"scale\":0},\"resize\"",
        "\"output.scale\" is 0.0, but must not be 0"
      ),
      (
        "{\"resize\"", "{\"output\":{\"std\":[1,1,-1]},\"resize\"",
        "\"output.std\" is -1.0, but must be positive"
      ),
      (
        "{\"resize\"", "{\"output\":{\"mean\":[1e30,0,0],\"std\":[1e-30,1,1]},\"resize\"",
        "\"output.std\" is 1e-30, so that a pixel of 0 has a value that float32 cannot"
      ),
    ])
  func refuses(edit: (String, String, String)) throws {
    #expect(Self.imagenet.contains(edit.0))
    let text = Self.imagenet.replacingOccurrences(of: edit.0, with: edit.1)
    expectError(.invalidArgument, containing: edit.2) { _ = try Self.spec(text) }
  }

  @Test("What output leaves open is as for the input, and it is read back")
  func output() throws {
    func output(_ object: String) throws -> PixelValues {
      let text = Self.imagenet.replacing("{\"resize\"", with: "{\"output\":\(object),\"resize\"")
      let spec = try Self.spec(text)
      #expect(try Preprocessing(json: spec.json()) == spec)
      return try #require(spec.output)
    }
    let input = try Self.spec(Self.imagenet).input
    #expect(try Self.spec(Self.imagenet).output == nil)
    #expect(try output("{}") == input)
    #expect(
      try output("{\"color\":\"L\",\"scale\":1,\"mean\":[2],\"std\":[4]}")
        == PixelValues(color: .gray, scale: 1, mean: [2], std: [4]))
    #expect(try output("{\"color\":\"BGR\"}").mean == input.mean)
    // (255 / 255 − 0.406) / 0.225 and (0 − 0.485) / 0.229 are the ends.
    #expect(abs(input.span - (0.594 / 0.225 + 0.485 / 0.229)) < 1e-9)
  }

  @Test(
    "An output becomes the image that its values are of",
    arguments: Preprocessing.Color.allCases, Preprocessing.Layout.allCases)
  func pictures(_ color: Preprocessing.Color, _ layout: Preprocessing.Layout) throws {
    let channels = color.channels
    let spec = try Preprocessing(
      resize: nil, crop: nil, color: .rgb, layout: .nchw, scale: 1, mean: [0, 0, 0],
      std: [1, 1, 1],
      output: PixelValues(
        color: color, scale: -2, mean: Array([3, 5, 7].suffix(channels)),
        std: Array([0.5, 2, 4].suffix(channels))))
    let shape = layout.shape(channels: channels, height: 4, width: 5)
    let output = try #require(PictureOutput(spec, shape: shape))
    let image = try Image(
      width: 5, height: 4, channels: channels,
      pixels: (0..<20 * channels).map { UInt8(255 * $0 / (20 * channels - 1)) })
    let values = try output.coder.values(of: image)
    #expect(try output.image(of: values[...]) == image)
    // The last channel of the last pixel, or for BGR its first.
    let last = image.pixels[color == .bgr ? image.pixels.count - channels : image.pixels.count - 1]
    #expect(values.last == (Float(last) * -2 - 7) / 4)
    // Rounded to the nearest and clamped, and without a trap for what is no number.
    let numbers: [Float] = [-.infinity, .infinity, .nan, 1e38, -1e38]
    let wild = try output.image(of: (0..<values.count).map { numbers[$0 % 5] }[...])
    #expect(Set(wild.pixels) == [0, 255])
    expectError(.invalidData, containing: "\(values.count - 1) values for an image of 5 × 4") {
      _ = try output.image(of: values.dropLast())
    }
    #expect(PictureOutput(spec, shape: [2, 4, 5]) == nil && PictureOutput(spec, shape: [4]) == nil)
    expectError(.invalidArgument, containing: "the network's outputs are [10], of no fixed shape") {
      try spec.check(outputShapes: [[10], nil])
    }
    try spec.check(outputShapes: [[10], shape])
  }

  @Test func namesTheFile() throws {
    try withTemporaryFolder { folder in
      try write(Array("[1".utf8), to: "p.json", in: folder)
      expectError(.invalidArgument, containing: "p.json: preprocessing is not a JSON object") {
        _ = try Preprocessing(contentsOf: folder + "/p.json")
      }
    }
  }

  @Test func survivesNestingAndDamage() throws {
    let deep = String(repeating: "[", count: 100_000)
    expectError(.invalidArgument, containing: "not a JSON object") { _ = try Self.spec(deep) }
    var random = SplitMix(seed: 3)
    for _ in 0..<500 {
      var bytes = Array(Self.imagenet.utf8)
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
          in: 0...255, using: &random)
      }
      do { _ = try Preprocessing(json: bytes) } catch is GraftError {}
    }
  }

  @Test func checksTheNetworksInput() throws {
    let spec = try Self.spec(Self.imagenet)
    try spec.check(inputShape: [3, 224, 224])
    expectError(
      .invalidArgument, containing: "turns an image into [3, 224, 224]", "input is [3, 32, 32]"
    ) {
      try spec.check(inputShape: [3, 32, 32])
    }
    expectError(.invalidArgument, containing: "input is [224, 224, 3]") {
      try spec.check(inputShape: [224, 224, 3])
    }
    #expect(Preprocessing.Layout(inputShape: [3, 8, 8]) == .nchw)
    #expect(Preprocessing.Layout(inputShape: [8, 8, 3]) == .nhwc)
    #expect(Preprocessing.Layout(inputShape: [8, 8, 8]) == nil)
  }
}

@Suite struct PreprocessorTests {
  struct Expected: Decodable {
    var values: [[Double]]
    var mean: Double
  }

  @Test(arguments: [(73, 64), (40, 48), (37, 33), (0, 32)])
  func feedsWhatTorchvisionFeeds(sizes: (shorter: Int, crop: Int)) throws {
    let name =
      sizes.shorter == 0 ? "preprocessed-exact-32" : "preprocessed-\(sizes.shorter)-\(sizes.crop)"
    var spec = try Preprocessing(
      .imagenet, inputShape: [3, sizes.crop, sizes.crop], layout: .nchw)
    spec.resize?.target =
      sizes.shorter == 0 ? .exact(height: 32, width: 32) : .shorter(sizes.shorter)
    if sizes.shorter == 0 { spec.crop = nil }
    let photo = try Fixture.image("photo.png")
    let found = difference(
      try Preprocessor(spec).pixels(of: photo), try Fixture.image(name + ".png"))
    #expect(found.greatest <= (sizes.shorter == 0 ? 1 : 0), "differs by \(found)")

    let all = try JSONDecoder().decode(
      [String: Expected].self, from: Data(Fixture.bytes("preprocessed.json")))
    let expected = try #require(all[name])
    let tensor = try Preprocessor(spec).tensor(of: photo)
    #expect(tensor.shape == [3, sizes.crop, sizes.crop])
    for place in expected.values {
      let index = (Int(place[0]) * sizes.crop + Int(place[1])) * sizes.crop + Int(place[2])
      #expect(abs(Double(tensor.values[index]) - place[3]) < (sizes.shorter == 0 ? 0.02 : 1e-6))
    }
    let mean = tensor.values.reduce(0) { $0 + Double($1) } / Double(tensor.values.count)
    #expect(abs(mean - expected.mean) < 1e-3)
  }

  @Test func ordersChannelsAndAxes() throws {
    let image = try Image(width: 2, height: 1, channels: 3, pixels: [1, 2, 3, 4, 5, 6])
    func values(_ color: Preprocessing.Color, _ layout: Preprocessing.Layout) throws -> [Float] {
      let spec = try Preprocessing(
        resize: nil, crop: nil, color: color, layout: layout, scale: 2,
        mean: Array([1, 2, 3].prefix(color.channels)), std: Array([1, 2, 4].prefix(color.channels)))
      return try Preprocessor(spec).tensor(of: image).values
    }
    #expect(try values(.rgb, .nchw) == [1, 7, 1, 4, 0.75, 2.25])
    #expect(try values(.rgb, .nhwc) == [1, 1, 0.75, 7, 4, 2.25])
    #expect(try values(.bgr, .nchw) == [5, 11, 1, 4, -0.25, 1.25])
    // 0.299 · 1 + 0.587 · 2 + 0.114 · 3 = 1.815, and 4.815.
    #expect(try values(.gray, .nchw) == [3, 9])
  }

  @Test func growsGrayPicturesLast() throws {
    let gray = try Fixture.image("photo.png").convertedToGray()
    let spec = try Preprocessing(.imagenet, inputShape: [3, 40, 40], layout: .nchw)
    let one = try Preprocessor(spec).pixels(of: gray)
    #expect(one == (try Preprocessor(spec).pixels(of: gray.expandedToRGB())))
    #expect(one.channels == 3)
  }

  @Test func boundsWhatExtremeProportionsAsk() throws {
    let line = try Image(
      width: 1, height: 60_000, channels: 1, pixels: [UInt8](repeating: 9, count: 60_000))
    var spec = try Preprocessing(.imagenet, inputShape: [3, 224, 224], layout: .nchw)
    #expect(try Preprocessor(spec).pixels(of: line).pixels.allSatisfy { $0 == 9 })
    spec.crop = nil
    spec.resize?.target = .shorter(65_535)
    expectError(.invalidData, containing: "exceeds the limit of") {
      _ = try Preprocessor(spec).pixels(of: line)
    }
  }
}
