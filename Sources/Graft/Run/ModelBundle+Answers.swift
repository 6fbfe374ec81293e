// What a bundle's network answers: classes, a class for every position, values, or an image.

import GraftAutodiff
import GraftDiagnostics

extension ModelBundle {
  /// Whether the class output has scores for every position of an item, such as the pixels of an image:
  /// ``Segmenter`` and ``SegmentationEvaluator`` are for such networks, ``Classifier`` and ``Evaluator`` for
  /// others.
  public var hasPositions: Bool { manifest.classAxis != nil && !givesPictures() }

  /// - Throws: ``GraftError`` of kind `invalidArgument` if there is no output of this name, with those there are.
  public func checkOutput(_ name: String?) throws {
    _ = try ImageNetwork(self, output: name)
  }

  /// Whether an output is an image, as the preprocessing describes it: ``ImageTranslator`` and ``ValueEvaluator`` are for
  /// such networks.
  /// - Parameter output: nil for the one that is used by default.
  public func givesPictures(from output: String? = nil) -> Bool {
    manifest.preprocessing?.output != nil
      && (try? ImageNetwork(self, output: output))?.picture != nil
  }

  /// Whether an output has values, not scores: an image, or what a regression was fine-tuned for.
  /// - Parameter output: nil for the one that is used by default.
  public func givesValues(from output: String? = nil) -> Bool {
    if givesPictures(from: output) { return true }
    let loss = manifest.fineTuning.flatMap { TrainingSpecification.Loss(rawValue: $0.loss) }
    return loss?.measure != nil
  }
}
