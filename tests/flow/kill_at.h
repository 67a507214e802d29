/*
 * Kills a process at its n-th system call, by ptrace(2), so that a test can
 * try every moment of its life in turn.
 *
 *     for (n = 0; kill_at(start_traced(...), n); n++) {
 *         ... what must be true whenever it died ...
 *     }
 */
#ifndef TESTS_FLOW_KILL_AT_H
#define TESTS_FLOW_KILL_AT_H

#include <stdbool.h>
#include <sys/types.h>

/* In the process to be killed, which must be a child of the test: waits to be
 * led.  What it executes afterwards is led too, what it forks is not. */
void kill_at_wait(void);

/* Lets 'pid' run until it enters its n-th system call from here, then sends
 * SIGKILL; it is not reaped.  False when it ended before that, or did nothing
 * for a while: then it runs on, no longer led. */
bool kill_at(pid_t pid, unsigned int n);

/* The same with another signal, with which it runs on. */
bool signal_at(pid_t pid, unsigned int n, int number);

/* posix_spawn(3) of a program that waits to be led from its exec on, with
 * stdout and stderr in the given file. */
pid_t spawn_led(const char *const argv[], const char *output_path);

#endif
