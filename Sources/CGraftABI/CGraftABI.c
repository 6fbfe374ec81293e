// Carries the text of a bundle's headers and C runtime inside the program. runtime/ is not compiled
// here: it is compiled into each bundle, beside that bundle's own model.c or training code.
#include "CGraftABI.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char header[] = {
#embed "include/graft.h"
};
static const unsigned char trainingHeader[] = {
#embed "include/graft_train.h"
};
static const unsigned char trainingInterface[] = {
#embed "include/graft_train_interface.h"
};
static const unsigned char runtimeHeader[] = {
#embed "runtime/graft_runtime.h"
};
static const unsigned char cpu[] = {
#embed "runtime/graft_cpu.c"
};
static const unsigned char engine[] = {
#embed "runtime/graft_engine.c"
};
static const unsigned char run[] = {
#embed "runtime/graft_run.c"
};
static const unsigned char memory[] = {
#embed "runtime/graft_memory.c"
};
static const unsigned char threads[] = {
#embed "runtime/graft_threads.c"
};
static const unsigned char pace[] = {
#embed "runtime/graft_pace.c"
};
static const unsigned char session[] = {
#embed "runtime/graft_session.c"
};
static const unsigned char json[] = {
#embed "runtime/graft_json.c"
};
static const unsigned char stateReader[] = {
#embed "runtime/graft_state_reader.c"
};
static const unsigned char stateWriter[] = {
#embed "runtime/graft_state_writer.c"
};
static const unsigned char trainingRuntimeHeader[] = {
#embed "runtime/graft_training.h"
};
static const unsigned char shuffle[] = {
#embed "runtime/graft_shuffle.c"
};
static const unsigned char train[] = {
#embed "runtime/graft_train.c"
};
static const unsigned char trainMemory[] = {
#embed "runtime/graft_train_memory.c"
};
static const unsigned char trainStep[] = {
#embed "runtime/graft_train_step.c"
};

static const CGraftABI_file none = {NULL, NULL, 0, 0};

CGraftABI_file CGraftABI_fileAt(size_t index) {
  const CGraftABI_file files[] = {
      {"graft.h", header, sizeof header, 0},
      {"graft_runtime.h", runtimeHeader, sizeof runtimeHeader, 0},
      {"graft_cpu.c", cpu, sizeof cpu, 1},
      {"graft_engine.c", engine, sizeof engine, 1},
      {"graft_memory.c", memory, sizeof memory, 1},
      {"graft_pace.c", pace, sizeof pace, 1},
      {"graft_run.c", run, sizeof run, 1},
      {"graft_session.c", session, sizeof session, 1},
      {"graft_threads.c", threads, sizeof threads, 1},
  };
  return index < sizeof files / sizeof files[0] ? files[index] : none;
}

CGraftABI_file CGraftABI_trainingFileAt(size_t index) {
  const CGraftABI_file files[] = {
      {"graft.h", header, sizeof header, 0},
      {"graft_train.h", trainingHeader, sizeof trainingHeader, 0},
      {"graft_train_interface.h", trainingInterface, sizeof trainingInterface, 0},
      {"graft_runtime.h", runtimeHeader, sizeof runtimeHeader, 0},
      {"graft_training.h", trainingRuntimeHeader, sizeof trainingRuntimeHeader, 0},
      {"graft_cpu.c", cpu, sizeof cpu, 1},
      {"graft_engine.c", engine, sizeof engine, 1},
      {"graft_json.c", json, sizeof json, 1},
      {"graft_memory.c", memory, sizeof memory, 1},
      {"graft_pace.c", pace, sizeof pace, 1},
      {"graft_run.c", run, sizeof run, 1},
      {"graft_shuffle.c", shuffle, sizeof shuffle, 1},
      {"graft_state_reader.c", stateReader, sizeof stateReader, 1},
      {"graft_state_writer.c", stateWriter, sizeof stateWriter, 1},
      {"graft_threads.c", threads, sizeof threads, 1},
      {"graft_train.c", train, sizeof train, 1},
      {"graft_train_memory.c", trainMemory, sizeof trainMemory, 1},
      {"graft_train_step.c", trainStep, sizeof trainStep, 1},
  };
  return index < sizeof files / sizeof files[0] ? files[index] : none;
}
