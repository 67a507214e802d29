/*
 * The recovery script of a guest, in state RECOVERING: the worker that runs
 * scripts runs it, with a limit, and its exit status says what follows.
 *
 * Nobody waits for it.  No lock is held meanwhile, and this process answers as
 * always, so it may use any command of xl, also about its own guest.
 *
 * It runs once for each end.  The one before us may have died while its script
 * ran; that goes on to its own end, or to its limit, and decides nothing.
 *
 * Knowledge: the recovery scripts of the MINIX reincarnation server.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/program.h"
#include "proc/status.h"
#include "proc/worker_calls.h"
#include "service/supervisor.h"

#define SEARCH_PATH                                                           \
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What it can say.  The last two are none that a shell or a program that
 * failed exits with. */
static const struct verdict {
    int status;
    enum libspawn_action action;
    const char *word;
} verdicts[] = {
    { 0, LIBSPAWN_ACTION_RESTART, "restart" },
    { 100, LIBSPAWN_ACTION_PRESERVE, "preserve" },
    { 101, LIBSPAWN_ACTION_DESTROY, "destroy" },
};

/* ---- What it is told --------------------------------------------------- */

static const char *
get_reason(const struct libspawn__supervisor *s)
{
    bool has_ended = s->dm && s->is_dm_ended;

    return s->memory.is_given_up && !has_ended ? "not-admitted"
           : s->end_word                ? s->end_word
                                        : "unknown";
}

static int
add_texts(const struct libspawn__supervisor *s, struct libspawn__strv *env,
          struct libspawn_err *err)
{
    AUTO_FREE char *beside = NULL;
    bool has_xl = !libspawn__program_find("xl", &beside, NULL);
    const struct {
        const char *name;
        const char *value;
    } texts[] = {
        { "PATH", SEARCH_PATH },
        { "XL", has_xl ? beside : LIBSPAWN_BINDIR "/xl" },
        { "XL_STATE_DIR", s->host->state_dir },
        { "XL_GUEST", s->config->name },
        { "XL_UUID", s->uuid },
        { "XL_REASON", get_reason(s) },
        { "XL_END", s->end_text ? s->end_text : "" },
    };
    int rc = 0;
    size_t i;

    for (i = 0; !rc && i < ARRAY_SIZE(texts); i++) {
        rc = libspawn__strv_addf(env, err, "%s=%s", texts[i].name,
                                 texts[i].value);
    }
    return rc;
}

/* What is not known is empty. */
static int
add_number(struct libspawn__strv *env, const char *name, int64_t number,
           bool is_known, struct libspawn_err *err)
{
    return is_known ? libspawn__strv_addf(env, err, "%s=%lld", name,
                                          (long long)number)
                    : libspawn__strv_addf(env, err, "%s=", name);
}

static int
make_environment(const struct libspawn__supervisor *s,
                 struct libspawn__strv *env, struct libspawn_err *err)
{
    bool is_alive = libspawn__supervisor_has_dm(s);
    const struct {
        const char *name;
        int64_t number;
        bool is_known;
    } numbers[] = {
        { "XL_DOMID", s->domid, true },
        { "XL_STATUS", s->end_status, s->end_status >= 0 },
        { "XL_RESTARTS", s->memory.n_restarts, true },
        { "XL_MODEL_PID",
          is_alive ? libspawn_child_pid(libspawn__dm_child(s->dm)) : 0,
          is_alive },
    };
    int rc = add_texts(s, env, err);
    size_t i;

    for (i = 0; !rc && i < ARRAY_SIZE(numbers); i++) {
        rc = add_number(env, numbers[i].name, numbers[i].number,
                        numbers[i].is_known, err);
    }
    return rc;
}

/* ---- What it said ------------------------------------------------------ */

static void
on_logged(struct libspawn__worker *worker,
          struct libspawn__worker_reply *reply, void *user)
{
    (void)reply;
    (void)user;
    libspawn__worker_rest(worker);
}

/* Into the log of the device model: what it wrote last, and one line. */
static void
write_log(struct libspawn__supervisor *s, const char *tail, const char *text,
          const char *word)
{
    const struct libspawn__worker_hearer hearer = { on_logged, s };
    AUTO_BUF struct libspawn__buf lines = { 0 };
    AUTO_FD int fd = s->end_log ? open(s->end_log, O_WRONLY | O_APPEND |
                                                       O_CLOEXEC | O_NOFOLLOW)
                                : -1;
    size_t len = strlen(tail);

    libspawn__buf_printf(&lines, "%s%s", tail,
                         len && tail[len - 1] != '\n' ? "\n" : "");
    libspawn__buf_printf(&lines,
                         "guest-supervisor: recovery script '%s' %s: %s\n",
                         s->config->on_dm_crash_script, text, word);
    if (fd >= 0 && !lines.failed) {
        libspawn__worker_append(s->workers[LIBSPAWN__SUPERVISOR_IO], fd,
                                &(struct iovec){ lines.data, lines.size },
                                false, &hearer, NULL);
    }
}

static void
finish(struct libspawn__supervisor *s, enum libspawn_action action,
       const char *word, const char *text, const char *tail)
{
    libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_SCRIPT_ENDED, word,
                              text);
    write_log(s, tail, text, word);
    if (++s->n_scripts_ended == s->n_scripts &&
        s->state == LIBSPAWN__STATE_RECOVERING) {
        libspawn__supervisor_follow_script(s, action);
    }
}

/* NULL: it said none of these. */
static const struct verdict *
find_verdict(const struct libspawn__worker_ended *end)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(verdicts); i++) {
        if (!end->is_late && WIFEXITED(end->wait_status) &&
            WEXITSTATUS(end->wait_status) == verdicts[i].status) {
            return &verdicts[i];
        }
    }
    return NULL;
}

static void
judge(struct libspawn__supervisor *s, const struct libspawn__worker_ended *end,
      const char *tail)
{
    const struct verdict *verdict = find_verdict(end);
    char text[LIBSPAWN__STATUS_TEXT_SIZE];

    if (end->is_late) {
        snprintf(text, sizeof text,
                 "did not end within %.3g s, and was killed",
                 (double)s->admission.times.script_limit / 1000);
    } else {
        libspawn__status_describe(true, end->wait_status, text);
    }
    finish(s, verdict ? verdict->action : LIBSPAWN_ACTION_PRESERVE,
           verdict        ? verdict->word
           : end->is_late ? "late"
                          : "failed",
           text, tail);
}

static void
on_ended(struct libspawn__worker *worker, struct libspawn__worker_reply *reply,
         void *user)
{
    struct libspawn__worker_ended end;
    struct libspawn_err err;
    const char *tail;

    libspawn__worker_rest(worker);
    if (libspawn__worker_read_end(reply, &end, &tail, &err)) {
        finish(user, LIBSPAWN_ACTION_PRESERVE, "failed", err.text, "");
    } else {
        judge(user, &end, tail);
    }
}

/* ---- Running it -------------------------------------------------------- */

static int
run(struct libspawn__supervisor *s, struct libspawn_err *err)
{
    const struct libspawn__worker_hearer hearer = { on_ended, s };
    const char *path = s->config->on_dm_crash_script;
    const char *const argv[] = { path, NULL };
    AUTO_STRV struct libspawn__strv env = { 0 };
    int rc = make_environment(s, &env, err);

    return rc ? rc
              : libspawn__worker_script(
                    s->workers[LIBSPAWN__SUPERVISOR_PROBE],
                    &(struct libspawn__worker_program){
                        .path = path,
                        .argv = argv,
                        .env = (const char *const *)env.items,
                        .limit_ms =
                            (uint32_t)s->admission.times.script_limit },
                    &hearer, err);
}

void
libspawn__supervisor_recover(struct libspawn__supervisor *s)
{
    struct libspawn_err err;

    libspawn__supervisor_hold(s, get_reason(s), s->end_text);
    libspawn__timer_cancel(&s->hold_timer); /* it has a limit of its own */
    if (s->dm) {
        libspawn__str_assign(
            &s->end_log,
            libspawn_child_report(libspawn__dm_child(s->dm))->log_path, NULL);
    }
    s->n_scripts++;
    libspawn__supervisor_remember_end(s, LIBSPAWN__SUPERVISION_RECOVERING);
    libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_SCRIPT_STARTED,
                              get_reason(s), s->config->on_dm_crash_script);
    if (run(s, &err)) {
        finish(s, LIBSPAWN_ACTION_PRESERVE, "failed", err.text, "");
    }
}

void
libspawn__supervisor_lose_script(struct libspawn__supervisor *s)
{
    libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_SCRIPT_ENDED, "lost",
                              "its supervisor died while it ran");
    if (!s->has_inherited_end) {
        libspawn__supervisor_remember_end(s, LIBSPAWN__SUPERVISION_LIVE);
    }
}
