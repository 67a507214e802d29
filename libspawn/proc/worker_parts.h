/*
 * What the files of a worker's main side call in each other; others include
 * proc/worker.h.
 */
#ifndef LIBSPAWN_PROC_WORKER_PARTS_H
#define LIBSPAWN_PROC_WORKER_PARTS_H

#include "proc/worker.h"

/* ---- worker.c ---------------------------------------------------------- */

/* Tells whoever listens. */
void libspawn__worker_emit(struct libspawn__worker *worker,
                           enum libspawn__worker_event event,
                           const struct libspawn_err *err);

/* ---- worker_queue.c ---------------------------------------------------- */

void libspawn__worker_queue_init(struct libspawn__worker *worker);
void libspawn__worker_queue_dispose(struct libspawn__worker *worker);

/* A copy of the request, whose payload has 'size' bytes, becomes the last. */
int libspawn__worker_enqueue(struct libspawn__worker *worker,
                             const struct libspawn__worker_request *request,
                             size_t size, struct libspawn_err *err);

/* Sends what the socket takes. */
void libspawn__worker_flush(struct libspawn__worker *worker);

/* An answer came.  A code: it answers nothing that was asked. */
int libspawn__worker_take_answer(struct libspawn__worker *worker,
                                 struct libspawn__worker_message *answer,
                                 struct libspawn_err *err);

/* What was sent ends with this error, or only the first of it, or all. */
void libspawn__worker_fail_sent(struct libspawn__worker *worker,
                                const struct libspawn_err *err);
void libspawn__worker_fail_first(struct libspawn__worker *worker,
                                 const struct libspawn_err *err);
void libspawn__worker_fail_all(struct libspawn__worker *worker,
                               const struct libspawn_err *err);

/* The sequence of the first request that is not done; 0: there is none. */
uint64_t libspawn__worker_first(const struct libspawn__worker *worker);

/* What is left goes to the next process, from its first byte. */
void libspawn__worker_send_again(struct libspawn__worker *worker);

/* ---- worker_life.c ----------------------------------------------------- */

/* The first process. */
int libspawn__worker_launch(struct libspawn__worker *worker,
                            struct libspawn_err *err);

/* It is replaced, since the first request has exceeded its limit. */
void libspawn__worker_kill_late(struct libspawn__worker *worker,
                                const struct libspawn_err *err);

void libspawn__worker_on_life(struct libspawn__timer *timer);
void libspawn__worker_drop_processes(struct libspawn__worker *worker);

#endif
