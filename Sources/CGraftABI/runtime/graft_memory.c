/* Memory of a session: anonymous mappings on huge pages, and the packed weights, read into one in
 * chunks (measured up to a fifth faster than using the mapped file) or mapped when asked for.
 */
#define _GNU_SOURCE
#include "graft_runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20, CHUNK = 4 << 20 };

static const char packed_magic[8] = {'G', 'R', 'A', 'F', 'T', 'P', 'K', '\n'};

bool graft_allocate(graft_memory *memory, uint64_t bytes) {
  memset(memory, 0, sizeof *memory);
  if (bytes > SIZE_MAX / 2) return false;
  const size_t slack = bytes >= HUGE_PAGE ? HUGE_PAGE : 0;
  /* Nothing still gets an address, so that nobody adds to a null pointer. */
  const size_t mapping_bytes = (bytes > 0 ? (size_t)bytes : 64) + slack;
  void *mapping =
      mmap(NULL, mapping_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return false;
  memory->mapping = mapping;
  memory->mapping_bytes = mapping_bytes;
  memory->bytes = (size_t)bytes;
  const uintptr_t start = (uintptr_t)mapping;
  const uintptr_t skipped = slack ? (HUGE_PAGE - start % HUGE_PAGE) % HUGE_PAGE : 0;
  memory->data = (unsigned char *)mapping + skipped;
#ifdef MADV_HUGEPAGE
  if (slack) (void)madvise(memory->data, memory->bytes, MADV_HUGEPAGE);
#endif
  return true;
}

void graft_release(graft_memory *memory) {
  if (memory->mapping) munmap(memory->mapping, memory->mapping_bytes);
  memset(memory, 0, sizeof *memory);
}

void graft_give_back(graft_memory *memory) {
  if (memory->mapping) (void)madvise(memory->mapping, memory->mapping_bytes, MADV_DONTNEED);
}

void graft_shrink(graft_memory *memory, uint64_t bytes) {
  if (!memory->mapping || bytes >= memory->bytes) return;
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  const size_t before = (size_t)(memory->data - (unsigned char *)memory->mapping);
  const size_t kept = (before + (size_t)bytes + page) / page * page; /* one byte at least */
  if (kept < memory->mapping_bytes) {
    munmap((unsigned char *)memory->mapping + kept, memory->mapping_bytes - kept);
    memory->mapping_bytes = kept;
  }
  memory->bytes = (size_t)bytes;
}

static graft_status check_header(
    const unsigned char *header, uint64_t bytes, const graft_description *description,
    char *message, size_t message_bytes) {
  if (bytes != description->packed_bytes) {
    return graft_fail(GRAFT_BAD_WEIGHTS, message, message_bytes,
                      "packed weights have %llu bytes, expected %llu", (unsigned long long)bytes,
                      (unsigned long long)description->packed_bytes);
  }
  if (memcmp(header, packed_magic, sizeof packed_magic) != 0) {
    return graft_fail(GRAFT_BAD_WEIGHTS, message, message_bytes,
                      "packed weights do not begin with their magic number");
  }
  uint32_t version;
  memcpy(&version, header + 8, sizeof version);
  if (version != GRAFT_PACKED_VERSION) {
    return graft_fail(GRAFT_BAD_WEIGHTS, message, message_bytes,
                      "packed weights have version %u, expected %u", version,
                      GRAFT_PACKED_VERSION);
  }
  if (memcmp(header + 16, description->build_id, sizeof description->build_id) != 0) {
    return graft_fail(GRAFT_BAD_WEIGHTS, message, message_bytes,
                      "packed weights belong to another build of the model");
  }
  return GRAFT_OK;
}

bool graft_read_fully(int file, void *to, uint64_t bytes, uint64_t offset) {
  unsigned char *next = to;
  while (bytes > 0) {
    const ssize_t count =
        pread(file, next, bytes < CHUNK ? (size_t)bytes : CHUNK, (off_t)offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      if (count == 0) errno = 0;
      return false;
    }
    next += count;
    bytes -= (uint64_t)count;
    offset += (uint64_t)count;
  }
  return true;
}

static graft_status load_from_file(
    graft_memory *weights, int file, bool mapped, const char *path,
    const graft_description *description, char *message, size_t message_bytes) {
  struct stat status;
  unsigned char header[GRAFT_PACKED_HEADER];
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    return graft_fail(GRAFT_IO_ERROR, message, message_bytes, "%s is not a regular file", path);
  }
  if (status.st_size < (off_t)sizeof header || !graft_read_fully(file, header, sizeof header, 0)) {
    return graft_fail(GRAFT_BAD_WEIGHTS, message, message_bytes,
                      "%s is shorter than its header of %u bytes", path, GRAFT_PACKED_HEADER);
  }
  const graft_status checked =
      check_header(header, (uint64_t)status.st_size, description, message, message_bytes);
  if (checked != GRAFT_OK) return checked;
  if (mapped) {
    void *mapping = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (mapping == MAP_FAILED) {
      return graft_fail(GRAFT_IO_ERROR, message, message_bytes, "cannot map %s: %s", path,
                        strerror(errno));
    }
    weights->mapping = mapping;
    weights->mapping_bytes = (size_t)status.st_size;
    weights->data = (unsigned char *)mapping + GRAFT_PACKED_HEADER;
    weights->bytes = (size_t)status.st_size - GRAFT_PACKED_HEADER;
    return GRAFT_OK;
  }
  if (!graft_allocate(weights, (uint64_t)status.st_size - GRAFT_PACKED_HEADER)) {
    return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes,
                      "no memory for %lld bytes of weights", (long long)status.st_size);
  }
  if (!graft_read_fully(file, weights->data, weights->bytes, GRAFT_PACKED_HEADER)) {
    const int reason = errno;
    graft_release(weights);
    return graft_fail(GRAFT_IO_ERROR, message, message_bytes, "cannot read %s: %s", path,
                      reason ? strerror(reason) : "the file ends early");
  }
  return GRAFT_OK;
}

graft_status graft_load_weights(
    graft_memory *weights, const graft_options *options, const char *file_name,
    const graft_description *description, char *message, size_t message_bytes) {
  memset(weights, 0, sizeof *weights);
  if (!options->bundle_path) {
    if (!options->packed || options->packed_bytes < GRAFT_PACKED_HEADER ||
        (uintptr_t)options->packed % 64 != 0) {
      return graft_fail(GRAFT_INVALID_ARGUMENT, message, message_bytes,
                        "give the bundle's path, or packed weights in memory aligned to 64 bytes");
    }
    /* Never written through: the frame sees the weights as const. */
    weights->data = (unsigned char *)(uintptr_t)options->packed + GRAFT_PACKED_HEADER;
    weights->bytes = (size_t)options->packed_bytes - GRAFT_PACKED_HEADER;
    return check_header(options->packed, options->packed_bytes, description, message,
                        message_bytes);
  }
  const size_t path_bytes = strlen(options->bundle_path) + 1 + strlen(file_name) + 1;
  char *path = malloc(path_bytes);
  if (!path) return graft_fail(GRAFT_OUT_OF_MEMORY, message, message_bytes, "no memory");
  snprintf(path, path_bytes, "%s/%s", options->bundle_path, file_name);
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  graft_status status;
  if (file < 0) {
    status = graft_fail(GRAFT_IO_ERROR, message, message_bytes, "cannot open %s: %s", path,
                        strerror(errno));
  } else {
    status = load_from_file(weights, file, (options->flags & GRAFT_MAP_WEIGHTS) != 0, path,
                            description, message, message_bytes);
    close(file);
  }
  free(path);
  return status;
}
