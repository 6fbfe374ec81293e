/* Runs a bundle with nothing of Graft installed: the inputs' raw elements on standard input, the outputs' on standard output.
 * PROGRAM chooses one of a bundle for several input shapes, counted from 0.
 *   cc run_bundle.c -I BUNDLE -ldl -o run_bundle && ./run_bundle BUNDLE BATCH THREADS [PROGRAM] <in >out */
#include "graft.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* The bytes of one element, indexed by graft_dtype. */
static const uint64_t element_bytes[] = {0, 4, 2, 2, 8, 1, 1, 4, 8, 1, 2, 2, 4, 8};

static int fail(const char *text) { return fprintf(stderr, "%s\n", text), 1; }

int main(int count, char **arguments) {
  if (count != 4 && count != 5) return fail("usage: run_bundle BUNDLE BATCH THREADS [PROGRAM] <in >out");
  char path[4096], message[256];
  snprintf(path, sizeof path, "%s/libmodel.so", arguments[1]);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *buffers[64];
  graft_model_function *model;
  if (!library || !(*(void **)&model = dlsym(library, "graft_model"))) return fail(dlerror());
  const graft_model_api *api = model();
  if (count == 5 && !(api = api->program((uint32_t)atoi(arguments[4])))) return fail("there is no such program");
  const graft_description *net = api->describe();
  const graft_options options = {.struct_bytes = sizeof options, .bundle_path = arguments[1],
      .largest_batch = strtoull(arguments[2], NULL, 10), .threads = (uint32_t)atoi(arguments[3])};
  graft_session *session;
  if (api->create(&options, &session, message, sizeof message)) return fail(message);
  uint64_t sizes[64];
  const uint32_t inputs = net->input_count, all = inputs + net->output_count;
  for (uint32_t i = 0; i < all && i < 64; i++) {
    const graft_tensor *tensor = i < inputs ? &net->inputs[i] : &net->outputs[i - inputs];
    sizes[i] = element_bytes[tensor->dtype];
    for (uint32_t axis = 0; axis < tensor->rank; axis++)
      sizes[i] *= (uint64_t)tensor->extents[axis].scale * options.largest_batch + (uint64_t)tensor->extents[axis].base;
    if (!(buffers[i] = malloc(sizes[i]))) return fail("no memory");
    if (i < inputs && fread(buffers[i], 1, sizes[i], stdin) != sizes[i]) return fail("short input");
  }
  const graft_call call = {.struct_bytes = sizeof call, .end_step = net->step_count, .batch = options.largest_batch,
      .inputs = (const void *const *)buffers, .input_bytes = sizes, .outputs = buffers + inputs, .output_bytes = sizes + inputs};
  if (api->run(session, &call, message, sizeof message)) return fail(message);
  for (uint32_t i = 0; i < all; i++) (void)(i >= inputs && fwrite(buffers[i], 1, sizes[i], stdout)), free(buffers[i]);
  api->destroy(session);
  return dlclose(library);
}
