// Random views and mixed batches: what is done to pixels against torchvision's functions, the
// numbers that are drawn against those that its transforms draw, and that both depend on seed,
// epoch and item alone. tools/make-augmentation-fixture made the pictures and numbers.

import Foundation
import GraftDiagnostics
import Testing

@testable import GraftData

private struct Numbers: Decodable {
  struct Moments: Decodable {
    var width: Int
    var height: Int
    var share: Double?
    var mean: [Double]
    var deviation: [Double]
  }
  struct Mixing: Decodable {
    struct Case: Decodable {
      var share: Double
      var x: Int?
      var y: Int?
      var values: [Float]
      var targets: [Float]
    }
    var input: [Float]
    var labels: [Int]
    var cases: [Case]
  }
  struct Beta: Decodable {
    var alpha: Double
    var mean: Double
    var deviation: Double
  }
  var crops: [Moments]
  var erasures: [Moments]
  var mixing: Mixing
  var beta: [Beta]

  static func load() throws -> Numbers {
    let file = Fixture.all.appendingPathComponent("augmentation/numbers.json")
    return try JSONDecoder().decode(Numbers.self, from: Data(contentsOf: file))
  }
}

/// The fixture pictures of a function, with the arguments in their names.
private func pictures(_ function: String) throws -> [(arguments: [String], image: Image)] {
  let folder = Fixture.all.appendingPathComponent("augmentation").path
  return try FileManager.default.contentsOfDirectory(atPath: folder).sorted().compactMap { name in
    guard name.hasPrefix(function + "_"), name.hasSuffix(".png") else { return nil }
    let arguments = name.dropLast(4).split(separator: "_").dropFirst().map(String.init)
    return (arguments, try Image(contentsOf: folder + "/" + name))
  }
}

/// Expects columns of numbers to have these means and deviations, as samples of that many rows can.
private func expectMoments(
  _ rows: [[Double]], mean: [Double], deviation: [Double], ofSample size: Double,
  _ what: String, sourceLocation: Testing.SourceLocation = #_sourceLocation
) {
  let count = Double(rows.count)
  for column in mean.indices {
    let values = rows.map { $0[column] }
    let found = values.reduce(0, +) / count
    let spread = (values.reduce(0) { $0 + ($1 - found) * ($1 - found) } / count).squareRoot()
    let tolerance = 5 * deviation[column] * (1 / count + 1 / size).squareRoot()
    #expect(
      abs(found - mean[column]) <= tolerance, "\(what): mean of column \(column) is \(found)",
      sourceLocation: sourceLocation)
    #expect(
      abs(spread - deviation[column]) <= 0.05 * deviation[column],
      "\(what): deviation of column \(column) is \(spread)", sourceLocation: sourceLocation)
  }
}

@Suite struct AugmentationTests {
  @Test(
    "Colors change as torchvision changes them, but for one gray level where a float32 is cut",
    arguments: ["brightness", "contrast", "saturation", "hue"])
  func colors(_ function: String) throws {
    let photo = try Fixture.image("photo.png")
    let cases = try pictures(function) + pictures("gray-" + function)
    #expect(cases.count == (function == "hue" ? 2 : 4))
    for (arguments, expected) in cases {
      let factor = try #require(Float(arguments[0]))
      let source =
        expected.channels == 3
        ? photo
        : try Image(
          width: photo.width, height: photo.height, channels: 1,
          pixels: stride(from: 0, to: photo.pixels.count, by: 3).map { photo.pixels[$0] })
      let found =
        switch function {
        case "brightness": source.adjustingBrightness(by: factor)
        case "contrast": source.adjustingContrast(by: factor)
        case "saturation": source.adjustingSaturation(by: factor)
        default: source.turningHue(by: factor)
        }
      let off = difference(found, expected)
      #expect(off.greatest <= 1 && off.share < 0.002, "\(function) \(factor): \(off)")
    }
  }

  @Test("A part of a picture is resized as resized_crop does it, to the bit")
  func resizedCrops() throws {
    let photo = try Fixture.image("photo.png")
    let cases = try pictures("crop")
    #expect(cases.count == 3)
    for (arguments, expected) in cases {
      let numbers = arguments.compactMap(Int.init)
      let part = PixelRectangle(
        x: numbers[1], y: numbers[0], width: numbers[3], height: numbers[2])
      let found = try photo.cropped(to: part).resized(
        to: PixelSize(height: numbers[4], width: numbers[4]),
        by: Preprocessing.Resize(.shorter(1), filter: .bilinear))
      #expect(difference(found, expected).greatest == 0, "\(arguments)")
    }
  }

  @Test("A padded crop is torchvision's, and every offset is as likely")
  func paddedCrops() throws {
    let folder = Fixture.all.appendingPathComponent("augmentation").path
    let small = try Image(contentsOf: folder + "/small.png")
    for (arguments, expected) in try pictures("padded") {
      let offsets = arguments.compactMap(Int.init)
      let found = try small.cropped(x: offsets[1] - 4, y: offsets[0] - 4, width: 32, height: 32)
      #expect(found == expected, "\(arguments)")
    }
    let views = AugmentedViews(try Augmentation("crop"), seed: 3)
    let preprocessor = Preprocessor(
      try Preprocessing(.cifar10, inputShape: [3, 32, 32], layout: .nchw))
    var windows: [Image: Int] = [:]
    for y in -4...4 {
      for x in -4...4 { windows[try small.cropped(x: x, y: y, width: 32, height: 32)] = 0 }
    }
    #expect(windows.count == 81)
    for view in 0..<8100 {
      let found = try views.pixels(
        of: 7, view: view, preprocessor, size: PixelSize(height: 32, width: 32)
      ) { small }.pixels
      let count = try #require(windows[found], "view \(view) is no window")
      windows[found] = count + 1
    }
    // The sum of squares is that of a chi-squared distribution of 80 degrees of freedom.
    let chi = windows.values.reduce(0.0) { $0 + Double(($1 - 100) * ($1 - 100)) / 100 }
    #expect(chi > 40 && chi < 140, "\(chi)")
  }

  @Test("Rectangles are drawn as RandomResizedCrop and RandomErasing draw them")
  func rectangles() throws {
    let numbers = try Numbers.load()
    #expect(numbers.crops.count == 3 && numbers.erasures.count == 2)
    let draws = 20000
    for expected in numbers.crops {
      let rows = (0..<draws).map { item in
        var random = RandomDraws(.resizedCrop, seed: 1, epoch: 0, item: item)
        let part = PixelRectangle.resizedCrop(
          ofWidth: expected.width, height: expected.height, &random)
        return [part.x, part.y, part.width, part.height].map(Double.init)
      }
      expectMoments(
        rows, mean: expected.mean, deviation: expected.deviation, ofSample: Double(draws),
        "crops of \(expected.width) × \(expected.height)")
    }
    for expected in numbers.erasures {
      let rows = (0..<draws).compactMap { item in
        var random = RandomDraws(.erase, seed: 1, epoch: 0, item: item)
        return PixelRectangle.erased(
          ofWidth: expected.width, height: expected.height, &random
        ).map { [$0.x, $0.y, $0.width, $0.height].map(Double.init) }
      }
      let share = try #require(expected.share)
      #expect(abs(Double(rows.count) / Double(draws) - share) < 0.025)
      expectMoments(
        rows, mean: expected.mean, deviation: expected.deviation,
        ofSample: share * Double(draws), "erasures of \(expected.width) × \(expected.height)")
    }
  }

  @Test("Shares are of the beta distribution")
  func beta() throws {
    let all = try Numbers.load().beta
    #expect(all.count == 3)
    for expected in all {
      let rows = (0..<20000).map { item in
        var random = RandomDraws(.mixing, seed: 9, epoch: 2, item: item)
        return [random.beta(expected.alpha)]
      }
      #expect(rows.allSatisfy { (0...1).contains($0[0]) })
      expectMoments(
        rows, mean: [expected.mean], deviation: [expected.deviation], ofSample: .infinity,
        "beta(\(expected.alpha))")
    }
    var tiny = RandomDraws(.mixing, seed: 9, epoch: 2, item: 0)
    let share = tiny.beta(1e-6)
    #expect(share >= 0 && share <= 1)
  }

  @Test("Batches are mixed as MixUp and CutMix mix them")
  func mixing() throws {
    let numbers = try Numbers.load().mixing
    #expect(numbers.cases.count == 5)
    for expected in numbers.cases {
      let recipe =
        if let x = expected.x, let y = expected.y {
          BatchMixing.Recipe.cutting(expected.share, center: (x, y), (4, 5))
        } else { BatchMixing.Recipe(share: expected.share, box: nil) }
      var values = numbers.input
      recipe.mix(&values, count: 3, layout: .nchw, size: (4, 5))
      #expect(zip(values, expected.values).allSatisfy { abs($0 - $1) <= 1e-6 })
      var targets = numbers.labels.flatMap { label in (0..<3).map { Float($0 == label ? 1 : 0) } }
      recipe.mixRows(&targets, count: 3)
      #expect(zip(targets, expected.targets).allSatisfy { abs($0 - $1) <= 1e-6 })
      // Channels last, the same elements are exchanged.
      var turned = transposed(numbers.input, from: (2, 20))
      recipe.mix(&turned, count: 3, layout: .nhwc, size: (4, 5))
      #expect(turned == transposed(values, from: (2, 20)))
    }
    let both = BatchMixing(mixup: 1, cutmix: 1)
    let cuts = (0..<2000).count {
      both.recipe(seed: 4, epoch: 1, batch: $0, size: (32, 32)).box != nil
    }
    #expect(abs(cuts - 1000) < 112)
  }

  /// Each of three items with its two axes exchanged.
  private func transposed(_ values: [Float], from shape: (Int, Int)) -> [Float] {
    (0..<3).flatMap { item in
      (0..<shape.1).flatMap { b in
        (0..<shape.0).map { a in values[(item * shape.0 + a) * shape.1 + b] }
      }
    }
  }

  @Test("A view depends on seed, epoch and item alone")
  func views() throws {
    let photo = try Fixture.image("photo.png")
    let spec = try Preprocessing(.imagenet, inputShape: [3, 32, 32], layout: .nchw)
    let preprocessor = Preprocessor(spec)
    let all = try Augmentation("erase,jitter,flip,resized-crop")
    #expect(all.description == "resized-crop-flip-jitter-erase")
    func view(_ views: AugmentedViews, _ index: Int, _ number: Int) throws -> Image {
      try views.pixels(
        of: index, view: number, preprocessor, size: PixelSize(height: 32, width: 32)
      ) { photo }.pixels
    }
    let (keeping, decoding) = (AugmentedViews(all, seed: 5), AugmentedViews(all, seed: 5, room: 0))
    // Whatever was asked for before, and whether or not the picture was kept.
    let first = try view(keeping, 2, 3)
    _ = try view(keeping, 2, 4)
    #expect(try view(keeping, 2, 3) == first)
    #expect(try view(decoding, 2, 3) == first)
    #expect(try view(decoding, 2, 4) != first)
    #expect(try view(decoding, 1, 3) != first)
    #expect(try view(AugmentedViews(all, seed: 6), 2, 3) != first)

    let flips = AugmentedViews(try Augmentation("flip"), seed: 5)
    let plain = try preprocessor.pixels(of: photo)
    let flipped = try (0..<1000).map { try view(flips, 0, $0) }
    #expect(flipped.allSatisfy { $0 == plain || $0 == plain.mirrored() })
    #expect(abs(flipped.count { $0 == plain } - 500) < 80)
  }

  /// An image in which every pixel of another has `scale` × `scale` pixels.
  private func enlarged(_ image: Image, _ scale: Int) throws -> Image {
    let width = image.width * scale
    let pixels = (0..<image.height * scale).flatMap { y in
      (0..<width).flatMap { x in image[x: x / scale, y: y / scale] ?? [] }
    }
    return try Image(
      width: width, height: image.height * scale, channels: image.channels, pixels: pixels)
  }

  @Test("A target moves along with its image, in its own resolution", arguments: [1, 2])
  func targets(_ scale: Int) throws {
    let photo = try Fixture.image("photo.png").resized(width: 40, height: 30, filter: .bilinear)
    let spec = try Preprocessing(
      resize: nil, crop: .init(height: 16, width: 24), color: .rgb, layout: .nchw, scale: 1,
      mean: [0, 0, 0], std: [1, 1, 1],
      output: PixelValues(color: .rgb, scale: 1, mean: [0, 0, 0], std: [1, 1, 1]))
    let preprocessor = Preprocessor(spec)
    let size = PixelSize(height: 16, width: 24)
    let output = try #require(PictureOutput(spec, shape: [3, 16 * scale, 24 * scale]))
    let target = try enlarged(photo, scale)
    #expect(
      try preprocessor.target(target, for: photo.size, as: output)
        == enlarged(preprocessor.pixels(of: photo), scale))
    // Between pixels, only equal resolutions are interpolated alike. Erasing changes values, not pixels.
    for steps in ["flip", "crop-erase", "crop-flip"] + (scale == 1 ? ["resized-crop-flip"] : []) {
      let views = AugmentedViews(try Augmentation(steps), seed: 4)
      var seen = Set<Image>()
      for view in 0..<30 {
        let (pixels, decoded) = try views.pixels(of: 3, view: view, preprocessor, size: size) {
          photo
        }
        #expect(decoded == photo.size)
        let moved = try views.target(
          of: 3, view: view, preprocessor, image: decoded, size: size, output: output
        ) { target }
        #expect(try moved == enlarged(pixels, scale), "\(steps), view \(view)")
        seen.insert(moved)
      }
      #expect(seen.count >= (steps == "flip" ? 2 : 6))
    }
    // Colors are not changed in targets.
    func whole(_ steps: String, _ target: Image) throws -> Image {
      try AugmentedViews(try Augmentation(steps), seed: 4).target(
        of: 3, view: 0, preprocessor, image: photo.size, size: size, output: output
      ) { target }
    }
    #expect(
      try whole("jitter", target) == preprocessor.target(target, for: photo.size, as: output))
    expectError(.invalidData, containing: "the target is 24 × 24, its image 40 × 30") {
      _ = try whole("resized-crop", target.cropped(x: 0, y: 0, width: 24, height: 24))
    }
    expectError(.invalidData, containing: "the target is 80 × 60, but must be", "with a resize") {
      let other = try #require(PictureOutput(spec, shape: [3, 48, 72]))
      _ = try preprocessor.target(
        photo.resized(width: 80, height: 60, filter: .bilinear), for: photo.size, as: other)
    }
  }

  @Test("A target of the output's size that is not in proportion to its image is taken as it is")
  func preparedTargets() throws {
    let spec = try Preprocessing(
      resize: .init(.shorter(16)), crop: .init(height: 16, width: 16), color: .rgb, layout: .nchw,
      scale: 1, mean: [0, 0, 0], std: [1, 1, 1],
      output: PixelValues(color: .gray, scale: 1, mean: [0], std: [1]))
    let output = try #require(PictureOutput(spec, shape: [1, 32, 32]))
    let preprocessor = Preprocessor(spec)
    let photo = try Fixture.image("photo.png")
    let square = try photo.cropped(x: 3, y: 2, width: 32, height: 32)
    let image = PixelSize(height: 16, width: 24)
    #expect(
      try preprocessor.target(square, for: image, as: output) == square.convertedToGray())
    expectError(.invalidData, containing: "the target is 31 × 32, its image 24 × 16") {
      _ = try preprocessor.target(
        photo.cropped(x: 3, y: 2, width: 31, height: 32), for: image, as: output)
    }
    // An exact size has no proportions to keep.
    var exact = spec
    (exact.resize, exact.crop) = (.init(.exact(height: 16, width: 16)), nil)
    #expect(
      try Preprocessor(exact).target(photo, for: image, as: output)
        == photo.convertedToGray().resized(width: 32, height: 32, filter: .bilinear))
  }

  @Test("What is erased becomes zero in either layout", arguments: Preprocessing.Layout.allCases)
  func erases(_ layout: Preprocessing.Layout) throws {
    let views = AugmentedViews(try Augmentation("erase"), seed: 8)
    var erasures = 0
    for view in 0..<50 {
      var values = [Float](repeating: 1, count: 3 * 8 * 10)
      values.withUnsafeMutableBufferPointer {
        views.erase(
          $0, of: 1, view: view, size: PixelSize(height: 8, width: 10), layout: layout)
      }
      var random = RandomDraws(.erase, seed: 8, epoch: view, item: 1)
      let part = PixelRectangle.erased(ofWidth: 10, height: 8, &random)
      if part != nil { erasures += 1 }
      for channel in 0..<3 {
        for y in 0..<8 {
          for x in 0..<10 {
            let isIn =
              part.map {
                ($0.x..<$0.x + $0.width).contains(x) && ($0.y..<$0.y + $0.height).contains(y)
              } ?? false
            let place =
              layout == .nchw ? (channel * 8 + y) * 10 + x : (y * 10 + x) * 3 + channel
            #expect(values[place] == (isIn ? 0 : 1))
          }
        }
      }
    }
    #expect(erasures > 10)
  }

  @Test func namesOfSteps() throws {
    #expect(try Augmentation("none").isNone)
    #expect(try Augmentation("crop-flip").steps == [.crop, .flip])
    #expect(try Augmentation("flip,resized-crop").steps == [.resizedCrop, .flip])
    #expect(try Augmentation("resized-crop-erase").steps == [.resizedCrop, .erase])
    for (text, problem) in [
      ("", "has the unknown step \"\""), ("crop-", "has the unknown step \"\""),
      ("turn-flip", "has the unknown step \"turn\""),
      ("resized", "has the unknown step \"resized\""), ("flip-flip", "has flip twice"),
      ("crop-resized-crop", "has both kinds of crop"),
    ] {
      expectError(.invalidArgument, containing: problem) { _ = try Augmentation(text) }
    }
  }
}
