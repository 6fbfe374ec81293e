/* What a program needs from the operating system that Swift cannot do safely: work inside signal handlers,
 * and starting other programs without threads. Status out, no policy but the message of a forced end. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Makes descriptors 0, 1 and 2 exist, so that no file that is opened later is taken for one of them. What was
 * closed cannot be written afterwards either. Writing to a closed pipe, or beyond the limit on a file's size,
 * becomes an error instead of a signal. */
void CProcess_secureDescriptors(void);

/* Paths that are removed before the process is ended from outside or by CProcess_end. A path is a file or a
 * folder; removal descends into folders. Adding returns 0, or -1 where no more can be kept. Both wait for
 * ever once the process is being ended, so that work that fails then says nothing. */
int CProcess_addTemporary(const char *path);
void CProcess_removeTemporary(const char *path);

/* From now on SIGINT, SIGTERM and SIGHUP remove the temporary paths and then end the process as they would
 * have without this; one that was ignored stays ignored. */
void CProcess_removeTemporariesAtSignals(void);

/* What standard error is told when such a signal ends the process; NULL for nothing. Keeps a copy. */
void CProcess_sayAtSignals(const char *text);

/* Removes the temporary paths, says `message` on standard error and ends with status 1. Allocates nothing;
 * may be called from a signal handler. */
void CProcess_end(const char *message) __attribute__((noreturn));

/* A file that is mapped for reading. Where it is cut short meanwhile, what is missing reads as zeros, and
 * CProcess_isCut says so, once CProcess_surviveCutFiles was called. The number identifies the mapping; -1
 * where no more can be watched. */
int CProcess_watchMapping(const void *start, size_t bytes);
int CProcess_isCut(int mapping);
/* Before the mapping is removed. */
void CProcess_unwatchMapping(int mapping);

/* Installs the handler of SIGBUS. Where another file than a watched one was cut short (a library, for
 * instance), it ends the process with a message that names it. */
void CProcess_surviveCutFiles(void);

/* Runs body(argument) with at least 8 MB of stack: where the limit is lower, or memory is limited, so that the
 * stack might not grow, on a thread whose stack is there from the start, and otherwise on this one. */
void CProcess_withEnoughStack(void (*body)(void *), void *argument);

typedef struct CProcess_outcome {
  int wait_status;     /* as waitpid gives it */
  int is_out_of_time;  /* it was killed after its time */
  int output, errors;  /* descriptors of what it wrote, to be closed by the caller */
} CProcess_outcome;

/* Runs the program at an absolute path to its end.
 * input: what it reads from standard input; NULL for nothing. folder: its working directory, or NULL.
 * seconds: after which it is killed. Returns 0 with the outcome, or an error number, and nothing has run. */
int CProcess_run(
    const char *program, char *const *arguments, const void *input, size_t input_bytes,
    const char *folder, double seconds, CProcess_outcome *outcome);

#ifdef __cplusplus
}
#endif
