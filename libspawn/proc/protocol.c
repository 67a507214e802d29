#include "proc/protocol.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/stream.h"

int
libspawn__watcher_send(int socket, struct libspawn__watcher_message *message,
                       enum libspawn__watcher_type type, const int *fds,
                       size_t n_fds)
{
    size_t size = offsetof(struct libspawn__watcher_message, tail) +
                  message->tail_size;
    ssize_t n;

    message->version = LIBSPAWN__WATCHER_VERSION;
    message->type = type;
    n = libspawn__stream_send(socket, message, size, fds, n_fds);
    if (n < 0) {
        shutdown(socket, SHUT_RDWR);
        return (int)n;
    }
    return 0;
}

int
libspawn__watcher_recv(int socket, struct libspawn__watcher_message *message,
                       int *fds, size_t *n_fds_r)
{
    ssize_t n = libspawn__stream_recv(socket, message, sizeof *message, fds,
                                      n_fds_r);

    if (n <= 0) {
        return (int)n;
    }
    if (n < (ssize_t)offsetof(struct libspawn__watcher_message, tail) ||
        message->version != LIBSPAWN__WATCHER_VERSION ||
        message->tail_size !=
            (size_t)n - offsetof(struct libspawn__watcher_message, tail)) {
        while (*n_fds_r) {
            close(fds[--*n_fds_r]);
        }
        return -EPROTO;
    }
    return 1;
}
