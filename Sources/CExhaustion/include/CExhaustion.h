/* Out-of-memory handling. Swift traps when an allocation fails; after the call below, the process instead
 * removes its temporary files, writes a message and exits with status 1.
 *
 * For programs, not for libraries: it interposes the C library's allocator in the whole process. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

void CExhaustion_endWithMessage(void);

#ifdef __cplusplus
}
#endif
