#include "proc/status.h"

#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

/* From the kernel's <linux/pidfd.h>, Linux 6.15, which the headers that we
 * build with need not have. */
struct pidfd_info {
    uint64_t mask;
    uint64_t cgroupid;
    uint32_t ids[11]; /* pid, tgid, ppid, user and group ids */
    int32_t exit_code;
};
#define GET_INFO _IOWR(0xff, 11, struct pidfd_info)
#define INFO_EXIT (UINT64_C(1) << 3)

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

enum libspawn__status_source
libspawn__status_from_pidfd(int pidfd, int *wait_status_r)
{
    struct pidfd_info info = { .mask = INFO_EXIT };

    /* An older kernel does not know the call, or knows the living only. */
    if (ioctl(pidfd, GET_INFO, &info) < 0) {
        return LIBSPAWN__STATUS_UNKNOWN;
    }
    if (!(info.mask & INFO_EXIT)) {
        return LIBSPAWN__STATUS_NOT_YET;
    }
    *wait_status_r = info.exit_code;
    return LIBSPAWN__STATUS_KNOWN;
}
