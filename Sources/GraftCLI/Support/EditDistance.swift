// Edit distance of two words, for suggestions.

extension String {
  /// The Levenshtein distance: the minimum number of insertions, deletions and substitutions of letters.
  func editDistance(to other: String) -> Int {
    let (own, others) = (Array(self), Array(other))
    var row = Array(0...others.count)
    for (index, letter) in own.enumerated() {
      var diagonal = row[0]
      row[0] = index + 1
      for (place, candidate) in others.enumerated() {
        let replaced = diagonal + (letter == candidate ? 0 : 1)
        diagonal = row[place + 1]
        row[place + 1] = min(replaced, min(row[place], diagonal) + 1)
      }
    }
    return row[others.count]
  }
}
