// What scheduling did, as a line of the pass log.

import GraftPasses
import GraftPlanning

extension ScheduleReport {
  /// The line of the pass log.
  var note: PassNote {
    let isChanged = bytesAfter < bytesBefore
    return PassNote(
      pass: "schedule", action: isChanged ? .did : .left,
      message: isChanged
        ? "put the nodes in \(order) order: \(bytesAfter) live bytes per image instead of "
          + "\(bytesBefore)"
        : "kept the order of the file: no other order has fewer than \(bytesBefore) live bytes per image"
    )
  }
}
