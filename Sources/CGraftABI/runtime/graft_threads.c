/* The session's own threads. They start with the first region that needs them, spin for a while
 * between steps (a wake-up through the kernel costs as much as a small layer) and then sleep.
 */
#define _GNU_SOURCE
#include "graft_runtime.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

enum { SPIN_NANOSECONDS = 100000, STACK_BYTES = 512 << 10 };

/* A counter that threads wait on to change; alone on its cache line. */
typedef struct signal {
  _Alignas(128) _Atomic uint32_t value;
  _Atomic uint32_t sleepers;
} signal;

struct graft_pool {
  signal region;  /* counts the regions begun */
  signal phase;   /* counts the barriers passed */
  _Alignas(128) _Atomic uint32_t arrived;
  _Atomic uint32_t long_waits;
  _Alignas(128) uint32_t threads;
  uint32_t started; /* workers that run; thread numbers 1 ... started */
  bool stopping;
  pid_t process;
  _Atomic int *cores; /* on which each thread began the region; -1 for unknown */
  graft_region_task *task;
  void *argument;
  struct worker *workers;
};

typedef struct worker {
  graft_pool *pool;
  uint32_t number;
  uint32_t seen; /* the region count at its start */
  pthread_t thread;
} worker;

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void sleep_while(signal *signal, uint32_t value) {
#if defined(__linux__)
  atomic_fetch_add(&signal->sleepers, 1);
  syscall(SYS_futex, &signal->value, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
  atomic_fetch_sub(&signal->sleepers, 1);
#else
  (void)signal, (void)value;
  sched_yield();
#endif
}

/* Returns whether spinning was enough. */
static bool wait_for_change(signal *signal, uint32_t value) {
  int64_t deadline = 0;
  for (;;) {
    for (int i = 0; i < 64; i++) {
      if (atomic_load_explicit(&signal->value, memory_order_acquire) != value) return true;
      relax();
    }
    if (deadline == 0) deadline = now() + SPIN_NANOSECONDS;
    if (now() < deadline) continue;
    while (atomic_load_explicit(&signal->value, memory_order_acquire) == value) {
      sleep_while(signal, value);
    }
    return false;
  }
}

static void advance(signal *signal) {
  atomic_fetch_add(&signal->value, 1);
#if defined(__linux__)
  if (atomic_load(&signal->sleepers) != 0) {
    syscall(SYS_futex, &signal->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
  }
#endif
}

void graft_pool_barrier(graft_pool *pool) {
  if (pool->threads == 1) return;
  const uint32_t phase = atomic_load_explicit(&pool->phase.value, memory_order_relaxed);
  if (atomic_fetch_add(&pool->arrived, 1) + 1 == pool->threads) {
    atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
    advance(&pool->phase);
  } else if (!wait_for_change(&pool->phase, phase)) {
    atomic_fetch_add_explicit(&pool->long_waits, 1, memory_order_relaxed);
  }
}

uint32_t graft_pool_long_waits(graft_pool *pool) {
  return atomic_exchange_explicit(&pool->long_waits, 0, memory_order_relaxed);
}

/* Two threads of a pool that began a region on one core can stay there for seconds, since each runs only while the
 * other waits for it, and take turns. A worker that finds one of the threads before it on its core asks the system
 * for any other of its cores; where it may run from then on is not changed. */
static void leave_shared_core(graft_pool *pool, uint32_t number) {
#if defined(__linux__)
  const int own = sched_getcpu();
  atomic_store_explicit(&pool->cores[number], own, memory_order_relaxed);
  if (own < 0 || own >= CPU_SETSIZE) return;
  bool is_shared = false;
  cpu_set_t taken;
  CPU_ZERO(&taken);
  for (uint32_t i = 0; i < number; i++) {
    const int core = atomic_load_explicit(&pool->cores[i], memory_order_relaxed);
    if (core < 0 || core >= CPU_SETSIZE) continue;
    CPU_SET(core, &taken);
    is_shared |= core == own;
  }
  cpu_set_t allowed, others;
  if (!is_shared || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  CPU_AND(&taken, &taken, &allowed);
  CPU_XOR(&others, &allowed, &taken);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  sched_setaffinity(0, sizeof allowed, &allowed);
  atomic_store_explicit(&pool->cores[number], sched_getcpu(), memory_order_relaxed);
#else
  (void)pool, (void)number;
#endif
}

static void *worker_main(void *argument) {
  worker *self = argument;
  graft_pool *pool = self->pool;
  graft_set_float_mode();
  for (uint32_t seen = self->seen;; seen++) {
    wait_for_change(&pool->region, seen);
    if (pool->stopping) return NULL;
    leave_shared_core(pool, self->number);
    pool->task(pool->argument, self->number);
    graft_pool_barrier(pool);
  }
}

graft_pool *graft_pool_create(uint32_t threads) {
  graft_pool *pool = aligned_alloc(_Alignof(graft_pool), sizeof(graft_pool));
  if (!pool) return NULL;
  *pool = (graft_pool){.threads = threads, .process = getpid()};
  if (threads > 1) {
    pool->workers = calloc(threads - 1, sizeof(worker));
    pool->cores = malloc(threads * sizeof *pool->cores);
    if (!pool->workers || !pool->cores) {
      free(pool->workers);
      free((void *)pool->cores);
      free(pool);
      return NULL;
    }
    for (uint32_t i = 0; i < threads; i++) atomic_init(&pool->cores[i], -1);
  }
  return pool;
}

static bool start_workers(graft_pool *pool) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  bool started = true;
  while (started && pool->started < pool->threads - 1) {
    worker *next = &pool->workers[pool->started];
    next->pool = pool;
    next->number = pool->started + 1;
    next->seen = atomic_load_explicit(&pool->region.value, memory_order_relaxed);
    started = pthread_create(&next->thread, &attributes, worker_main, next) == 0;
    if (started) pool->started++;
  }
  pthread_attr_destroy(&attributes);
  return started;
}

bool graft_pool_run(graft_pool *pool, graft_region_task *task, void *argument) {
  if (pool->threads > 1) {
    if (pool->started < pool->threads - 1 && !start_workers(pool)) return false;
    pool->task = task;
    pool->argument = argument;
#if defined(__linux__)
    atomic_store_explicit(&pool->cores[0], sched_getcpu(), memory_order_relaxed);
#endif
    advance(&pool->region);
  }
  task(argument, 0);
  graft_pool_barrier(pool);
  return true;
}

bool graft_pool_is_orphaned(const graft_pool *pool) {
  return pool->started > 0 && pool->process != getpid();
}

void graft_pool_destroy(graft_pool *pool) {
  if (!pool) return;
  if (!graft_pool_is_orphaned(pool)) {
    pool->stopping = true;
    advance(&pool->region);
    for (uint32_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
  }
  free(pool->workers);
  free((void *)pool->cores);
  free(pool);
}
