// Training behind the C interface: PyTorch's numbers, the order of epochs, one run's bits at any number
// of threads and over a stop, and what is refused.

import Foundation
import GraftDiagnostics
import GraftRuntime
import GraftTesting
import Testing

@Suite struct TrainingTests {
  private typealias State = TrainingFixture.State

  private func agree(_ found: [Float], _ expected: [Double]) -> Bool {
    found.count == expected.count
      && zip(found, expected).allSatisfy { abs(Double($0) - $1) <= 2e-6 * max(1, abs($1)) }
  }

  private func error(_ body: () throws -> Void) -> GraftError? {
    do { try body() } catch { return error as? GraftError }
    return nil
  }

  /// Whole batches, a partial one, clipped gradients, three micro-batches for one update; SGD and Adam.
  @Test func stepsFollowPyTorchAtAnyNumberOfThreads() throws {
    try withTemporaryFolder { folder in
      let fixture = try TrainingFixture(in: folder)
      let seed: UInt64 = 5 << 32 | 3
      let trainers = try [1, 2].map { try fixture.trainer(seed: seed, threads: $0) }
      for (index, call) in fixture.numbers.calls.enumerated() {
        var bits: [[[UInt32]]] = []
        for trainer in trainers {
          let before = try trainer.evaluate(
            batch: call.end - call.begin, inputs: [fixture.numbers.inputs(call)[0]])
          let result = try fixture.numbers.step(trainer, call)
          #expect(before.map(\.bitPattern) == result.logits.map(\.bitPattern))
          #expect(agree(result.loss, call.losses), "call \(index)")
          #expect(agree(result.logits, call.logits), "call \(index)")
          #expect(agree(try trainer.state(State.weight.rawValue), call.weight), "call \(index)")
          #expect(agree(try trainer.state(State.bias.rawValue), call.bias), "call \(index)")
          #expect(agree(try trainer.state(State.mean.rawValue), call.mean), "call \(index)")
          // The seed's halves, the call's number, the temperature, and states that stand askew.
          #expect(try trainer.state(State.probe.rawValue) == [3, 5, Float(index), 1, 0])
          bits.append(try TrainingFixture.bytes(of: trainer))
        }
        #expect(bits[0] == bits[1])
      }
      let updates = fixture.numbers.calls.count { !$0.goesOn }
      let progress = try trainers[1].progress()
      #expect(progress.updates == UInt64(updates) && progress.seed == seed)
      #expect(progress.steps == UInt64(fixture.numbers.calls.count))
      #expect(progress.openMicroBatches == 0)
    }
  }

  @Test func describesItself() throws {
    try withTemporaryFolder { folder in
      let fixture = try TrainingFixture(in: folder)
      let library = try TrainingLibrary(path: folder + "/libtrain.so")
      let description = library.description
      #expect(description.stepInputs.map(\.name) == ["x", "targets"])
      #expect(description.evaluation.inputs.map(\.name) == ["x"])
      #expect(description.groupNames == ["head", "bias"])
      #expect(description.states[0].role == .weight(group: 0))
      #expect(description.states[1].role == .weight(group: 1))
      #expect(description.states[0].type.shape == [2, 3])
      #expect(description.states[7].name == "mean \"of\" \\x\n\t\u{e9}")
      #expect(description.hasDropout && description.accumulates && description.classCount == 2)
      #expect(!description.takesTeacherTargets && !description.takesImageWeights)
      // 9 states and 5 buffers of a session, each a line of 64 bytes; 8 bytes an image, 64 fixed.
      #expect(library.sessionBytes(batch: 8, threads: 2) == 14 * 64 + 8 * 8 + 64)
      #expect(library.sessionBytes(batch: .max, threads: 2) == nil)
      let names = try GraftProgram.run(
        "/usr/bin/env", ["nm", "-D", "--defined-only", folder + "/libtrain.so"]
      ).output.split(separator: "\n").compactMap { $0.split(separator: " ").last }
      #expect(names == ["graft_training"])
      try fixture.addModel()
      let refused = error { _ = try TrainingLibrary(path: folder + "/libmodel.so") }
      #expect(refused?.message.contains("does not export graft_training") == true)
      try Data(count: 64 + 192).write(to: URL(filePath: folder + "/train.bin"))
      #expect(error { _ = try fixture.trainer() }?.kind == .invalidBundle)
    }
  }

  /// Against a second implementation in Python; every order of three equally often.
  @Test func ordersOfEpochs() throws {
    try withTemporaryFolder { folder in
      let fixture = try TrainingFixture(in: folder)
      for expected in fixture.numbers.orders {
        let trainer = try fixture.trainer(seed: try #require(UInt64(expected.seed)))
        let order = try trainer.order(epoch: expected.epoch, count: expected.count)
        #expect(order == expected.order)
        #expect(order.sorted() == Array(0..<expected.count))
      }
      let long = fixture.numbers.longOrder
      let trainer = try fixture.trainer(seed: try #require(UInt64(long.seed)))
      let order = try trainer.order(epoch: long.epoch, count: long.count)
      #expect(Array(order.prefix(8)) == long.first && Array(order.suffix(8)) == long.last)
      let sum = order.enumerated().reduce(into: UInt64(0)) { sum, entry in
        sum &+= UInt64(entry.offset) &* UInt64(entry.element)
      }
      #expect(String(sum) == long.sum)
      #expect(order.sorted() == Array(0..<long.count))

      var counts: [[Int]: Int] = [:]
      for epoch in 0..<6000 { counts[try trainer.order(epoch: epoch, count: 3), default: 0] += 1 }
      // Chi-squared with 5 degrees of freedom is above 20.5 once in a thousand.
      let chiSquared = counts.values.reduce(0.0) { $0 + pow(Double($1) - 1000, 2) / 1000 }
      #expect(counts.count == 6 && chiSquared < 20.5)
    }
  }

  /// Stopped between micro-batches, taken up by a session with another seed: the bits are those of the
  /// run that went on.
  @Test func resumesBitForBit() throws {
    try withTemporaryFolder { folder in
      let fixture = try TrainingFixture(in: folder)
      let (calls, path) = (fixture.numbers.calls, folder + "/run.safetensors")
      let trainer = try fixture.trainer()
      for call in calls.prefix(4) { _ = try fixture.numbers.step(trainer, call) }
      try Data("something else".utf8).write(to: URL(filePath: path))
      let note = "epoch 3, \"image\" 17\n\u{1F600}\u{1}\\"
      try trainer.save(to: path, note: note)
      let other = try fixture.trainer(seed: 99, threads: 2)
      _ = try fixture.numbers.step(other, calls[0])
      #expect(try other.load(from: path) == note)
      #expect(try other.progress() == trainer.progress())
      #expect(try other.progress().openMicroBatches == 1)
      for call in calls.dropFirst(4) {
        let left = try fixture.numbers.step(trainer, call)
        let right = try fixture.numbers.step(other, call)
        #expect(left.loss.map(\.bitPattern) == right.loss.map(\.bitPattern))
      }
      #expect(
        try TrainingFixture.bytes(of: trainer) == TrainingFixture.bytes(of: other))
      #expect(try trainer.order(epoch: 7, count: 50) == other.order(epoch: 7, count: 50))
      try trainer.save(to: path)
      try other.save(to: folder + "/other.safetensors")
      #expect(
        try Data(contentsOf: URL(filePath: path))
          == Data(contentsOf: URL(filePath: folder + "/other.safetensors")))
      #expect(try other.load(from: path) == "")

      #expect(error { try trainer.save(to: folder) }?.kind == .inputOutput)
      #expect(error { try trainer.save(to: folder + "/none/x") }?.kind == .inputOutput)
      #expect(error { try trainer.load(from: folder + "/none") }?.kind == .inputOutput)
      #expect(error { try trainer.load(from: folder) }?.kind == .inputOutput)
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder)
          .allSatisfy { !$0.contains("partial") })
    }
  }

  @Test func statesAreReadAndWritten() throws {
    try withTemporaryFolder { folder in
      let fixture = try TrainingFixture(in: folder)
      let trainer = try fixture.trainer()
      #expect(try trainer.state(State.weight.rawValue) == fixture.numbers.weight)
      #expect(try trainer.state(State.mean.rawValue) == fixture.numbers.mean)
      #expect(try trainer.state(State.bias.rawValue) == [0, 0])
      let bias: [Float] = [1, 2]
      try bias.withUnsafeBytes { try trainer.writeState(State.bias.rawValue, from: $0) }
      #expect(try trainer.state(State.bias.rawValue) == bias)
      bias.withUnsafeBytes { bias in
        #expect(error { try trainer.writeState(State.weight.rawValue, from: bias) } != nil)
        #expect(error { try trainer.writeState(9, from: bias) } != nil)
      }
    }
  }

  /// The gradient of the logits on its way, softmax - targets at scaled targets; and a state.
  @Test func tapsOfAStep() throws {
    try withTemporaryFolder { folder in
      let fixture = try TrainingFixture(in: folder)
      let trainer = try fixture.trainer(threads: 2)
      let call = fixture.numbers.calls[0]
      var gradient = [Float](repeating: 0, count: 8)
      let inputs = fixture.numbers.inputs(call)
      try inputs[0].withUnsafeBytes { x in
        try inputs[1].withUnsafeBytes { targets in
          try gradient.withUnsafeMutableBytes { residual in
            var weight = [Float](repeating: 0, count: 6)
            try weight.withUnsafeMutableBytes { weight in
              try trainer.step(
                batch: 4, inputs: [x, targets], settings: call.settings,
                taps: [.init(value: 0, buffer: residual), .init(value: 1, buffer: weight)])
            }
            #expect(agree(weight, call.weight))
          }
        }
      }
      for image in 0..<4 {
        let z = call.logits[(image * 2)..<(image * 2 + 2)].map(exp)
        let t = inputs[1][(image * 2)..<(image * 2 + 2)].map(Double.init)
        let expected = (0..<2).map { z[$0] / (z[0] + z[1]) * (t[0] + t[1]) - t[$0] }
        #expect(agree(Array(gradient[(image * 2)..<(image * 2 + 2)]), expected))
      }
    }
  }

  @Test func callsAreRefused() throws {
    try withTemporaryFolder { folder in
      let fixture = try TrainingFixture(in: folder)
      let trainer = try fixture.trainer(largestBatch: 4)
      let call = fixture.numbers.calls[0]
      let inputs = fixture.numbers.inputs(call)
      let before = try TrainingFixture.bytes(of: trainer)
      func refusal(
        batch: Int = 4, inputs given: [[Float]]? = nil,
        _ change: (inout LoadedTrainer.StepSettings) -> Void = { _ in }
      ) -> String? {
        var settings = call.settings
        change(&settings)
        return error {
          _ = try trainer.step(batch: batch, inputs: given ?? inputs, settings: settings)
        }?.message
      }
      #expect(refusal(batch: 3)?.contains("input \"x\" has 48 bytes, expected 36") == true)
      #expect(refusal(inputs: [inputs[0]])?.contains("1 inputs; expected 2") == true)
      #expect(refusal(inputs: [inputs[0], []])?.contains("\"targets\" has 0 bytes") == true)
      #expect(refusal { $0.hyperparameters.removeLast() }?.contains("than 2 groups") == true)
      #expect(
        refusal { $0.hyperparameters[1].learningRate = .nan }?
          .contains("the learning rate of group \"bias\" is not a finite number") == true)
      #expect(refusal { $0.hyperparameters[0].momentum = -1 }?.contains("momentum") == true)
      #expect(
        refusal { $0.hyperparameters[1].beta2 = 1 }?.contains("beta2 of group \"bias\"") == true)
      #expect(refusal { $0.clipNorm = -1 }?.contains("clip norm") == true)
      #expect(refusal { $0.temperature = .infinity }?.contains("temperature") == true)
      #expect(refusal { $0.continuesAccumulation = true }?.contains("none is open") == true)
      let large = fixture.numbers.x + fixture.numbers.x
      #expect(
        refusal(batch: 5, inputs: [Array(large.prefix(15)), Array(large.prefix(10))])?
          .contains("a batch of 5, but the session has room for 4") == true)
      #expect(try TrainingFixture.bytes(of: trainer) == before)
      #expect(try trainer.progress().steps == 0)
      #expect(refusal() == nil)
    }
  }

  /// Every function of the table, thousands of damaged files, a full disk, a fork, a caller's own
  /// parallel-for: with sanitizers that end the program at the first mistake.
  @Test func holdsUnderSanitizers() throws {
    try withTemporaryFolder { folder in
      let flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
      _ = try TrainingFixture(in: folder, flags: flags)
      let include = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Sources/CGraftABI/include").path
      try TrainingFixture.clang(
        flags + [
          TrainingNumbers.folder.appending(path: "exercise_training.c").path, "-I", include,
          "-ldl", "-o", folder + "/exercise",
        ])
      let result = try GraftProgram.run(folder + "/exercise", [folder])
      #expect(result.status == 0, "\(result.errors)")
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder)
          .allSatisfy { !$0.contains("partial") })
    }
  }

  /// docs/examples/train_bundle.c without anything of Graft beside it: the bits of LoadedTrainer.
  @Test func exampleTrains() throws {
    try withTemporaryFolder { folder in
      let fixture = try TrainingFixture(in: folder)
      try fixture.addModel()
      let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
      try TrainingFixture.clang([
        root.appending(path: "docs/examples/train_bundle.c").path, "-I",
        root.appending(path: "Sources/CGraftABI/include").path, "-ldl", "-o", folder + "/train",
      ])
      let images = fixture.numbers.x.count / 3
      let classes = (0..<images).map { fixture.numbers.x[$0 * 3] > 0 ? 1 : 0 }
      let data = folder + "/data"
      try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
      try npy("<f4", "\(images), 3", fixture.numbers.x).write(to: URL(filePath: data + "/x.npy"))
      try npy("<i8", "\(images),", classes.map(Int64.init))
        .write(to: URL(filePath: data + "/y.npy"))
      let result = try GraftProgram.run(
        folder + "/train", [folder, data, "3", "4", "0.1", "2", folder + "/c.safetensors"],
        environment: [:])
      try #require(result.status == 0, "\(result.errors)")
      #expect(result.output.hasPrefix("epoch 1: loss of the last batch "))

      let trainer = try fixture.trainer(seed: 0)
      let settings = LoadedTrainer.StepSettings(
        hyperparameters: Array(repeating: .init(learningRate: 0.1, momentum: 0.9), count: 2))
      for epoch in 0..<3 {
        let order = try trainer.order(epoch: epoch, count: images)
        for first in stride(from: 0, to: images, by: 4) {
          let chosen = order[first..<min(images, first + 4)]
          // The model before the training doubles its input.
          let x = chosen.flatMap { fixture.numbers.x[($0 * 3)..<($0 * 3 + 3)].map { 2 * $0 } }
          let targets = chosen.flatMap { image in
            (0..<2).map { classes[image] == $0 ? 1 / Float(chosen.count) : 0 }
          }
          _ = try trainer.step(batch: chosen.count, inputs: [x, targets], settings: settings)
        }
      }
      try trainer.save(to: folder + "/swift.safetensors")
      #expect(
        try Data(contentsOf: URL(filePath: folder + "/c.safetensors"))
          == Data(contentsOf: URL(filePath: folder + "/swift.safetensors")))
    }
  }

  /// The bytes of a .npy file of version 1.
  private func npy<Element>(_ type: String, _ shape: String, _ elements: [Element]) -> Data {
    var header = "{'descr': '\(type)', 'fortran_order': False, 'shape': (\(shape)), }"
    header += String(repeating: " ", count: 117 - header.utf8.count) + "\n"
    return Data([0x93]) + Data("NUMPY".utf8) + [1, 0, 118, 0] + Data(header.utf8)
      + elements.withUnsafeBytes { Data($0) }
  }
}
