/*
 * A wait status: in words, the same everywhere, in reports, in the log and in
 * lists; and where it comes from without wait(2).
 */
#ifndef LIBSPAWN_PROC_STATUS_H
#define LIBSPAWN_PROC_STATUS_H

#include <stdbool.h>
#include <stddef.h>

enum { LIBSPAWN__STATUS_TEXT_SIZE = 128 };

/* "exited with status 3", "was killed by SIGSEGV (Segmentation fault), core
 * dumped", "ended, how is unknown". */
void libspawn__status_describe(bool is_known, int wait_status,
                               char text[LIBSPAWN__STATUS_TEXT_SIZE]);

/* "SIGSEGV (Segmentation fault)". */
void libspawn__status_describe_signal(int signal,
                                      char text[LIBSPAWN__STATUS_TEXT_SIZE]);

/* What a shell makes of it: the exit status, or 128 and the signal. */
int libspawn__status_exit_code(int wait_status);

enum libspawn__status_source {
    LIBSPAWN__STATUS_UNKNOWN, /* and will never be known */
    LIBSPAWN__STATUS_NOT_YET, /* not before its parent has reaped it */
    LIBSPAWN__STATUS_KNOWN
};

/* How a process that is no child of ours ended, by its pidfd, as of wait(2).
 * Linux tells since 6.15, once the process is reaped, whoever did that. */
enum libspawn__status_source
libspawn__status_from_pidfd(int pidfd, int *wait_status_r);

#endif
