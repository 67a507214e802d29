#include "proc/worker_wire.h"

#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/util.h"
#include "wire/stream.h"

enum { HEADER_SIZE = sizeof(struct libspawn__worker_header) };

void
libspawn__worker_message_dispose(struct libspawn__worker_message *message)
{
    size_t i;

    for (i = 0; i < message->header.n_fds; i++) {
        libspawn__auto_close(&message->fds[i]);
    }
    free(message->data);
    *message = (struct libspawn__worker_message){ .data = NULL };
}

/* ---- Reading ----------------------------------------------------------- */

void
libspawn__worker_reader_dispose(struct libspawn__worker_reader *reader)
{
    /* What the header says may be no more than a claim. */
    reader->message.header.n_fds = (uint16_t)reader->n_fds;
    libspawn__worker_message_dispose(&reader->message);
    *reader = (struct libspawn__worker_reader){ .size = 0 };
}

static int
check_header(const struct libspawn__worker_header *header, size_t n_fds,
             struct libspawn_err *err)
{
    if (header->magic != LIBSPAWN__WORKER_MAGIC ||
        header->kind < LIBSPAWN__WORKER_REQUEST ||
        header->kind > LIBSPAWN__WORKER_COMPLAINT) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "reading a message: this is none");
    }
    if (header->size > LIBSPAWN__WORKER_SIZE_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "reading a message: it claims to have %u bytes",
                              header->size);
    }
    if (header->n_fds != n_fds) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "reading a message: it claims to carry %u "
                              "descriptors, not %zu",
                              header->n_fds, n_fds);
    }
    return 0;
}

/* Where the next bytes go, and how many are wanted there. */
static size_t
next_part(struct libspawn__worker_reader *reader, char **where_r)
{
    struct libspawn__worker_message *message = &reader->message;

    if (reader->size < HEADER_SIZE) {
        *where_r = (char *)&message->header + reader->size;
        return HEADER_SIZE - reader->size;
    }
    *where_r = message->data + (reader->size - HEADER_SIZE);
    return HEADER_SIZE + message->header.size - reader->size;
}

/* What the kernel says, in our codes. */
static int
fail_read(const struct libspawn__worker_reader *reader, ssize_t n,
          struct libspawn_err *err)
{
    if (!n && !reader->size) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE,
                              "the peer has closed the connection");
    }
    if (!n) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE,
                              "the peer has closed the connection after %zu "
                              "bytes of a message",
                              reader->size);
    }
    if (n == -EPROTO) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "reading a message: too many descriptors came "
                              "with it");
    }
    return libspawn__fail_errno(err, (int)-n, "reading a message");
}

/* One call of the kernel's: 1, 0 when it would block, or a code. */
static int
read_part(struct libspawn__worker_reader *reader, int fd,
          struct libspawn_err *err)
{
    struct libspawn__worker_message *message = &reader->message;
    bool is_first = !reader->size;
    size_t n_fds = is_first ? ARRAY_SIZE(message->fds) : 0;
    int *fds = is_first ? message->fds : NULL;
    size_t size;
    ssize_t n;
    char *where;

    size = next_part(reader, &where);
    n = libspawn__stream_recv(fd, where, size, fds, &n_fds);
    if (n == -EAGAIN) {
        return 0;
    }
    if (n <= 0) {
        return fail_read(reader, n, err);
    }
    reader->size += (size_t)n;
    if (is_first) {
        reader->n_fds = n_fds;
    }
    return 1;
}

/* The header is here. */
static int
begin_data(struct libspawn__worker_reader *reader, struct libspawn_err *err)
{
    struct libspawn__worker_message *message = &reader->message;
    int rc = check_header(&message->header, reader->n_fds, err);

    if (rc) {
        return rc;
    }
    message->data = malloc((size_t)message->header.size + 1);
    if (!message->data) {
        return libspawn__fail_nomem(err);
    }
    message->data[message->header.size] = '\0';
    return 0;
}

int
libspawn__worker_reader_read(struct libspawn__worker_reader *reader, int fd,
                             struct libspawn__worker_message *message_r,
                             struct libspawn_err *err)
{
    struct libspawn__worker_message *message = &reader->message;

    for (;;) {
        int rc;

        if (message->data &&
            reader->size == HEADER_SIZE + message->header.size) {
            *message_r = *message;
            *reader = (struct libspawn__worker_reader){ .size = 0 };
            return 1;
        }
        rc = read_part(reader, fd, err);
        if (rc <= 0) {
            return rc;
        }
        if (reader->size == HEADER_SIZE) {
            rc = begin_data(reader, err);
            if (rc) {
                return rc;
            }
        }
    }
}

/* ---- Writing ----------------------------------------------------------- */

int
libspawn__worker_send(int fd, const struct libspawn__worker_header *header,
                      const void *data, const int *fds)
{
    ssize_t n =
        libspawn__stream_send(fd, header, HEADER_SIZE, fds, header->n_fds);
    const char *rest = (const char *)data;
    size_t size = header->size;

    /* A socket in blocking mode takes all of it, unless a signal comes. */
    if (n >= 0 && n < HEADER_SIZE) {
        return -EIO;
    }
    while (n > 0 && size) {
        n = libspawn__stream_send(fd, rest, size, NULL, 0);
        if (n > 0) {
            rest += n;
            size -= (size_t)n;
        }
    }
    return n < 0 ? (int)n : 0;
}
