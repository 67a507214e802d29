/*
 * xl dm-list: how the device models are, as their supervisors see it.  All of
 * these are asked at once, and have the same time to answer.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/pidref.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/supervised.h"
#include "proc/ctx.h"
#include "store/paths.h"
#include "store/store.h"
#include "wire/json.h"
#include "wire/rpc_client.h"
#include "wire/stream.h"
#include "xl/command.h"

enum {
    ANSWER_MS = 2000
};

struct row {
    char *name;
    uint32_t domid;
    pid_t supervisor; /* 0: it has none */
    pid_t monitor;    /* who starts another when it dies; 0: nobody */
    struct libspawn__rpc_client *client;
    struct libspawn__json *status; /* NULL: no answer */
    size_t *n_pending;             /* NULL: none is due of it any more */
};

struct table {
    struct row *rows;
    size_t n;
    size_t n_pending;
};

static void
table_dispose(struct table *table)
{
    size_t i;

    for (i = 0; i < table->n; i++) {
        libspawn__rpc_client_free(table->rows[i].client);
        libspawn__json_free(table->rows[i].status);
        free(table->rows[i].name);
    }
    free(table->rows);
}

/* ---- Guests ------------------------------------------------------------ */

static void
add_guest(struct xl *xl, struct table *table, uint32_t domid)
{
    struct row *row = &table->rows[table->n];

    if (!libspawn_guest_get_name(xl->host, domid, &row->name, NULL)) {
        row->domid = domid;
        table->n++;
    }
}

/* Those that were named; an unknown name is an error. */
static int
find_named(struct xl *xl, struct table *table, char *names[], size_t n_names,
           struct libspawn_err *err)
{
    size_t i;

    table->rows = calloc(n_names + 1, sizeof *table->rows);
    if (!table->rows) {
        return libspawn__fail_nomem(err);
    }
    for (i = 0; i < n_names; i++) {
        uint32_t domid;
        int rc = libspawn_guest_find(xl->host, names[i], &domid, err);

        if (rc) {
            return rc;
        }
        add_guest(xl, table, domid);
    }
    return 0;
}

/* Without asking their device models, which may be what is the matter. */
static int
find_all(struct xl *xl, struct table *table, struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv domids = { 0 };
    int rc = libspawn__store_list(xl->host->store, NULL,
                                  LIBSPAWN__PATH_DOMAINS, &domids, err);
    size_t i;

    if (rc) {
        return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
    }
    table->rows = calloc(domids.n_items + 1, sizeof *table->rows);
    if (!table->rows) {
        return libspawn__fail_nomem(err);
    }
    for (i = 0; i < domids.n_items; i++) {
        uint64_t domid;

        if (!libspawn__str_to_u64(domids.items[i], 1, UINT32_MAX, &domid,
                                  NULL)) {
            add_guest(xl, table, (uint32_t)domid);
        }
    }
    return 0;
}

static int
compare_rows(const void *a, const void *b)
{
    const struct row *left = a;
    const struct row *right = b;

    return left->domid < right->domid ? -1 : left->domid > right->domid;
}

/* ---- Asking ------------------------------------------------------------ */

static void
settle(struct row *row)
{
    if (row->n_pending) {
        --*row->n_pending;
        row->n_pending = NULL;
    }
}

static void
on_status(void *user, const struct libspawn__json *result,
          const struct libspawn_err *err)
{
    struct row *row = user;

    if (!err) {
        libspawn__json_copy(result, &row->status, NULL);
    }
    settle(row);
}

static void
on_ended(void *user, const struct libspawn_err *err)
{
    (void)err;
    settle(user);
}

/* It may be there when the supervisor is not, for now. */
static void
find_monitor(struct xl *xl, struct row *row)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    if (!libspawn__supervised_find_monitor(xl->host, row->name, &ref, NULL)) {
        row->monitor = ref.id.pid;
    }
}

static void
ask(struct xl *xl, struct table *table, struct row *row)
{
    const struct libspawn__rpc_client_callbacks callbacks = {
        .ended = on_ended, .user = row
    };
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    AUTO_FREE char *path =
        libspawn__supervised_control_path(xl->host, row->name);
    AUTO_FREE char *address = path ? libspawn__str_format("unix:%s", path)
                                   : NULL;
    int fd;

    find_monitor(xl, row);
    if (libspawn__supervised_find(xl->host, row->name, &ref, NULL)) {
        return;
    }
    row->supervisor = ref.id.pid;
    if (!address || libspawn__stream_connect(address, &fd, NULL) ||
        libspawn__rpc_client_new(xl->ctx->loop, fd, ANSWER_MS, &callbacks,
                                 &row->client, NULL)) {
        return;
    }
    row->n_pending = &table->n_pending;
    table->n_pending++;
    if (libspawn__rpc_call(row->client, "status", NULL, ANSWER_MS, on_status,
                           row, NULL)) {
        settle(row);
    }
}

static void
ask_all(struct xl *xl, struct table *table)
{
    int64_t deadline = libspawn__clock_deadline(ANSWER_MS);
    size_t i;

    for (i = 0; i < table->n; i++) {
        ask(xl, table, &table->rows[i]);
    }
    while (
        table->n_pending && libspawn__clock_left_ms(deadline) &&
        !libspawn_ctx_wait(xl->ctx, libspawn__clock_left_ms(deadline), NULL)) {
    }
}

/* ---- Printing ---------------------------------------------------------- */

static int64_t
get_number(const struct row *row, const char *name)
{
    int64_t number = 0;

    libspawn__json_integer(libspawn__json_member(row->status, name), &number);
    return number;
}

static const char *
get_string(const struct row *row, const char *name)
{
    return libspawn__json_string(libspawn__json_member(row->status, name));
}

static const char *
get_state(const struct row *row)
{
    const char *state = get_string(row, "state");

    return state ? state : row->supervisor ? "no answer" : "unsupervised";
}

/* "connected, not admitted (17 s)"; new. */
static char *
describe_state(const struct row *row)
{
    const char *state = get_state(row);
    int64_t failing_ms = get_number(row, "failing_ms");

    return failing_ms && strcmp(state, "failed") != 0
               ? libspawn__str_format("%s, not admitted (%lld s)", state,
                                      (long long)failing_ms / 1000)
               : strdup(state);
}

/* The class of workers of which its supervisor has none for now; NULL: it can
 * have what it needs. */
static const char *
find_degraded(const struct row *row)
{
    static const char *const classes[] = { "io", "probe" };
    const struct libspawn__json *workers =
        libspawn__json_member(row->status, "workers");
    size_t i;

    for (i = 0; i < ARRAY_SIZE(classes); i++) {
        const char *state = libspawn__json_string(
            libspawn__json_member(workers, classes[i]));

        if (libspawn__str_equal(state, "degraded") ||
            libspawn__str_equal(state, "refusing")) {
            return classes[i];
        }
    }
    return NULL;
}

/* "; monitor 12", or that the one that is to be there is not; new. */
static char *
describe_monitor(const struct row *row)
{
    bool is_monitored = libspawn__json_bool(
        libspawn__json_member(row->status, "monitored"), false);

    return row->monitor
               ? libspawn__str_format("; monitor %d", (int)row->monitor)
               : strdup(is_monitored ? "; no monitor" : "");
}

static void
print_row(const struct row *row)
{
    const char *degraded = find_degraded(row);
    AUTO_FREE char *state = describe_state(row);
    AUTO_FREE char *monitor = describe_monitor(row);
    const char *end = get_string(row, "last_end");

    printf("%-24s %5u %10d %10d %8lld %8lld  %s%s%s%s%s%s\n", row->name,
           (unsigned int)row->domid, (int)row->supervisor,
           (int)get_number(row, "device_model_pid"),
           (long long)get_number(row, "since_ms") / 1000,
           (long long)get_number(row, "restarts"), state ? state : "",
           end ? "; the last one " : "", end ? end : "",
           degraded ? "; no worker for " : "", degraded ? degraded : "",
           monitor ? monitor : "");
}

static void
put_row(struct libspawn__json_writer *w, const struct row *row)
{
    static const char *const numbers[] = { "since_ms", "failing_ms",
                                           "admissions", "restarts",
                                           "device_model_pid" };
    const struct libspawn__json *workers =
        libspawn__json_member(row->status, "workers");
    const struct libspawn__json *monitored =
        libspawn__json_member(row->status, "monitored");
    const char *end = get_string(row, "last_end");
    size_t i;

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, "name", row->name);
    libspawn__json_put_integer(w, "domid", row->domid);
    libspawn__json_put_string(w, "state", get_state(row));
    if (row->supervisor) {
        libspawn__json_put_integer(w, "supervisor_pid", row->supervisor);
    }
    if (row->monitor) {
        libspawn__json_put_integer(w, "monitor_pid", row->monitor);
    }
    if (monitored) {
        libspawn__json_put(w, "monitored", monitored);
    }
    for (i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (libspawn__json_member(row->status, numbers[i])) {
            libspawn__json_put_integer(w, numbers[i],
                                       get_number(row, numbers[i]));
        }
    }
    if (end) {
        libspawn__json_put_string(w, "last_end", end);
    }
    if (workers) {
        libspawn__json_put(w, "workers", workers);
    }
    libspawn__json_end_object(w);
}

static int
print_json(struct xl *xl, const struct table *table)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(true);
    AUTO_FREE char *text = NULL;
    struct libspawn_err err;
    size_t i;

    libspawn__json_begin_array(w, NULL);
    for (i = 0; i < table->n; i++) {
        put_row(w, &table->rows[i]);
    }
    libspawn__json_end_array(w);
    text = libspawn__json_writer_take(w);
    if (!text) {
        libspawn__fail_nomem(&err);
        return xl__fail(xl, &err);
    }
    fputs(table->n ? text : "[]\n", stdout);
    return XL__EXIT_OK;
}

static int
print_table(struct xl *xl, const struct table *table)
{
    size_t i;

    if (xl->as_json) {
        return print_json(xl, table);
    }
    printf("%-24s %5s %10s %10s %8s %8s  %s\n", "Name", "ID", "Supervisor",
           "Model", "Since(s)", "Restarts", "State");
    for (i = 0; i < table->n; i++) {
        print_row(&table->rows[i]);
    }
    return XL__EXIT_OK;
}

/* ---- The command ------------------------------------------------------- */

int
xl__dm_list_run(struct xl *xl, int argc, char *argv[])
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "json", no_argument, NULL, 'j' },
        { NULL, 0, NULL, 0 },
    };
    AUTO(table_dispose) struct table table = { .n = 0 };
    struct libspawn_err err;
    int option;
    int status;

    while ((option = xl__next_option(xl, argc, argv, ":h", options)) != -1) {
        if (option != 'j') {
            return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
        }
        xl->as_json = true;
    }
    status = xl__open_host(xl);
    if (status) {
        return status;
    }
    if (optind < argc ? find_named(xl, &table, argv + optind,
                                   (size_t)(argc - optind), &err)
                      : find_all(xl, &table, &err)) {
        return xl__fail(xl, &err);
    }
    if (table.n) {
        qsort(table.rows, table.n, sizeof *table.rows, compare_rows);
    }
    ask_all(xl, &table);
    return print_table(xl, &table);
}
