/*
 * Sending tries the socket at once and queues what it does not take.  A
 * failure to send is kept until reading comes to an end too: the peer may
 * have said why before it left.
 *
 * A callback may free the link.  libspawn__rpc_link_free then empties it but
 * leaves the structure, marked 'freed', to on_io or on_task, where every
 * callback comes from.
 */
#include "wire/rpc_link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/auto.h"
#include "base/util.h"
#include "wire/lines.h"
#include "wire/stream.h"

struct libspawn__rpc_link {
    struct libspawn__io io;
    struct libspawn__task task; /* ends it because of 'failure' */
    int fd;
    struct libspawn__rpc_link_callbacks callbacks;
    bool dispatching; /* on_io or on_task is at work */
    bool freed;       /* and shall release the structure in the end */

    struct libspawn__lines lines;

    struct libspawn__buf output;
    int send_errno;              /* why nothing is sent any more; 0: it is */
    struct libspawn_err failure; /* code 0: none */
};

/* ---- Sending ----------------------------------------------------------- */

static void
update_events(struct libspawn__rpc_link *link)
{
    libspawn__io_modify(&link->io,
                        link->output.size ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Sends what the socket takes of 'bytes'; the number of bytes. */
static size_t
send_some(struct libspawn__rpc_link *link, const char *bytes, size_t size)
{
    ssize_t n = libspawn__stream_send(link->fd, bytes, size, NULL, 0);

    if (n >= 0) {
        return (size_t)n;
    }
    if (n != -EAGAIN) {
        link->send_errno = (int)-n;
        libspawn__buf_dispose(&link->output);
    }
    return 0;
}

static void
flush(struct libspawn__rpc_link *link)
{
    if (link->output.size) {
        size_t n = send_some(link, link->output.data, link->output.size);

        if (!link->send_errno) {
            libspawn__buf_consume(&link->output, n);
        }
        if (!link->output.size) {
            libspawn__buf_dispose(&link->output);
            update_events(link);
        }
    }
}

void
libspawn__rpc_link_end(struct libspawn__rpc_link *link,
                       const struct libspawn_err *err)
{
    if (!link->failure.code) {
        link->failure = *err;
        link->send_errno = EPIPE;
        libspawn__buf_dispose(&link->output);
        libspawn__task_post(&link->task);
    }
}

/* Adds what the socket did not take. */
static int
queue(struct libspawn__rpc_link *link, const char *bytes, size_t size,
      struct libspawn_err *err)
{
    if (size > LIBSPAWN__RPC_QUEUE_MAX - link->output.size) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "the peer does not read: more than %d bytes "
                              "wait",
                              LIBSPAWN__RPC_QUEUE_MAX);
    }
    libspawn__buf_append(&link->output, bytes, size);
    return link->output.failed ? libspawn__fail_nomem(err) : 0;
}

int
libspawn__rpc_link_send(struct libspawn__rpc_link *link,
                        const struct libspawn__buf *line,
                        struct libspawn_err *err)
{
    bool was_empty = !link->output.size;
    struct libspawn_err failure;
    size_t n = 0;
    int rc;

    if (line->failed) {
        return libspawn__fail_nomem(err);
    }
    if (line->size > LIBSPAWN__LINE_MAX + 1) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "a message is longer than %d bytes",
                              LIBSPAWN__LINE_MAX);
    }
    if (was_empty && !link->send_errno) {
        n = send_some(link, line->data, line->size);
    }
    if (link->send_errno) {
        return libspawn__fail_errno(err, link->send_errno,
                                    "sending a message");
    }
    if (n == line->size) {
        return 0;
    }
    rc = queue(link, line->data + n, line->size - n, &failure);
    if (rc) {
        libspawn__rpc_link_end(link, &failure);
        if (err) {
            *err = failure;
        }
    } else if (was_empty) {
        update_events(link);
    }
    return rc;
}

size_t
libspawn__rpc_link_waiting(const struct libspawn__rpc_link *link)
{
    return link->output.size;
}

/* ---- Receiving --------------------------------------------------------- */

static int
handle_line(struct libspawn__rpc_link *link, const char *line, size_t size,
            struct libspawn_err *err)
{
    AUTO_JSON struct libspawn__json *message = NULL;
    int rc;

    if (!size) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "a message from the peer is empty");
    }
    rc = libspawn__json_parse(line, size, size, &message, err);
    return rc ? libspawn__err_prefix(err, "a message from the peer")
              : link->callbacks.message(link->callbacks.user, message, err);
}

static int
receive(struct libspawn__rpc_link *link, struct libspawn_err *err)
{
    const char *line;
    size_t size;
    int rc = libspawn__lines_receive(&link->lines, link->fd, err);

    if (rc && link->send_errno) {
        return libspawn__fail_errno(err, link->send_errno,
                                    "sending a message");
    }
    while (!rc && !link->freed) {
        rc = libspawn__lines_next(&link->lines, &line, &size, err);
        if (rc || !line) {
            break;
        }
        rc = handle_line(link, line, size, err);
    }
    return rc;
}

/* ---- The link ---------------------------------------------------------- */

static void
end(struct libspawn__rpc_link *link, const struct libspawn_err *err)
{
    libspawn__io_remove(&link->io);
    libspawn__task_cancel(&link->task);
    link->callbacks.ended(link->callbacks.user, err);
}

static void
finish_dispatch(struct libspawn__rpc_link *link)
{
    link->dispatching = false;
    if (link->freed) {
        free(link);
    }
}

static void
on_io(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__rpc_link *link =
        CONTAINER_OF(io, struct libspawn__rpc_link, io);
    struct libspawn_err err;
    int rc;

    (void)events; /* trying tells as much */
    link->dispatching = true;
    rc = receive(link, &err);
    if (!rc && !link->freed) {
        flush(link);
    }
    if (rc && !link->freed) {
        end(link, &err);
    }
    finish_dispatch(link);
}

static void
on_task(struct libspawn__task *task)
{
    struct libspawn__rpc_link *link =
        CONTAINER_OF(task, struct libspawn__rpc_link, task);

    link->dispatching = true;
    end(link, &link->failure);
    finish_dispatch(link);
}

int
libspawn__rpc_link_new(struct libspawn__loop *loop, int fd,
                       const struct libspawn__rpc_link_callbacks *callbacks,
                       struct libspawn__rpc_link **link_r,
                       struct libspawn_err *err)
{
    struct libspawn__rpc_link *link = calloc(1, sizeof *link);
    int rc;

    if (!link) {
        libspawn__auto_close(&fd);
        return libspawn__fail_nomem(err);
    }
    link->fd = fd;
    link->lines.peer = "the peer";
    link->callbacks = *callbacks;
    libspawn__task_init(loop, &link->task, on_task);
    rc = libspawn__io_add(loop, &link->io, fd, EPOLLIN, on_io, err);
    if (rc) {
        libspawn__rpc_link_free(link);
        return rc;
    }
    *link_r = link;
    return 0;
}

void
libspawn__rpc_link_free(struct libspawn__rpc_link *link)
{
    if (!link) {
        return;
    }
    libspawn__task_cancel(&link->task);
    libspawn__io_remove(&link->io);
    libspawn__auto_close(&link->fd);
    link->fd = -1;
    libspawn__lines_dispose(&link->lines);
    libspawn__buf_dispose(&link->output);
    if (link->dispatching) {
        link->freed = true;
    } else {
        free(link);
    }
}
