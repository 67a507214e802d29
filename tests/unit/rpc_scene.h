/*
 * The stage for tests of the control RPC: a server on a loop, with a few
 * methods, behind the socket 'rpc' in the current directory; and peers that
 * the test plays by hand.
 */
#ifndef TESTS_UNIT_RPC_SCENE_H
#define TESTS_UNIT_RPC_SCENE_H

#include "base/auto.h"
#include "base/str.h"
#include "tests/lib/harness.h"
#include "wire/rpc_client.h"
#include "wire/rpc_server.h"

/* Messages, as bytes. */
#define CALL(ID, METHOD, PARAMS)                                              \
    "{\"jsonrpc\":\"2.0\",\"id\":" ID ",\"method\":\"" METHOD                 \
    "\",\"params\":" PARAMS "}\n"
#define NOTIFICATION(METHOD, PARAMS)                                          \
    "{\"jsonrpc\":\"2.0\",\"method\":\"" METHOD "\",\"params\":" PARAMS "}\n"
#define RESULT(ID, RESULT_JSON)                                               \
    "{\"jsonrpc\":\"2.0\",\"id\":" ID ",\"result\":" RESULT_JSON "}\n"
#define ERROR(ID, NUMBER, MESSAGE, DATA)                                      \
    "{\"jsonrpc\":\"2.0\",\"id\":" ID ",\"error\":{\"code\":" NUMBER          \
    ",\"message\":\"" MESSAGE "\",\"data\":{" DATA "}}}\n"

struct scene {
    struct libspawn__loop *loop;
    struct libspawn__rpc_server *server;
    char *name; /* how to connect to it */
    struct libspawn__rpc_client *client;
    struct libspawn__rpc_request *kept[LIBSPAWN__RPC_CALLS_MAX];
    size_t n_kept;
    struct libspawn__rpc_conn *conn; /* the last that called something */
    struct libspawn__buf log;        /* what callbacks brought */
    const char *free_at; /* free client and server when this is logged */
};

/* A server at "punix:rpc" that has these methods:
 *   echo     answers with its params
 *   keep     is answered with true by scene_answer_kept
 *   refuse   is LIBSPAWN_ERR_NOT_FOUND with errno ENOENT
 *   large    answers with a string of params.size bytes
 *   quit     frees the server, and answers then
 * It logs "conn-ended". */
void scene_init(struct scene *scene);
void scene_dispose(struct scene *scene);
#define AUTO_SCENE AUTO(scene_dispose)

void scene_answer_kept(struct scene *scene);

/* Replaces the server by one that listens as 'name', which is passive. */
void scene_serve(struct scene *scene, const char *name, bool from_network);

/* Adds a word to the log. */
void scene_note(struct scene *scene, const char *word);

/* What the log holds; it is empty afterwards. */
void assert_log(struct scene *scene, const char *expected);

/* Dispatches until the loop has nothing to do, or until 'word' is logged. */
void scene_settle(struct scene *scene);
void scene_wait_log(struct scene *scene, const char *word);

/* A client of 'name' that is ready with an empty log; or one of 'fd', which
 * has to be greeted in time.  They log "ready", notifications and
 * "ended:CODE", with an errno also that. */
void scene_connect(struct scene *scene, const char *name);
void scene_take(struct scene *scene, int fd, int timeout_ms);

/* Logs the result as JSON, or the code of the error. */
void log_reply(void *user, const struct libspawn__json *result,
               const struct libspawn_err *err);
void scene_call(struct scene *scene, const char *method, const char *params);

/* A connection to the server that the test plays. */
int peer_connect(struct scene *scene);
void peer_says(struct scene *scene, int peer, const char *text);

/* The same of anything; false when the server leaves before its end. */
bool peer_sends(struct scene *scene, int peer, const char *bytes, size_t size);

/* All that has come; "EOF" stands at its end when the server has left. */
void assert_hears(int peer, const char *expected);

/* Dispatches until that has come. */
void scene_wait_hears(struct scene *scene, int peer, const char *expected);

#endif
