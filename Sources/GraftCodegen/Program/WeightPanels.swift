// The order in which a kernel reads its weights: panels of rows, each of one or several vectors of outputs.
// Packing at compile time and the C that packs at run time use the same description.

import GraftDiagnostics

/// Weights in panels. Panel `unit` has `width` outputs side by side from output `first_output` on, in rows
/// that begin at float offset `place`.
struct WeightPanels {
  /// Panels, which threads can pack independently.
  var count: Int
  /// The values computed for a panel from `unit`, in order: among others `place`, `width` and `first_output`.
  var steps: IndexSteps
  var tables: [IndexTable] = []
  /// Panels for which the first is not below the second do not exist.
  var bound: (IndexExpression, IndexExpression)?
  /// The first output that a panel does not have, though its rows are as wide: zeros stand there.
  var endOutput: IndexExpression
  var contents: Contents

  /// What a row holds.
  enum Contents {
    /// Row `tap · inputs + i` has weight `tap` of input `i` of each output; `first_input` is a panel's first
    /// where outputs have inputs of their own.
    case copies(taps: Int, inputs: Int, source: Source)
    /// Row i at point p, `p · point` floats further, has the transform of the weights of channel
    /// `first_input + i` at that point, in float64 and rounded once.
    case transforms(WinogradTransform, channels: Int)
  }

  /// Where the weights of one output, or of one input of it, stand in the unpacked tensor.
  enum Source {
    /// Weight t of output o at o · output + t · tap.
    case outputs(output: Int, tap: Int)
    /// A run for each output and each channel of its group of channels; the others are zero.
    case channels(groupOutputs: Int, groupChannels: Int)
  }

  private func names(of unit: Int) -> [String: Int]? {
    let names = steps.values(["unit": unit])
    if let bound, bound.0.value(names) >= bound.1.value(names) { return nil }
    return names
  }

  // MARK: While compiling

  /// Fills zeroed memory from row-major weights.
  /// - Throws: ``GraftError`` of kind `inconsistency` if a panel would leave the memory or the weights.
  func pack(
    _ weights: [Float], into packed: UnsafeMutableBufferPointer<Float>, lanes: Int,
    scale: Float = 1
  ) throws {
    let filters = TransformedFilters(contents)
    try weights.withUnsafeBufferPointer { weights in
      for unit in 0..<count {
        guard let names = names(of: unit), let place = names["place"], let width = names["width"],
          let firstOutput = names["first_output"]
        else { continue }
        let end = min(firstOutput + width, endOutput.value(names))
        let outputs = firstOutput..<max(firstOutput, end)
        let firstInput = names["first_input"] ?? 0
        switch contents {
        case .copies(let taps, let inputs, let source):
          let tapStep = source.tapStep
          for input in 0..<inputs {
            let starts = outputs.map { source.start(ofOutput: $0, firstInput + input, taps) }
            let rows = place + input * width
            let last = rows + (taps - 1) * inputs * width + starts.count
            try require(rows >= 0 && last <= packed.count, unit)
            for start in starts.lazy.compactMap(\.self) {
              try require(start >= 0 && start + (taps - 1) * tapStep < weights.count, unit)
            }
            for tap in 0..<taps {
              let row = rows + tap * inputs * width
              for (lane, start) in starts.enumerated() {
                guard let start else { continue }
                packed[row + lane] = weights[start + tap * tapStep] * scale
              }
            }
          }
        case .transforms(let transform, let channels):
          let row = names["row"] ?? width
          let point = names["point"] ?? 0
          let last = (transform.side * transform.side - 1) * point + (lanes - 1) * row + width
          try require(place >= 0 && place + last <= packed.count, unit)
          let filter = transform.taps * transform.taps
          try require(outputs.upperBound * channels * filter <= weights.count, unit)
          for input in 0..<max(0, min(lanes, channels - firstInput)) {
            for output in outputs {
              filters.transform(
                weights, at: (output * channels + firstInput + input) * filter,
                into: packed, at: place + input * row + output - firstOutput, step: point)
            }
          }
        }
      }
    }
  }

  private func require(_ isInside: Bool, _ unit: Int) throws {
    guard isInside else {
      throw GraftError(.inconsistency, "panel \(unit) is outside the packed weights")
    }
  }

  // MARK: At run time

  /// The values for the template that packs at run time.
  var templateValues: [String: String] {
    var values = [
      "tables": tables.map(\.definition).joined(separator: "\n"),
      "steps": steps.text,
      "skip": bound.map { "if (\($0.0.text) >= \($0.1.text)) continue;" } ?? "",
      "end_output": endOutput.text,
    ]
    switch contents {
    case .copies(let taps, let inputs, let source):
      values["taps"] = "\(taps)"
      values["inputs"] = "\(inputs)"
      values["tap_step"] = "\(source.tapStep)"
      switch source {
      case .outputs(let output, _):
        values["group"] = ""
        values["inside"] = "1"
        values["source"] = "output * \(output)"
      case .channels(let groupOutputs, let groupChannels):
        values["group"] =
          "const size_t channels = output / \(groupOutputs) * \(groupChannels);"
        values["inside"] =
          "first_input + i >= channels && first_input + i < channels + \(groupChannels)"
        values["source"] =
          "(output * \(groupChannels) + first_input + i - channels) * TAPS"
      }
    case .transforms(let transform, let channels):
      values["channels"] = "\(channels)"
      values["taps"] = "\(transform.taps)"
      values["line_sum"] = (0..<transform.taps)
        .map { "m[\($0)] * weights[\($0) * TAPS + column]" }.joined(separator: " + ")
      values["sum"] = (0..<transform.taps).map { "transformed[\($0)] * n[\($0)]" }
        .joined(separator: " + ")
      values["side"] = "\(transform.side)"
      values["matrix"] = transform.weightMatrix
        .map { "{" + $0.map { "\($0)" }.joined(separator: ", ") + "}," }
        .joined(separator: "\n")
    }
    return values
  }

  var template: Template {
    switch contents {
    case .copies: Templates.packPanels
    case .transforms: Templates.packWinograd
    }
  }
}

extension WeightPanels.Source {
  fileprivate var tapStep: Int {
    switch self {
    case .outputs(_, let tap): tap
    case .channels: 1
    }
  }

  /// Where the run for `input` of `output` begins; nil if it is all zeros.
  fileprivate func start(ofOutput output: Int, _ input: Int, _ taps: Int) -> Int? {
    switch self {
    case .outputs(let step, _): return output * step
    case .channels(let groupOutputs, let groupChannels):
      let local = input - output / groupOutputs * groupChannels
      guard (0..<groupChannels).contains(local) else { return nil }
      return (output * groupChannels + local) * taps
    }
  }
}

/// G of a Winograd transform, as packing applies it to one filter after the other.
private struct TransformedFilters {
  /// G, row by row; empty where weights are copied.
  private let matrix: [Double]
  private let taps: Int

  init(_ contents: WeightPanels.Contents) {
    guard case .transforms(let transform, _) = contents else {
      (matrix, taps) = ([], 1)
      return
    }
    (matrix, taps) = (Array(transform.weightMatrix.joined()), transform.taps)
  }

  /// Writes G · weights · Gᵀ of the weights at `from`, `step` floats from point to point.
  func transform(
    _ weights: UnsafeBufferPointer<Float>, at from: Int,
    into packed: UnsafeMutableBufferPointer<Float>, at place: Int, step: Int
  ) {
    var point = place
    matrix.withUnsafeBufferPointer { matrix in
      withUnsafeTemporaryAllocation(of: Double.self, capacity: taps) { line in
        for row in stride(from: 0, to: matrix.count, by: taps) {
          // One row of G · weights, then times the columns of Gᵀ.
          for column in 0..<taps {
            line[column] = matrix[row] * Double(weights[from + column])
            for tap in 1..<taps {
              line[column] += matrix[row + tap] * Double(weights[from + tap * taps + column])
            }
          }
          for column in stride(from: 0, to: matrix.count, by: taps) {
            var sum = line[0] * matrix[column]
            for tap in 1..<taps { sum += line[tap] * matrix[column + tap] }
            packed[point] = Float(sum)
            point += step
          }
        }
      }
    }
  }
}

extension Templates {
  static let packPanels = Template("pack_panels.c", PackageResources.pack_panels_c_in)
}
