/* Looks at the CPU before any kernel runs, and sets the floating-point mode that kernels expect.
 * Compiled for the baseline of the architecture, so that it runs where the kernels would not.
 */
#define _DEFAULT_SOURCE /* syscall */
#include "graft_runtime.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct cpu_registers {
  unsigned leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax, extended_ecx;
  unsigned long long saved_by_system; /* XCR0: register sets that the system saves */
} cpu_registers;

typedef struct cpu_feature {
  const char *name;
  size_t register_offset;
  unsigned bit;
  unsigned long long needs_saved; /* bits of XCR0 without which the feature is unusable */
} cpu_feature;

#define YMM 0x6ull
#define ZMM 0xe6ull
#define TILES 0x60000ull
#define IN(field) offsetof(cpu_registers, field)

static const cpu_feature known_features[] = {
    {"sse3", IN(leaf1_ecx), 0, 0},
    {"ssse3", IN(leaf1_ecx), 9, 0},
    {"fma", IN(leaf1_ecx), 12, YMM},
    {"cx16", IN(leaf1_ecx), 13, 0},
    {"sse4.1", IN(leaf1_ecx), 19, 0},
    {"sse4.2", IN(leaf1_ecx), 20, 0},
    {"movbe", IN(leaf1_ecx), 22, 0},
    {"popcnt", IN(leaf1_ecx), 23, 0},
    {"avx", IN(leaf1_ecx), 28, YMM},
    {"f16c", IN(leaf1_ecx), 29, YMM},
    {"bmi", IN(leaf7_ebx), 3, 0},
    {"avx2", IN(leaf7_ebx), 5, YMM},
    {"bmi2", IN(leaf7_ebx), 8, 0},
    {"avx512f", IN(leaf7_ebx), 16, ZMM},
    {"avx512dq", IN(leaf7_ebx), 17, ZMM},
    {"avx512cd", IN(leaf7_ebx), 28, ZMM},
    {"avx512bw", IN(leaf7_ebx), 30, ZMM},
    {"avx512vl", IN(leaf7_ebx), 31, ZMM},
    {"avx512vbmi", IN(leaf7_ecx), 1, ZMM},
    {"avx512vnni", IN(leaf7_ecx), 11, ZMM},
    {"avx512bf16", IN(leaf7_1_eax), 5, ZMM},
    {"amx-bf16", IN(leaf7_edx), 22, TILES},
    {"amx-tile", IN(leaf7_edx), 24, TILES},
    {"amx-int8", IN(leaf7_edx), 25, TILES},
    {"lzcnt", IN(extended_ecx), 5, 0},
};

static unsigned long long read_xcr0(void) {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((unsigned long long)high << 32) | low;
}

static cpu_registers read_cpu(void) {
  cpu_registers cpu = {0, 0, 0, 0, 0, 0, 0};
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d)) {
    cpu.leaf1_ecx = c;
    if (c & (1u << 27)) cpu.saved_by_system = read_xcr0();
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    cpu.leaf7_ebx = b;
    cpu.leaf7_ecx = c;
    cpu.leaf7_edx = d;
  }
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) cpu.leaf7_1_eax = a;
  if (__get_cpuid(0x80000001u, &a, &b, &c, &d)) cpu.extended_ecx = c;
  return cpu;
}

/* Linux saves a process's tiles only after it has asked for that; once is enough for all threads. */
static bool may_use_tiles(void) {
  const long request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

static bool has_feature(const cpu_registers *cpu, const char *name, size_t length) {
  for (size_t i = 0; i < sizeof known_features / sizeof known_features[0]; i++) {
    const cpu_feature *feature = &known_features[i];
    if (strlen(feature->name) != length || memcmp(feature->name, name, length) != 0) continue;
    unsigned value;
    memcpy(&value, (const char *)cpu + feature->register_offset, sizeof value);
    return ((value >> feature->bit) & 1u) != 0 &&
           (cpu->saved_by_system & feature->needs_saved) == feature->needs_saved &&
           (feature->needs_saved != TILES || may_use_tiles());
  }
  return false; /* a feature that this runtime cannot look for counts as missing */
}

uint64_t graft_set_float_mode(void) {
  const unsigned saved = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(0x1f80u | 0x8040u); /* exceptions masked, flush-to-zero, denormals zero */
  return saved;
}

void graft_restore_float_mode(uint64_t saved) { __builtin_ia32_ldmxcsr((unsigned)saved); }

#elif defined(__aarch64__)

typedef struct cpu_registers {
  int unused;
} cpu_registers;

static cpu_registers read_cpu(void) { return (cpu_registers){0}; }

static bool has_feature(const cpu_registers *cpu, const char *name, size_t length) {
  (void)cpu;
  return length == 4 && memcmp(name, "neon", 4) == 0; /* part of the architecture's baseline */
}

uint64_t graft_set_float_mode(void) {
  uint64_t saved;
  __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24)); /* flush-to-zero, nearest */
  return saved;
}

void graft_restore_float_mode(uint64_t saved) {
  __asm__ volatile("msr fpcr, %0" : : "r"(saved));
}

#else

typedef struct cpu_registers {
  int unused;
} cpu_registers;

static cpu_registers read_cpu(void) { return (cpu_registers){0}; }

static bool has_feature(const cpu_registers *cpu, const char *name, size_t length) {
  (void)cpu, (void)name, (void)length;
  return false;
}

uint64_t graft_set_float_mode(void) { return 0; }

void graft_restore_float_mode(uint64_t saved) { (void)saved; }

#endif

bool graft_cpu_has(const char *features, char *missing, size_t missing_bytes) {
  const cpu_registers cpu = read_cpu();
  while (*features) {
    const size_t length = strcspn(features, " ");
    if (length > 0 && !has_feature(&cpu, features, length)) {
      if (missing_bytes > 0) {
        const size_t copied = length < missing_bytes - 1 ? length : missing_bytes - 1;
        memcpy(missing, features, copied);
        missing[copied] = 0;
      }
      return false;
    }
    features += length;
    while (*features == ' ') features++;
  }
  return true;
}
