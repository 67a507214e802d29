/*
 * xl create -e: this process creates the guest, and leaves.
 */
#include <string.h>

#include "base/auto.h"
#include "xl/create.h"

/* A struct xl__creation and the operation. */
struct here {
    struct xl__creation *creation;
    struct libspawn_create *create; /* NULL: not yet, or done */
};

static void
fail(struct xl__creation *creation, const struct libspawn_report *report,
     const struct libspawn_err *err)
{
    AUTO(xl__creation_failure_dispose)
    struct xl__creation_failure failure = {
        .err = *err, .status = libspawn__code_exit_status(err->code)
    };
    AUTO_FREE char *json = report ? libspawn_report_json(report) : NULL;

    if (report) {
        failure.text = libspawn_report_text(report);
        failure.status = libspawn_report_exit_status(report);
    }
    if (json) {
        libspawn__json_parse(json, strlen(json), strlen(json), &failure.report,
                             NULL);
    }
    xl__creation_fail(creation, &failure);
}

static void
on_done(void *user, uint32_t domid, const struct libspawn_report *report,
        const struct libspawn_err *err)
{
    struct here *here = user;

    if (err) {
        fail(here->creation, report, err);
    } else {
        xl__creation_succeed(here->creation, domid);
    }
}

static void
on_step(void *user, const char *step)
{
    struct here *here = user;

    xl__creation_show_step(here->creation, step);
}

static void
on_warning(void *user, const char *sentence)
{
    struct here *here = user;

    xl__creation_show_warning(here->creation, sentence);
}

/* Before the guest runs, so that not a byte of its greeting is missed. */
static int
attach(void *user, uint32_t domid, struct libspawn_err *err)
{
    struct xl__creation *creation = ((struct here *)user)->creation;

    return creation->has_console
               ? libspawn_guest_open_console(creation->xl->host, domid, NULL,
                                             0, &creation->console_fd, err)
               : 0;
}

/* Also while another xl is waited for, which is before there is a creation or
 * in one of its steps. */
static bool
is_interrupted(void *user)
{
    struct here *here = user;
    bool is_signalled = xl__creation_take_signal(here->creation);

    if (is_signalled && here->create) {
        libspawn_create_abort(here->create);
    }
    return is_signalled;
}

static void
interrupt(void *user)
{
    is_interrupted(user);
}

int
xl__create_here(struct xl__creation *creation)
{
    struct here here = { .creation = creation };
    const struct libspawn_create_options options = {
        .paused = creation->is_paused,
        .before_unpause = attach,
        .progress = on_step,
        .user = &here,
        .warning = on_warning,
    };
    struct xl *xl = creation->xl;
    struct libspawn_err err;
    int status;

    xl->is_interrupted = is_interrupted;
    xl->user = &here;
    xl->next_guest = creation->config.name;
    if (xl__try_open_host(xl, &err) ||
        libspawn_guest_create(xl->host, &creation->config, &options, on_done,
                              &here, &here.create, &err)) {
        return xl__creation_fail_with(creation, &err);
    }
    status = xl__creation_wait(creation, interrupt, &here);
    libspawn_create_free(here.create);
    here.create = NULL;
    return status;
}
