/* Runs a bundle without Graft: floats on standard input, the first output's floats on standard output.
 * cc run_bundle.c -I BUNDLE -ldl -o run_bundle && ./run_bundle BUNDLE 1 <input.f32 >output.f32 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include "model.h"

static size_t elements(const graft_tensor *tensor, uint64_t batch) {
  size_t count = 1;
  for (uint32_t axis = 0; axis < tensor->rank; axis++)
    count *= (size_t)(tensor->extents[axis].scale * (int64_t)batch + tensor->extents[axis].base);
  return count;
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: %s BUNDLE BATCH\n", argv[0]), 64;
  char path[4096], message[512] = "";
  snprintf(path, sizeof path, "%s/libmodel.so", argv[1]);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
  graft_model_function *model = (graft_model_function *)dlsym(library, "graft_model");
  const graft_model_api *api = model();
  const graft_description *about = api->describe();
  uint64_t batch = strtoull(argv[2], NULL, 10);
  size_t in_count = elements(&about->inputs[0], batch), out_count = elements(&about->outputs[0], batch);
  float *in = malloc(in_count * sizeof *in), *out = malloc(out_count * sizeof *out);
  if (!in || !out || fread(in, sizeof *in, in_count, stdin) != in_count)
    return fprintf(stderr, "standard input must hold %zu floats\n", in_count), 1;

  graft_session *session = NULL;
  graft_options options = {.struct_bytes = sizeof options, .bundle_path = argv[1],
                           .largest_batch = batch, .threads = 2};
  graft_call call = {.struct_bytes = sizeof call, .end_step = about->step_count, .batch = batch,
                     .inputs = (const void *const[]){in}, .outputs = (void *const[]){out},
                     .input_bytes = (const uint64_t[]){in_count * sizeof *in},
                     .output_bytes = (const uint64_t[]){out_count * sizeof *out}};
  if (api->create(&options, &session, message, sizeof message) != GRAFT_OK ||
      api->run(session, &call, message, sizeof message) != GRAFT_OK)
    return fprintf(stderr, "%s\n", message), 1;
  fwrite(out, sizeof *out, out_count, stdout);
  api->destroy(session);
  return 0;
}
