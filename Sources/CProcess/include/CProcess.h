/* Operating-system services that Swift cannot provide safely: work inside signal handlers, and child processes
 * without extra threads. Functions return a status; the only policy is the message of a forced termination. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Opens those of descriptors 0, 1 and 2 that are closed, so that no file opened later gets one of these
 * numbers; writing to them still fails. Writing to a closed pipe, or beyond the file size limit, becomes an
 * error instead of a signal. */
void CProcess_secureDescriptors(void);

/* Memory of a megabyte or more goes back to the system when it is freed. By default the C library raises this limit to
 * the size of what is freed, up to 32 MB, and keeps what is smaller. */
void CProcess_returnFreedMemory(void);

/* Gives all memory that has been freed back to the system. */
void CProcess_trimMemory(void);

/* The number of cores that this process may run on by its CPU affinity; 0 if the system does not say. */
int CProcess_usableCores(void);

/* Paths to remove before a signal or CProcess_end ends the process. A path is a file or a folder, which is
 * removed recursively. Adding returns 0, or -1 if the list is full. Both block forever once the process is
 * ending, so that work that fails from then on reports nothing. */
int CProcess_addTemporary(const char *path);
void CProcess_removeTemporary(const char *path);

/* Makes SIGINT, SIGTERM and SIGHUP remove the temporary paths and then end the process as they would by
 * default; a signal that was ignored stays ignored. */
void CProcess_removeTemporariesAtSignals(void);

/* Sets the message to write to standard error when such a signal ends the process; NULL for none. Copied. */
void CProcess_sayAtSignals(const char *text);

/* Removes the temporary paths, writes `message` to standard error and exits with status 1. Allocates nothing;
 * may be called from a signal handler. */
void CProcess_end(const char *message) __attribute__((noreturn));

/* Watches a file that is mapped for reading. If it is truncated while mapped, the missing bytes read as zeros
 * and CProcess_isCut returns nonzero, provided that CProcess_surviveCutFiles was called. Returns an identifier of
 * the mapping, or -1 if no more can be watched. */
int CProcess_watchMapping(const void *start, size_t bytes);
int CProcess_isCut(int mapping);
/* To be called before the mapping is removed. */
void CProcess_unwatchMapping(int mapping);

/* Installs the SIGBUS handler. If an unwatched file was truncated (a library, for instance), it ends the
 * process with a message that names the file. */
void CProcess_surviveCutFiles(void);

/* Runs body(argument) with at least 8 MB of stack: on a thread with a preallocated stack if the stack limit is
 * lower or memory is limited, so that the stack might not grow; otherwise on the calling thread. */
void CProcess_withEnoughStack(void (*body)(void *), void *argument);

typedef struct CProcess_outcome {
  int wait_status;     /* as waitpid gives it */
  int is_out_of_time;  /* it was killed after its time */
  int output, errors;  /* descriptors of what it wrote, to be closed by the caller */
} CProcess_outcome;

/* Runs the program at an absolute path and waits for it to exit.
 * input: the text for its standard input; NULL for none. folder: its working directory, or NULL.
 * seconds: the time limit after which it is killed. Returns 0 and the outcome, or an errno value if the program
 * was not started. */
int CProcess_run(
    const char *program, char *const *arguments, const void *input, size_t input_bytes,
    const char *folder, double seconds, CProcess_outcome *outcome);

#ifdef __cplusplus
}
#endif
