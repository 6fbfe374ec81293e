/* The temporary paths of the process and its termination by signals. Everything must work inside a signal
 * handler, without allocating memory, threads or descriptors: only system calls, on static memory. */
#define _GNU_SOURCE
#include "CProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_PATHS = 1024, DEEPEST = 8, SPARE_DESCRIPTORS = 2 };

static char *paths[MOST_PATHS];
static atomic_flag paths_lock = ATOMIC_FLAG_INIT;
static atomic_bool is_ending = false;
/* Reserved for removing folders when no more descriptors can be opened. */
static int spare[SPARE_DESCRIPTORS] = {-1, -1};

/* With signals blocked: a handler that interrupted the holder would deadlock. */
static void lock(sigset_t *former) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, former);
  while (atomic_flag_test_and_set(&paths_lock)) {
  }
}

static void unlock(const sigset_t *former) {
  atomic_flag_clear(&paths_lock);
  pthread_sigmask(SIG_SETMASK, former, NULL);
}

static void wait_if_ending(void) {
  while (atomic_load(&is_ending)) pause();
}

int CProcess_addTemporary(const char *path) {
  wait_if_ending();
  char *copy = strdup(path);
  if (!copy) return -1;
  int status = -1;
  sigset_t former;
  lock(&former);
  for (size_t i = 0; i < MOST_PATHS && status != 0; i++) {
    if (paths[i]) continue;
    paths[i] = copy;
    status = 0;
  }
  unlock(&former);
  if (status != 0) free(copy);
  return status;
}

void CProcess_removeTemporary(const char *path) {
  wait_if_ending();
  char *found = NULL;
  sigset_t former;
  lock(&former);
  for (size_t i = 0; i < MOST_PATHS && !found; i++) {
    if (!paths[i] || strcmp(paths[i], path) != 0) continue;
    found = paths[i];
    paths[i] = NULL;
  }
  unlock(&former);
  free(found);
}

/* The layout that getdents64 writes; the C library does not declare it. */
typedef struct entry {
  uint64_t inode;
  int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
} entry;

static void remove_in(int folder, const char *name, int depth) {
  if (unlinkat(folder, name, 0) == 0 || (errno != EISDIR && errno != EPERM)) return;
  const int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (inner >= 0) {
    _Alignas(entry) char buffer[4096];
    long count = 0;
    /* Removing entries may move later ones, so the folder is read again until it is empty. */
    for (int round = 0; depth < DEEPEST && round < 3; round++) {
      lseek(inner, 0, SEEK_SET);
      while ((count = syscall(SYS_getdents64, inner, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < count;) {
          const entry *next = (const entry *)(buffer + at);
          at += next->length;
          if (strcmp(next->name, ".") != 0 && strcmp(next->name, "..") != 0) {
            remove_in(inner, next->name, depth + 1);
          }
        }
      }
    }
    close(inner);
  }
  unlinkat(folder, name, AT_REMOVEDIR);
}

static void remove_temporaries(void) {
  for (size_t i = 0; i < SPARE_DESCRIPTORS; i++) {
    if (spare[i] >= 0) close(spare[i]);
    spare[i] = -1;
  }
  for (size_t i = 0; i < MOST_PATHS; i++) {
    const char *path = paths[i];
    if (!path) continue;
    /* Other threads may still create files in it; renaming it prevents that. */
    char aside[4096];
    const int length = snprintf(aside, sizeof aside, "%s.removed", path);
    const int is_aside =
        length > 0 && (size_t)length < sizeof aside && rename(path, aside) == 0;
    remove_in(AT_FDCWD, is_aside ? aside : path, 0);
  }
}

/* Whether this thread is the one that ends the process; any other thread blocks here until it has ended. */
static void begin_to_end(void) {
  if (!atomic_exchange(&is_ending, true)) return;
  for (;;) pause();
}

/* Earlier messages are not freed: a handler may be reading them. */
static _Atomic(const char *) last_words;

void CProcess_sayAtSignals(const char *text) {
  atomic_store(&last_words, text ? strdup(text) : NULL);
}

static void end_by_signal(int number) {
  begin_to_end();
  remove_temporaries();
  const char *text = atomic_load(&last_words);
  if (text) {
    const char *parts[] = {"\n", text, "\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
      if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0) break;
    }
  }
  signal(number, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  pthread_sigmask(SIG_UNBLOCK, &only, NULL);
  kill(getpid(), number);
  for (;;) pause();
}

static void keep_spare_descriptors(void) {
  for (size_t i = 0; i < SPARE_DESCRIPTORS; i++) {
    if (spare[i] < 0) spare[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
  }
}

void CProcess_removeTemporariesAtSignals(void) {
  keep_spare_descriptors();
  const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    struct sigaction former, action;
    memset(&action, 0, sizeof action);
    action.sa_handler = end_by_signal;
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    /* A signal that was ignored at startup, as with nohup, must stay ignored. */
    if (sigaction(numbers[i], NULL, &former) == 0 && former.sa_handler != SIG_IGN) {
      sigaction(numbers[i], &action, NULL);
    }
  }
}

void CProcess_end(const char *message) {
  begin_to_end();
  remove_temporaries();
  const char *parts[] = {isatty(STDERR_FILENO) ? "\n" : "", "graft: ", message, "\n"};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    /* A failure can no longer be reported. */
    if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0) break;
  }
  _exit(1);
}

void CProcess_secureDescriptors(void) {
  for (int i = 0; i <= STDERR_FILENO; i++) {
    /* Open for reading, so that writing to a closed descriptor is still an error. */
    if (fcntl(i, F_GETFD) < 0 && errno == EBADF) (void)open("/dev/null", O_RDONLY);
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}
