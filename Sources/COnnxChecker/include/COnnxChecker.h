// libonnx's own model checker behind a C function: status out, message through a buffer.
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What the checker says of a model.
enum {
  COnnxChecker_accepted = 0,
  /// The model breaks ONNX's rules; the message says which.
  COnnxChecker_refused = 1,
  /// The checker could not look at it (not a protobuf, or out of memory); the message says why.
  COnnxChecker_failed = 2,
};

/// Checks the nodes of a serialized ModelProto of `count` bytes against the schemas of their operators: its
/// functions' nodes, and those of the graph for which `is_read`, of `node_count` bytes, is not 0.
/// `message`, of `capacity` bytes, receives a NUL-terminated text, cut where it is too long.
/// `node` receives the place of the graph's node that is refused; -1 for a function's.
int32_t COnnxChecker_check_nodes(
    const uint8_t *bytes, uint64_t count, const uint8_t *is_read, uint64_t node_count, int64_t *node,
    char *message, uint64_t capacity);

/// Checks a serialized ModelProto as a whole, but for its files of external data.
int32_t COnnxChecker_check_model(
    const uint8_t *bytes, uint64_t count, char *message, uint64_t capacity);

/// The newest opset of the default domain that the installed libonnx knows.
int64_t COnnxChecker_newest_opset(void);

/// The newest IR version that the installed libonnx knows.
int64_t COnnxChecker_newest_ir_version(void);

#ifdef __cplusplus
}
#endif
