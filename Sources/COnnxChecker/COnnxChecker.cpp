// Calls libonnx's checker and keeps its exceptions in here. No policy: what to check, and what to
// do with the answer, is decided in Swift.
#include "COnnxChecker.h"

#include <climits>
#include <cstring>
#include <exception>
#include <string>

#include <google/protobuf/stubs/logging.h>
#include <onnx/checker.h>
#include <onnx/defs/schema.h>
#include <onnx/onnx_pb.h>

namespace ONNX_NAMESPACE {
namespace checker {
// Exported by libonnx, but missing from its header: the overload that takes the context, and with
// it the folder of the external data.
void check_model(const ModelProto &model, CheckerContext &context);
}  // namespace checker
}  // namespace ONNX_NAMESPACE

namespace {

int32_t answer(int32_t status, const char *text, char *message, uint64_t capacity) {
  if (message != nullptr && capacity > 0) {
    const size_t length = std::min<size_t>(std::strlen(text), capacity - 1);
    std::memcpy(message, text, length);
    message[length] = '\0';
  }
  return status;
}

}  // namespace

extern "C" int32_t COnnxChecker_check_model(
    const uint8_t *bytes, uint64_t count, const char *folder, char *message, uint64_t capacity) {
  try {
    // Otherwise protobuf prints parse errors on standard error by itself.
    google::protobuf::SetLogHandler(nullptr);
    if (count > INT_MAX) {
      return answer(COnnxChecker_failed, "more than 2 GiB of protobuf", message, capacity);
    }
    ONNX_NAMESPACE::ModelProto model;
    if (!model.ParseFromArray(bytes, static_cast<int>(count))) {
      return answer(COnnxChecker_failed, "not a serialised ModelProto", message, capacity);
    }
    ONNX_NAMESPACE::checker::CheckerContext context;
    context.set_model_dir(folder == nullptr ? "" : folder);
    ONNX_NAMESPACE::checker::check_model(model, context);
    return answer(COnnxChecker_accepted, "", message, capacity);
  } catch (const ONNX_NAMESPACE::checker::ValidationError &error) {
    return answer(COnnxChecker_refused, error.what(), message, capacity);
  } catch (const std::bad_alloc &) {
    return answer(COnnxChecker_failed, "out of memory", message, capacity);
  } catch (const std::exception &error) {
    return answer(COnnxChecker_refused, error.what(), message, capacity);
  } catch (...) {
    return answer(COnnxChecker_failed, "an unknown exception", message, capacity);
  }
}

extern "C" int64_t COnnxChecker_newest_opset(void) {
  try {
    const auto &versions =
        ONNX_NAMESPACE::OpSchemaRegistry::DomainToVersionRange::Instance().Map();
    const auto found = versions.find(ONNX_NAMESPACE::ONNX_DOMAIN);
    return found == versions.end() ? 0 : found->second.second;
  } catch (...) {
    return 0;
  }
}

extern "C" int64_t COnnxChecker_newest_ir_version(void) {
  return ONNX_NAMESPACE::Version::IR_VERSION;
}
