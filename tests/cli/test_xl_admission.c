/*
 * Nothing is torn down for a device model that was not admitted: guests whose
 * device model dies, hangs or flaps, under the supervisor of xl create.
 */
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/cli/supervised_story.h"
#include "wire/stream.h"

#define G "tale"
#define STILL_HOLDING "holding\",\"reason\":\"still"

/* A guest that runs. */
static void
begin(const char *lines)
{
    supervised_begin();
    supervised_write_config(G, lines);
    xl_ok("create", G ".cfg");
}

static void
destroy(const char *guest)
{
    xl_ok("destroy", guest);
    ck_assert(!supervised_is(guest));
}

static void
kill_model(const char *guest)
{
    ck_assert_int_eq(kill(supervised_model_pid(guest), SIGKILL), 0);
}

/* ---- What must not change ---------------------------------------------- */

enum { FILES_MAX = 256 };

struct file {
    char path[512];
    struct stat st;
};

struct files {
    struct file items[FILES_MAX];
    size_t n;
};

/* What is made anew for each device model, and belongs to it alone; and the
 * supervisor's own notes. */
static bool
is_of_model(const char *path)
{
    static const char *const parts[] = { "/qmp", "/dm", "serial", ".log",
                                         "device-model", "/.store",
                                         "/supervised" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(parts); i++) {
        if (strstr(path, parts[i])) {
            return true;
        }
    }
    return false;
}

static void
read_files(const char *dir, struct files *files)
{
    DIR *stream = opendir(dir);
    struct dirent *entry;

    ck_assert_ptr_nonnull(stream);
    while ((entry = readdir(stream))) {
        struct file *file = &files->items[files->n];

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) {
            continue;
        }
        ck_assert_uint_lt(files->n, FILES_MAX);
        snprintf(file->path, sizeof file->path, "%s/%s", dir, entry->d_name);
        ck_assert_int_eq(lstat(file->path, &file->st), 0);
        if (is_of_model(file->path)) {
            continue;
        }
        files->n++;
        if (S_ISDIR(file->st.st_mode)) {
            read_files(file->path, files);
        }
    }
    closedir(stream);
}

/* All that was set up for guests: their directories, and their nodes. */
static void
remember(struct files *files)
{
    files->n = 0;
    read_files("state/guests", files);
    read_files("state/store/local", files);
    read_files("state/store/vm", files);
    read_files("state/store/libxl", files);
    ck_assert_uint_gt(files->n, 5);
}

/* A directory in which a device model's own things came and went has another
 * time, and is the same directory. */
static void
assert_untouched(const struct files *files)
{
    size_t i;

    for (i = 0; i < files->n; i++) {
        const struct file *file = &files->items[i];
        struct stat st;

        ck_assert_msg(!lstat(file->path, &st), "'%s' is gone", file->path);
        ck_assert_msg(st.st_ino == file->st.st_ino, "'%s' is another",
                      file->path);
        ck_assert_msg(S_ISDIR(st.st_mode) ||
                          (st.st_mtim.tv_sec == file->st.st_mtim.tv_sec &&
                           st.st_mtim.tv_nsec == file->st.st_mtim.tv_nsec),
                      "'%s' was written again", file->path);
    }
}

/* ---- Flapping ---------------------------------------------------------- */

/* Covers A1, M5. */
TEST_TIMEOUT(replacement_that_accepts_and_dies__changes_nothing_on_the_host,
             SUPERVISED_TEST_S)
{
    enum { N_REPLACEMENTS = 10 };
    AUTO_FREE char *dying = NULL;
    struct files files;
    int64_t began;
    size_t n_more;
    size_t i;

    supervised_begin_slowly(25);
    supervised_write_config(G, "on_dm_crash = 'restart'");
    xl_ok("create", G ".cfg");
    supervised_await_event(G, "admitted", 1);
    remember(&files);
    dying = libspawn__str_format("--die-after=%d --status=inmigrate",
                                 (int)supervised_scaled(3000));
    supervised_set_model(G, dying);
    began = libspawn__clock_now_ms();
    kill_model(G);
    for (i = 1; i <= N_REPLACEMENTS + 1; i++) {
        supervised_await_event(G, "device-model-died", i);
    }
    n_more = (size_t)((libspawn__clock_now_ms() - began) /
                      supervised_scaled(60000));
    supervised_await_event(G, "preserved", 1); /* these were too many */
    assert_untouched(&files);
    ck_assert_uint_eq(supervised_count_events(G, "restarted"),
                      N_REPLACEMENTS);
    ck_assert_uint_eq(supervised_count_events(G, "destroyed"), 0);
    ck_assert_uint_eq(supervised_count_events(G, "created"), 1);
    ck_assert_uint_eq(supervised_count_events(G, "create-failed"), 0);
    ck_assert_uint_eq(supervised_count_events(G, "device-model-died"),
                      N_REPLACEMENTS + 1);
    /* 0 + 2 + 4 + 8 + 16 + 5 * 30 s of pauses, and 10 lives. */
    ck_assert_uint_eq(supervised_count_events(G, STILL_HOLDING), n_more);
    ck_assert_uint_eq(supervised_count_events(G, "holding"), 1 + n_more);
    destroy(G);
    xl_assert_nothing_left();
}

/* Covers A15. */
TEST_TIMEOUT(guest_beside_one_that_flaps__does_not_notice, SUPERVISED_TEST_S)
{
    struct files files;
    pid_t supervisor;
    pid_t model;
    int64_t worst = 0;
    size_t deaths = 0;
    size_t n_starts;

    begin("on_dm_crash = 'restart'");
    supervised_write_config("calm", "on_dm_crash = 'restart'");
    xl_ok("create", "calm.cfg");
    supervised_await_event("calm", "admitted", 1);
    supervisor = supervised_pid("calm");
    model = supervised_model_pid("calm");
    n_starts = supervised_count_lines("calm", "starts", "start");
    remember(&files);
    supervised_set_model(G, "--exit-after-ready=3");
    kill_model(G);
    while (deaths < 8) {
        int64_t began = libspawn__clock_now_ms();

        ck_assert_int_eq(supervised_model_pid("calm"), model);
        worst = MAX(worst, libspawn__clock_now_ms() - began);
        deaths = supervised_count_events(G, "device-model-died");
    }
    ck_assert_int_lt(worst, 500);
    ck_assert_int_eq(supervised_pid("calm"), supervisor);
    ck_assert_uint_eq(supervised_count_events("calm", "admitted"), 1);
    ck_assert_uint_eq(supervised_count_events("calm", "holding"), 0);
    ck_assert_uint_eq(supervised_count_lines("calm", "starts", "start"),
                      n_starts);
    assert_untouched(&files);
    destroy(G);
    destroy("calm");
    xl_assert_nothing_left();
}

/* ---- Admission --------------------------------------------------------- */

/* Covers A5. */
TEST_TIMEOUT(guest_that_runs__is_admitted_at_once_and_once, XL_TEST_S)
{
    begin("");
    supervised_await_state(G, "admitted");
    supervised_await_event(G, "admitted", 1);
    ck_assert_int_eq(supervised_number(G, "admissions"), 1);
    ck_assert_int_eq(supervised_number(G, "failing_ms"), 0);
    destroy(G);
}

/* Covers A4, M4. */
TEST_TIMEOUT(model_that_answers_but_never_runs__is_admitted_by_time,
             SUPERVISED_TEST_S)
{
    int64_t began;

    begin("on_dm_crash = 'restart'");
    supervised_set_model(G, "--status=io-error");
    began = libspawn__clock_now_ms();
    kill_model(G);
    supervised_await_event(G, "released", 1);
    ck_assert_int_ge(libspawn__clock_now_ms() - began,
                     supervised_scaled(30000));
    destroy(G);
}

/* Covers A6, A13. */
TEST_TIMEOUT(model_started_again__gets_what_it_lacks_once_and_first,
             XL_TEST_S)
{
    static const char *const once[] = { "set_password", "cont" };
    size_t i;

    begin("on_dm_crash = 'restart'\nvnc = 1\nvncpasswd = 'secret'");
    supervised_await_state(G, "admitted");
    for (i = 0; i < ARRAY_SIZE(once); i++) {
        ck_assert_uint_eq(supervised_count_lines(G, "qmp", once[i]), 1);
    }
    kill_model(G);
    supervised_await_event(G, "released", 1);
    ck_assert_int_eq(supervised_number(G, "admissions"), 2);
    assert_ok(supervised_command(G, "query-version"), NULL);
    for (i = 0; i < ARRAY_SIZE(once); i++) {
        ck_assert_uint_eq(supervised_count_lines(G, "qmp", once[i]), 2);
    }
    destroy(G);
}

/* Covers A13. */
TEST_TIMEOUT(model_that_was_there_all_the_time__gets_no_command, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output log = { 0 };
    struct xl_process supervisor;

    begin("vnc = 1\nvncpasswd = 'secret'");
    supervised_await_state(G, "admitted");
    supervised_kill(G, SIGKILL);
    ck_assert_int_eq(truncate(G ".qmp", 0), 0);
    supervisor = supervised_adopt(G);
    supervised_await_admissions(G, 2);
    log = harness_run("sort", "-u", G ".qmp");
    ck_assert_str_eq(log.out, "qmp_capabilities\nquery-status\n");
    destroy(G);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
}

/* What was wished for outlives the device model. */
TEST_TIMEOUT(guest_that_was_paused__is_started_again_paused, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };

    begin("on_dm_crash = 'restart'");
    supervised_await_state(G, "admitted");
    xl_ok("pause", G);
    kill_model(G);
    supervised_await_event(G, "released", 1);
    list = xl_run("list", G);
    assert_contains(list.out, "--p---");
    ck_assert_uint_eq(supervised_count_lines(G, "qmp", "cont"), 1);
    destroy(G);
}

/* Its supervisor hears of the pause and of the end at once, and can no longer
 * ask what the one meant. */
TEST_TIMEOUT(guest_paused_as_its_model_dies__is_started_again_paused,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    pid_t supervisor;
    pid_t model;

    begin("on_dm_crash = 'restart'");
    supervised_await_state(G, "admitted");
    supervisor = supervised_pid(G);
    model = supervised_model_pid(G);
    kill(supervisor, SIGSTOP);
    xl_ok("pause", G);
    ck_assert_int_eq(kill(model, SIGKILL), 0);
    kill(supervisor, SIGCONT);
    supervised_await_event(G, "released", 1);
    list = xl_run("list", G);
    assert_contains(list.out, "--p---");
    ck_assert_uint_eq(supervised_count_lines(G, "qmp", "cont"), 1);
    destroy(G);
}

TEST_TIMEOUT(guest_that_was_paused__is_adopted_as_it_is, XL_TEST_S)
{
    struct xl_process supervisor;

    begin("");
    xl_ok("pause", G);
    supervised_kill(G, SIGKILL);
    supervisor = supervised_adopt(G);
    supervised_await_admissions(G, 2);
    destroy(G);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
    ck_assert_uint_eq(supervised_count_lines(G, "qmp", "cont"), 1);
}

/* ---- Mute -------------------------------------------------------------- */

/* Asks, as people do, until it says so. */
static bool
is_listed_mute(void *user)
{
    AUTO_OUTPUT struct harness_output list = xl_run("dm-list");

    (void)user;
    xl_assert_ok(&list);
    return strstr(list.out, "connected, not admitted (") != NULL;
}

/* Covers A2. */
TEST_TIMEOUT(mute_model__is_listed_connected_and_not_admitted,
             SUPERVISED_TEST_S)
{
    AUTO_OUTPUT struct harness_output json = { 0 };
    struct xl_process supervisor;

    supervised_begin();
    supervised_write_config(G, "");
    supervised_set_model(G, "--mute-after=1");
    xl_ok("create", G ".cfg");
    ck_assert_uint_eq(supervised_count_admissions(G), 1);
    supervised_kill(G, SIGKILL);
    supervisor = supervised_adopt(G);
    ck_assert(harness_wait_until(is_listed_mute, NULL, XL_WAIT_MS));
    json = xl_run("dm-list", "--json");
    assert_contains(json.out, "\"state\": \"connected\"");
    ck_assert_uint_eq(supervised_count_admissions(G), 1);
    destroy(G);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
}

/* One that takes the place of another says no more than the first one. */
/* Covers A2, M4. */
TEST_TIMEOUT(mute_replacement__is_listed_connected_and_not_admitted, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output json = { 0 };

    begin("on_dm_crash = 'restart'");
    supervised_set_model(G, "--mute");
    kill_model(G);
    ck_assert(harness_wait_until(is_listed_mute, NULL, XL_WAIT_MS));
    json = xl_run("dm-list", "--json");
    assert_contains(json.out, "\"state\": \"connected\"");
    assert_contains(json.out, "\"device_model_pid\": ");
    ck_assert_uint_eq(supervised_count_events(G, "restarted"), 0);
    ck_assert_uint_eq(supervised_count_events(G, "admitted"), 1);
    destroy(G);
}

/* Covers A3. */
TEST_TIMEOUT(real_qemu_whose_monitor_is_occupied__is_connected_not_admitted,
             SUPERVISED_TEST_S)
{
    AUTO_FD int occupant = -1;
    struct xl_process supervisor;

    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    supervised_begin();
    xl_write_config("");
    xl_ok("create", XL_CONFIG);
    supervised_kill(G, SIGKILL);
    assert_ok(libspawn__stream_open("unix:state/guests/1/qmp-own", XL_WAIT_MS,
                                    &occupant, NULL),
              NULL);
    ck_assert(harness_wait_readable(occupant, XL_WAIT_MS)); /* its greeting */
    supervisor = supervised_adopt(G);
    ck_assert(harness_wait_until(is_listed_mute, NULL, XL_WAIT_MS));
    ck_assert_uint_eq(supervised_count_admissions(G), 1);
    close(TAKE_FD(occupant));
    supervised_await_state(G, "admitted");
    destroy(G);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
}

TEST_TIMEOUT(guest_without_supervisor__is_listed_so, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };

    supervised_begin();
    supervised_write_config(G, "");
    list = xl_run("create", "-e", G ".cfg");
    xl_assert_ok(&list);
    harness_output_dispose(&list);
    list = xl_run("dm-list");
    xl_assert_ok(&list);
    assert_contains(list.out, "unsupervised");
    destroy(G);
}

/* Its answer is not waited for longer than that of others. */
TEST_TIMEOUT(supervisor_that_is_stopped__is_listed_without_an_answer,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    int64_t began;

    begin("");
    kill(supervised_pid(G), SIGSTOP);
    began = libspawn__clock_now_ms();
    list = xl_run("dm-list");
    xl_assert_ok(&list);
    assert_contains(list.out, "no answer");
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 3500);
    kill(supervised_pid(G), SIGCONT);
    destroy(G);
}

/* Covers A6. */
TEST_TIMEOUT(command_for_a_model_that_is_not_admitted__is_refused, XL_TEST_S)
{
    begin("on_dm_crash = 'restart'");
    assert_ok(supervised_command(G, "query-version"), NULL);
    /* Answers, but neither runs nor can be believed to. */
    supervised_set_model(G, "--status=inmigrate");
    kill_model(G);
    supervised_await_state(G, "connected");
    assert_code(supervised_command(G, "query-version"), LIBSPAWN_ERR_BUSY);
    ck_assert_uint_eq(supervised_count_lines(G, "qmp", "query-version"), 1);
    destroy(G);
}

/* Covers A1, A10. */
TEST_TIMEOUT(mute_model__is_told_of_again_once_a_minute, SUPERVISED_TEST_S)
{
    struct xl_process supervisor;
    int64_t began;

    supervised_begin();
    supervised_write_config(G, "");
    supervised_set_model(G, "--mute-after=1");
    xl_ok("create", G ".cfg");
    supervised_kill(G, SIGKILL);
    supervisor = supervised_adopt(G);
    supervised_await_event(G, "holding", 1);
    began = libspawn__clock_now_ms();
    supervised_await_event(G, "holding", 3);
    ck_assert_int_ge(libspawn__clock_now_ms() - began,
                     supervised_scaled(115000));
    destroy(G);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
}

static unsigned long
count_wakeups(pid_t pid)
{
    static const char key[] = "\nvoluntary_ctxt_switches:";
    AUTO_FREE char *path = libspawn__str_format("/proc/%d/status", (int)pid);
    AUTO_FREE char *text = harness_read_file(path);
    const char *line = strstr(text, key);

    ck_assert_ptr_nonnull(line);
    return strtoul(line + strlen(key), NULL, 10);
}

/* Minutes pass, in the time that it has. */
TEST_TIMEOUT(supervisor_of_a_guest_that_runs__sleeps, XL_TEST_S)
{
    unsigned long before;
    int fds[2];

    begin("");
    supervised_await_state(G, "admitted");
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    harness_wait_readable(fds[0], 500); /* until that answer is done with */
    before = count_wakeups(supervised_pid(G));
    harness_wait_readable(fds[0], 2000);
    ck_assert_uint_le(count_wakeups(supervised_pid(G)), before);
    close(fds[0]);
    close(fds[1]);
    destroy(G);
}

/* ---- Holding ----------------------------------------------------------- */

/* Covers A9. */
TEST_TIMEOUT(guest_destroyed_while_it_is_held__leaves_nothing, XL_TEST_S)
{
    begin("on_dm_crash = 'restart'");
    supervised_set_model(G, "--exit=3");
    kill_model(G);
    supervised_await_event(G, "device-model-died", 2);
    destroy(G);
    xl_assert_nothing_left();
}

/* Covers A9. */
TEST_TIMEOUT(guest_destroyed_while_a_mute_model_starts__leaves_nothing,
             XL_TEST_S)
{
    begin("on_dm_crash = 'restart'");
    supervised_set_model(G, "--mute");
    kill_model(G);
    supervised_await_event(G, "restarting", 1);
    supervised_await_state(G, "connected");
    destroy(G);
    xl_assert_nothing_left();
}

/* Covers A9. */
TEST_TIMEOUT(supervisor_told_to_end_while_a_mute_model_starts__ends, XL_TEST_S)
{
    begin("on_dm_crash = 'restart'");
    supervised_set_model(G, "--mute");
    kill_model(G);
    supervised_await_event(G, "restarting", 1);
    supervised_await_state(G, "connected");
    supervised_kill(G, SIGTERM);
    ck_assert_int_ne(access("state/supervisors/" G ".pid", F_OK), 0);
    destroy(G);
    xl_assert_nothing_left();
}

/* How a guest gets into each state in which its supervisor stays. */
static const struct {
    const char *state;
    const char *model;  /* after the first */
    const char *action; /* on_dm_crash */
} places[] = {
    { "connected", "--mute", "restart" }, /* of a start that goes on */
    { "connected", "--status=inmigrate", "restart" },
    { "admitted", "", "restart" },
    { "backoff", "--exit=3", "restart" },
    { "failed", "", "preserve" },
};

static void
go_to(size_t place)
{
    AUTO_FREE char *lines =
        libspawn__str_format("on_dm_crash = '%s'", places[place].action);

    begin(lines);
    supervised_await_state(G, "admitted");
    supervised_set_model(G, places[place].model);
    kill_model(G);
    supervised_await_event(G, "device-model-died", 1);
    supervised_await_state(G, places[place].state);
}

/* Covers A9, D16. */
TEST_TIMEOUT(supervisor_killed_in_any_state__destroy_leaves_nothing,
             2 * XL_TEST_S)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(places); i++) {
        go_to(i);
        supervised_kill(G, SIGKILL);
        destroy(G);
        xl_assert_nothing_left();
        ck_assert_int_eq(unlink("state/events"), 0);
    }
}

/* Covers A9. */
TEST_TIMEOUT(guest_destroyed_in_any_state__leaves_nothing, 2 * XL_TEST_S)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(places); i++) {
        go_to(i);
        destroy(G);
        xl_assert_nothing_left();
        ck_assert_int_eq(unlink("state/events"), 0);
    }
}

/* Covers A14. */
TEST_TIMEOUT(hold_limit_with_preserve__the_guest_is_kept_and_it_is_told_once,
             SUPERVISED_TEST_S)
{
    struct xl_process supervisor;

    supervised_begin();
    supervised_write_config(G, "");
    supervised_set_model(G, "--mute-after=1");
    xl_ok("create", G ".cfg");
    supervised_kill(G, SIGKILL);
    supervisor = supervised_adopt(G);
    supervised_await_event(G, "preserved", 1);
    supervised_await_state(G, "failed");
    ck_assert_uint_eq(supervised_count_events(G, "preserved"), 1);
    ck_assert_int_eq(kill(supervised_model_pid(G), 0), 0);
    destroy(G);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
    xl_assert_nothing_left();
}

static bool
is_another(void *user)
{
    const pid_t *former = user;
    pid_t pid = supervised_find(G);

    return pid && pid != *former;
}

/* Leaves the guest with a model that is stopped, and that was given up. */
static pid_t
give_up(void)
{
    pid_t model = supervised_model_pid(G);
    pid_t former = supervised_pid(G);

    supervised_kill(G, SIGKILL);
    ck_assert_int_eq(kill(model, SIGSTOP), 0);
    xl_ok("list", G);
    ck_assert(harness_wait_until(is_another, &former, XL_WAIT_MS));
    supervised_await_event(G, "preserved", 1);
    supervised_await_state(G, "failed");
    return model;
}

/* Covers A14. */
TEST_TIMEOUT(model_that_was_given_up_and_goes_on__is_admitted_again,
             SUPERVISED_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    pid_t model;

    supervised_stay_quick();
    begin("");
    model = give_up();
    ck_assert_int_eq(kill(model, SIGCONT), 0);
    supervised_await_state(G, "admitted");
    supervised_await_event(G, "admitted", 2);
    ck_assert_int_eq(supervised_model_pid(G), model);
    assert_ok(supervised_command(G, "query-version"), NULL);
    list = xl_run("dm-list", G);
    assert_lacks(list.out, "the last one");
    /* The next end is news again. */
    kill_model(G);
    supervised_await_event(G, "preserved", 2);
    destroy(G);
    xl_assert_nothing_left();
}

/* Its monitor was not even connected to. */
TEST_TIMEOUT(model_that_was_given_up_and_serves_again__is_admitted_again,
             SUPERVISED_TEST_S)
{
    struct xl_process supervisor;
    pid_t model;

    supervised_stay_quick();
    begin("");
    supervised_await_state(G, "admitted");
    model = supervised_model_pid(G);
    supervised_kill(G, SIGKILL);
    ck_assert_int_eq(rename("state/guests/1/qmp-own", "away"), 0);
    supervisor = supervised_adopt(G);
    supervised_await_event(G, "preserved", 1);
    supervised_await_state(G, "failed");
    ck_assert_int_eq(rename("away", "state/guests/1/qmp-own"), 0);
    supervised_await_state(G, "admitted");
    ck_assert_int_eq(supervised_model_pid(G), model);
    ck_assert_uint_eq(supervised_count_events(G, "preserved"), 1);
    destroy(G);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(supervisor_of_a_model_that_was_given_up__may_become_another,
             SUPERVISED_TEST_S)
{
    AUTO_OUTPUT struct harness_output reexec = { 0 };
    pid_t model;

    supervised_stay_quick();
    begin("");
    model = give_up();
    reexec = xl_run("supervise", "--reexec", G);
    xl_assert_ok(&reexec);
    supervised_await_state(G, "failed");
    ck_assert_int_eq(supervised_number(G, "programs"), 1);
    ck_assert_uint_eq(supervised_count_events(G, "preserved"), 1);
    ck_assert_int_eq(kill(model, SIGCONT), 0);
    supervised_await_state(G, "admitted");
    destroy(G);
    xl_assert_nothing_left();
}

static bool
is_adopted(void *user)
{
    const pid_t *former = user;

    return supervised_is(G) && supervised_pid(G) != *former &&
           supervised_is_state(G, "failed");
}

/* Covers A14. */
TEST_TIMEOUT(hold_limit_reached__whoever_comes_next_tries_no_more,
             SUPERVISED_TEST_S)
{
    AUTO_OUTPUT struct harness_output reexec = { 0 };
    size_t n_holding;
    pid_t former;
    pid_t model;

    supervised_stay_quick();
    supervised_begin();
    supervised_write_config(G, "");
    supervised_set_model(G, "--mute-after=1");
    xl_ok("create", G ".cfg");
    supervised_kill(G, SIGKILL);
    xl_ok("supervise", G);
    supervised_await_event(G, "preserved", 1);
    supervised_await_state(G, "failed");
    model = supervised_model_pid(G);
    n_holding = supervised_count_events(G, "holding");
    former = supervised_pid(G);

    reexec = xl_run("supervise", "--reexec", G);
    xl_assert_ok(&reexec);
    ck_assert(supervised_is_state(G, "failed"));
    supervised_kill(G, SIGKILL);
    xl_ok("list", "--json");
    ck_assert(harness_wait_until(is_adopted, &former, XL_WAIT_MS));
    ck_assert_int_eq(supervised_model_pid(G), model);
    ck_assert_uint_eq(supervised_count_events(G, "holding"), n_holding);
    ck_assert_uint_eq(supervised_count_events(G, "preserved"), 1);
    destroy(G);
    xl_assert_nothing_left();
}

/* Covers A14. */
TEST_TIMEOUT(hold_limit_with_destroy__the_guest_is_removed, SUPERVISED_TEST_S)
{
    struct xl_process supervisor;

    supervised_stay_quick();
    supervised_begin();
    supervised_write_config(G, "on_dm_crash = 'destroy'");
    supervised_set_model(G, "--mute-after=1");
    xl_ok("create", G ".cfg");
    supervised_kill(G, SIGKILL);
    supervisor = supervised_adopt(G);
    supervised_await_event(G, "destroyed", 1);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
    ck_assert_uint_eq(supervised_count_events(G, "destroyed"), 1);
    xl_assert_nothing_left();
}

/* Covers A14. */
TEST_TIMEOUT(hold_limit_while_a_mute_model_starts__the_guest_is_kept,
             SUPERVISED_TEST_S)
{
    supervised_stay_quick();
    begin("on_dm_crash = 'restart'");
    supervised_set_model(G, "--mute");
    kill_model(G);
    supervised_await_event(G, "preserved", 1);
    supervised_await_state(G, "failed");
    destroy(G);
    xl_assert_nothing_left();
}

/* ---- Network ----------------------------------------------------------- */

#define TAP "tapA11"

/* Of its own, so that no interface of this host is touched. */
static bool
has_network(void)
{
    return !access("/dev/net/tun", W_OK) && !unshare(CLONE_NEWNET);
}

/* Whether the interface, which is made to be up, has a carrier. */
static bool
has_carrier(void)
{
    AUTO_OUTPUT struct harness_output up =
        harness_run("ip", "link", "set", TAP, "up");
    AUTO_OUTPUT struct harness_output show =
        harness_run("ip", "-o", "link", "show", TAP);

    return !up.status && strstr(show.out, "LOWER_UP");
}

/* With the real QEMU; false and a skipped test where that cannot be. */
static bool
begin_with_tap(void)
{
    if (xl_no_qemu() || !has_network()) {
        harness_mark_skipped("needs QEMU, /dev/net/tun, and a network of its "
                             "own");
        return false;
    }
    supervised_begin();
    xl_write_config("on_dm_crash = 'restart'\n"
                    "vif = [ 'type=ioemu,vifname=" TAP ",net=tap' ]");
    xl_ok("create", XL_CONFIG);
    ck_assert_uint_ne(if_nametoindex(TAP), 0);
    ck_assert(has_carrier());
    return true;
}

/* The n-th time. */
static void
crash_and_await(size_t n)
{
    unsigned int index = if_nametoindex(TAP);
    size_t n_released = supervised_count_events(G, "released");

    kill_model(G);
    supervised_await_event(G, "device-model-died", n);
    ck_assert(has_carrier());
    supervised_await_event(G, "released", n_released + 1);
    ck_assert_uint_eq(if_nametoindex(TAP), index);
}

/* Covers A11, M8. */
TEST_TIMEOUT(tap_of_a_guest__stays_as_it_is_during_ten_crashes,
             SUPERVISED_TEST_S)
{
    size_t i;

    if (!begin_with_tap()) {
        return;
    }
    for (i = 1; i <= 10; i++) {
        crash_and_await(i);
    }
    destroy(G);
    ck_assert_uint_eq(if_nametoindex(TAP), 0);
    xl_assert_nothing_left();
}

/* Covers A11. */
TEST_TIMEOUT(tap_of_a_guest__is_held_by_the_next_supervisor_too,
             SUPERVISED_TEST_S)
{
    struct xl_process supervisor;

    if (!begin_with_tap()) {
        return;
    }
    supervised_kill(G, SIGKILL);
    supervisor = supervised_adopt(G);
    supervised_await_admissions(G, 2);
    crash_and_await(1);
    destroy(G);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
}

TEST_MAIN("xl_admission")
