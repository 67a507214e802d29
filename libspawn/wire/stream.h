/*
 * The one place that makes sockets.  Names are TYPE:ARGUMENT:
 *
 *   active   "unix:PATH"   "fd:NUMBER"
 *   passive  "punix:PATH"  "pfd:NUMBER"
 *
 * An unknown or malformed type is LIBSPAWN_ERR_UNSUPPORTED.  Every descriptor
 * is close-on-exec, and non-blocking unless said otherwise.  A path longer
 * than sun_path is reached through /proc/self/fd of its directory, so state
 * directories may be deep.
 */
#ifndef LIBSPAWN_WIRE_STREAM_H
#define LIBSPAWN_WIRE_STREAM_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/pidref.h"

/* Connects.  LIBSPAWN_ERR_GONE when nobody listens there, NOT_FOUND when the
 * path is missing, BUSY when the listener's queue is full.  "fd:" takes over
 * the descriptor of that number, and only if this succeeds. */
int libspawn__stream_connect(const char *name, int *fd_r,
                             struct libspawn_err *err);

/* Listens with exactly the given file mode.  The path of a dead listener is
 * replaced; one that somebody listens on, or that is no socket, is
 * LIBSPAWN_ERR_EXISTS.  The path appears in one step, with its mode and
 * listening, by renaming PATH.tmp-*; getsockname still gives that name, so
 * whoever inherits the listener cannot remove the path by it, as QEMU would.
 * That is up to the caller. */
int libspawn__stream_listen(const char *name, mode_t mode, int *fd_r,
                            struct libspawn_err *err);

/* The same without a file, for packets (SOCK_SEQPACKET) among processes of one
 * network namespace: the kernel chooses a name that nobody has, and forgets it
 * with the socket.  Anybody may connect, so both sides ask who the other is.
 * The name is a few letters and digits; free it with free(3). */
int libspawn__stream_listen_hidden(char **name_r, int *fd_r,
                                   struct libspawn_err *err);
int libspawn__stream_connect_hidden(const char *name, int *fd_r,
                                    struct libspawn_err *err);

/* A place for letters (SOCK_DGRAM) from anybody of this network namespace,
 * under such a name; libspawn__stream_recv_letter reads them. */
int libspawn__stream_open_mailbox(char **name_r, int *fd_r,
                                  struct libspawn_err *err);

/* LIBSPAWN_ERR_BUSY: nobody is waiting. */
int libspawn__stream_accept(int listener, int *fd_r, struct libspawn_err *err);

/* A connected pair that keeps message boundaries (SOCK_SEQPACKET), blocking
 * mode as asked. */
int libspawn__stream_pair(bool nonblocking, int fds_r[2],
                          struct libspawn_err *err);

/* Who is at the other end of a unix stream: who connected or, seen from the
 * other side, who called libspawn__stream_listen, which is not the process
 * that inherited the listener.  LIBSPAWN_ERR_UNSUPPORTED: not a process that
 * can be seen from here. */
int libspawn__stream_peer(int fd, pid_t *pid_r, uid_t *uid_r,
                          struct libspawn_err *err);

enum {
    LIBSPAWN__STREAM_FDS_MAX = 250
}; /* the kernel's SCM_MAX_FD is 253 */

/* Sends one message with descriptors, which stay the caller's, without
 * SIGPIPE.  An empty one is -EINVAL: it would read as the end.  Returns the
 * bytes sent or -errno. */
ssize_t libspawn__stream_send(int fd, const void *bytes, size_t size,
                              const int *fds, size_t n_fds);

/* Receives one message.  Up to *n_fds_r descriptors are stored, close-on-exec;
 * *n_fds_r becomes their number; a message that carries more, or that is
 * larger than 'size', gives -EPROTO, and one whose descriptors find no room in
 * our table -EMFILE; none leaks.  Returns the bytes, 0 at the end (also of a
 * peer that left without reading all of ours), or -errno. */
ssize_t libspawn__stream_recv(int fd, void *bytes, size_t size, int *fds,
                              size_t *n_fds_r);

/* Receives one letter, which may be empty, and who sent it by what the kernel
 * vouches for (0: a process that cannot be seen from here).  Only a process
 * with CAP_SYS_ADMIN can send in the name of another.  Descriptors that came
 * along are closed.  A letter larger than 'size' is -EPROTO, and is gone.
 * Returns the bytes, or -errno (-EAGAIN: there is none). */
ssize_t libspawn__stream_recv_letter(int fd, void *bytes, size_t size,
                                     pid_t *sender_r);

#endif
