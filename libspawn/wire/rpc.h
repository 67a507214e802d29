/*
 * Messages of the control RPC: JSON-RPC 2.0, one object per line.  Described
 * in docs/PROTOCOLS.md, "Control RPC".
 *
 * This file writes messages and reads errors.  Connections: wire/rpc_link.h,
 * the two ends: wire/rpc_server.h and wire/rpc_client.h.
 *
 * Identifiers, parameters and results come as JSON text that we made.  Line
 * breaks between its tokens are fine: they become blanks.
 */
#ifndef LIBSPAWN_WIRE_RPC_H
#define LIBSPAWN_WIRE_RPC_H

#include "base/str.h"
#include "wire/json.h"

enum {
    LIBSPAWN__RPC_PROTOCOL = 1,  /* the version that "hello" is about */
    LIBSPAWN__RPC_CALLS_MAX = 64 /* of one connection, without answer */
};

/* Each adds one line to 'line', whose 'failed' tells of missing memory.
 * 'params_json' may be NULL: none.  'id' is JSON text: NULL makes a call a
 * notification, and an error one that belongs to no call. */
void libspawn__rpc_put_call(struct libspawn__buf *line, const char *id,
                            const char *method, const char *params_json);
void libspawn__rpc_put_result(struct libspawn__buf *line, const char *id,
                              const char *result_json);
void libspawn__rpc_put_error(struct libspawn__buf *line, const char *id,
                             const struct libspawn_err *err);

/* LIBSPAWN_ERR_PROTOCOL unless it is an object that says it is JSON-RPC 2.0.
 * More than that is not looked at. */
int libspawn__rpc_check(const struct libspawn__json *message,
                        struct libspawn_err *err);

/* Fills 'err_r' from what stands under "error", however wrong that is. */
void libspawn__rpc_read_error(const struct libspawn__json *error,
                              struct libspawn_err *err_r);

#endif
