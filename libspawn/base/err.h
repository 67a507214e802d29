/*
 * Errors of the library: a code from the closed list of libspawn.h, the errno
 * behind it when there is one, and one sentence.
 *
 * The first line that fails fills the structure; a caller that knows more may
 * put one clause in front.  Every function that can fail returns 0 or the
 * code, so that the usual shape is
 *
 *     return libspawn__fail(err, LIBSPAWN_ERR_INVALID, "no program given");
 *
 * A sentence says what was attempted, on what, and why it failed; names stand
 * in quotes; no full stop, no newline.
 */
#ifndef LIBSPAWN_BASE_ERR_H
#define LIBSPAWN_BASE_ERR_H

#include <stdarg.h>

#include "include/libspawn.h"

#define LIBSPAWN__PRINTF(FMT, ARGS) __attribute__((format(printf, FMT, ARGS)))

/* Fills 'err' (which may be NULL) and returns 'code'. */
int libspawn__fail(struct libspawn_err *err, int code, const char *format, ...)
    LIBSPAWN__PRINTF(3, 4);

/* The same for a failed system call: the code follows from 'sys_errno', whose
 * text ends the sentence. */
int libspawn__fail_errno(struct libspawn_err *err, int sys_errno,
                         const char *format, ...) LIBSPAWN__PRINTF(3, 4);

/* As strerror(3) of glibc says it, whichever C library this is built with:
 * sentences of watcher and library are read, and searched, alike. */
const char *libspawn__errno_text(int sys_errno);

/* Out of memory, the one error whose sentence never changes. */
int libspawn__fail_nomem(struct libspawn_err *err);

/* Puts "clause: " in front of the sentence; returns the code in 'err'. */
int libspawn__err_prefix(struct libspawn_err *err, const char *format, ...)
    LIBSPAWN__PRINTF(2, 3);

/* What a command that failed with this should exit with: 75, EX_TEMPFAIL of
 * sysexits.h, where trying again may help, else 1. */
int libspawn__code_exit_status(int code);

/* Which code of the closed list an errno belongs to. */
int libspawn__code_from_errno(int sys_errno);

#endif
