// The messages of ONNX's model format as protobuf-c's plain C structures. The header is generated
// by tools/setup from the onnx.proto of libonnx-dev; this one only finds it.
#pragma once
#if __has_include("../generated/onnx.pb-c.h")
#include "../generated/onnx.pb-c.h"
#else
#error "Sources/COnnxProto/generated is missing: run tools/setup, which generates it with protoc-c"
#endif
