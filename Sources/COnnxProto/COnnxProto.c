// Nothing of its own: including the header makes a build without generated code stop with a sentence
// that names tools/setup. The code itself is generated/onnx.pb-c.c, made by protoc-c at set-up and
// never committed, so that it always fits the installed onnx.proto and protobuf-c.
#include "COnnxProto.h"
