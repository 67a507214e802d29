/*
 * xl shutdown and xl reboot: ask the guest; shutdown can wait for it.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/supervised.h"
#include "guest/wait.h"
#include "xl/command.h"

struct request {
    bool is_reboot;
    bool has_to_wait;
    uint64_t timeout_s; /* 0: for ever */
};

/* What becomes of the waiting. */
struct outcome {
    struct libspawn__guest_wait wait;
    struct libspawn_err err; /* code 0: none */
    struct libspawn__identity model; /* its device model; pid 0: none */
    bool is_done;
};

static void
on_done(struct libspawn__guest_wait *wait, const struct libspawn_err *err)
{
    struct outcome *outcome = CONTAINER_OF(wait, struct outcome, wait);

    outcome->is_done = true;
    if (err) {
        outcome->err = *err;
    }
}

/* Until the guest has powered off, or the time is over. */
static int
run_loop(struct xl *xl, struct outcome *outcome, uint64_t timeout_s,
         struct libspawn_err *err)
{
    int64_t until_ms = timeout_s ? libspawn__clock_now_ms() +
                                       (int64_t)timeout_s * 1000
                                 : LIBSPAWN__NEVER;
    int rc = 0;

    while (!rc && !outcome->is_done) {
        int64_t left_ms = -1;

        if (until_ms != LIBSPAWN__NEVER) {
            left_ms = until_ms - libspawn__clock_now_ms();
            if (left_ms <= 0) {
                return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                                      "the guest has not powered off within "
                                      "%llu s",
                                      (unsigned long long)timeout_s);
            }
        }
        rc = libspawn_ctx_wait(xl->ctx, (int)left_ms, err);
    }
    if (!rc && outcome->err.code) {
        *err = outcome->err;
        rc = err->code;
    }
    return rc;
}

/* What follows the end is its supervisor's to do; who waits for the guest
 * wants to find that done. */
static int
settle(struct xl *xl, const char *name, const struct outcome *outcome,
       struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref model = LIBSPAWN__PIDREF_INIT;

    /* One that is kept when it is off keeps its device model, too. */
    return name && outcome->model.pid &&
                   libspawn__pidref_open(&outcome->model, &model, NULL) ==
                       LIBSPAWN_ERR_GONE
               ? libspawn__supervised_settle(xl->host, name,
                                             outcome->model.pid, err)
               : 0;
}

static int
wait_until_off(struct xl *xl, uint32_t domid, uint64_t timeout_s)
{
    struct outcome outcome = { .is_done = false };
    AUTO_FREE char *name = NULL;
    struct libspawn_err err;
    int rc;

    libspawn_guest_get_name(xl->host, domid, &name, NULL);
    libspawn__guest_wait_init(&outcome.wait);
    rc = libspawn__guest_wait_start(&outcome.wait, xl->host, domid, on_done,
                                    &err);
    if (!rc) {
        xl__say_progress(xl, "waiting for the guest to power off");
        outcome.model = outcome.wait.model.id;
        rc = run_loop(xl, &outcome, timeout_s, &err);
        libspawn__guest_wait_abort(&outcome.wait);
    }
    if (!rc) {
        rc = settle(xl, name, &outcome, &err);
    }
    return rc ? xl__fail(xl, &err) : XL__EXIT_OK;
}

static int
parse(struct xl *xl, int argc, char *argv[], struct request *request)
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "timeout", required_argument, NULL, 't' },
        { "wait", no_argument, NULL, 'w' },
        { NULL, 0, NULL, 0 },
    };
    struct libspawn_err err;
    int option;

    while ((option = xl__next_option(xl, argc, argv, ":hwF", options)) != -1) {
        if (option == 'w') {
            request->has_to_wait = true;
        } else if (option == 't') {
            if (libspawn__str_to_u64(optarg, 1, 1000000, &request->timeout_s,
                                     &err)) {
                return xl__usage_error(xl, "--timeout: %s", err.text);
            }
        } else if (option != 'F') {
            return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
        }
    }
    return argc - optind == 1 ? -1 : xl__usage_error(xl, "which guest?");
}

static int
run(struct xl *xl, int argc, char *argv[], struct request *request)
{
    struct libspawn_err err;
    uint32_t domid;
    int status = parse(xl, argc, argv, request);

    if (status >= 0) {
        return status;
    }
    status = xl__open_host(xl);
    if (status) {
        return status;
    }
    if (libspawn_guest_find(xl->host, argv[optind], &domid, &err) ||
        libspawn_guest_shutdown(xl->host, domid, request->is_reboot, &err)) {
        return xl__fail(xl, &err);
    }
    return request->has_to_wait ? wait_until_off(xl, domid, request->timeout_s)
                                : XL__EXIT_OK;
}

int
xl__shutdown_run(struct xl *xl, int argc, char *argv[])
{
    struct request request = { .is_reboot = false };

    return run(xl, argc, argv, &request);
}

int
xl__reboot_run(struct xl *xl, int argc, char *argv[])
{
    struct request request = { .is_reboot = true };

    return run(xl, argc, argv, &request);
}
