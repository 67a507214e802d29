/*
 * What a configuration has behind a serial port.
 *
 *   "punix:PATH", "ptcp:PORT[:ADDRESS]"   we listen there (wire/stream.h), and
 *                                         QEMU gets the socket
 *   "unix:PATH", "tcp:HOST:PORT"          QEMU connects, and does so again a
 *                                         second after it was refused or left
 *   "pty", "unix"                         where QEMU is the guest: we listen,
 *                                         at a place of our own
 *   anything else                         QEMU's name for it
 *
 * QEMU connects by itself because it can do so again: one that is given a
 * connection has none when the other side ends, until it is started anew.  A
 * name of QEMU's for a connection, such as "tcp:localhost:1,server=on", has a
 * comma, or no host.
 */
#ifndef LIBSPAWN_DM_SERIAL_H
#define LIBSPAWN_DM_SERIAL_H

#include "dm/args.h"

enum libspawn__serial_kind {
    LIBSPAWN__SERIAL_OTHER,  /* QEMU's own business */
    LIBSPAWN__SERIAL_SOCKET, /* "pty", "unix" */
    LIBSPAWN__SERIAL_LISTENS,
    LIBSPAWN__SERIAL_CONNECTS
};

enum libspawn__serial_kind libspawn__serial_kind(const char *serial);

/* LIBSPAWN_ERR_DENIED, LIBSPAWN_ERR_INVALID: it names a descriptor of ours, or
 * is malformed. */
int libspawn__serial_check(const char *serial, struct libspawn_err *err);

/* Whether QEMU has to reach the host's network for it. */
bool libspawn__serial_needs_network(const char *serial);

/* The arguments for port 'i'.  What listens is descriptor
 * LIBSPAWN__DM_SERIAL_FD and 'i'; "pty" and "unix" are only where
 * 'has_sockets'. */
void libspawn__serial_add_args(struct libspawn__args *args, size_t i,
                               bool has_sockets);

#endif
