/*
 * What a process was started with, as lines of text that a test can search:
 *
 *   fd NUMBER TARGET     one per open descriptor; what it leads to
 *   arg WORD             one per word of the command line
 *   env NAME=VALUE       one per variable
 *   cwd PATH
 *   session PID, group PID, parent PID
 *   status NAME: ...     /proc/self/status: SigBlk, SigIgn, SigCgt, Uid, ...
 *   limit NAME ...       /proc/self/limits
 *   oom_score_adj N
 *   cgroup ...           /proc/self/cgroup
 *
 * A newline or a backslash inside a value is written as \n or \\.
 */
#ifndef TOOLS_TEST_DEVICE_MODEL_REPORT_H
#define TOOLS_TEST_DEVICE_MODEL_REPORT_H

#include "base/err.h"

/* Before the program opens anything or changes a signal.  The file appears
 * whole, in one step. */
int report_write(const char *path, char **argv, struct libspawn_err *err);

#endif
