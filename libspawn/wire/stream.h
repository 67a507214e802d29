/*
 * The one place that makes sockets.  Names are TYPE:ARGUMENT:
 *
 *   active   "unix:PATH"   "tcp:HOST:PORT"         "fd:NUMBER"
 *   passive  "punix:PATH"  "ptcp:PORT[:ADDRESS]"   "pfd:NUMBER"
 *
 * An unknown or malformed type is LIBSPAWN_ERR_UNSUPPORTED.  Addresses are
 * numbers, those of IPv6 in brackets.  "ptcp:" without one listens on
 * 127.0.0.1, and on port 0 the kernel chooses.  Every descriptor is
 * close-on-exec, and non-blocking unless said otherwise.  A path longer than
 * sun_path is reached through /proc/self/fd of its directory, so state
 * directories may be deep.
 *
 * Numbers of descriptors are for names from a command line or of our own
 * making.  Everybody else's go through libspawn__stream_check_foreign first.
 */
#ifndef LIBSPAWN_WIRE_STREAM_H
#define LIBSPAWN_WIRE_STREAM_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/pidref.h"

/* Connects, and never blocks: a connection by "tcp:" may still be unfinished
 * when this succeeds.  It is finished, or has failed, when the socket becomes
 * writable; until then nothing can be sent or received (EAGAIN), and if it has
 * failed the first attempt to do so says why.  LIBSPAWN_ERR_GONE when nobody
 * listens there, NOT_FOUND when the path is missing, BUSY when the listener's
 * queue is full, INVALID for a host that would have to be looked up.  "fd:"
 * takes over the descriptor of that number, and only if this succeeds. */
int libspawn__stream_connect(const char *name, int *fd_r,
                             struct libspawn_err *err);

/* Is it finished?  LIBSPAWN_ERR_BUSY: not yet.  Another error comes only once:
 * the socket forgets it. */
int libspawn__stream_finish_connect(int fd, struct libspawn_err *err);

/* The same at once, for who can wait at most 'timeout_ms' (-1: for ever);
 * LIBSPAWN_ERR_TIMEOUT.  Looks up names, which the resolver's own timeouts
 * limit, and tries one address after the other. */
int libspawn__stream_open(const char *name, int timeout_ms, int *fd_r,
                          struct libspawn_err *err);

/* For a name from a configuration file or a request, whose form is looked at:
 * LIBSPAWN_ERR_UNSUPPORTED when it is of no kind, LIBSPAWN_ERR_DENIED when it
 * is the number of a descriptor.  The host of "tcp:" may be a name. */
int libspawn__stream_check_foreign(const char *name, struct libspawn_err *err);

enum libspawn__stream_kind {
    LIBSPAWN__STREAM_NONE, /* it does not begin like one */
    LIBSPAWN__STREAM_ACTIVE,
    LIBSPAWN__STREAM_PASSIVE
};
enum libspawn__stream_kind libspawn__stream_kind(const char *name);

/* Listens with exactly the given file mode.  The path of a dead listener is
 * replaced; one that somebody listens on, or that is no socket, is
 * LIBSPAWN_ERR_EXISTS.  The path appears in one step, with its mode and
 * listening, by renaming PATH.tmp-*; getsockname still gives that name, so
 * whoever inherits the listener cannot remove the path by it, as QEMU would.
 * That is up to the caller.  "ptcp:" is LIBSPAWN_ERR_DENIED. */
int libspawn__stream_listen(const char *name, mode_t mode, int *fd_r,
                            struct libspawn_err *err);
#define LIBSPAWN__STREAM_NEW ".tmp-" /* what follows is of the moment */

/* The same where the host's configuration allows "ptcp:", which has no mode
 * and lets everybody connect who reaches the port. */
int libspawn__stream_listen_anywhere(const char *name, mode_t mode, int *fd_r,
                                     struct libspawn_err *err);

/* What to connect to: "tcp:ADDRESS:PORT", with the port that the kernel chose;
 * LIBSPAWN_ERR_UNSUPPORTED for other kinds.  To be freed with free(3). */
int libspawn__stream_bound_name(int fd, char **name_r,
                                struct libspawn_err *err);

/* Whether that is what the socket was bound to, whoever did so; one of
 * libspawn__stream_listen is not. */
bool libspawn__stream_is_bound_to(int fd, const char *path);

/* Whether only this host can connect to a socket that listens. */
bool libspawn__stream_is_local(int fd);

/* Removes the path of a listener that is gone, as a later one would. */
void libspawn__stream_remove_dead(const char *path);

/* Whether the peer of such a socket can vanish without a word.  Then the
 * kernel asks it after 15 s of silence, and gives it up after 30 s. */
bool libspawn__stream_needs_probes(int fd);

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

/* The same for bytes without boundaries (SOCK_STREAM), in blocking mode. */
int libspawn__stream_pair_of_bytes(int fds_r[2], struct libspawn_err *err);

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
 * bytes sent or -errno.  Of a row of bytes (SOCK_STREAM) some may be left to
 * send; the descriptors ride on the first. */
ssize_t libspawn__stream_send(int fd, const void *bytes, size_t size,
                              const int *fds, size_t n_fds);

/* The same of what lies in several places, none of them empty. */
ssize_t libspawn__stream_send_parts(int fd, const struct iovec *parts,
                                    size_t n_parts, const int *fds,
                                    size_t n_fds);

/* Receives one message.  Up to *n_fds_r descriptors are stored, close-on-exec;
 * *n_fds_r becomes their number; a message that carries more, or that is
 * larger than 'size', gives -EPROTO, and one whose descriptors find no room in
 * our table -EMFILE; none leaks.  A row of bytes is read as far as it has
 * come, and what gives an error is lost of it.  Returns the bytes, 0 at the
 * end (also of a peer that left without reading all of ours), or -errno. */
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
