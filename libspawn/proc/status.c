#include "proc/status.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

void
libspawn__status_describe_signal(int signal,
                                 char text[LIBSPAWN__STATUS_TEXT_SIZE])
{
    const char *name = sigabbrev_np(signal);
    const char *description = sigdescr_np(signal);

    if (name) {
        snprintf(text, LIBSPAWN__STATUS_TEXT_SIZE, "SIG%s (%s)", name,
                 description);
    } else {
        snprintf(text, LIBSPAWN__STATUS_TEXT_SIZE, "signal %d", signal);
    }
}

void
libspawn__status_describe(bool is_known, int wait_status,
                          char text[LIBSPAWN__STATUS_TEXT_SIZE])
{
    char signal[LIBSPAWN__STATUS_TEXT_SIZE];

    if (!is_known) {
        snprintf(text, LIBSPAWN__STATUS_TEXT_SIZE, "ended, how is unknown");
    } else if (WIFSIGNALED(wait_status)) {
        libspawn__status_describe_signal(WTERMSIG(wait_status), signal);
        snprintf(text, LIBSPAWN__STATUS_TEXT_SIZE, "was killed by %.80s%s",
                 signal, WCOREDUMP(wait_status) ? ", core dumped" : "");
    } else {
        snprintf(text, LIBSPAWN__STATUS_TEXT_SIZE, "exited with status %d",
                 WEXITSTATUS(wait_status));
    }
}
