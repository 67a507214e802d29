/*
 * The system calls that change user and group ids, by the names that take ids
 * of 32 bits.  Directly, and not by glibc's functions, which change every
 * thread of a process.
 */
#ifndef LIBSPAWN_PROC_ID_CALLS_H
#define LIBSPAWN_PROC_ID_CALLS_H

#include <sys/syscall.h>

/* Where the plain calls have 16-bit ids. */
#ifdef SYS_setresuid32
#define CALL_SETGROUPS SYS_setgroups32
#define CALL_SETRESGID SYS_setresgid32
#define CALL_SETRESUID SYS_setresuid32
#define CALL_GETRESUID SYS_getresuid32
#else
#define CALL_SETGROUPS SYS_setgroups
#define CALL_SETRESGID SYS_setresgid
#define CALL_SETRESUID SYS_setresuid
#define CALL_GETRESUID SYS_getresuid
#endif

#endif
