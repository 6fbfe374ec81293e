// Calls libonnx's checker and keeps its exceptions in here. No policy: what to check, and what to
// do with the answer, is decided in Swift.
#include "COnnxChecker.h"

#include <climits>
#include <cstring>
#include <exception>
#include <string>
#include <unordered_map>

#include <google/protobuf/stubs/logging.h>
#include <onnx/checker.h>
#include <onnx/defs/schema.h>
#include <onnx/onnx_pb.h>

namespace checker = ONNX_NAMESPACE::checker;

namespace {

int32_t answer(int32_t status, const char *text, char *message, uint64_t capacity) {
  if (message != nullptr && capacity > 0) {
    const size_t length = std::min<size_t>(std::strlen(text), capacity - 1);
    std::memcpy(message, text, length);
    message[length] = '\0';
  }
  return status;
}

/// Parses the model and calls `body` with it; what that throws is the answer.
template <typename Body>
int32_t check(
    const uint8_t *bytes, uint64_t count, char *message, uint64_t capacity, const Body &body) {
  try {
    // Otherwise protobuf prints parse errors on standard error by itself.
    google::protobuf::SetLogHandler(nullptr);
    if (count > INT_MAX) {
      return answer(COnnxChecker_failed, "more than 2 GiB of protobuf", message, capacity);
    }
    ONNX_NAMESPACE::ModelProto model;
    if (!model.ParseFromArray(bytes, static_cast<int>(count))) {
      return answer(COnnxChecker_failed, "not a serialized ModelProto", message, capacity);
    }
    body(model);
    return answer(COnnxChecker_accepted, "", message, capacity);
  } catch (const checker::ValidationError &error) {
    return answer(COnnxChecker_refused, error.what(), message, capacity);
  } catch (const std::bad_alloc &) {
    return answer(COnnxChecker_failed, "out of memory", message, capacity);
  } catch (const std::exception &error) {
    return answer(COnnxChecker_refused, error.what(), message, capacity);
  } catch (...) {
    return answer(COnnxChecker_failed, "an unknown exception", message, capacity);
  }
}

template <typename OpsetImports>
checker::CheckerContext context(int ir_version, const OpsetImports &imports) {
  std::unordered_map<std::string, int> versions;
  for (const auto &import : imports) {
    const std::string &domain = import.domain() == "ai.onnx" ? "" : import.domain();
    versions[domain] = static_cast<int>(import.version());
  }
  checker::CheckerContext context;
  context.set_ir_version(ir_version);
  context.set_opset_imports(versions);
  return context;
}

bool is_own(const ONNX_NAMESPACE::NodeProto &node) {
  return node.domain().empty() || node.domain() == "ai.onnx";
}

/// Graphs in attributes read the values of the graph around them, in whatever order these are computed.
template <typename Nodes>
void add_results(const Nodes &nodes, checker::LexicalScopeContext &scope) {
  for (const auto &node : nodes) {
    for (const auto &name : node.output()) scope.add(name);
  }
}

}  // namespace

extern "C" int32_t COnnxChecker_check_nodes(
    const uint8_t *bytes, uint64_t count, const uint8_t *is_read, uint64_t node_count, int64_t *node,
    char *message, uint64_t capacity) {
  *node = -1;
  return check(bytes, count, message, capacity, [&](const ONNX_NAMESPACE::ModelProto &model) {
    const int ir_version = static_cast<int>(model.ir_version());
    for (const auto &function : model.functions()) {
      checker::CheckerContext inside = context(ir_version, function.opset_import());
      inside.set_is_main_graph(false);
      checker::LexicalScopeContext own;
      for (const auto &name : function.input()) own.add(name);
      add_results(function.node(), own);
      for (const auto &each : function.node()) {
        if (is_own(each)) checker::check_node(each, inside, own);
      }
    }
    const checker::CheckerContext outside = context(ir_version, model.opset_import());
    checker::LexicalScopeContext scope;
    for (const auto &input : model.graph().input()) scope.add(input.name());
    for (const auto &tensor : model.graph().initializer()) scope.add(tensor.name());
    add_results(model.graph().node(), scope);
    const auto &nodes = model.graph().node();
    for (int place = 0; place < nodes.size() && static_cast<uint64_t>(place) < node_count; place++) {
      if (is_read[place] == 0 || !is_own(nodes[place])) continue;
      *node = place;
      checker::check_node(nodes[place], outside, scope);
    }
    *node = -1;
  });
}

extern "C" int32_t COnnxChecker_check_model(
    const uint8_t *bytes, uint64_t count, char *message, uint64_t capacity) {
  return check(bytes, count, message, capacity, [&](ONNX_NAMESPACE::ModelProto &model) {
    // Whether files of external data may be read, and hold enough, the importer knows better.
    for (auto &tensor : *model.mutable_graph()->mutable_initializer()) {
      if (tensor.data_location() != ONNX_NAMESPACE::TensorProto::EXTERNAL) continue;
      tensor.clear_external_data();
      tensor.clear_data_location();
      tensor.set_raw_data(std::string(1, '\0'));
    }
    checker::check_model(model);
  });
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
