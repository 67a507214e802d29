/*
 * What xl create says: on stderr for people, on stdout for programs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "xl/create.h"

void
xl__creation_failure_dispose(struct xl__creation_failure *failure)
{
    free(failure->text);
    libspawn__json_free(failure->report);
}

/* ---- Progress ---------------------------------------------------------- */

static void
clear_progress(struct xl__creation *creation)
{
    if (creation->has_progress_line) {
        fputs("\r\033[K", stderr);
        creation->has_progress_line = false;
    }
}

void
xl__creation_show_step(struct xl__creation *creation, const char *step)
{
    libspawn__str_assign(&creation->step, step, NULL);
    creation->step_since_ms = libspawn__clock_now_ms();
    if (creation->xl->verbose) {
        fprintf(stderr, "xl: %s\n", step);
    }
}

void
xl__creation_show_warning(struct xl__creation *creation, const char *sentence)
{
    if (!creation->xl->is_quiet) {
        clear_progress(creation);
        xl__warn("%s", sentence);
    }
}

/* Once, however many waits there are. */
void
xl__creation_show_waiting(struct xl__creation *creation, const char *sentence)
{
    if (!creation->xl->is_quiet && !creation->xl->has_said_waiting) {
        clear_progress(creation);
        fprintf(stderr, "xl: %s\n", sentence);
        creation->xl->has_said_waiting = true;
    }
}

/* ---- Result ------------------------------------------------------------ */

/* Once: what comes behind it, such as a console that fails, is text only. */
static void
print_json(struct xl__creation *creation,
           const struct xl__creation_failure *failure)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);
    AUTO_FREE char *text = NULL;

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, "name", creation->config.name);
    if (failure) {
        xl__put_error(w, &failure->err);
    } else {
        libspawn__json_put_integer(w, "domid", creation->domid);
    }
    if (failure && failure->report) {
        libspawn__json_put(w, "report", failure->report);
    }
    libspawn__json_end_object(w);
    text = libspawn__json_writer_take(w);
    puts(text ? text : "{}");
    creation->xl->as_json = false;
}

void
xl__creation_succeed(struct xl__creation *creation, uint32_t domid)
{
    clear_progress(creation);
    creation->is_done = true;
    creation->domid = domid;
    creation->status = XL__EXIT_OK;
    if (creation->xl->as_json) {
        print_json(creation, NULL);
    }
}

/* The cause first, then what the device model said, then where the rest is;
 * nothing that is only a consequence. */
int
xl__creation_fail(struct xl__creation *creation,
                  const struct xl__creation_failure *failure)
{
    clear_progress(creation);
    creation->is_done = true;
    creation->status = creation->signal
                           ? XL__EXIT_SIGNAL_BASE + creation->signal
                           : failure->status;
    if (creation->xl->as_json) {
        print_json(creation, failure);
    }
    if (failure->text) {
        fprintf(stderr, "xl: %s", failure->text);
    } else {
        xl__fail(creation->xl, &failure->err);
    }
    return creation->status;
}

int
xl__creation_fail_with(struct xl__creation *creation,
                       const struct libspawn_err *err)
{
    const struct xl__creation_failure failure = {
        .err = *err, .status = libspawn__code_exit_status(err->code)
    };

    return xl__creation_fail(creation, &failure);
}
