#include "proc/status.h"

#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "base/util.h"

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

/* In words, as strsignal(3) of glibc has them, whichever C library this is
 * built with and whatever the language.  Arrays, since pointers would have to
 * be relocated at each start. */
static const struct {
    char name[8];
    char description[26];
} signals[] = {
#define SIGNAL(NAME, DESCRIPTION) [SIG##NAME] = { #NAME, DESCRIPTION }
    SIGNAL(HUP, "Hangup"),
    SIGNAL(INT, "Interrupt"),
    SIGNAL(QUIT, "Quit"),
    SIGNAL(ILL, "Illegal instruction"),
    SIGNAL(TRAP, "Trace/breakpoint trap"),
    SIGNAL(ABRT, "Aborted"),
    SIGNAL(BUS, "Bus error"),
    SIGNAL(FPE, "Floating point exception"),
    SIGNAL(KILL, "Killed"),
    SIGNAL(USR1, "User defined signal 1"),
    SIGNAL(SEGV, "Segmentation fault"),
    SIGNAL(USR2, "User defined signal 2"),
    SIGNAL(PIPE, "Broken pipe"),
    SIGNAL(ALRM, "Alarm clock"),
    SIGNAL(TERM, "Terminated"),
    SIGNAL(STKFLT, "Stack fault"),
    SIGNAL(CHLD, "Child exited"),
    SIGNAL(CONT, "Continued"),
    SIGNAL(STOP, "Stopped (signal)"),
    SIGNAL(TSTP, "Stopped"),
    SIGNAL(TTIN, "Stopped (tty input)"),
    SIGNAL(TTOU, "Stopped (tty output)"),
    SIGNAL(URG, "Urgent I/O condition"),
    SIGNAL(XCPU, "CPU time limit exceeded"),
    SIGNAL(XFSZ, "File size limit exceeded"),
    SIGNAL(VTALRM, "Virtual timer expired"),
    SIGNAL(PROF, "Profiling timer expired"),
    SIGNAL(WINCH, "Window changed"),
    SIGNAL(POLL, "I/O possible"),
    SIGNAL(PWR, "Power failure"),
    SIGNAL(SYS, "Bad system call"),
#undef SIGNAL
};

void
libspawn__status_describe_signal(int signal,
                                 char text[LIBSPAWN__STATUS_TEXT_SIZE])
{
    bool is_named = signal > 0 && signal < (int)ARRAY_SIZE(signals);

    if (is_named) {
        snprintf(text, LIBSPAWN__STATUS_TEXT_SIZE, "SIG%s (%s)",
                 signals[signal].name, signals[signal].description);
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

int
libspawn__status_exit_code(int wait_status)
{
    enum {
        SIGNAL_BASE = 128
    };

    return WIFSIGNALED(wait_status) ? SIGNAL_BASE + WTERMSIG(wait_status)
                                    : WEXITSTATUS(wait_status);
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
