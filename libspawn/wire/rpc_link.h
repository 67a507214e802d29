/*
 * One connection that carries JSON values, one per line, both ways.  What they
 * mean is the business of whoever owns the link.
 *
 * The peer is not trusted: a line over LIBSPAWN__LINE_MAX, an empty
 * one, or one that is not JSON is LIBSPAWN_ERR_PROTOCOL and ends the link.  A
 * peer that does not read ends it with LIBSPAWN_ERR_LIMIT when more than
 * LIBSPAWN__RPC_QUEUE_MAX bytes wait for it.  Both buffers are gone while they
 * are empty.
 */
#ifndef LIBSPAWN_WIRE_RPC_LINK_H
#define LIBSPAWN_WIRE_RPC_LINK_H

#include "loop/loop.h"
#include "wire/rpc.h"

enum {
    LIBSPAWN__RPC_QUEUE_MAX = 2 * 1024 * 1024
};

struct libspawn__rpc_link;

struct libspawn__rpc_link_callbacks {
    /* One message.  What is not 0 ends the link, with this as its reason. */
    int (*message)(void *user, const struct libspawn__json *message,
                   struct libspawn_err *err);
    /* Once, and last, unless the link is freed before.  LIBSPAWN_ERR_GONE at
     * the end of file; without an errno when it came between messages. */
    void (*ended)(void *user, const struct libspawn_err *err);
    void *user;
};

/* Takes the non-blocking stream socket 'fd' in every case.  It may still be
 * connecting: if that fails, the link ends with the reason. */
int
libspawn__rpc_link_new(struct libspawn__loop *loop, int fd,
                       const struct libspawn__rpc_link_callbacks *callbacks,
                       struct libspawn__rpc_link **link_r,
                       struct libspawn_err *err);

/* Closes it.  May be called from any callback; NULL is fine. */
void libspawn__rpc_link_free(struct libspawn__rpc_link *link);

/* Sends 'line', which ends with a newline, as soon as the peer reads it; never
 * calls back from here.  LIBSPAWN_ERR_LIMIT: the line is too long, or too much
 * is waiting; in that case 'ended' will follow.  LIBSPAWN_ERR_GONE: the peer
 * reads no more. */
int libspawn__rpc_link_send(struct libspawn__rpc_link *link,
                            const struct libspawn__buf *line,
                            struct libspawn_err *err);

/* How many bytes wait for the peer, beyond what the kernel took. */
size_t libspawn__rpc_link_waiting(const struct libspawn__rpc_link *link);

/* Ends it for this reason from the next dispatch, if nothing else does so
 * before; 'ended' follows. */
void libspawn__rpc_link_end(struct libspawn__rpc_link *link,
                            const struct libspawn_err *err);

#endif
