// The files of bundles for several input shapes: libraries from before there were such bundles, damaged programs,
// and the C interface.

import Foundation
import Graft
import GraftDiagnostics
import GraftTesting
import Testing

@Suite("Files of bundles for several sizes")
struct SizedBundleFilesTests {
  /// Links the library again, with other text of programs.c and without some objects, and corrects the manifest.
  private func relink(
    _ bundle: ModelBundle, programs text: String, without objects: Set<String> = [],
    _ change: (inout Manifest) -> Void = { _ in }
  ) throws -> ModelBundle {
    try text.write(toFile: bundle.path(of: "programs.c"), atomically: true, encoding: .utf8)
    let script = """
      cd '\(bundle.path)' && clang -std=c11 -O2 -fPIC -fvisibility=hidden -Wall -Werror -I. -c programs.c \
        -o programs.o && \(objects.isEmpty ? "true" : "rm \(objects.sorted().joined(separator: " "))") && \
        clang -shared -o libmodel.so *.o -Wl,--version-script=exports.map -lm -Wl,-z,noexecstack
      """
    let result = try GraftProgram.run("/bin/sh", ["-c", script])
    try #require(result.status == 0, "\(result.errors)")
    try correct(bundle, change)
    return try ModelBundle(opening: bundle.path)
  }

  /// Makes every digest fit, and changes the manifest on the way.
  private func correct(
    _ bundle: ModelBundle, _ change: (inout Manifest) -> Void = { _ in }
  ) throws {
    var manifest = bundle.manifest
    manifest.files = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: bundle.path)
    where !name.hasPrefix("manifest.") {
      let data = try Data(contentsOf: URL(filePath: bundle.path(of: name)))
      manifest.files[name] = Manifest.File(bytes: data.count, sha256: Digest.sha256(data))
    }
    change(&manifest)
    let data = try manifest.encoded()
    try data.write(to: URL(filePath: bundle.path(of: "manifest.json")))
    try Data((Digest.sha256(data) + "\n").utf8)
      .write(to: URL(filePath: bundle.path(of: "manifest.sha256")))
  }

  private func expectRefusal(
    of bundle: ModelBundle, saying part: String,
    sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) throws {
    let opened = try ModelBundle(opening: bundle.path)
    let error = #expect(throws: GraftError.self, sourceLocation: sourceLocation) {
      try opened.verify()
    }
    #expect(error?.kind == .invalidBundle, sourceLocation: sourceLocation)
    #expect(
      error?.description.contains(part) == true, "\(error?.description ?? "")",
      sourceLocation: sourceLocation)
  }

  /// The table of format 1.7 ends before `program`; what lies behind it is no address.
  private static let shortTable = """
    #include "graft_runtime.h"
    #include <stddef.h>
    #include <string.h>
    extern const graft_program graft_program_of_model_1;
    GRAFT_MODEL_TABLE(table, graft_program_of_model_1)
    const graft_model_api *graft_model_program(uint32_t index) {
      static _Alignas(16) unsigned char old[2 * sizeof(graft_model_api)];
      const uint32_t bytes = offsetof(graft_model_api, program);
      memset(old, 0x55, sizeof old);
      memcpy(old, &table, bytes);
      memcpy(old + sizeof(uint32_t), &bytes, sizeof bytes);
      return index == 0 ? (const graft_model_api *)(const void *)old : NULL;
    }
    """

  @Test func aLibraryOfTheFormerFormatHasOneProgram() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      let size = [SizedModel.sizes[0]]
      let x = try ["x": randomTensor([2, 3, 12, 16])]
      let expected = try Session(model.compile(size)).run(x)
      let old = try relink(model.compile(size), programs: Self.shortTable) {
        $0.format.minor = 7
      }
      try old.verify()
      #expect(try Session(old).run(x) == expected)
      #expect(old.manifest.programs.count == 1)
    }
  }

  private static func tables(_ count: Int) -> String {
    let numbers = 1...count
    return """
      #include "graft_runtime.h"
      \(numbers.map { """
        extern const graft_program graft_program_of_model_\($0);
        GRAFT_MODEL_TABLE(table_\($0), graft_program_of_model_\($0))
        """ }.joined(separator: "\n"))
      const graft_model_api *graft_model_program(uint32_t index) {
        static const graft_model_api *const tables[] = {
          \(numbers.map { "&table_\($0)" }.joined(separator: ", "))};
        return index < \(count) ? tables[index] : NULL;
      }
      """
  }

  @Test func verifyFindsWhatIsWrongWithAnyProgram() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      let names = ["graph.ir", "graph-2.ir", "weights-2.safetensors"]
      let files = try names.map { name in
        try Data(contentsOf: URL(filePath: model.compile().path(of: name)))
      }
      /// The bundle with other contents of a file, or without it.
      func changed(_ name: String, _ contents: Data?) throws -> ModelBundle {
        let bundle = try model.compile()
        let url = URL(filePath: bundle.path(of: name))
        try contents.map { try $0.write(to: url) } ?? FileManager.default.removeItem(at: url)
        return bundle
      }
      try expectRefusal(
        of: changed("graph-2.ir", files[1].dropLast(8)), saying: "graph-2.ir: is damaged")
      let swapped = try changed("graph-2.ir", files[0])
      try correct(swapped)
      try expectRefusal(of: swapped, saying: "is f32")
      let missing = try changed("graph-2.ir", nil)
      try correct(missing)
      try expectRefusal(of: missing, saying: "graph-2.ir: is missing")
      let constants = try changed("weights-2.safetensors", nil)
      try correct(constants)
      try expectRefusal(of: constants, saying: "the graph says")
      var notANumber = files[2]
      notANumber.replaceSubrange(notANumber.count - 4..<notANumber.count, with: [0, 0, 0xC0, 0x7F])
      let broken = try changed("weights-2.safetensors", notANumber)
      try correct(broken)
      try expectRefusal(of: broken, saying: "weights-2.safetensors: element")
      let twice = try model.compile()
      try correct(twice) { manifest in
        manifest.furtherPrograms = Array(manifest.programs.prefix(1))
      }
      try expectRefusal(of: twice, saying: "the manifest's inputs and outputs differ")
    }
  }

  @Test func theLibraryMustHaveTheProgramsOfTheManifest() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.convolutions(in: folder)
      let whole = try relink(model.compile(), programs: Self.tables(2))
      try whole.verify()
      let cut = try relink(model.compile(), programs: Self.tables(1), without: ["model_2.o"])
      try expectRefusal(of: cut, saying: "has 1 programs, the manifest describes 2")
      let error = #expect(throws: GraftError.self) { try Session(cut) }
      #expect(error?.message.contains("differ from those of libmodel.so") == true)
    }
  }

  /// docs/examples/run_bundle.c with the number of a program.
  @Test func fromC() throws {
    let example = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "docs/examples/run_bundle.c").path
    try withTemporaryFolder { folder in
      let bundle = try SizedModel.convolutions(in: folder).compile()
      let compiled = try GraftProgram.run(
        "/usr/bin/env",
        [
          "clang", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", bundle.path, example, "-ldl",
          "-o", folder + "/run_bundle",
        ])
      try #require(compiled.status == 0, "\(compiled.errors)")
      let session = try Session(bundle, threads: 2)
      for (index, image) in [[12, 16], [20, 24]].enumerated() {
        let x = try randomTensor([2, 3] + image)
        let expected = try #require(session.run(["x": x])["y"]).bytes
        try Data(x.bytes).write(to: URL(filePath: folder + "/in"))
        let ran = try GraftProgram.run(
          "/bin/sh",
          ["-c", "cd '\(folder)' && ./run_bundle '\(bundle.path)' 2 2 \(index) <in >out"])
        try #require(ran.status == 0, "\(ran.errors)")
        #expect(try Array(Data(contentsOf: URL(filePath: folder + "/out"))) == expected)
      }
      let none = try GraftProgram.run(folder + "/run_bundle", [bundle.path, "2", "2", "2"])
      #expect(none.status == 1 && none.errors.contains("there is no such program"))
    }
  }
}
