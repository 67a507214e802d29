/*
 * Another role of the program: it waits for a lock in place of a caller that
 * must not block, and is the parent of nobody.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

#include "proc/lock.h"
#include "tools/spawn-watcher/watcher.h"

/* The end of the caller, who says nothing more, ends us in the middle of the
 * wait: the kernel then sends SIGIO, which nobody handles.  True when that
 * works and the caller is still there. */
static bool
end_with(int socket)
{
    struct pollfd caller = { .fd = socket, .events = POLLIN };

    return fcntl(socket, F_SETOWN, getpid()) == 0 &&
           fcntl(socket, F_SETFL, O_ASYNC) == 0 && poll(&caller, 1, 0) == 0;
}

void
watcher_await_lock(int socket, int fd)
{
    exit(end_with(socket) && libspawn__lock_wait_fd(fd) == 0 ? EXIT_SUCCESS
                                                             : EXIT_FAILURE);
}
