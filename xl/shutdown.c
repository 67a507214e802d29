/*
 * xl shutdown and xl reboot: ask the guest; shutdown can wait for it.
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "xl/command.h"

struct request {
    bool is_reboot;
    bool has_to_wait;
    uint64_t timeout_s; /* 0: for ever */
};

/* Whether the guest has powered off: it is gone, or only its shell is left. */
static int
is_off(struct xl *xl, uint32_t domid, bool *is_off_r, struct libspawn_err *err)
{
    struct libspawn_guest_info *list;
    size_t n;
    size_t i;
    int rc = libspawn_guest_list(xl->host, &list, &n, err);

    if (rc) {
        return rc;
    }
    *is_off_r = true;
    for (i = 0; i < n; i++) {
        if (list[i].domid == domid) {
            *is_off_r = list[i].state &
                        (LIBSPAWN_GUEST_SHUTDOWN | LIBSPAWN_GUEST_DM_DEAD |
                         LIBSPAWN_GUEST_DYING);
        }
    }
    libspawn_guest_list_free(list, n);
    return 0;
}

static int
wait_until_off(struct xl *xl, uint32_t domid, uint64_t timeout_s)
{
    enum {
        INTERVAL_MS = 100
    };
    int64_t until_ms = timeout_s ? libspawn__clock_now_ms() +
                                       (int64_t)timeout_s * 1000
                                 : LIBSPAWN__NEVER;
    struct libspawn_err err;
    bool done;

    for (;;) {
        if (is_off(xl, domid, &done, &err)) {
            return xl__fail(xl, &err);
        }
        if (done) {
            return XL__EXIT_OK;
        }
        if (libspawn__clock_now_ms() >= until_ms) {
            fprintf(stderr,
                    "xl: the guest has not powered off within %llu s\n",
                    (unsigned long long)timeout_s);
            return XL__EXIT_BUSY;
        }
        poll(NULL, 0, INTERVAL_MS);
    }
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
