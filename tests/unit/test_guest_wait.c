/*
 * Waiting for a guest to power off, against a hypervisor that says what the
 * test wants and counts how often it is asked.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "guest/wait.h"
#include "proc/record.h"
#include "store/provider.h"
#include "tests/lib/harness.h"

enum { DOMID = 7, WAIT_MS = 5000 };

/* ---- The hypervisor ---------------------------------------------------- */

static struct {
    unsigned int state;
    bool is_gone;
    int n_looks;
} guest;

static int
look(struct libspawn_host *host, uint32_t domid,
     struct libspawn_guest_info *info_r, struct libspawn_err *err)
{
    (void)host;
    ck_assert_uint_eq(domid, DOMID);
    guest.n_looks++;
    if (guest.is_gone) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND, "gone");
    }
    memset(info_r, 0, sizeof *info_r);
    info_r->state = guest.state;
    return 0;
}

static int
find_config(struct libspawn_host *host, uint32_t domid, char **path_r,
            struct libspawn_err *err)
{
    (void)host;
    (void)domid;
    *path_r = strdup("config.json");
    return *path_r ? 0 : libspawn__fail_nomem(err);
}

static const struct libspawn__hypervisor hypervisor = {
    .look = look, .find_config = find_config
};

/* ---- A store that tells of released domains ---------------------------- */

static int
open_telling(const char *argument, struct libspawn__store **store_r,
             struct libspawn_err *err)
{
    struct libspawn__store *store = calloc(1, sizeof *store);

    (void)argument;
    if (!store) {
        return libspawn__fail_nomem(err);
    }
    *store_r = store;
    return 0;
}

static void
close_telling(struct libspawn__store *store)
{
    free(store);
}

static int
read_nothing(struct libspawn__store *store, struct libspawn__store_txn *txn,
             const char *path, char **value_r, size_t *size_r,
             struct libspawn_err *err)
{
    (void)store;
    (void)txn;
    (void)value_r;
    (void)size_r;
    return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND, "no '%s'", path);
}

static int
add_watch(struct libspawn__store *store, struct libspawn__loop *loop,
          struct libspawn__store_watch *watch, struct libspawn_err *err)
{
    (void)store;
    (void)loop;
    (void)err;
    ck_assert_str_eq(watch->path, "@releaseDomain");
    return 0;
}

static void
remove_watch(struct libspawn__store *store,
             struct libspawn__store_watch *watch)
{
    (void)store;
    (void)watch;
}

static const struct libspawn__store_class telling_class = {
    .scheme = "telling",
    .open = open_telling,
    .close = close_telling,
    .read = read_nothing,
    .watch_add = add_watch,
    .watch_remove = remove_watch,
};

/* ---- The scene --------------------------------------------------------- */

static struct libspawn_host host;
static struct libspawn__guest_wait wait_op;
static int n_done;
static int code_done;

static void
on_done(struct libspawn__guest_wait *wait, const struct libspawn_err *err)
{
    ck_assert_ptr_eq(wait, &wait_op);
    n_done++;
    code_done = err ? err->code : 0;
}

static void
begin(const char *store, const char *config)
{
    struct libspawn_err err;

    guest.state = LIBSPAWN_GUEST_RUNNING;
    host.hypervisor = &hypervisor;
    harness_write_file("config.json", config);
    libspawn__store_register(&telling_class);
    assert_ok(libspawn__store_open(store, &host.store, &err), &err);
    assert_ok(libspawn_ctx_new(NULL, &host.ctx, &err), &err);
    libspawn__guest_wait_init(&wait_op);
}

static void
start(void)
{
    struct libspawn_err err;

    assert_ok(libspawn__guest_wait_start(&wait_op, &host, DOMID, on_done,
                                         &err),
              &err);
    ck_assert_int_eq(n_done, 0); /* only from dispatch */
}

static void
end(void)
{
    libspawn__guest_wait_abort(&wait_op);
    libspawn_ctx_free(host.ctx);
    libspawn__store_close(host.store);
}

static bool
turn_until_done(void *user)
{
    (void)user;
    libspawn_ctx_wait(host.ctx, 10, NULL);
    return n_done;
}

static bool
turn_until_looked(void *user)
{
    const int *n_looks = user;

    libspawn_ctx_wait(host.ctx, 10, NULL);
    return guest.n_looks >= *n_looks;
}

static void
await_look(int n_looks)
{
    ck_assert(harness_wait_until(turn_until_looked, &n_looks, WAIT_MS));
}

static void
assert_done(int code)
{
    ck_assert(harness_wait_until(turn_until_done, NULL, WAIT_MS));
    ck_assert_int_eq(n_done, 1);
    ck_assert_int_eq(code_done, code);
}

/* A process that lives until it is killed. */
static pid_t
start_process(struct libspawn__identity *id)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn_err err;
    pid_t pid = fork();

    if (!pid) {
        for (;;) {
            pause();
        }
    }
    assert_ok(libspawn__pidref_from_pid(pid, &ref, &err), &err);
    *id = ref.id;
    return pid;
}

static void
end_process(pid_t pid)
{
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static void
write_record(const struct libspawn__record *record)
{
    struct libspawn_err err;

    assert_ok(libspawn__record_write(host.store, "/libxl/7/libspawn/dm",
                                     record, &err),
              &err);
}

/* ---- Without Xen ------------------------------------------------------- */

/* Two looks, at the beginning and at the end: nobody asks again and again. */
TEST(wait_model_ends__is_told_without_looking_in_between)
{
    struct libspawn__record record = { .state = LIBSPAWN__RECORD_RUNNING };
    pid_t model;

    begin("dir:store", "{}");
    model = start_process(&record.child);
    record.watcher = record.caller = record.child;
    record.watcher.start_time++; /* gone */
    write_record(&record);
    start();
    await_look(1);
    ck_assert(!harness_wait_readable(libspawn_ctx_fd(host.ctx), 1500));
    guest.state = LIBSPAWN_GUEST_DM_DEAD;
    end_process(model);
    assert_done(0);
    ck_assert_int_eq(guest.n_looks, 2);
    end();
}

/* The next command removes the guest only when its end is written down. */
TEST(wait_model_ends__lasts_until_its_watcher_has_had_the_last_word)
{
    struct libspawn__record record = { .state = LIBSPAWN__RECORD_RUNNING };
    pid_t model;
    pid_t watcher;

    begin("dir:store", "{}");
    model = start_process(&record.child);
    watcher = start_process(&record.watcher);
    record.caller = record.watcher;
    write_record(&record);
    start();
    await_look(1);
    guest.state = LIBSPAWN_GUEST_DM_DEAD;
    end_process(model);
    libspawn_ctx_wait(host.ctx, WAIT_MS, NULL);
    ck_assert(!harness_wait_readable(libspawn_ctx_fd(host.ctx), 300));
    ck_assert_int_eq(n_done, 0);
    end_process(watcher);
    assert_done(0);
    end();
}

TEST(wait_model_ended_before__still_waits_for_the_watcher)
{
    struct libspawn__record record = { .state = LIBSPAWN__RECORD_RUNNING };
    pid_t watcher;

    begin("dir:store", "{}");
    watcher = start_process(&record.watcher);
    record.child = record.caller = record.watcher;
    record.child.start_time++; /* gone */
    write_record(&record);
    guest.state = LIBSPAWN_GUEST_DM_DEAD;
    start();
    ck_assert(!harness_wait_readable(libspawn_ctx_fd(host.ctx), 300));
    end_process(watcher);
    assert_done(0);
    end();
}

/* Its device model stays, so there is no event but time. */
TEST(wait_guest_that_is_kept__is_looked_at_now_and_then)
{
    struct libspawn__record record = { .state = LIBSPAWN__RECORD_RUNNING };
    pid_t model;

    begin("dir:store", "{\"on_poweroff\":\"preserve\"}");
    model = start_process(&record.child);
    record.watcher = record.caller = record.child;
    write_record(&record);
    start();
    await_look(1);
    guest.state = LIBSPAWN_GUEST_SHUTDOWN;
    assert_done(0);
    end_process(model);
    end();
}

TEST(wait_guest_is_gone_already__is_done)
{
    begin("dir:store", "{}");
    guest.is_gone = true;
    start();
    assert_done(0);
    end();
}

/* ---- On Xen ------------------------------------------------------------ */

TEST(wait_some_domain_is_released__only_ours_ends_it)
{
    begin("telling:", "{}");
    start();
    await_look(1);
    libspawn__store_watch_fire(&wait_op.release);
    await_look(2);
    ck_assert_int_eq(n_done, 0);
    ck_assert(!harness_wait_readable(libspawn_ctx_fd(host.ctx), 1500));
    guest.state = LIBSPAWN_GUEST_SHUTDOWN;
    libspawn__store_watch_fire(&wait_op.release);
    assert_done(0);
    end();
}

TEST(wait_store_is_lost__is_an_error_not_a_hang)
{
    begin("telling:", "{}");
    start();
    await_look(1);
    libspawn__store_lose(host.store);
    assert_done(LIBSPAWN_ERR_GONE);
    end();
}

TEST(wait_is_given_up__no_callback_comes)
{
    begin("telling:", "{}");
    start();
    guest.state = LIBSPAWN_GUEST_SHUTDOWN;
    libspawn__guest_wait_abort(&wait_op);
    ck_assert(!harness_wait_readable(libspawn_ctx_fd(host.ctx), 100));
    ck_assert_int_eq(n_done, 0);
    end();
}

TEST_MAIN("guest_wait")
