/*
 * Taking over a child that somebody else started and released: another process
 * of the same user, or an earlier run of the same program.
 *
 *   libspawn_child_adopt -> read_record -> take_over -> attach
 *
 * and having its watcher replaced by another program.
 *
 * Nothing is believed of the record but where to look: child and watcher are
 * pinned by pidfds that prove their identity, and whoever answers at the name
 * in the record has to be that watcher.  It in turn wants to hear the secret
 * of the record.  A watcher that lives and cannot be reached, such as one of
 * another version, is left to its work: it writes how the child ended.
 */
#include "proc/child.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "wire/stream.h"

/* What is known of the child before there is one. */
struct adoption {
    struct libspawn__store *store;
    const char *path;
    struct libspawn__record record;
    struct libspawn__record_text text;
};

/* ---- The report -------------------------------------------------------- */

/* As much of it as the record has. */
static int
init_report(const struct adoption *adoption, struct libspawn__report *report_r,
            struct libspawn_err *err)
{
    char program[] = "unknown program";
    const struct libspawn__record_text *text = &adoption->text;
    /* Borrows its strings, so it is not disposed of. */
    struct libspawn_plan plan = { .label = text->label,
                                  .guest = text->guest,
                                  .program = text->program ? text->program
                                                           : program,
                                  .log_path = text->log_path };
    int rc = libspawn__report_init(report_r, &plan, err);

    if (!rc) {
        report_r->pub.pid = adoption->record.child.pid;
        libspawn__report_set(report_r, &report_r->stage, "running");
    }
    return rc;
}

/* The plan tells more, above all the arguments. */
static void
use_plan(struct libspawn_child *child, int memfd)
{
    AUTO_PLAN struct libspawn_plan plan;
    struct libspawn__report report;

    libspawn__plan_init(&plan);
    if (memfd < 0 || libspawn__plan_unpack(memfd, &plan, NULL) ||
        libspawn__report_init(&report, &plan, NULL)) {
        return;
    }
    report.pub.pid = child->report.pub.pid;
    libspawn__report_set(&report, &report.stage, "running");
    libspawn__report_dispose(&child->report);
    child->report = report;
}

/* As the kernel shows them, of the process that is pinned. */
static void
use_command_line(struct libspawn_child *child)
{
    enum {
        COMMAND_LINE_MAX = 1024 * 1024
    };
    struct libspawn__report *report = &child->report;
    AUTO_STRV struct libspawn__strv argv = { 0 };
    AUTO_FREE char *text = NULL;
    char path[32];
    size_t size;
    size_t i;

    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)child->ref.id.pid);
    if (libspawn__file_read(path, COMMAND_LINE_MAX, &text, &size, NULL) ||
        !libspawn__pidref_is_alive(&child->ref)) {
        return;
    }
    for (i = 0; i < size; i += strlen(text + i) + 1) {
        if (libspawn__strv_add(&argv, text + i, NULL)) {
            return;
        }
    }
    if (argv.n_items) {
        libspawn__strv_dispose(&report->argv);
        report->argv = argv;
        report->pub.argv = argv.items;
        argv = (struct libspawn__strv){ 0 };
    }
}

static int
new_child(struct libspawn_ctx *ctx, const struct adoption *adoption,
          struct libspawn_child **child_r, struct libspawn_err *err)
{
    struct libspawn__report report;
    struct libspawn_child *child;
    int rc = init_report(adoption, &report, err);

    if (rc) {
        return rc;
    }
    child = libspawn__child_new(ctx, &report, err);
    if (!child) {
        return LIBSPAWN_ERR_NO_MEMORY;
    }
    child->state = LIBSPAWN__CHILD_RELEASED;
    child->stop_ms = (uint32_t)MIN(adoption->record.stop_ms, UINT32_MAX);
    rc = libspawn__str_assign(&child->store_address,
                              libspawn__store_address(adoption->store), err);
    if (!rc) {
        rc = libspawn__strv_add(&child->nodes, adoption->path, err);
    }
    if (rc) {
        libspawn_child_free(child);
        return rc;
    }
    *child_r = child;
    return 0;
}

/* ---- Attaching to the watcher ------------------------------------------ */

/* The name may be another's by now; the watcher, which is pinned, is not. */
static int
connect_watcher(const struct adoption *adoption,
                const struct libspawn__pidref *watcher, int *fd_r,
                struct libspawn_err *err)
{
    AUTO_FD int fd = -1;
    pid_t pid;
    uid_t uid;
    int rc;

    if (!adoption->text.control || !adoption->text.secret) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "the watcher takes no connections");
    }
    rc = libspawn__stream_connect_hidden(adoption->text.control, &fd, err);
    if (!rc) {
        rc = libspawn__stream_peer(fd, &pid, &uid, err);
    }
    if (!rc &&
        (pid != watcher->id.pid || !libspawn__pidref_is_alive(watcher))) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_GONE,
                            "somebody else has the watcher's name");
    }
    if (!rc) {
        *fd_r = TAKE_FD(fd);
    }
    return rc;
}

/* The answer, and the plan with it. */
static int
receive_answer(int fd, struct libspawn__watcher_message *answer, int *memfd_r,
               struct libspawn_err *err)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };
    int64_t until_ms = libspawn__clock_now_ms() + LIBSPAWN__WATCHER_ANSWER_MS;
    AUTO_FD int memfd = -1;
    size_t n_fds = 1;
    int64_t left_ms;
    int r;

    do {
        left_ms = MAX(until_ms - libspawn__clock_now_ms(), 0);
    } while (poll(&pollfd, 1, (int)left_ms) < 0 && errno == EINTR);
    r = libspawn__watcher_recv(fd, answer, &memfd, &n_fds);
    if (r == -EAGAIN) {
        return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                              "the watcher does not answer");
    }
    if (r <= 0 || answer->type != LIBSPAWN__WATCHER_ATTACHED) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE, "the watcher hung up");
    }
    *memfd_r = TAKE_FD(memfd);
    return 0;
}

static int
say_secret(int fd, const char *secret, struct libspawn_err *err)
{
    struct libspawn__watcher_message message = { 0 };
    int r;

    if (strlen(secret) >= sizeof message.u.attach.secret) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the record has a bad secret");
    }
    memcpy(message.u.attach.secret, secret, strlen(secret));
    r = libspawn__watcher_send(fd, &message, LIBSPAWN__WATCHER_ATTACH, NULL,
                               0);
    return r ? libspawn__fail_errno(err, -r, "attaching") : 0;
}

/* LIBSPAWN_ERR_BUSY: the child is its caller's still.  Anything else but 0:
 * the watcher cannot be reached. */
static int
attach(struct libspawn_child *child, const struct adoption *adoption,
       struct libspawn_err *err)
{
    struct libspawn__watcher_message answer;
    AUTO_FD int memfd = -1;
    AUTO_FD int fd = -1;
    int rc = connect_watcher(adoption, &child->watcher, &fd, err);

    if (!rc) {
        rc = say_secret(fd, adoption->text.secret, err);
    }
    if (!rc) {
        rc = receive_answer(fd, &answer, &memfd, err);
    }
    if (rc) {
        return rc;
    }
    if (!answer.u.attached.is_released) {
        return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                              "%s '%s' was not released by its caller",
                              child->report.label, child->report.program);
    }
    use_plan(child, memfd);
    return libspawn__child_watch(child, TAKE_FD(fd), err);
}

/* ---- Taking over ------------------------------------------------------- */

static int
read_record(struct adoption *adoption, struct libspawn_err *err)
{
    libspawn__record_text_dispose(&adoption->text);
    return libspawn__record_read_text(adoption->store, adoption->path,
                                      &adoption->record, &adoption->text, err);
}

/* The child is no more, but the record does not say how it ended. */
static int
find_end(struct libspawn_child *child, struct adoption *adoption,
         struct libspawn_err *err)
{
    struct libspawn__record *record = &adoption->record;
    int rc = 0;

    if (child->watcher.fd >= 0 &&
        libspawn__pidref_wait(&child->watcher, LIBSPAWN__WATCHER_ANSWER_MS,
                              NULL)) {
        return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                              "%s '%s' has ended, and its watcher does not "
                              "say how",
                              child->report.label, child->report.program);
    }
    rc = read_record(adoption, err);
    if (!rc && record->state != LIBSPAWN__RECORD_EXITED) {
        record->state = LIBSPAWN__RECORD_EXITED;
        record->ended_at_ms = libspawn__clock_realtime_ms();
        rc = libspawn__record_write_end(adoption->store, adoption->path,
                                        record, err);
    }
    return rc;
}

static int
take_end(struct libspawn_child *child, const struct libspawn__record *record)
{
    if (!record->is_known) {
        libspawn__report_set(&child->report, &child->report.detail,
                             "its watcher died");
    }
    libspawn__child_finish_with(child, record);
    return 0;
}

static int
take_over(struct libspawn_child *child, struct adoption *adoption,
          struct libspawn_err *err)
{
    const struct libspawn__record *record = &adoption->record;
    int rc;

    if (record->state == LIBSPAWN__RECORD_EXITED) {
        return take_end(child, record);
    }
    rc = record->watcher.pid
             ? libspawn__pidref_open(&record->watcher, &child->watcher, err)
             : 0;
    if (rc && rc != LIBSPAWN_ERR_GONE) {
        return rc;
    }
    rc = libspawn__pidref_open(&record->child, &child->ref, err);
    if (rc == LIBSPAWN_ERR_GONE) {
        rc = find_end(child, adoption, err);
        return rc ? rc : take_end(child, record);
    } else if (rc) {
        return rc;
    }
    if (child->watcher.fd >= 0) {
        rc = attach(child, adoption, err);
        if (!rc || rc == LIBSPAWN_ERR_BUSY || rc == LIBSPAWN_ERR_NO_MEMORY) {
            return rc;
        }
    }
    use_command_line(child);
    libspawn__child_watch_orphan(child);
    return 0;
}

int
libspawn_child_adopt(struct libspawn_ctx *ctx, const char *store_address,
                     const char *record_path, libspawn_event_fn *fn,
                     void *user, struct libspawn_child **child_r,
                     struct libspawn_err *err)
{
    struct adoption adoption = { .path = record_path };
    struct libspawn_child *child = NULL;
    int rc;

    if (!store_address || !record_path) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "a child without a record cannot be adopted");
    }
    rc = libspawn__store_open(store_address, &adoption.store, err);
    if (rc) {
        return rc;
    }
    rc = read_record(&adoption, err);
    if (!rc) {
        rc = new_child(ctx, &adoption, &child, err);
    }
    if (!rc) {
        rc = take_over(child, &adoption, err);
    }
    libspawn__record_text_dispose(&adoption.text);
    libspawn__store_close(adoption.store);
    if (rc) {
        libspawn_child_free(child);
        return rc;
    }
    child->fn = fn;
    child->user = user;
    *child_r = child;
    return 0;
}

/* ---- A newer watcher --------------------------------------------------- */

/* Reads the watcher's messages until it has answered, or is lost. */
static void
await_upgrade(struct libspawn_child *child)
{
    int64_t until_ms = libspawn__clock_now_ms() + LIBSPAWN__WATCHER_ANSWER_MS;
    struct pollfd pollfd = { .fd = child->watcher_fd, .events = POLLIN };

    while (child->is_upgrading && child->watcher_fd >= 0) {
        int64_t left_ms = until_ms - libspawn__clock_now_ms();

        if (left_ms <= 0 ||
            (poll(&pollfd, 1, (int)left_ms) < 0 && errno != EINTR)) {
            return;
        }
        libspawn__child_receive(child);
    }
}

int
libspawn_child_upgrade_watcher(struct libspawn_child *child,
                               struct libspawn_err *err)
{
    struct libspawn__watcher_message message = { 0 };
    AUTO_FD int program = -1;
    int rc;

    if (child->state == LIBSPAWN__CHILD_ENDED) {
        return libspawn_child_check(child, err);
    }
    if (child->state != LIBSPAWN__CHILD_RELEASED || child->watcher_fd < 0) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "%s '%s' is not attached to its watcher, or not "
                              "released",
                              child->report.label, child->report.program);
    }
    rc = libspawn__ctx_open_watcher(child->ctx, child->store_address, &program,
                                    err);
    if (rc) {
        return rc;
    }
    child->is_upgrading = true;
    libspawn__child_send(child, &message, LIBSPAWN__WATCHER_UPGRADE, &program,
                         1);
    await_upgrade(child);
    if (child->state == LIBSPAWN__CHILD_ENDED) {
        return libspawn_child_check(child, err);
    } else if (child->watcher_fd < 0) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE, "the watcher died");
    } else if (child->is_upgrading) {
        return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                              "the watcher does not answer");
    }
    return child->upgrade_errno
               ? libspawn__fail_errno(err, child->upgrade_errno,
                                      "executing the new watcher")
               : 0;
}
