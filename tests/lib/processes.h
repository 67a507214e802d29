/*
 * Who is whose child, read from /proc.  For the harness itself; tests use
 * harness.h.
 */
#ifndef TESTS_LIB_PROCESSES_H
#define TESTS_LIB_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct process {
    pid_t pid;
    pid_t parent;
    char name[17]; /* at most 16 characters, as the kernel keeps it */
    bool is_zombie;
};

/* False when there is no such process. */
bool process_read(pid_t pid, struct process *process_r);

/* The direct children of this process, dead ones included.  Fills at most
 * 'max' pids and returns how many there are. */
size_t process_list_children(pid_t *pids, size_t max);

/* The process to which the orphans of this test come: its guard. */
void process_set_guard(pid_t guard);

#endif
