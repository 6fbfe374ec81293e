/* The one call of the C library that Swift's import of it lacks: renameat2 is declared for GNU sources
 * only. Status out, errno left as it is. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/* Renames `from` to `to`, which must not exist. Returns 0, or -1 with errno set. */
int CFileSystem_place(const char *from, const char *to);

/* Exchanges two paths that both exist. Returns 0, or -1 with errno set. */
int CFileSystem_exchange(const char *from, const char *to);

#ifdef __cplusplus
}
#endif
