/* Reading a mapped file past its end raises SIGBUS, and any file may be truncated while it is mapped. The
 * handler maps zeros over the missing pages and records the truncation; readers check for it afterwards. */
#define _GNU_SOURCE
#include "CProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_MAPPINGS = 4096, FREE = 0, CLAIMED = 1, WATCHED = 2 };

static struct mapping {
  _Atomic int state;
  _Atomic int is_cut;
  uintptr_t start;
  size_t bytes;
} mappings[MOST_MAPPINGS];

static uintptr_t page_bytes = 4096;

int CProcess_watchMapping(const void *start, size_t bytes) {
  for (int i = 0; i < MOST_MAPPINGS; i++) {
    int expected = FREE;
    if (!atomic_compare_exchange_strong(&mappings[i].state, &expected, CLAIMED)) continue;
    mappings[i].start = (uintptr_t)start;
    mappings[i].bytes = bytes;
    atomic_store(&mappings[i].is_cut, 0);
    atomic_store(&mappings[i].state, WATCHED);
    return i;
  }
  return -1;
}

int CProcess_isCut(int mapping) { return mapping >= 0 && atomic_load(&mappings[mapping].is_cut); }

void CProcess_unwatchMapping(int mapping) {
  if (mapping >= 0) atomic_store(&mappings[mapping].state, FREE);
}

static int hexadecimal(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether a line of /proc/self/maps ("start-end mode offset device inode path") covers the address; sets its
 * path, or NULL if it has none. */
static int holds(const char *line, uintptr_t address, const char **path) {
  uintptr_t bounds[2] = {0, 0};
  for (int side = 0; side < 2; side++, line++) {
    for (; hexadecimal(*line) >= 0; line++) {
      bounds[side] = bounds[side] << 4 | (uintptr_t)hexadecimal(*line);
    }
    if (*line != (side == 0 ? '-' : ' ')) return 0;
  }
  *path = strchr(line, '/');
  return address >= bounds[0] && address < bounds[1];
}

/* The path of the file that is mapped at the address, from /proc/self/maps; empty if there is none. */
static void find_path(uintptr_t address, char *path, size_t path_bytes) {
  path[0] = 0;
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (maps < 0) return;
  char line[4096];
  size_t length = 0;
  char buffer[1024];
  ssize_t count;
  while ((count = read(maps, buffer, sizeof buffer)) > 0) {
    for (ssize_t i = 0; i < count; i++) {
      if (buffer[i] != '\n') {
        if (length + 1 < sizeof line) line[length++] = buffer[i];
        continue;
      }
      line[length] = 0;
      length = 0;
      const char *found = NULL;
      if (!holds(line, address, &found)) continue;
      if (found) snprintf(path, path_bytes, "%s", found);
      close(maps);
      return;
    }
  }
  close(maps);
}

static void end_for(uintptr_t address) {
  char path[2048], message[2304];
  find_path(address, path, sizeof path);
  for (char *c = path; *c; c++) {
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
  }
  snprintf(message, sizeof message, "%s%s was truncated or became unreadable while it was in use",
           path, path[0] ? ":" : "a file");
  CProcess_end(message);
}

static void handle(int number, siginfo_t *information, void *context) {
  (void)number, (void)context;
  const int saved = errno;
  const uintptr_t address = (uintptr_t)information->si_addr;
  for (int i = 0; i < MOST_MAPPINGS; i++) {
    struct mapping *mapping = &mappings[i];
    if (atomic_load(&mapping->state) != WATCHED || address < mapping->start ||
        address - mapping->start >= mapping->bytes) {
      continue;
    }
    const uintptr_t page = address / page_bytes * page_bytes;
    const size_t rest = mapping->bytes - (page - mapping->start);
    atomic_store(&mapping->is_cut, 1);
    if (mmap((void *)page, rest, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED) {
      break;
    }
    errno = saved;
    return;
  }
  end_for(address);
}

void CProcess_surviveCutFiles(void) {
  page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, NULL);
}
