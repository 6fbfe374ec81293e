// The C of a training library and the Swift that generates it agree on ports, columns and settings.

import CGraftABI
import GraftOps
import Testing

@Suite("The interface of training programs")
struct TrainingInterfaceTests {
  @Test("the columns of hyperparameters")
  func columns() {
    let c = [
      GRAFT_COLUMN_LEARNING_RATE, GRAFT_COLUMN_MOMENTUM, GRAFT_COLUMN_WEIGHT_DECAY,
      GRAFT_COLUMN_BETA1, GRAFT_COLUMN_BETA2, GRAFT_COLUMN_EPSILON, GRAFT_COLUMN_BIAS_CORRECTION1,
      GRAFT_COLUMN_BIAS_CORRECTION2,
    ].map { Int($0) }
    let swift: [TrainingInterface.Hyperparameter] = [
      .learningRate, .momentum, .weightDecay, .beta1, .beta2, .epsilon, .biasCorrection1,
      .biasCorrection2,
    ]
    #expect(swift.map(\.rawValue) == c)
    #expect(Set(swift) == Set(TrainingInterface.Hyperparameter.allCases))
    #expect(TrainingInterface.hyperparameterCount == Int(GRAFT_COLUMNS))
  }

  @Test("the elements of the settings")
  func settings() {
    let c = [GRAFT_SETTING_CLIP_NORM, GRAFT_SETTING_KEPT_GRADIENTS, GRAFT_SETTING_TEMPERATURE]
      .map { Int($0) }
    let swift: [TrainingInterface.Setting] = [.clipNorm, .keptGradients, .temperature]
    #expect(swift.map(\.rawValue) == c)
    #expect(Set(swift) == Set(TrainingInterface.Setting.allCases))
    #expect(TrainingInterface.settingCount == Int(GRAFT_SETTINGS))
    #expect(TrainingInterface.randomWordCount == Int(GRAFT_RANDOM_WORDS))
  }

  @Test("the inputs that the library writes")
  func inputs() {
    let names = [GRAFT_INPUT_HYPERPARAMETERS, GRAFT_INPUT_SETTINGS, GRAFT_INPUT_RANDOM]
    #expect(
      TrainingInterface.Input.allCases.filter(\.isWrittenByLibrary).map(\.rawValue) == names)
  }

  @Test("every role has a group of its own, and comes back from it")
  func roles() {
    for role in TrainingInterface.StateRole.allCases {
      #expect(TrainingInterface.StateRole(group: role.group) == role)
    }
    #expect(TrainingInterface.StateRole(group: "head") == .weight)
  }
}
