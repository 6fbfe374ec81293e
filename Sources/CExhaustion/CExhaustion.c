/* Wrappers around the C library's allocation functions that detect failures. */
#define _GNU_SOURCE
#include "CExhaustion.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>

#include "CProcess.h"

/* Exported by glibc for programs that interpose its allocator. */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *former, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

static atomic_bool is_ending = false;

void CExhaustion_endWithMessage(void) { atomic_store(&is_ending, true); }

static void *checked(void *memory, size_t bytes) {
  if (memory || bytes == 0 || !atomic_load_explicit(&is_ending, memory_order_relaxed)) return memory;
  char message[256], limit[96] = "";
  struct rlimit space;
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) {
    snprintf(limit, sizeof limit, "; the address space is limited to %llu kB (ulimit -v)",
             (unsigned long long)space.rlim_cur / 1024);
  }
  snprintf(message, sizeof message,
           "there is not enough memory: %zu bytes more are needed%s\n"
           "  Free some memory, raise the limit, or give less work at once.",
           bytes, limit);
  CProcess_end(message);
}

void *malloc(size_t bytes) { return checked(__libc_malloc(bytes), bytes); }

void *calloc(size_t count, size_t bytes) {
  void *memory = __libc_calloc(count, bytes);
  return memory ? memory : checked(memory, count > 0 && bytes > (size_t)-1 / count ? (size_t)-1 : count * bytes);
}

void *realloc(void *former, size_t bytes) { return checked(__libc_realloc(former, bytes), bytes); }

static int is_power_of_two(size_t number) { return number != 0 && (number & (number - 1)) == 0; }

void *memalign(size_t alignment, size_t bytes) {
  return checked(__libc_memalign(alignment, bytes), bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
  if (!is_power_of_two(alignment)) {
    errno = EINVAL;
    return NULL;
  }
  return memalign(alignment, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes) {
  if (!is_power_of_two(alignment) || alignment % sizeof(void *) != 0) return EINVAL;
  const int saved = errno;
  *memory = memalign(alignment, bytes);
  errno = saved;
  return *memory || bytes == 0 ? 0 : ENOMEM;
}
