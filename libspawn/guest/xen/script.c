/*
 * Sources: docs/misc/block-scripts.txt and the scripts in tools/hotplug/Linux
 * in the Xen tree.
 */
#include "guest/xen/script.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/worker_calls.h"

#define SEARCH_PATH                                                           \
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- Starting ---------------------------------------------------------- */

static int
make_environment(const struct libspawn__xen_script *script,
                 struct libspawn__strv *env, struct libspawn_err *err)
{
    const struct {
        const char *name;
        const char *value;
    } variables[] = {
        { "PATH", SEARCH_PATH },
        { "script", script->path },
        { "XENBUS_TYPE", script->kind },
        { "XENBUS_BASE_PATH", "backend" },
        { "vif", script->vif },
        { "INTERFACE", script->emulated },
        { "netdev", script->vif ? "" : NULL },
    };
    int rc = libspawn__strv_addf(env, err, "XENBUS_PATH=backend/%s",
                                 script->backend);
    size_t i;

    for (i = 0; !rc && i < ARRAY_SIZE(variables); i++) {
        if (variables[i].value) {
            rc = libspawn__strv_addf(env, err, "%s=%s", variables[i].name,
                                     variables[i].value);
        }
    }
    return rc;
}

static int
make_arguments(const struct libspawn__xen_script *script,
               struct libspawn__strv *argv, struct libspawn_err *err)
{
    int rc = libspawn__strv_add(argv, script->path, err);

    if (!rc) {
        rc = libspawn__strv_add(argv, script->action, err);
    }
    if (!rc && script->argument) {
        rc = libspawn__strv_add(argv, script->argument, err);
    }
    return rc;
}

/* A script gets nothing of ours: no descriptor, no signal mask, no terminal.
 * The stock ones write to a log of their own. */
static int
spawn(struct libspawn__xen_script *script, char **argv, char **env)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    int i;
    int r;

    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    r = posix_spawnattr_setsigmask(&attributes, &none);
    if (!r) {
        r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                                      POSIX_SPAWN_SETSID);
    }
    for (i = 0; !r && i < 3; i++) {
        r = posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR,
                                             0);
    }
    if (!r) {
        r = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    }
    if (!r) {
        r = posix_spawn(&script->pid, script->path, &actions, &attributes,
                        argv, env);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return r;
}

static int
start(struct libspawn__xen_script *script, struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv argv = { 0 };
    AUTO_STRV struct libspawn__strv env = { 0 };
    int rc = make_arguments(script, &argv, err);
    int r;

    if (!rc) {
        rc = make_environment(script, &env, err);
    }
    if (rc) {
        return rc;
    }
    r = spawn(script, argv.items, env.items);
    if (r) {
        script->pid = 0;
        return libspawn__fail_errno(err, r, "starting hotplug script '%s'",
                                    script->path);
    }
    return libspawn__pidref_from_pid(script->pid, &script->ref, err);
}

/* ---- Waiting ----------------------------------------------------------- */

static void
reap(struct libspawn__xen_script *script)
{
    pid_t pid;

    do {
        pid = waitpid(script->pid, &script->wait_status, 0);
    } while (pid < 0 && errno == EINTR);
    script->pid = 0;
    libspawn__pidref_dispose(&script->ref);
}

/* What the script says itself, else how it ended. */
static int
explain(struct libspawn__store *store,
        const struct libspawn__xen_script *script, struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__str_format(
        "/local/domain/0/backend/%s/hotplug-error", script->backend);
    AUTO_FREE char *said = NULL;

    if (path) {
        (void)libspawn__store_read(store, NULL, path, &said, NULL, NULL);
    }
    if (said && said[0]) {
        return libspawn__fail(err, LIBSPAWN_ERR_SYSTEM,
                              "hotplug script '%s' %s: %s", script->path,
                              script->action, said);
    }
    if (WIFSIGNALED(script->wait_status)) {
        return libspawn__fail(err, LIBSPAWN_ERR_SYSTEM,
                              "hotplug script '%s' %s was killed by signal %d",
                              script->path, script->action,
                              WTERMSIG(script->wait_status));
    }
    return libspawn__fail(err, LIBSPAWN_ERR_SYSTEM,
                          "hotplug script '%s' %s failed with exit code %d",
                          script->path, script->action,
                          WEXITSTATUS(script->wait_status));
}

/* It has ended. */
static int
judge(struct libspawn__store *store, const struct libspawn__xen_script *script,
      bool is_late, int timeout_ms, struct libspawn_err *err)
{
    if (is_late) {
        return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                              "hotplug script '%s' %s took longer than %d "
                              "seconds and was ended",
                              script->path, script->action, timeout_ms / 1000);
    }
    return script->wait_status ? explain(store, script, err) : 0;
}

/* Waits for the end of a script that was started.  One that could not be
 * pinned, for want of a descriptor, has no deadline. */
static int
finish(struct libspawn__store *store, struct libspawn__xen_script *script,
       int64_t deadline, int timeout_ms, struct libspawn_err *err)
{
    bool is_late = false;

    if (!script->pid) {
        return 0;
    }
    if (script->ref.fd >= 0) {
        int64_t left = MAX(deadline - libspawn__clock_now_ms(), 0);

        is_late = libspawn__pidref_wait(&script->ref, (int)left, NULL) ==
                  LIBSPAWN_ERR_TIMEOUT;
    }
    if (is_late) {
        libspawn__pidref_signal(&script->ref, SIGKILL, NULL);
    }
    reap(script);
    return judge(store, script, is_late, timeout_ms, err);
}

int
libspawn__xen_scripts_run(struct libspawn__store *store,
                          struct libspawn__xen_script *scripts, size_t n,
                          int timeout_ms, struct libspawn_err *err)
{
    int64_t deadline = libspawn__clock_now_ms() + timeout_ms * (int64_t)n;
    int rc = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        scripts[i].pid = 0;
        scripts[i].ref = (struct libspawn__pidref)LIBSPAWN__PIDREF_INIT;
        scripts[i].wait_status = 0;
    }
    for (i = 0; !rc && i < n; i++) {
        rc = start(&scripts[i], err);
    }
    for (i = 0; i < n; i++) {
        /* The first error is the one that is told. */
        int one =
            finish(store, &scripts[i], deadline, timeout_ms, rc ? NULL : err);

        rc = rc ? rc : one;
    }
    return rc;
}

/* ---- By a worker ------------------------------------------------------- */

struct run {
    struct libspawn__store *store;
    struct libspawn__xen_script *scripts;
    size_t n;
    size_t n_ended;
    int timeout_ms;
    libspawn__xen_scripts_fn *fn;
    void *user;
    struct libspawn_err err; /* the first */
};

static int
take_end(struct run *run, struct libspawn__xen_script *script,
         const struct libspawn__worker_reply *reply, struct libspawn_err *err)
{
    struct libspawn__worker_ended end;
    const char *tail;
    int rc = libspawn__worker_read_end(reply, &end, &tail, err);

    if (rc) {
        libspawn__err_prefix(err, "hotplug script '%s' %s", script->path,
                             script->action);
        return rc;
    }
    script->wait_status = end.wait_status;
    return judge(run->store, script, end.is_late, run->timeout_ms, err);
}

/* Replies come in the order of the scripts. */
static void
on_ended(struct libspawn__worker *worker, struct libspawn__worker_reply *reply,
         void *user)
{
    AUTO_FREE struct run *run = user;
    struct libspawn_err err;

    (void)worker;
    if (take_end(run, &run->scripts[run->n_ended], reply, &err) &&
        !run->err.code) {
        run->err = err;
    }
    if (++run->n_ended == run->n) {
        run->fn(run->user, run->err.code ? &run->err : NULL);
    } else {
        TAKE_PTR(run);
    }
}

static int
ask(struct run *run, struct libspawn__worker *worker,
    const struct libspawn__xen_script *script, struct libspawn_err *err)
{
    const struct libspawn__worker_hearer hearer = { on_ended, run };
    AUTO_STRV struct libspawn__strv argv = { 0 };
    AUTO_STRV struct libspawn__strv env = { 0 };
    int rc = make_arguments(script, &argv, err);

    if (!rc) {
        rc = make_environment(script, &env, err);
    }
    return rc ? rc
              : libspawn__worker_script(
                    worker,
                    &(struct libspawn__worker_program){
                        .path = script->path,
                        .argv = (const char *const *)argv.items,
                        .env = (const char *const *)env.items,
                        .limit_ms = (uint32_t)run->timeout_ms },
                    &hearer, err);
}

/* Those that were asked for before one could not be run to their ends. */
int
libspawn__xen_scripts_start(struct libspawn__worker *worker,
                            struct libspawn__store *store,
                            struct libspawn__xen_script *scripts, size_t n,
                            int timeout_ms, libspawn__xen_scripts_fn *fn,
                            void *user, struct libspawn_err *err)
{
    AUTO_FREE struct run *run = calloc(1, sizeof *run);
    int rc = 0;
    size_t i;

    if (!run) {
        return libspawn__fail_nomem(err);
    }
    *run = (struct run){ .store = store,
                         .scripts = scripts,
                         .n = n,
                         .timeout_ms = timeout_ms,
                         .fn = fn,
                         .user = user };
    for (i = 0; !rc && i < n; i++) {
        rc = ask(run, worker, &scripts[i], &run->err);
    }
    if (rc && i == 1) {
        return libspawn__fail(err, rc, "%s", run->err.text);
    }
    run->n = rc ? i - 1 : i;
    TAKE_PTR(run);
    return 0;
}
