/*
 * One kind of stream, for those who implement one: wire/stream_unix.c,
 * wire/stream_tcp.c, wire/stream_fd.c.  A kind only opens sockets; what
 * happens on them is the same for all.
 *
 * The argument is what stands behind the prefix.  Descriptors come out
 * close-on-exec and non-blocking.
 */
#ifndef LIBSPAWN_WIRE_STREAM_CLASS_H
#define LIBSPAWN_WIRE_STREAM_CLASS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/err.h"

/* Active kinds have 'connect', which never blocks and may leave the connection
 * unfinished; passive ones have 'listen'.  'check' looks at the form only. */
struct libspawn__stream_class {
    const char *prefix;
    bool is_number;    /* its argument is a number of this very process */
    bool from_network; /* whoever connects is not of this host */
    int (*check)(const char *argument, struct libspawn_err *err); /* or NULL */
    int (*connect)(const char *argument, int *fd_r, struct libspawn_err *err);
    int (*listen)(const char *argument, mode_t mode, int *fd_r,
                  struct libspawn_err *err);
};

extern const struct libspawn__stream_class libspawn__stream_unix;
extern const struct libspawn__stream_class libspawn__stream_punix;
extern const struct libspawn__stream_class libspawn__stream_tcp;
extern const struct libspawn__stream_class libspawn__stream_ptcp;
extern const struct libspawn__stream_class libspawn__stream_fd;
extern const struct libspawn__stream_class libspawn__stream_pfd;

/* An int option of SOL_SOCKET; 'what' is its name for the sentence. */
int libspawn__stream_get_option(int fd, int option, const char *what,
                                int *value_r, struct libspawn_err *err);

/* Has the kernel ask a silent peer whether it is still there, if it is one
 * that can vanish without a word, and sends small messages at once.  A
 * listener hands this down to what it accepts. */
int libspawn__stream_add_probes(int fd, struct libspawn_err *err);

/* The two parts of "HOST:PORT", for free(3); brackets around the host are
 * taken off. */
int libspawn__stream_split(const char *argument, char **host_r, char **port_r,
                           struct libspawn_err *err);

/* Starts connecting to an IP address. */
int libspawn__stream_start(const struct sockaddr *address, socklen_t size,
                           int *fd_r, struct libspawn_err *err);

#endif
