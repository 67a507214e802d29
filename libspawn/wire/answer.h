/*
 * One answer that a blocking client waits for, on a loop of its own, which
 * nobody else sees: what the sessions of wire/qmp.h and wire/rpc_client.h have
 * in common.  Which sentence a failure gets is theirs to say.
 *
 * What a callback brings is kept here and not in the caller's frame: the
 * answer to what was given up may still come.
 */
#ifndef LIBSPAWN_WIRE_ANSWER_H
#define LIBSPAWN_WIRE_ANSWER_H

#include "loop/loop.h"
#include "wire/json.h"

/* All zero at the beginning. */
struct libspawn__answer {
    struct libspawn__loop *loop;
    bool has_come;
    struct libspawn_err failure; /* code 0: none */
    struct libspawn__json *result;
};

int libspawn__answer_init(struct libspawn__answer *answer,
                          struct libspawn_err *err);

/* After the client that lives on its loop. */
void libspawn__answer_dispose(struct libspawn__answer *answer);

/* Another one is awaited from now on. */
void libspawn__answer_expect(struct libspawn__answer *answer);

/* Callbacks of a client, whose 'user' is the answer: it is ready, its
 * connection has ended, there is the reply. */
void libspawn__answer_on_ready(void *user);
void libspawn__answer_on_ended(void *user, const struct libspawn_err *err);
void libspawn__answer_on_reply(void *user, const struct libspawn__json *result,
                               const struct libspawn_err *err);

/* Waits until 'has_come', or until 'deadline_ms' on the clock of
 * libspawn__clock_now_ms, which is no error.  A code: waiting failed. */
int libspawn__answer_wait(struct libspawn__answer *answer, int64_t deadline_ms,
                          struct libspawn_err *err);

#endif
