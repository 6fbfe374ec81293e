// Maps of classes: files, geometry, metrics.

import Foundation
import GraftDiagnostics
import GraftTesting
import Testing

@testable import GraftData

@Suite("Maps of classes")
struct LabelMapTests {
  @Test("a palette PNG keeps its numbers, and has PASCAL VOC's colors")
  func palette() throws {
    let values: [UInt8] = [0, 1, 2, 3, 8, 255]
    let map = try LabelMap(width: 3, height: 2, values: values)
    try withTemporaryFolder { folder in
      let path = folder + "/mask.png"
      try Data(map.encodedPNG()).write(to: URL(filePath: path))
      #expect(try LabelMap(contentsOf: path) == map)
      let colors = try Image(contentsOf: path)
      #expect(
        colors.pixels == [
          0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 64, 0, 0, 224, 224, 192,
        ])
    }
  }

  @Test("each pixel takes the nearest: floor((i + 1/2) * old / new)")
  func nearest() throws {
    let row = try LabelMap(width: 5, height: 1, values: [0, 1, 2, 3, 4])
    #expect(try row.resized(width: 3, height: 1).values == [0, 2, 4])
    #expect(try row.resized(width: 2, height: 1).values == [1, 3])
    let small = try LabelMap(width: 3, height: 1, values: [7, 8, 9])
    #expect(try small.resized(width: 5, height: 2).values == [7, 7, 8, 9, 9, 7, 7, 8, 9, 9])
  }

  private static func preprocessor(
    _ resize: Preprocessing.Resize?, _ crop: Preprocessing.CenterCrop?
  ) throws -> Preprocessor {
    Preprocessor(
      try Preprocessing(
        resize: resize, crop: crop, color: .gray, layout: .nchw, scale: 1, mean: [0], std: [1]))
  }

  @Test("a map is preprocessed as its image, and goes back to it")
  func preprocessing() throws {
    // The pixels of the image are the classes, and no color lies between them: sizes grow by whole factors.
    let values = (0..<24).map { UInt8($0) }
    let map = try LabelMap(width: 6, height: 4, values: values)
    let image = try Image(width: 6, height: 4, channels: 1, pixels: values)
    for (resize, crop): (Preprocessing.Resize?, Preprocessing.CenterCrop?) in [
      (nil, nil), (nil, Preprocessing.CenterCrop(height: 2, width: 4)),
      (nil, Preprocessing.CenterCrop(height: 7, width: 9)),
      (
        Preprocessing.Resize(.exact(height: 4, width: 6)),
        Preprocessing.CenterCrop(height: 3, width: 3)
      ),
    ] {
      let preprocessor = try Self.preprocessor(resize, crop)
      let pixels = try preprocessor.pixels(of: image)
      let own = try preprocessor.map(of: map)
      #expect(own.width == pixels.width && own.height == pixels.height)
      for (pixel, label) in zip(pixels.pixels, own.values) {
        // What is padded is black in the image and no class in the map.
        #expect(pixel == label || (pixel == 0 && label == LabelMap.ignored))
      }
      let back = try preprocessor.restored(own, to: (4, 6))
      let kept = zip(back.values, values).filter { $0.0 != LabelMap.ignored }
      #expect(kept.allSatisfy { $0.0 == $0.1 })
      #expect(kept.count == min(4, crop?.height ?? 4) * min(6, crop?.width ?? 6))
    }
  }

  @Test("random views move a map as its image", arguments: ["flip", "crop", "crop-flip"])
  func views(_ steps: String) throws {
    let values = (0..<64).map { UInt8($0 + 1) }
    let map = try LabelMap(width: 8, height: 8, values: values)
    let image = try Image(width: 8, height: 8, channels: 1, pixels: values)
    let preprocessor = try Self.preprocessor(nil, nil)
    let views = AugmentedViews(try Augmentation(steps), seed: 3)
    let size = PixelSize(height: 8, width: 8)
    var seen = Set<[UInt8]>()
    for view in 0..<40 {
      let pixels = try views.pixels(of: 0, view: view, preprocessor, size: size) { image }.pixels
      let own = try views.map(map, of: 0, view: view, preprocessor, size: size)
      for (pixel, label) in zip(pixels.pixels, own.values) {
        #expect(pixel == label || (pixel == 0 && label == LabelMap.ignored))
      }
      seen.insert(own.values)
    }
    #expect(seen.count >= (steps == "flip" ? 2 : 6))
  }

  @Test("metrics of positions are those of the definitions, in both orders of memory")
  func metrics() throws {
    // Three classes, five positions, one of which has no class.
    let labels: [UInt8] = [0, 0, 1, 2, 255]
    let rows: [Float] = [2, 1, 0, 0, 1, 0, 0, 3, 1, 1, 0, 0, 9, 0, 0]
    var planes = [Float](repeating: 0, count: 15)
    for position in 0..<5 {
      for unit in 0..<3 { planes[unit * 5 + position] = rows[position * 3 + unit] }
    }
    for scores in [
      PositionScores(rows[...], units: 3, stride: 1),
      PositionScores(planes[...], units: 3, stride: 5),
    ] {
      var metrics = try PositionMetrics(classCount: 3, outputKind: .logits)
      #expect(try metrics.add(scores, labels: labels) == [0, 1, 1, 0, 0])
      #expect(metrics.count == 4 && metrics.accuracy == 0.5)
      // Class 0: 1 of {0, 1, 3}; class 1: 1 of {1, 2}; class 2: 0 of {3}.
      #expect(
        metrics.classReports.map(\.intersectionOverUnion) == [1.0 / 3, 0.5, 0])
      #expect(abs((metrics.meanIntersectionOverUnion ?? 0) - (1.0 / 3 + 0.5) / 3) < 1e-15)
      let expected =
        [([2.0, 1, 0], 0), ([0, 1, 0], 0), ([0, 3, 1], 1), ([1, 0, 0], 2)]
        .map { row, label in log(row.reduce(0) { $0 + exp($1) }) - row[label] }
        .reduce(0, +) / 4
      #expect(abs((metrics.loss ?? 0) - expected) < 1e-6)
      #expect(try metrics.confusion()[label: 2, prediction: 0] == 1)
    }
    var binary = try PositionMetrics(classCount: 2, outputKind: .probabilities)
    try binary.add(PositionScores([0.25, 0.75], units: 1, stride: 2), labels: [1, 1])
    #expect(binary.accuracy == 0.5)
    #expect(abs((binary.loss ?? 0) + (log(0.25) + log(0.75)) / 2) < 1e-6)
    #expect(throws: GraftError.self) {
      try binary.add(PositionScores([0.5], units: 1, stride: 1), labels: [2])
    }
  }

  @Test("images are paired with masks, and what cannot be is told")
  func folder() throws {
    try withTemporaryFolder { folder in
      for name in ["images", "masks"] {
        try FileManager.default.createDirectory(
          atPath: folder + "/" + name, withIntermediateDirectories: true)
      }
      let image = try Image(width: 2, height: 1, channels: 3, pixels: [1, 2, 3, 4, 5, 6])
      for name in ["a", "b", "c.d", "e"] {
        try Data(image.encodedPNG()).write(to: URL(filePath: folder + "/images/\(name).png"))
      }
      for (name, values): (String, [UInt8]) in [("a", [0, 4]), ("c.d", [255, 2]), ("b", [1, 1])] {
        try Data(LabelMap(width: 2, height: 1, values: values).encodedPNG())
          .write(to: URL(filePath: folder + "/masks/\(name).png"))
      }
      let data = try SegmentationFolder(folder)
      #expect(data.count == 3 && data.classCount == 5 && data.classes.isEmpty)
      #expect(data.warnings.map(\.message) == ["1 image has no mask and is skipped: e.png"])
      #expect((0..<3).map(data.name) == ["images/a.png", "images/b.png", "images/c.d.png"])
      #expect(
        try data.target(of: 2) == .map(LabelMap(width: 2, height: 1, values: [255, 2])))
      #expect(throws: GraftError.self) {
        try SegmentationFolder(folder, classCount: 4).sample(at: 0)
      }
      // One name in two files, of another kind or in another normal form, says of neither which mask is its.
      for name in ["masks/a.PNG", "images/a.jpg", "images/caf\u{e9}.png"] {
        let added = ["images/cafe\u{301}.png", name].filter {
          $0 == name || name.hasSuffix("\u{e9}.png")
        }
        for file in added {
          try Data(image.encodedPNG()).write(to: URL(filePath: folder + "/" + file))
        }
        expectError(.invalidData, containing: "have the same name before the extension") {
          _ = try SegmentationFolder(folder)
        }
        for file in added { try FileManager.default.removeItem(atPath: folder + "/" + file) }
      }
      try Data("ground\ntree\n".utf8).write(to: URL(filePath: folder + "/classes.txt"))
      let named = try SegmentationFolder(folder)
      #expect(named.classes == ["ground", "tree"] && named.classCount == 2)
      #expect(throws: GraftError.self) { try named.sample(at: 0) }
      #expect(throws: GraftError.self) {
        try SegmentationFolder(folder, labels: ["tree", "ground"])
      }
      #expect(throws: GraftError.self) { try SegmentationFolder(folder, classCount: 3) }
    }
  }
}
