/*
 * What xl list shows of guests that answer late or not at all, or that nobody
 * gave a name.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "proc/record.h"
#include "tests/cli/xl_story.h"
#include "wire/stream.h"

enum { N_GUESTS = 5 };

static void
create_guests(const char *arguments)
{
    int i;

    xl_begin();
    xl_write_model_config(arguments);
    for (i = 1; i <= N_GUESTS; i++) {
        AUTO_FREE char *name = libspawn__str_format("name=\"guest%d\"", i);
        AUTO_OUTPUT struct harness_output output =
            xl_run("create", XL_CONFIG, name);

        xl_assert_ok(&output);
    }
}

static void
destroy_guests(void)
{
    int i;

    for (i = 1; i <= N_GUESTS; i++) {
        AUTO_FREE char *domid = libspawn__str_format("%d", i);
        AUTO_OUTPUT struct harness_output output = xl_run("destroy", domid);

        xl_assert_ok(&output);
    }
    xl_assert_nothing_left();
}

/* How often the letters stand in the column State of `xl list`; '*ms_r' is how
 * long that took. */
static size_t
count_states(const char *letters, int64_t *ms_r)
{
    int64_t began = libspawn__clock_now_ms();
    AUTO_OUTPUT struct harness_output list = xl_run("list");
    const char *p = list.out;
    size_t n = 0;

    *ms_r = libspawn__clock_now_ms() - began;
    xl_assert_ok(&list);
    while ((p = strstr(p, letters))) {
        n++;
        p++;
    }
    return n;
}

static int
connect_to_monitor(int domid)
{
    AUTO_FREE char *name =
        libspawn__str_format("unix:%s/state/guests/%d/qmp", harness_dir(),
                             domid);
    struct libspawn_err err;
    int fd = -1;

    assert_ok(libspawn__stream_connect(name, &fd, &err), &err);
    ck_assert(harness_wait_readable(fd, XL_WAIT_MS)); /* it is served */
    return fd;
}

/* ---- Time -------------------------------------------------------------- */

/* One after the other they would take 5 times as long. */
TEST_TIMEOUT(guests_that_answer_late__are_asked_at_once_and_shown_running,
             XL_TEST_S)
{
    int64_t ms;

    create_guests("'--answer-after=600'");
    ck_assert_uint_eq(count_states("r-----", &ms), N_GUESTS);
    ck_assert_int_ge(ms, 600);
    ck_assert_int_lt(ms, N_GUESTS * 600);
    destroy_guests();
}

/* Each monitor serves somebody else: nobody answers, all together are given
 * two seconds, and then it is the record that counts. */
TEST_TIMEOUT(guests_that_do_not_answer__cost_one_deadline_and_are_shown,
             XL_TEST_S)
{
    int fds[N_GUESTS];
    int64_t ms;
    int i;

    create_guests("'--stderr=x'");
    for (i = 0; i < N_GUESTS; i++) {
        fds[i] = connect_to_monitor(i + 1);
    }
    ck_assert_uint_eq(count_states("r-----", &ms), N_GUESTS);
    ck_assert_int_ge(ms, 2000);
    ck_assert_int_lt(ms, 4000);
    for (i = 0; i < N_GUESTS; i++) {
        close(fds[i]);
    }
    destroy_guests();
}

/* Those that answer are told apart from the one that does not. */
TEST_TIMEOUT(one_guest_does_not_answer__the_others_states_are_right, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output pause = { 0 };
    int64_t ms;
    int fd;

    create_guests("'--stderr=x'");
    pause = xl_run("pause", "guest2");
    xl_assert_ok(&pause);
    fd = connect_to_monitor(1);
    ck_assert_uint_eq(count_states("--p---", &ms), 1);
    ck_assert_uint_eq(count_states("r-----", &ms), N_GUESTS - 1);
    close(fd);
    destroy_guests();
}

/* Its creator is served by its monitor: nobody need be asked. */
TEST_TIMEOUT(guest_in_the_making__is_listed_paused_without_waiting, XL_TEST_S)
{
    struct xl_process create;
    int64_t ms;

    xl_begin();
    xl_write_model_config("'--greet-only'");
    create = xl_start("-v", "create", XL_CONFIG);
    ck_assert(xl_await_step(&create, "starting the device model"));
    while (!count_states("--p---", &ms)) {
        ck_assert_int_lt(ms, 2000);
    }
    ck_assert_int_lt(ms, 2000);
    kill(create.pid, SIGINT);
    ck_assert_int_eq(xl_wait(&create), 128 + SIGINT);
    xl_assert_nothing_left();
}

/* ---- A domain without a name ------------------------------------------- */

/* The store of a new state directory. */
static struct libspawn__store *
begin_with_store(void)
{
    struct libspawn__store *store;
    struct libspawn_err err;
    AUTO_OUTPUT struct harness_output list = { 0 };
    AUTO_FREE char *address =
        libspawn__str_format("dir:%s/state/store", harness_dir());

    xl_begin();
    list = xl_run("list");
    xl_assert_ok(&list);
    assert_ok(libspawn__store_open(address, &store, &err), &err);
    return store;
}

static void
put(struct libspawn__store *store, const char *path, const char *value)
{
    struct libspawn_err err;

    assert_ok(libspawn__store_puts(store, NULL, path, value, &err), &err);
}

/* It has a directory: without one it is the rest of a removal, which the next
 * command finishes. */
static void
make_nameless_domain(void)
{
    struct libspawn__store *store = begin_with_store();
    struct libspawn_err err;

    assert_ok(libspawn__dir_make("state/guests/7", 0700, &err), &err);
    put(store, "/local/domain/7/domid", "7");
    libspawn__store_close(store);
}

TEST_TIMEOUT(removal_that_was_interrupted__is_finished_by_the_next_command,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };

    make_nameless_domain();
    ck_assert_int_eq(rmdir("state/guests/7"), 0);
    list = xl_run("list");
    xl_assert_ok(&list);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(domain_without_a_name__is_found_by_its_number, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    AUTO_OUTPUT struct harness_output domname = { 0 };
    AUTO_OUTPUT struct harness_output destroy = { 0 };

    make_nameless_domain();
    list = xl_run("list", "7");
    xl_assert_ok(&list);
    assert_contains(list.out, "\n(null)  ");
    domname = xl_run("domname", "7");
    xl_assert_error(&domname, 1, "domain 7 has no name");
    destroy = xl_run("destroy", "7");
    xl_assert_ok(&destroy);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(number_of_no_domain__is_not_found_beside_a_nameless_one,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output destroy = { 0 };

    make_nameless_domain();
    destroy = xl_run("destroy", "8");
    xl_assert_error(&destroy, 1, "there is no guest with domain id 8");
}

/* ---- A guest that powers off before its creator is done ---------------- */

#define UUID "dc7fc62c-6cdb-4713-836b-9f2472350fd1"

/* Removing it has to wait, which is no reason for another command to fail. */
TEST_TIMEOUT(guest_off_while_it_is_handed_over__bothers_no_other_command,
             XL_TEST_S)
{
    struct libspawn__store *store = begin_with_store();
    struct libspawn__record record = { .state = LIBSPAWN__RECORD_EXITED,
                                       .is_known = true };
    AUTO_OUTPUT struct harness_output early = { 0 };
    AUTO_OUTPUT struct harness_output late = { 0 };
    AUTO_FREE char *intent = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__identity_self(&record.caller, &err), &err);
    record.child = record.caller;
    record.child.start_time++; /* gone, like its watcher */
    record.watcher = record.child;
    intent = libspawn__str_format(
        "%d %llu %s 7 off", (int)record.caller.pid,
        (unsigned long long)record.caller.start_time, record.caller.boot_id);
    put(store, "/local/domain/7/vm", "/vm/" UUID);
    put(store, "/local/domain/7/name", "off");
    put(store, "/libspawn/create/" UUID, intent);
    assert_ok(libspawn__record_write(store, "/libxl/7/libspawn/dm", &record,
                                     &err),
              &err);
    early = xl_run("list");
    xl_assert_ok(&early);
    assert_contains(early.out, "\noff ");
    assert_contains(early.out, "exited with status 0");
    assert_ok(libspawn__store_remove(store, NULL, "/libspawn/create/" UUID,
                                     &err),
              &err);
    libspawn__store_close(store);
    late = xl_run("list");
    xl_assert_ok(&late);
    assert_lacks(late.out, "\noff ");
    xl_assert_nothing_left();
}

TEST_MAIN("xl_list")
