/*
 * A wait status in words, the same everywhere: in reports, in the log and in
 * lists.
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

#endif
