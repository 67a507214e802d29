/*
 * spawn-watcher that runs out of memory: linked from its sources and
 * tests/lib/memory.c.
 *
 * The file "memory-plan" in its directory holds the number of the allocation
 * that fails, and "once" or "for-good"; without it none does.  At its end it
 * writes "memory-result" when one did: "failed", or "leaked".
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/lib/memory.h"

/* Of LeakSanitizer, where it is linked. */
extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* By the kernel alone: libc's own allocations are not those that count. */
__attribute__((constructor)) static void
begin(void)
{
    int fd = open("memory-plan", O_RDONLY | O_CLOEXEC);
    char text[32] = "";
    char how[16];
    long n;

    if (fd < 0) {
        return;
    }
    if (libspawn__fd_read_full(fd, text, sizeof text - 1) > 0 &&
        sscanf(text, "%ld %15s", &n, how) == 2) {
        memory_fail_at(n, !strcmp(how, "for-good"));
    }
    close(fd);
}

__attribute__((destructor)) static void
end(void)
{
    const char *result = "failed";
    int fd;

    if (!memory_stop_failing()) {
        return;
    }
    if (__lsan_do_recoverable_leak_check &&
        __lsan_do_recoverable_leak_check()) {
        result = "leaked";
    }
    fd = open("memory-result", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) {
        libspawn__fd_write_full(fd, result, strlen(result));
        close(fd);
    }
}
