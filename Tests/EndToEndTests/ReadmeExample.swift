// The README's example of fine-tuning from Swift, letter for letter: ReadmeTests compares the two, and runs it.

import GraftTraining

func tune(_ bundle: String, photos: String, to output: String) throws -> Double? {
  var options = FineTuner.Options(data: photos)
  options.unfreeze = .scope("layer3")
  options.normalization = .train
  options.epochs = 5
  var tuner = try FineTuner(bundle, options)
  let report = try tuner.run(to: output)
  return report.epochs.last?.validationAccuracy
}
