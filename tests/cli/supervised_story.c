#include "tests/cli/supervised_story.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "proc/pidfile.h"
#include "wire/rpc_client.h"

static int scale = 1;
static bool is_quick;

void
supervised_stay_quick(void)
{
    is_quick = true;
}

void
supervised_begin_slowly(int divisor)
{
    AUTO_FREE char *text = libspawn__str_format("%d", divisor);

    xl_begin();
    if (is_quick || !harness_is_full()) {
        scale = divisor;
        setenv("XL_TIME_SCALE", text, 1);
    }
}

void
supervised_begin(void)
{
    supervised_begin_slowly(SUPERVISED_SCALE);
}

int64_t
supervised_scaled(int64_t ms)
{
    return ms / scale;
}

static char *
file_of(const char *guest, const char *end)
{
    return libspawn__str_format("%s/supervisors/%s.%s", getenv("XL_STATE_DIR"),
                                guest, end);
}

/* 0: nobody has it locked. */
static pid_t
owner_of(const char *guest, const char *end)
{
    AUTO_FREE char *path = file_of(guest, end);
    pid_t pid = 0;

    return libspawn__pidfile_owner(path, &pid, NULL) ? 0 : pid;
}

pid_t
supervised_pid(const char *guest)
{
    pid_t pid = supervised_find(guest);

    ck_assert_msg(pid, "'%s' has no supervisor", guest);
    return pid;
}

pid_t
supervised_find(const char *guest)
{
    return owner_of(guest, "pid");
}

bool
supervised_is(const char *guest)
{
    return supervised_find(guest);
}

pid_t
supervised_monitor_pid(const char *guest)
{
    return owner_of(guest, "monitor");
}

/* ---- What it answers --------------------------------------------------- */

static struct libspawn__json *
ask(const char *guest)
{
    AUTO_FREE char *path = file_of(guest, "sock");
    AUTO_FREE char *name = libspawn__str_format("unix:%s", path);
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    struct libspawn__json *status = NULL;

    if (!libspawn__rpc_session_open(name, XL_WAIT_MS, &session, NULL)) {
        libspawn__rpc_session_call(session, "status", NULL, XL_WAIT_MS,
                                   &status, NULL);
    }
    return status;
}

int
supervised_command(const char *guest, const char *command)
{
    AUTO_FREE char *path = file_of(guest, "sock");
    AUTO_FREE char *name = libspawn__str_format("unix:%s", path);
    AUTO_FREE char *params =
        libspawn__str_format("{\"execute\":\"%s\"}", command);
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__rpc_session_open(name, XL_WAIT_MS, &session, &err),
              &err);
    return libspawn__rpc_session_call(session, "monitor", params, XL_WAIT_MS,
                                      NULL, &err);
}

struct libspawn__json *
supervised_status(const char *guest)
{
    struct libspawn__json *status = ask(guest);

    ck_assert_ptr_nonnull(status);
    return status;
}

int64_t
supervised_number(const char *guest, const char *member)
{
    AUTO_JSON struct libspawn__json *status = supervised_status(guest);
    int64_t number = 0;

    ck_assert_msg(libspawn__json_integer(
                      libspawn__json_member(status, member), &number),
                  "there is no '%s'", member);
    return number;
}

pid_t
supervised_model_pid(const char *guest)
{
    return (pid_t)supervised_number(guest, "device_model_pid");
}

/* ---- Waiting ----------------------------------------------------------- */

static int
wait_ms(void)
{
    return harness_is_full() ? 600000 : XL_WAIT_MS;
}

struct wanted {
    const char *guest;
    const char *word;
    size_t n;
};

bool
supervised_is_state(const char *guest, const char *state)
{
    AUTO_JSON struct libspawn__json *status = ask(guest);
    const char *now =
        libspawn__json_string(libspawn__json_member(status, "state"));

    return now && !strcmp(now, state);
}

static bool
is_in_state(void *user)
{
    const struct wanted *wanted = user;

    return supervised_is_state(wanted->guest, wanted->word);
}

void
supervised_await_state(const char *guest, const char *state)
{
    struct wanted wanted = { guest, state, 0 };

    ck_assert_msg(harness_wait_until(is_in_state, &wanted, wait_ms()),
                  "'%s' is not %s", guest, state);
}

size_t
supervised_count_events(const char *guest, const char *kind)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/events", getenv("XL_STATE_DIR"));
    AUTO_FREE char *by_kind = libspawn__str_format("\"event\":\"%s\"", kind);
    AUTO_FREE char *by_guest =
        guest ? libspawn__str_format("\"guest\":\"%s\"", guest) : strdup("");
    AUTO_FREE char *text = harness_read_file(path);
    char *rest = NULL;
    size_t n = 0;
    char *line;

    for (line = strtok_r(text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        n += strstr(line, by_kind) && strstr(line, by_guest);
    }
    return n;
}

static bool
has_events(void *user)
{
    const struct wanted *wanted = user;

    return supervised_count_events(wanted->guest, wanted->word) >= wanted->n;
}

void
supervised_await_event(const char *guest, const char *kind, size_t n)
{
    struct wanted wanted = { guest, kind, n };

    ck_assert_msg(harness_wait_until(has_events, &wanted, wait_ms()),
                  "%zu of %zu events '%s' came",
                  supervised_count_events(guest, kind), n, kind);
}

size_t
supervised_count_admissions(const char *guest)
{
    return supervised_count_events(guest, "admitted") +
           supervised_count_events(guest, "released");
}

static bool
has_admissions(void *user)
{
    const struct wanted *wanted = user;

    return supervised_count_admissions(wanted->guest) >= wanted->n;
}

void
supervised_await_admissions(const char *guest, size_t n)
{
    struct wanted wanted = { .guest = guest, .n = n };
    bool is_there =
        harness_wait_until(has_admissions, &wanted, wait_ms());

    ck_assert_msg(is_there, "%zu of %zu admissions came",
                  supervised_count_admissions(guest), n);
}

/* ---- Another one ------------------------------------------------------- */

/* A process that has a pid file. */
struct owner {
    const char *guest;
    const char *end; /* of the file's name */
    pid_t pid;
};

static bool
is_not_owner(void *user)
{
    const struct owner *owner = user;

    return owner_of(owner->guest, owner->end) != owner->pid;
}

static void
kill_owner(struct owner owner, int signal)
{
    kill(owner.pid, signal);
    ck_assert(harness_wait_until(is_not_owner, &owner, XL_WAIT_MS));
}

void
supervised_kill(const char *guest, int signal)
{
    kill_owner((struct owner){ guest, "pid", supervised_pid(guest) }, signal);
}

void
supervised_kill_monitor(const char *guest, int signal)
{
    struct owner owner = { guest, "monitor", supervised_monitor_pid(guest) };

    ck_assert_int_ne(owner.pid, 0);
    kill_owner(owner, signal);
}

struct successor {
    const char *guest;
    pid_t pid;
};

static bool
has_pid_file(void *user)
{
    const struct successor *successor = user;

    return supervised_find(successor->guest) == successor->pid;
}

struct xl_process
supervised_adopt(const char *guest)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/bin/guest-supervisor", harness_build_dir());
    struct xl_process supervisor = xl_start_argv(
        (const char *const[]){ path, "--adopt", guest, NULL });
    struct successor successor = { guest, supervisor.pid };

    ck_assert(harness_wait_until(has_pid_file, &successor, XL_WAIT_MS));
    return supervisor;
}

/* ---- A device model that changes --------------------------------------- */

void
supervised_set_model(const char *guest, const char *arguments)
{
    AUTO_FREE char *path = libspawn__str_format("%s.mode", guest);

    harness_write_file(path, arguments);
}

void
supervised_write_config(const char *guest, const char *lines)
{
    const char *dir = harness_dir();
    AUTO_FREE char *script = libspawn__str_format("%s.sh", guest);
    AUTO_FREE char *config = libspawn__str_format("%s.cfg", guest);
    AUTO_FREE char *body = libspawn__str_format(
        "#!/bin/sh\necho start >>%s/%s.starts\n"
        "exec %s --log-qmp=%s/%s.qmp $(cat %s/%s.mode) \"$@\"\n",
        dir, guest, xl_model_path(), dir, guest, dir, guest);
    AUTO_FREE char *text = libspawn__str_format(
        "name = \"%s\"\nmemory = 16\n"
        "device_model_override = \"%s/%s\"\n%s\n",
        guest, dir, script, lines);

    harness_write_file(script, body);
    ck_assert_int_eq(chmod(script, 0755), 0);
    harness_write_file(config, text);
    supervised_set_model(guest, "");
}

size_t
supervised_count_lines(const char *guest, const char *file, const char *line)
{
    AUTO_FREE char *path = libspawn__str_format("%s.%s", guest, file);
    AUTO_FREE char *text = access(path, F_OK) ? strdup("")
                                              : harness_read_file(path);
    char *rest = NULL;
    size_t n = 0;
    char *word;

    for (word = strtok_r(text, "\n", &rest); word;
         word = strtok_r(NULL, "\n", &rest)) {
        n += !strcmp(word, line);
    }
    return n;
}

/* ---- The guest of most stories ----------------------------------------- */

static void
assert_runs(const char *const argv[])
{
    AUTO_OUTPUT struct harness_output output = harness_run_argv(argv);

    xl_assert_ok(&output);
}

void
supervised_create(const char *option, const char *lines)
{
    supervised_begin();
    supervised_write_config(XL_GUEST, lines);
    supervised_set_model(XL_GUEST, SUPERVISED_MODEL);
    assert_runs((const char *const[]){ xl_path(), "create", option,
                                       XL_GUEST ".cfg", NULL });
}

void
supervised_look(void)
{
    assert_runs((const char *const[]){ xl_path(), "list", "--json", NULL });
}

static bool
is_another(void *user)
{
    const pid_t *former = user;
    pid_t pid = supervised_find(XL_GUEST);

    return pid && pid != *former;
}

void
supervised_await_another(pid_t former)
{
    ck_assert_msg(harness_wait_until(is_another, &former, XL_WAIT_MS),
                  "there is no other supervisor");
}

size_t
supervised_count_starts(void)
{
    return 1 + supervised_count_events(XL_GUEST, "restarted");
}
