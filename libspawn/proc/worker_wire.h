/*
 * Messages between the main process and its workers, as both sides read and
 * write them: docs/PROTOCOLS.md, "Worker protocol".
 *
 * The peer is trusted with nothing: magic, kind, size and the number of
 * descriptors are checked before anything is allocated, and after any error of
 * the reader the stream is of no more use.
 */
#ifndef LIBSPAWN_PROC_WORKER_WIRE_H
#define LIBSPAWN_PROC_WORKER_WIRE_H

#include <stddef.h>

#include "base/err.h"
#include "proc/worker_protocol.h"

struct libspawn__worker_message {
    struct libspawn__worker_header header;
    char *data;                        /* header.size bytes and a NUL */
    int fds[LIBSPAWN__WORKER_FDS_MAX]; /* header.n_fds of them */
};

/* Frees the data and closes what is left of the descriptors: who wants one
 * takes it and leaves -1. */
void
libspawn__worker_message_dispose(struct libspawn__worker_message *message);
#define AUTO_WORKER_MESSAGE AUTO(libspawn__worker_message_dispose)

/* Starts as all zero. */
struct libspawn__worker_reader {
    struct libspawn__worker_message message; /* as far as it has come */
    size_t size;  /* bytes of it, with header */
    size_t n_fds; /* that rode on its first byte */
};

void libspawn__worker_reader_dispose(struct libspawn__worker_reader *reader);

/* Reads on, never beyond the end of a message.  1: a message is complete, and
 * the caller's.  0: not yet, and the descriptor would block.  Otherwise a
 * code: _GONE is the end of the stream, between two messages unless 'size' is
 * above 0; _PROTOCOL is what is no message; _LIMIT means that descriptors were
 * lost because our table is full. */
int libspawn__worker_reader_read(struct libspawn__worker_reader *reader,
                                 int fd,
                                 struct libspawn__worker_message *message_r,
                                 struct libspawn_err *err);

/* Writes a whole message to a blocking socket: 0 or -errno. */
int libspawn__worker_send(int fd, const struct libspawn__worker_header *header,
                          const void *data, const int *fds);

#endif
