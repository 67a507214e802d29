/*
 * The serving end of the control RPC: accepts clients, looks who they are, and
 * calls the handlers of a table.
 *
 * A client is not trusted: what the link refuses, and what is not a request,
 * is answered with one last error object, and the connection ends; unknown
 * methods and wrong parameters are answered with an error, and it goes on.
 * More than LIBSPAWN__RPC_CALLS_MAX calls without answer are refused.
 *
 * The method "hello" is built in.
 */
#ifndef LIBSPAWN_WIRE_RPC_SERVER_H
#define LIBSPAWN_WIRE_RPC_SERVER_H

#include <sys/types.h>

#include "loop/loop.h"
#include "wire/rpc.h"

enum {
    LIBSPAWN__RPC_CLIENTS_MAX = 64
};

struct libspawn__rpc_server;
struct libspawn__rpc_conn;    /* one client */
struct libspawn__rpc_request; /* a call that is to be answered once */

/* 0: it has answered or will do so later, from the loop.  What else it returns
 * is the answer, with 'err' filled.  'params' is an object or NULL, borrowed.
 * A handler may free the server. */
typedef int libspawn__rpc_handler_fn(void *user,
                                     struct libspawn__rpc_conn *conn,
                                     struct libspawn__rpc_request *request,
                                     const struct libspawn__json *params,
                                     struct libspawn_err *err);

struct libspawn__rpc_method {
    const char *name; /* NULL ends the table */
    libspawn__rpc_handler_fn *fn;
};

struct libspawn__rpc_service {
    const struct libspawn__rpc_method *methods; /* of static duration */
    const char *program; /* what "hello" says; of static duration */
    bool from_network;   /* peers are not asked who they are */
    /* Optional: 'conn' has ended and is no more after this.  What it asked is
     * still to be answered, to nobody.  Does not come when the server is
     * freed. */
    void (*ended)(void *user, struct libspawn__rpc_conn *conn);
    void *user;
};

/* Takes the listening socket in every case.  Without 'from_network' it serves
 * only processes of root and of the user that this process is now. */
int libspawn__rpc_server_new(struct libspawn__loop *loop, int listener,
                             const struct libspawn__rpc_service *service,
                             struct libspawn__rpc_server **server_r,
                             struct libspawn_err *err);

/* Ends all connections.  What is still to be answered stays so: each request
 * wants its one answer even now.  May be called from any callback; NULL is
 * fine. */
void libspawn__rpc_server_free(struct libspawn__rpc_server *server);

/* Where it listens; borrowed. */
int libspawn__rpc_server_listener(const struct libspawn__rpc_server *server);

size_t
libspawn__rpc_server_n_clients(const struct libspawn__rpc_server *server);

/* ---- Answers: exactly one of these for each request -------------------- */

/* 'result_json' is any JSON value as text.  NULL is what a writer gives
 * without memory, and answers that.  A result that is too long becomes an
 * error. */
void libspawn__rpc_answer(struct libspawn__rpc_request *request,
                          const char *result_json);
void
libspawn__rpc_answer_empty(struct libspawn__rpc_request *request); /* {} */
void libspawn__rpc_refuse(struct libspawn__rpc_request *request,
                          const struct libspawn_err *err);

/* ---- Connections ------------------------------------------------------- */

/* Sends a notification.  LIBSPAWN_ERR_LIMIT, LIBSPAWN_ERR_GONE: the client
 * does not read, or is leaving; 'ended' will follow, from the loop. */
int libspawn__rpc_notify(struct libspawn__rpc_conn *conn, const char *method,
                         const char *params_json, struct libspawn_err *err);

/* Sends an error that belongs to no call. */
void libspawn__rpc_complain(struct libspawn__rpc_conn *conn,
                            const struct libspawn_err *err);

/* How many bytes wait for it, beyond what the kernel took. */
size_t libspawn__rpc_conn_waiting(const struct libspawn__rpc_conn *conn);

/* Who it is; 0 and (uid_t)-1 for one from the network. */
pid_t libspawn__rpc_conn_pid(const struct libspawn__rpc_conn *conn);
uid_t libspawn__rpc_conn_uid(const struct libspawn__rpc_conn *conn);

#endif
