/* Memory that cannot be had. Swift has no way to go on without, and would end in a trap: from the call below on
 * the process ends with a message and status 1 instead, its temporary files removed.
 *
 * For programs, not for libraries: it stands in front of the C library's allocation in the whole process. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

void CExhaustion_endWithMessage(void);

#ifdef __cplusplus
}
#endif
