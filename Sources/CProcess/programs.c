/* Starts child processes, and threads with a preallocated stack. A child's output goes to unnamed files, not to
 * pipes: nothing has to be drained meanwhile, and no grandchild that inherits them can block us. */
#define _GNU_SOURCE
#include "CProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

int CProcess_usableCores(void) {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 0;
  return CPU_COUNT(&cores);
}

static int close_keeping(int descriptor, int code) {
  if (descriptor >= 0) close(descriptor);
  return code;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Polls often at first and less often later: most programs that are started here take milliseconds. */
static void wait_for(pid_t child, double seconds, CProcess_outcome *outcome) {
  const double end = now() + seconds;
  long pause = 200000;
  for (;;) {
    const pid_t ended = waitpid(child, &outcome->wait_status, WNOHANG);
    if (ended == child || (ended < 0 && errno != EINTR)) return;
    if (now() >= end) break;
    const struct timespec time = {0, pause};
    nanosleep(&time, NULL);
    if (pause < 10000000) pause += pause / 8;
  }
  outcome->is_out_of_time = 1;
  kill(child, SIGKILL);
  while (waitpid(child, &outcome->wait_status, 0) < 0 && errno == EINTR) {
  }
}

static int open_input(const void *input, size_t bytes) {
  if (!input) return open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int file = memfd_create("graft-input", MFD_CLOEXEC);
  if (file < 0) return -1;
  for (size_t done = 0; done < bytes;) {
    const ssize_t count = write(file, (const char *)input + done, bytes - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int code = errno;
      close(file);
      errno = code;
      return -1;
    }
    done += (size_t)count;
  }
  lseek(file, 0, SEEK_SET);
  return file;
}

static int spawn(
    const char *program, char *const *arguments, const char *folder, const int *descriptors,
    pid_t *child) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int code = posix_spawn_file_actions_init(&actions);
  if (code != 0) return code;
  code = posix_spawnattr_init(&attributes);
  if (code == 0) {
    sigset_t ordinary;
    sigemptyset(&ordinary);
    sigaddset(&ordinary, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &ordinary);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    for (int i = 0; i < 3 && code == 0; i++) {
      code = posix_spawn_file_actions_adddup2(&actions, descriptors[i], i);
    }
    if (folder && code == 0) code = posix_spawn_file_actions_addchdir_np(&actions, folder);
    if (code == 0) {
      code = posix_spawn(child, program, &actions, &attributes, arguments, environ);
    }
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return code;
}

int CProcess_run(
    const char *program, char *const *arguments, const void *input, size_t input_bytes,
    const char *folder, double seconds, CProcess_outcome *outcome) {
  memset(outcome, 0, sizeof *outcome);
  const int in = open_input(input, input_bytes);
  if (in < 0) return errno;
  outcome->output = memfd_create("graft-output", MFD_CLOEXEC);
  if (outcome->output < 0) return close_keeping(in, errno);
  outcome->errors = memfd_create("graft-errors", MFD_CLOEXEC);
  if (outcome->errors < 0) return close_keeping(in, close_keeping(outcome->output, errno));
  const int descriptors[3] = {in, outcome->output, outcome->errors};
  pid_t child;
  const int code = spawn(program, arguments, folder, descriptors, &child);
  close(in);
  if (code != 0) return close_keeping(outcome->output, close_keeping(outcome->errors, code));
  wait_for(child, seconds, outcome);
  return 0;
}

typedef struct call {
  void (*body)(void *);
  void *argument;
} call;

static void *run_call(void *argument) {
  const call *self = argument;
  self->body(self->argument);
  return NULL;
}

static int start_with_stack(size_t stack_bytes, call *own, pthread_t *thread) {
  pthread_attr_t attributes;
  int code = pthread_attr_init(&attributes);
  if (code != 0) return code;
  code = pthread_attr_setstacksize(&attributes, stack_bytes);
  if (code == 0) code = pthread_create(thread, &attributes, run_call, own);
  pthread_attr_destroy(&attributes);
  return code;
}

void CProcess_withEnoughStack(void (*body)(void *), void *argument) {
  const rlim_t enough = 8 << 20;
  struct rlimit stack, space;
  if (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur < enough) {
    /* Child processes inherit this. */
    stack.rlim_cur = stack.rlim_max < enough ? stack.rlim_max : enough;
    setrlimit(RLIMIT_STACK, &stack);
  }
  const int is_short = getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur < enough;
  const int is_limited = getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY;
  /* By default each thread reserves 64 MB of address space for its allocation arena and, once the address
   * space is exhausted, tries again at every allocation. */
  if (is_limited) mallopt(M_ARENA_MAX, 1);
  call own = {body, argument};
  pthread_t thread;
  if ((is_short || is_limited) && start_with_stack(enough, &own, &thread) == 0) {
    pthread_join(thread, NULL);
  } else {
    body(argument);
  }
}
