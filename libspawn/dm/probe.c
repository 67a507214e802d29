#include "dm/probe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/ctx.h"

enum {
    TIMEOUT_MS = 2000, /* a QEMU needs 20 */
    TIMEOUT_MIN_MS = 100,
    OUTPUT_MAX = 256 * 1024, /* the help of QEMU has 34 KiB */
    UNSURE_LIFETIME_S = 60
};

#define VERSION_PREFIX "QEMU emulator version "

struct libspawn__probe {
    struct libspawn_ctx *ctx;
    libspawn__probe_fn *fn;
    void *user;
    char *state_dir;
    char *program;
    struct libspawn__dm_identity id; /* as it was before the first run */
    bool is_script;
    uint32_t timeout_ms;

    bool with_sandbox; /* in the present run */
    struct libspawn_child *child;
    int output_fd; /* -1: closed */
    struct libspawn__io output_io;
    struct libspawn__buf output;
};

/* ---- What it said ------------------------------------------------------ */

/* The line that begins with 'prefix', or NULL. */
static const char *
find_line(const char *text, const char *prefix)
{
    while (text && !libspawn__str_has_prefix(text, prefix)) {
        text = strchr(text, '\n');
        if (text) {
            text++;
        }
    }
    return text;
}

/* The word behind the prefix; false when it does not look like a version. */
static bool
find_version(const char *text, char version_r[LIBSPAWN__DM_VERSION_SIZE])
{
    const char *line = find_line(text, VERSION_PREFIX);
    size_t len;

    if (!line) {
        return false;
    }
    line += strlen(VERSION_PREFIX);
    len = strspn(line, "0123456789.");
    if (!len || len >= LIBSPAWN__DM_VERSION_SIZE) {
        return false;
    }
    memcpy(version_r, line, len);
    version_r[len] = '\0';
    return true;
}

/* Whether the help has this option, and 'part' somewhere in its lines: those
 * up to the next that begins with a dash. */
static bool
has_option(const char *text, const char *option, const char *part)
{
    size_t len = strlen(option);
    const char *line = find_line(text, option);
    const char *end;
    const char *found;

    while (line && !strchr(" \n", line[len])) {
        line = find_line(line + len, option);
    }
    if (!line || !part) {
        return line;
    }
    end = strstr(line, "\n-");
    found = strstr(line, part);
    return found && (!end || found < end);
}

static unsigned int
find_options(const char *text)
{
    static const struct {
        unsigned int feature;
        const char *option;
        const char *part;
    } options[] = {
        { LIBSPAWN__DM_CHROOT, "-chroot", NULL },
        { LIBSPAWN__DM_RUNAS, "-runas", NULL },
        { LIBSPAWN__DM_RUN_WITH_CHROOT, "-run-with", "chroot=" },
        { LIBSPAWN__DM_RUN_WITH_USER, "-run-with", "user=" },
        { LIBSPAWN__DM_XEN_DOMID_RESTRICT, "-xen-domid-restrict", NULL },
    };
    unsigned int features = 0;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(options); i++) {
        if (has_option(text, options[i].option, options[i].part)) {
            features |= options[i].feature;
        }
    }
    return features;
}

/* ---- The answer -------------------------------------------------------- */

static void
end_run(struct libspawn__probe *probe)
{
    libspawn_child_free(TAKE_PTR(probe->child));
    libspawn__io_remove(&probe->output_io);
    libspawn__auto_close(&probe->output_fd);
    probe->output_fd = -1;
    libspawn__buf_dispose(&probe->output);
}

/* Remembering is a convenience: that it cannot is nobody's trouble.  A
 * program that was replaced meanwhile is not the one that answered. */
static void
remember(const struct libspawn__probe *probe,
         const struct libspawn__dm_support *support, bool is_sure)
{
    struct libspawn__dm_identity id;

    if (!libspawn__dm_identify(probe->program, &id, NULL) &&
        !memcmp(&id, &probe->id, sizeof id)) {
        libspawn__probe_cache_store(
            probe->state_dir, &id, support,
            is_sure && !probe->is_script ? 0 : UNSURE_LIFETIME_S, NULL);
    }
}

static void
answer(struct libspawn__probe *probe,
       const struct libspawn__dm_support *support, bool is_sure)
{
    end_run(probe);
    remember(probe, support, is_sure);
    probe->fn(probe->user, support, NULL);
}

/* The machine may just have been busy, so the next start asks again. */
static void
give_up(struct libspawn__probe *probe)
{
    const struct libspawn__dm_support nothing = { 0 };
    AUTO_FREE char *warning = libspawn__str_format(
        "the device model '%s' did not say within %u ms what it supports: it "
        "is started without its sandbox",
        probe->program, (unsigned int)probe->timeout_ms);

    end_run(probe);
    probe->fn(probe->user, &nothing,
              warning ? warning
                      : "the device model is started without its sandbox");
}

static int run(struct libspawn__probe *probe, bool with_sandbox,
               struct libspawn_err *err);

static void
evaluate(struct libspawn__probe *probe)
{
    const struct libspawn_report *report = libspawn_child_report(probe->child);
    const char *text = probe->output.data ? probe->output.data : "";
    struct libspawn__dm_support support = { 0 };
    bool is_sure = false;

    if (report->end == LIBSPAWN_END_DEADLINE) {
        give_up(probe);
        return;
    }
    if (report->end == LIBSPAWN_END_EXITED && !report->exit_code &&
        find_version(text, support.version)) {
        is_sure = true;
        support.features = find_options(text);
        if (probe->with_sandbox) {
            support.features |= LIBSPAWN__DM_SANDBOX;
        }
    } else if (report->end == LIBSPAWN_END_EXITED && probe->with_sandbox &&
               strstr(text, "sandbox")) {
        end_run(probe);
        if (!run(probe, false, NULL)) {
            return;
        }
    }
    answer(probe, &support, is_sure);
}

/* ---- One run ----------------------------------------------------------- */

/* Takes what is there; false once there will be no more. */
static bool
read_output(struct libspawn__probe *probe)
{
    while (probe->output.size <= OUTPUT_MAX) {
        ssize_t n;

        if (!libspawn__buf_reserve(&probe->output, 65536)) {
            return false;
        }
        n = read(probe->output_fd, probe->output.data + probe->output.size,
                 65536);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        } else if (!n) {
            return false;
        }
        probe->output.size += (size_t)n;
        probe->output.data[probe->output.size] = '\0';
    }
    libspawn_child_stop(probe->child);
    return false;
}

static void
on_output(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__probe *probe =
        CONTAINER_OF(io, struct libspawn__probe, output_io);

    (void)events;
    if (!read_output(probe)) {
        libspawn__io_remove(io);
    }
}

static void
on_child(struct libspawn_child *child, enum libspawn_event event, void *user)
{
    struct libspawn__probe *probe = user;

    (void)child;
    if (event == LIBSPAWN_EVENT_FAILED) {
        read_output(probe);
        evaluate(probe);
    }
}

/* It never becomes ready, so that its end, whichever way, is one event, and
 * the deadline of the start is that of the probe.  The environment is that of
 * the start itself, or the answer might be another one. */
static int
start_child(struct libspawn__probe *probe, int output_fd,
            struct libspawn_err *err)
{
    struct libspawn_plan *plan = libspawn_plan_new();
    int rc;

    if (!plan) {
        return libspawn__fail_nomem(err);
    }
    libspawn_plan_set_label(plan, "probe of a device model", "");
    libspawn_plan_set_program(plan, probe->program);
    libspawn_plan_add_arg(plan, probe->program);
    if (probe->with_sandbox) {
        libspawn_plan_add_arg(plan, "-sandbox");
        libspawn_plan_add_arg(plan, LIBSPAWN__DM_SANDBOX_VALUE);
    }
    /* QEMU stops at the first; what only plays QEMU may know the second. */
    libspawn_plan_add_arg(plan, "-help");
    libspawn_plan_add_arg(plan, "-version");
    libspawn_plan_add_env(plan, "LC_ALL=C.UTF-8");
    libspawn_plan_add_fd(plan, output_fd, STDOUT_FILENO);
    libspawn_plan_add_fd(plan, output_fd, STDERR_FILENO);
    libspawn_plan_ready_on_confirm(plan);
    libspawn_plan_set_timeouts(plan, probe->timeout_ms, 0);
    rc = libspawn_child_start(probe->ctx, plan, on_child, probe, &probe->child,
                              err);
    libspawn_plan_free(plan);
    return rc;
}

static int
run(struct libspawn__probe *probe, bool with_sandbox, struct libspawn_err *err)
{
    AUTO_FD int output = -1;
    int fds[2];
    int rc;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return libspawn__fail_errno(err, errno, "making a pipe");
    }
    probe->output_fd = fds[0];
    output = fds[1];
    probe->with_sandbox = with_sandbox;
    rc = libspawn__fd_set_nonblocking(probe->output_fd, true, err);
    if (!rc) {
        rc = libspawn__io_add(probe->ctx->loop, &probe->output_io,
                              probe->output_fd, EPOLLIN, on_output, err);
    }
    if (!rc) {
        rc = start_child(probe, output, err);
    }
    if (rc) {
        end_run(probe);
    }
    return rc;
}

/* ---- Start ------------------------------------------------------------- */

static bool
is_script(const char *program)
{
    AUTO_FD int fd = open(program, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char head[2] = "";

    return fd >= 0 && libspawn__fd_read_full(fd, head, sizeof head) == 2 &&
           !memcmp(head, "#!", sizeof head);
}

/* Half of what a start may take, so that a program that hangs does not take
 * much longer than it was given. */
static uint32_t
choose_timeout(uint32_t start_timeout_ms)
{
    uint32_t half = MAX(start_timeout_ms / 2, (uint32_t)TIMEOUT_MIN_MS);

    return start_timeout_ms ? MIN(half, (uint32_t)TIMEOUT_MS) : TIMEOUT_MS;
}

bool
libspawn__probe_is_known(const char *state_dir, const char *program,
                         struct libspawn__dm_support *support_r)
{
    struct libspawn__dm_identity id;

    if (libspawn__dm_identify(program, &id, NULL) ||
        access(program, X_OK) < 0) {
        *support_r = (struct libspawn__dm_support){ 0 };
        return true;
    }
    return libspawn__probe_cache_find(state_dir, &id, support_r);
}

int
libspawn__probe_start(struct libspawn_ctx *ctx,
                      const struct libspawn__probe_request *request,
                      struct libspawn__probe **probe_r,
                      struct libspawn_err *err)
{
    struct libspawn__probe *probe = calloc(1, sizeof *probe);
    int rc;

    if (!probe) {
        return libspawn__fail_nomem(err);
    }
    probe->ctx = ctx;
    probe->fn = request->fn;
    probe->user = request->user;
    probe->output_fd = -1;
    probe->timeout_ms = choose_timeout(request->start_timeout_ms);
    probe->is_script = is_script(request->program);
    rc = libspawn__str_assign(&probe->state_dir, request->state_dir, err);
    if (!rc) {
        rc = libspawn__str_assign(&probe->program, request->program, err);
    }
    if (!rc) {
        rc = libspawn__dm_identify(probe->program, &probe->id, err);
    }
    if (!rc) {
        rc = run(probe, true, err);
    }
    if (rc) {
        libspawn__probe_free(probe);
        return rc;
    }
    *probe_r = probe;
    return 0;
}

void
libspawn__probe_free(struct libspawn__probe *probe)
{
    if (probe) {
        end_run(probe);
        free(probe->state_dir);
        free(probe->program);
        free(probe);
    }
}
