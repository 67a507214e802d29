/*
 * Where the kernel has put the core file of a process: core(5).
 */
#ifndef LIBSPAWN_PROC_CORE_FILE_H
#define LIBSPAWN_PROC_CORE_FILE_H

#include <stdbool.h>
#include <sys/types.h>

/* A process that has left one. */
struct libspawn__core_owner {
    pid_t pid;
    int signal;
    const char *program;   /* its path */
    const char *directory; /* its working directory */
};

/* By the rule 'pattern', with '.PID' behind it if 'uses_pid'.  New, or NULL:
 * it went to a program, the name cannot be known any more, or no memory. */
char *libspawn__core_file_name(const char *pattern, bool uses_pid,
                               const struct libspawn__core_owner *owner);

/* The same by this machine's rule; NULL also where there is no such file. */
char *libspawn__core_file_find(const struct libspawn__core_owner *owner);

#endif
