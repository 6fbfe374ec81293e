// The difference of two accuracies on the same items, against the closed form.

import Foundation
import Testing

@testable import Graft

@Suite struct PairedComparisonTests {
  /// Of 1000 items, 30 only the first predicts correctly, 10 only the second, and 5 change from one wrong class to
  /// another: a drop of 2 points with the standard error √(30 + 10 − 20²/1000) / 1000 = √39.6 / 1000.
  @Test func closedForm() {
    let labels = [Int](repeating: 0, count: 1000)
    var (first, second) = (labels, labels)
    for item in 0..<30 { second[item] = 1 }
    for item in 30..<40 { first[item] = 1 }
    for item in 40..<45 { (first[item], second[item]) = (1, 2) }
    for item in 45..<50 { (first[item], second[item]) = (3, 3) }
    let compared = PairedComparison(labels: labels, first: first, second: second)
    #expect(compared.items == 1000 && compared.losses == 30 && compared.gains == 10)
    #expect(compared.changed == 45)
    #expect(abs(compared.drop - 2) < 1e-12)
    #expect(abs(compared.margin - 1.2333992) < 1e-6, "\(compared.margin)")
  }

  @Test func extremes() {
    let same = PairedComparison(labels: [0, 1], first: [0, 0], second: [0, 0])
    #expect(same.drop == 0 && same.margin == 0 && same.changed == 0)
    let worst = PairedComparison(labels: [0, 1], first: [0, 1], second: [1, 0])
    #expect(worst.drop == 100 && worst.margin == 0)
    let better = PairedComparison(labels: [0, 1], first: [1, 1], second: [0, 1])
    #expect(better.drop == -50)
    let none = PairedComparison(labels: [], first: [], second: [])
    #expect(none.drop == 0 && none.margin == 0)
  }
}
