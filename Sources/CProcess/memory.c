/* How the C library returns memory to the system. */
#include "CProcess.h"

#include <malloc.h>

void CProcess_returnFreedMemory(void) { mallopt(M_MMAP_THRESHOLD, 1 << 20); }

void CProcess_trimMemory(void) { malloc_trim(0); }
