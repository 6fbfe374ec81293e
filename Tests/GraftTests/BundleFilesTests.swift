// The small formats of a bundle: safetensors, the manifest, labels, shapes from the command line.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftTesting
import Testing

@testable import Graft

@Suite struct SafetensorsTests {
  @Test func roundTripKeepsNamesTypesAndBytes() throws {
    try withTemporaryFolder { folder in
      let tensors: [(name: String, data: TensorData)] = [
        ("bias", try TensorData(.float16, [3], in: MemoryBytes([1, 2, 3, 4, 5, 6]))),
        ("w \"1\"\n🦉", try TensorData([1.5, -2, .infinity, 0], shape: [2, 2])),
        ("scalar", try TensorData([Int64.min], shape: [])),
        ("empty", try TensorData([Float](), shape: [0, 7])),
      ]
      let path = folder + "/weights.safetensors"
      try Safetensors.write(tensors, to: path)
      let read = try Safetensors.read(path)
      #expect(read.count == tensors.count)
      for (name, data) in tensors {
        let found = try #require(read[name])
        #expect(found.dtype == data.dtype && found.shape == data.shape)
        #expect(
          found.withUnsafeBytes { Array($0) } == data.withUnsafeBytes { Array($0) }, "\(name)")
      }
    }
  }

  /// The header that the format's own documentation describes, written by hand.
  @Test func readsWhatOthersWrite() throws {
    try withTemporaryFolder { folder in
      let header =
        #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#
      var file = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
      file += Data(header.utf8)
      file += [0, 0, 128, 63, 0, 0, 0, 192]
      let path = folder + "/x"
      try file.write(to: URL(filePath: path))
      #expect(try Safetensors.read(path)["a"]?.floats() == [1, -2])
    }
  }

  @Test(arguments: [
    #"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#,
    #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
    #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1000]}}"#,
    #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#,
    #"{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}"#,
    #"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#,
    #"{"__metadata__":[],"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
    #"{"a":[]}"#, "{", "",
  ])
  func refusesWhatDoesNotFit(_ header: String) throws {
    try withTemporaryFolder { folder in
      var file = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
      file += Data(header.utf8) + Data(count: 8)
      let path = folder + "/x"
      try file.write(to: URL(filePath: path))
      let error = #expect(throws: GraftError.self) { try Safetensors.read(path) }
      #expect(error?.kind == .invalidBundle && error?.location.file == path)
    }
  }

  @Test func refusesAHeaderLongerThanTheFile() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/x"
      for length in [UInt64.max, 9, 1 << 40] {
        try withUnsafeBytes(of: length.littleEndian) { Data($0) }.write(to: URL(filePath: path))
        #expect(throws: GraftError.self) { try Safetensors.read(path) }
      }
    }
  }
}

@Suite struct ManifestTests {
  @Test(arguments: [
    ("{}", "\"format\""), ("[]", "wrong type"), ("", "damaged"),
    (#"{"format":{"major":7,"minor":0}}"#, "format version 7.0"),
    (#"{"format":{"major":1,"minor":0}}"#, "has no key"),
    (#"{"format":{"major":1.5,"minor":0}}"#, "damaged"),
    (#"{"format":{"major":1e30,"minor":0}}"#, "damaged"),
  ])
  func saysWhatIsWrong(_ text: String, _ part: String) {
    let error = #expect(throws: GraftError.self) { try Manifest.decode(Data(text.utf8)) }
    #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
  }

  /// Whatever it lists is read, so it must not lead out of the bundle or into a folder.
  @Test(arguments: ["../weights", "/etc/passwd", "folder/file", "..", ".", "", "a\0b"])
  func refusesFilesElsewhere(_ name: String) throws {
    var manifest = Manifest(
      format: Manifest.FormatVersion(major: 1, minor: 0), tool: "", compiler: "", name: "",
      inputs: [], outputs: [], outputActivation: .none,
      target: Manifest.Target(name: "", features: [], lanes: 8), hasFreeBatch: true,
      arenaBytesPerImage: 0, schedule: [],
      provenance: Manifest.Provenance(source: "", sourceSHA256: "", opset: 17),
      files: ["file": Manifest.File(bytes: 0, sha256: "")])
    #expect(try Manifest.decode(manifest.encoded()) == manifest)
    manifest.files[name] = Manifest.File(bytes: 0, sha256: "")
    let data = try manifest.encoded()
    let error = #expect(throws: GraftError.self) { try Manifest.decode(data) }
    #expect(error?.kind == .invalidBundle)
    #expect(error?.message.contains("is not a valid name of a file in a bundle") == true)
  }

  @Test func extentsKeepTheBatch() throws {
    let shape: TensorShape = [.batch, 3, .batch(times: 2)]
    let tensor = Manifest.Tensor(name: "x", type: TensorType(.float32, shape))
    let data = try JSONEncoder().encode(tensor)
    #expect(String(decoding: data, as: UTF8.self).contains(#"["N",3,"2N"]"#))
    #expect(try JSONDecoder().decode(Manifest.Tensor.self, from: data).type().shape == shape)
  }
}

@Suite struct CommandLineValueTests {
  @Test func inputShapes() {
    #expect(InputShape("Nx3x224x224")?.shape == [.batch, 3, 224, 224])
    #expect(InputShape("1x3")?.shape == [1, 3])
    for text in ["", "x", "0x3", "-1", "3.5", "Nx", "NxN ", "9999999999999999999"] {
      #expect(InputShape(text) == nil, "\(text)")
    }
  }

  @Test func labels() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/labels.txt"
      try "cat\r\ndog\n\n".write(toFile: path, atomically: true, encoding: .utf8)
      #expect(try Labels.read(from: path).names == ["cat", "dog"])
      for (text, part) in [
        ("", "no labels"), ("a\n\nb", "line 2 is blank"), ("[]", "no labels"),
        ("[\"a\", 1]", "label 1 is not a name"), ("{\"0\": \"a\", \"2\": \"b\"}", "are not 0 … 1"),
      ] {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: GraftError.self) { try Labels.read(from: path) }
        #expect(error?.message.contains(part) == true)
      }
      for encoding in [String.Encoding.utf16, .utf16LittleEndian] {
        try "cat\ndog\n".write(toFile: path, atomically: true, encoding: encoding)
        let error = #expect(throws: GraftError.self) { try Labels.read(from: path) }
        #expect(error?.message == "the labels are UTF-16 text")
      }
    }
  }

  @Test(arguments: [
    "\u{feff}airplane\r\n\"bird\"\r\n\r\n", "\u{feff}[\"airplane\", \"\\\"bird\\\"\"]",
    #"{"1": ["n01", "\"bird\""], "0": ["n00", "airplane"]}"#,
    #"{"\"bird\"": 1, "airplane": 0}"#,
    #"{"model_type": "resnet", "id2label": {"0": "airplane", "1": "\"bird\""}}"#,
  ]) func labelsInEveryForm(text: String) throws {
    try withTemporaryFolder { folder in
      let path = folder + "/labels"
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      let labels = try Labels.read(from: path)
      #expect(labels.names == ["airplane", "\"bird\""])
      #expect(labels.warnings.isEmpty)
    }
  }

  @Test func classesOfOneNameAreToldApart() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/labels.txt"
      try "crane\ncat\ncrane\ncrane (1)\ncaf\u{e9}\ncafe\u{301}\n[no JSON\n".write(
        toFile: path, atomically: true, encoding: .utf8)
      let labels = try Labels.read(from: path)
      #expect(
        labels.names == [
          "crane (2)", "cat", "crane (3)", "crane (1)", "café (1)", "café (2)", "[no JSON",
        ])
      #expect(labels.warnings.count == 2)
      #expect(
        labels.warnings.first?.message
          == "2 classes are named \"crane\": \"crane (2)\" is class 0, \"crane (3)\" is class 2")
    }
  }
}
