#include "guest/qemu/status.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "guest/qemu/qemu.h"
#include "wire/qmp.h"
#include "wire/stream.h"

/* All of one call, on a loop that nobody else sees. */
struct round {
    struct libspawn__loop *loop;
    size_t n_open; /* asked, and neither answered nor lost */
};

struct asked {
    struct round *round;
    struct libspawn__qemu_question *question;
    struct libspawn__qmp *qmp; /* NULL: not asked, or done */
};

static const struct {
    const char *status; /* of query-status, qapi/run-state.json */
    unsigned int state;
} states[] = {
    { "running", LIBSPAWN_GUEST_RUNNING },
    { "prelaunch", LIBSPAWN_GUEST_PAUSED },
    { "paused", LIBSPAWN_GUEST_PAUSED },
    { "suspended", LIBSPAWN_GUEST_BLOCKED },
    { "io-error", LIBSPAWN_GUEST_PAUSED },
    { "shutdown", LIBSPAWN_GUEST_SHUTDOWN },
    { "guest-panicked", LIBSPAWN_GUEST_CRASHED },
    { "internal-error", LIBSPAWN_GUEST_CRASHED },
};

static void
take_status(struct libspawn__qemu_question *question, const char *status)
{
    size_t i;

    for (i = 0; status && i < ARRAY_SIZE(states); i++) {
        if (!strcmp(states[i].status, status)) {
            question->state = states[i].state;
        }
    }
}

static void
hang_up(struct asked *asked)
{
    if (asked->qmp) {
        libspawn__qmp_free(asked->qmp);
        asked->qmp = NULL;
        asked->round->n_open--;
    }
}

/* The command waits for this by itself. */
static void
on_ready(void *user)
{
    (void)user;
}

static void
on_status(void *user, const struct libspawn__json *result,
          const struct libspawn_err *err)
{
    struct asked *asked = user;

    if (!err) {
        take_status(
            asked->question,
            libspawn__json_string(libspawn__json_member(result, "status")));
    }
    hang_up(asked);
}

static void
on_closed(void *user, const struct libspawn_err *err)
{
    (void)err;
    hang_up(user);
}

static int
connect_to_monitor(struct libspawn_host *host, uint32_t domid, int *fd_r,
                   struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__qemu_guest_file(host, domid, "qmp");
    AUTO_FREE char *name = path ? libspawn__str_format("unix:%s", path) : NULL;

    return name ? libspawn__stream_connect(name, fd_r, err)
                : libspawn__fail_nomem(err);
}

static int
ask(struct libspawn_host *host, struct asked *asked, struct libspawn_err *err)
{
    const struct libspawn__qmp_callbacks callbacks = { .ready = on_ready,
                                                       .closed = on_closed,
                                                       .user = asked };
    int fd;
    int rc = connect_to_monitor(host, asked->question->domid, &fd, err);

    if (!rc) {
        rc = libspawn__qmp_new(asked->round->loop, fd, &callbacks, &asked->qmp,
                               err);
    }
    if (rc) {
        return rc;
    }
    asked->round->n_open++;
    rc = libspawn__qmp_command(asked->qmp, "query-status", NULL, -1, on_status,
                               asked, err);
    if (rc) {
        hang_up(asked);
        return rc;
    }
    libspawn__qmp_send_ahead(asked->qmp);
    return 0;
}

/* With more guests than descriptors the later ones wait for the earlier. */
static void
ask_all(struct libspawn_host *host, struct round *round, struct asked *list,
        size_t n, int64_t deadline_ms)
{
    size_t next = 0;

    for (;;) {
        int64_t left_ms = deadline_ms - libspawn__clock_now_ms();

        while (next < n) {
            int rc = ask(host, &list[next], NULL);

            if (rc == LIBSPAWN_ERR_LIMIT && round->n_open) {
                break;
            }
            next++;
        }
        if (!round->n_open || left_ms <= 0 ||
            libspawn__loop_wait(round->loop, (int)left_ms, NULL)) {
            return;
        }
    }
}

void
libspawn__qemu_ask(struct libspawn_host *host,
                   struct libspawn__qemu_question *questions, size_t n,
                   int timeout_ms)
{
    int64_t deadline_ms = libspawn__clock_now_ms() + timeout_ms;
    AUTO_FREE struct asked *list = calloc(MAX(n, 1), sizeof *list);
    struct round round = { .n_open = 0 };
    size_t i;

    if (!n || !list || libspawn__loop_new(&round.loop, NULL)) {
        return;
    }
    for (i = 0; i < n; i++) {
        list[i].round = &round;
        list[i].question = &questions[i];
    }
    ask_all(host, &round, list, n, deadline_ms);
    for (i = 0; i < n; i++) {
        hang_up(&list[i]);
    }
    libspawn__loop_free(round.loop);
}
