/*
 * Becoming another program, such as that of a newer package, while the child
 * runs: the process stays the same, so it is still the child's parent and the
 * one that the record names.
 *
 *   old   watcher_upgrade: writes all that matters into a memfd, lets the
 *         descriptors survive, and executes the other program with
 *         "--resume=FD"
 *   new   watcher_resume: takes everything up again, looks whether the child
 *         ended meanwhile, and answers
 *
 * A new program that cannot read the state executes the old one again, which
 * it finds in the state's first bytes, with "--back=FD".  These 16 bytes are
 * the same in all versions.
 *
 * Trust: who asks is attached (attach.c) or the caller, so runs as our user or
 * root and could replace us by ptrace(2) as well.
 */
#include "tools/spawn-watcher/watcher.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/compat.h"
#include "base/fd.h"

enum {
    TITLE_SIZE = 256
};

/* The last byte is the version of what follows the head. */
static const char magic[8] = "LSWATCH2";

struct head {
    char magic[sizeof magic];
    int32_t program_fd; /* of the old program */
    uint32_t size;      /* of the whole */
};

struct state {
    struct head head;

    /* Descriptors; -1: none. */
    int32_t plan_fd;
    int32_t caller_fd;
    int32_t output_fd;
    int32_t listener_fd;
    int32_t log_fd;
    int32_t mailbox_fd;
    int32_t asker_fd; /* one of the others: who wants an answer */
    uint32_t is_confined;
    uint32_t n_clients;
    int32_t client_fds[WATCHER_CLIENTS_MAX];

    struct libspawn__identity child;
    struct libspawn__identity watcher;
    struct libspawn__identity caller;
    int64_t started_at_ms;
    int64_t executed_at_ms;
    struct watcher_oom oom;
    char control[128];
    char secret[LIBSPAWN__SECRET_SIZE];
    struct libspawn__log_state log;
};

/* ---- The old program --------------------------------------------------- */

static void
save(const struct watcher *w, struct state *state)
{
    memcpy(state->head.magic, magic, sizeof magic);
    state->head.size = sizeof *state;
    state->caller_fd = w->caller_fd;
    state->output_fd = w->output_fd;
    state->listener_fd = w->listener_fd;
    state->log_fd = w->log.fd;
    state->mailbox_fd = w->mailbox_fd;
    state->is_confined = w->is_confined;
    state->n_clients = (uint32_t)watcher_list_clients(w, state->client_fds,
                                                      WATCHER_CLIENTS_MAX);
    state->child = w->record.child;
    state->watcher = w->record.watcher;
    state->caller = w->record.caller;
    state->started_at_ms = w->record.started_at_ms;
    state->executed_at_ms = w->executed_at_ms;
    state->oom = w->oom;
    snprintf(state->control, sizeof state->control, "%s",
             w->text.control ? w->text.control : "");
    snprintf(state->secret, sizeof state->secret, "%s",
             w->text.secret ? w->text.secret : "");
    libspawn__log_save(&w->log, &state->log);
}

/* Whether the descriptors of the state survive an exec. */
static void
set_inherited(const struct state *state, bool is_inherited)
{
    const int32_t fds[] = { state->head.program_fd, state->plan_fd,
                            state->caller_fd,       state->output_fd,
                            state->listener_fd,     state->log_fd,
                            state->mailbox_fd };
    int flags = is_inherited ? 0 : FD_CLOEXEC;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(fds); i++) {
        if (fds[i] >= 0) {
            fcntl(fds[i], F_SETFD, flags);
        }
    }
    for (i = 0; i < state->n_clients; i++) {
        fcntl(state->client_fds[i], F_SETFD, flags);
    }
}

/* Returns an errno, or not at all. */
static int
execute(int program_fd, int state_fd, const char *option)
{
    char name[] = "spawn-watcher";
    char title[TITLE_SIZE] = "";
    char argument[32];
    char *argv[] = { name, title, argument, NULL };
    char *envp[] = { NULL };
    AUTO_FREE char *old = NULL;
    size_t size;

    /* The label, behind our own name, as before. */
    if (!libspawn__file_read("/proc/self/cmdline", 65536, &old, &size, NULL) &&
        strlen(old) + 1 < size) {
        snprintf(title, sizeof title, "%s", old + strlen(old) + 1);
    }
    snprintf(argument, sizeof argument, "%s=%d", option, state_fd);
    fcntl(state_fd, F_SETFD, 0);
    libspawn__execveat(program_fd, "", argv, envp, AT_EMPTY_PATH);
    return errno;
}

static int
try_upgrade(struct watcher *w, int program_fd, int asker_fd)
{
    struct state state = { .asker_fd = asker_fd, .plan_fd = -1 };
    AUTO_FD int old_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    AUTO_FD int plan_fd = -1;
    AUTO_FD int state_fd = memfd_create("libspawn-watcher", MFD_CLOEXEC);
    int r;

    if (old_fd < 0 || state_fd < 0) {
        return errno;
    }
    if (libspawn__plan_pack(&w->plan, &plan_fd, NULL)) {
        return ENOMEM;
    }
    save(w, &state);
    state.head.program_fd = old_fd;
    state.plan_fd = plan_fd;
    r = -libspawn__fd_write_full(state_fd, &state, sizeof state);
    if (!r) {
        set_inherited(&state, true);
        r = execute(program_fd, state_fd, "--resume");
        set_inherited(&state, false);
    }
    return r;
}

static void
tell(int asker_fd, int sys_errno)
{
    struct libspawn__watcher_message message = { 0 };

    message.u.upgraded.sys_errno = sys_errno;
    watcher_send_to(asker_fd, &message, LIBSPAWN__WATCHER_UPGRADED, -1);
}

void
watcher_upgrade(struct watcher *w, int program_fd, int asker_fd)
{
    int r = EBUSY;

    if (w->state == WATCHER_RELEASED && !w->is_done) {
        r = program_fd < 0 ? EBADF : try_upgrade(w, program_fd, asker_fd);
    }
    tell(asker_fd, r);
}

/* ---- The new program --------------------------------------------------- */

static void
give_back(int state_fd, const struct head *head)
{
    if (!memcmp(head->magic, magic, sizeof magic - 1)) {
        execute(head->program_fd, state_fd, "--back");
    }
}

static int
load(int state_fd, struct state *state, struct libspawn_err *err)
{
    ssize_t n = lseek(state_fd, 0, SEEK_SET) < 0
                    ? -1
                    : libspawn__fd_read_full(state_fd, state, sizeof *state);

    if (n < (ssize_t)sizeof state->head) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "there is no state to go on with");
    }
    if (memcmp(state->head.magic, magic, sizeof magic) != 0 ||
        n != (ssize_t)sizeof *state || state->head.size != sizeof *state ||
        state->n_clients > WATCHER_CLIENTS_MAX) {
        give_back(state_fd, &state->head);
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the state is of another version");
    }
    return 0;
}

static int
restore(struct watcher *w, const struct state *state, struct libspawn_err *err)
{
    struct libspawn__record *record = &w->record;
    int rc = libspawn__plan_unpack(state->plan_fd, &w->plan, err);

    /* Our unreaped child, so the number is its own still. */
    if (!rc) {
        rc = libspawn__pidref_from_pid(state->child.pid, &w->child, err);
    }
    if (rc) {
        return rc;
    }
    w->state = WATCHER_RELEASED;
    w->is_released = true;
    w->is_confined = state->is_confined;
    w->caller_fd = state->caller_fd;
    w->output_fd = state->output_fd;
    w->listener_fd = state->listener_fd;
    w->mailbox_fd = state->mailbox_fd;
    w->executed_at_ms = state->executed_at_ms;
    w->oom = state->oom;
    record->state = LIBSPAWN__RECORD_RUNNING;
    record->child = state->child;
    record->watcher = state->watcher;
    record->caller = state->caller;
    record->started_at_ms = state->started_at_ms;
    watcher_describe_child(w);
    rc = libspawn__str_assign(&w->text.control, state->control, err);
    if (!rc) {
        rc = libspawn__str_assign(&w->text.secret, state->secret, err);
    }
    if (!rc) {
        rc = libspawn__log_resume(&w->log, w->plan.log_path,
                                  w->plan.log_max_size,
                                  (unsigned int)w->plan.n_old_logs,
                                  state->log_fd, &state->log, err);
    }
    w->log.is_stamped = w->plan.options & LIBSPAWN__PLAN_LOG_STAMPS;
    return rc;
}

int
watcher_resume(struct watcher *w, int state_fd, bool is_back,
               struct libspawn_err *err)
{
    struct state state;
    size_t i;
    int rc = load(state_fd, &state, err);

    if (rc) {
        return rc;
    }
    prctl(PR_SET_NAME, "spawn-watcher");
    signal(SIGPIPE, SIG_IGN);
    set_inherited(&state, false);
    close(state_fd);
    close(state.head.program_fd);
    rc = restore(w, &state, err);
    close(state.plan_fd);
    if (!rc) {
        rc = watcher_listen_on(w, err);
    }
    for (i = 0; !rc && i < state.n_clients; i++) {
        watcher_add_client(w, state.client_fds[i], true);
    }
    if (!rc) {
        rc = watcher_watch(w, err);
    }
    if (!rc) {
        watcher_confine(w);
        tell(state.asker_fd, is_back ? EOPNOTSUPP : 0);
        watcher_reap(w);
    }
    return rc;
}
