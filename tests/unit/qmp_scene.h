/*
 * The stage for tests of the QMP client: a client on a loop, and a peer that
 * the test plays by hand on the other end of a socket pair.
 */
#ifndef TESTS_UNIT_QMP_SCENE_H
#define TESTS_UNIT_QMP_SCENE_H

#include "base/auto.h"
#include "base/str.h"
#include "wire/qmp.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define NEGOTIATED "{\"return\": {}, \"id\": 0}\r\n"

struct scene {
    struct libspawn__loop *loop;
    struct libspawn__qmp *qmp;
    int peer;
    struct libspawn__buf log; /* what callbacks brought, a word each */
    const char *free_at;      /* free the client when this is logged */
};

/* A client that waits for the greeting, or is ready with an empty log. */
void scene_init(struct scene *scene);
void scene_init_ready(struct scene *scene);

/* With a socket that the client takes, and without a peer. */
int scene_init_with(struct scene *scene, int fd, struct libspawn_err *err);

void scene_dispose(struct scene *scene);
#define AUTO_SCENE AUTO(scene_dispose)

/* Adds a word to the log. */
void scene_note(struct scene *scene, const char *word);

/* Dispatches until the loop has nothing to do. */
void scene_settle(struct scene *scene);

void peer_says(struct scene *scene, const char *text);
void peer_leaves(struct scene *scene);

/* What the client said since the last time. */
void assert_said(struct scene *scene, const char *expected);

/* Sends a command without arguments; its reply goes to log_reply. */
void scene_command(struct scene *scene, const char *name);

/* Logs what "return" holds when it is an integer, else the error. */
void log_reply(void *user, const struct libspawn__json *result,
               const struct libspawn_err *err);

#endif
