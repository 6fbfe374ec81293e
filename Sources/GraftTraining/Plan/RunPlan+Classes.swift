// The classes of a run's data before it is read: how many a new head has, and which have too few items for
// training or validation.

import Graft
import GraftData
import GraftDiagnostics

/// Requests to open the data sets of a run.
struct DataRequests {
  private let options: FineTuner.Options
  private let network: ImageNetwork
  private let answers: TargetKind
  let training: DatasetRequest

  init(_ options: FineTuner.Options, _ network: ImageNetwork, _ manifest: Manifest) {
    self.options = options
    self.network = network
    if options.loss?.measure != nil {
      answers = network.picture == nil ? .values(network.output) : network.targetKind
    } else if case .on = options.head {
      answers = .classes
    } else {
      answers = network.targetKind
    }
    let keeps = options.head == .keep
    training = DatasetRequest(
      inputs: network.inputs, answers: answers, labels: keeps ? manifest.labels : nil,
      classCount: keeps ? network.classCount : nil, part: .training)
  }

  /// A request for validation data with the classes of `dataset`.
  func validation(like dataset: any Dataset) -> DatasetRequest {
    DatasetRequest(
      inputs: network.inputs, answers: answers,
      labels: dataset.classes.isEmpty ? nil : dataset.classes,
      classCount: dataset.classCount == 0 ? nil : dataset.classCount, part: .test)
  }

  /// The number of classes of the head.
  /// - Throws: ``GraftError`` of kind `invalidData` if there is only one class, or a class has no items.
  func classes(
    of dataset: any Dataset
  ) throws -> (count: Int, warnings: [Warning]) {
    if options.loss?.measure != nil { return (network.outputWidth, []) }
    if options.head == .keep { return (network.classCount, []) }
    let location = SourceLocation(file: options.data)
    let count = dataset.classCount
    let present = Set((0..<dataset.count).compactMap { dataset.label(of: $0) })
    guard count >= 2 else {
      throw GraftError(
        .invalidData, "there is only one class", at: location,
        advice: dataset.holdsImages
          ? "Training needs images of at least two classes, in one folder per class."
          : "Training needs items of at least two classes.")
    }
    // In multi-label data, any class may have no items.
    if dataset.label(of: 0) == nil { return (count, []) }
    guard !dataset.classes.isEmpty else {
      return (count, try gaps(in: present, of: count, at: location))
    }
    let empty = dataset.classes.indices.filter { !present.contains($0) }
    guard empty.isEmpty else {
      throw GraftError(
        .invalidData,
        "classes without images: \(classNames(empty, of: dataset))",
        at: location, advice: "Remove the folder, or add images to it.")
    }
    return (count, [])
  }

  /// A warning about class indices without items, for classes without names; an error if most have none.
  private func gaps(
    in present: Set<Int>, of count: Int, at location: SourceLocation
  ) throws -> [Warning] {
    guard present.count < count else { return [] }
    guard present.count * 2 >= count else {
      throw GraftError(
        .invalidData,
        "the labels go up to \(count - 1), but only \(present.count) classes have items",
        at: location,
        advice: "Number the classes consecutively from 0: numpy.unique(y, return_inverse=True)[1].")
    }
    let missing = (0..<count).filter { !present.contains($0) }
    let shown = missing.prefix(8).map(String.init).joined(separator: ", ")
    let begin = present.min() == 1 ? "; if the labels start at 1, save y - 1" : ""
    return [
      Warning(
        "no item is of \(missing.count == 1 ? "class" : "the classes") \(shown)"
          + "\(missing.count > 8 ? ", …" : ""), which the head has nevertheless\(begin)",
        at: location)
    ]
  }
}

extension RunPlan {
  /// Warnings about classes without training or validation items after a split.
  func gaps(
    in dataset: any Dataset, _ data: TrainingData, learning items: [Int],
    holding validation: (data: TrainingData, items: [Int])?
  ) throws -> [Warning] {
    let location = SourceLocation(file: options.data)
    guard let validation else {
      guard options.validationSplit > 0 else { return [] }
      let reason = data.labels.isEmpty ? "there are not two items" : "no class has two items"
      return [
        Warning(
          "there is no validation data: \(reason), of which one could be held out; the last epoch is kept",
          at: location)
      ]
    }
    guard !data.labels.isEmpty else { return [] }
    let known = Set((0..<dataset.count).compactMap { dataset.label(of: $0) })
    let learned = Set(items.map { data.labels[$0] })
    let judged = Set(validation.items.map { validation.data.labels[$0] })
    func warning(_ classes: Set<Int>, _ text: String, _ file: String) -> [Warning] {
      guard !classes.isEmpty else { return [] }
      let list = classNames(classes.sorted(), of: dataset)
      return [Warning("\(text): \(list)", at: SourceLocation(file: file))]
    }
    return warning(known.subtracting(learned), "classes without training items", options.data)
      + warning(
        judged.subtracting(known), "validation items of classes that the training data lack",
        options.validationData ?? options.data)
      + warning(
        learned.subtracting(judged), "classes without validation items",
        options.validationData ?? options.data)
  }
}

/// At most eight class names, for a message.
private func classNames(_ classes: [Int], of dataset: any Dataset) -> String {
  let shown = classes.prefix(8).map {
    dataset.classes.indices.contains($0) ? dataset.classes[$0].quotedForDisplay : "\($0)"
  }
  return shown.joined(separator: ", ")
    + (classes.count > 8 ? " and \(classes.count - 8) more" : "")
}
