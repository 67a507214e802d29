/*
 * The life of a guest under the real QEMU, subcommand by subcommand.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/pidref.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/record.h"
#include "tests/cli/xl_story.h"
#include "tests/flow/recycle.h"
#include "wire/json.h"

/* A configuration that boots the tiny guest from a disk of its own, since
 * only one guest may write to it. */
static void
write_hello_config(void)
{
    AUTO_FREE char *image = libspawn__str_format(
        "%s/build/guest/hello.img", harness_source_dir());
    AUTO_OUTPUT struct harness_output copy =
        harness_run("cp", image, "hello.img");

    xl_assert_ok(&copy);
    harness_write_file(XL_CONFIG,
                       "name = \"" XL_GUEST "\"\nmemory = 32\n"
                       "serial = \"pty\"\nvnc = 0\n"
                       "disk = [ 'hello.img,raw,hda,rw' ]\n");
}

static void
create(void)
{
    AUTO_OUTPUT struct harness_output output = xl_run("create", XL_CONFIG);

    xl_assert_ok(&output);
    ck_assert_str_eq(output.out, "");
}

/* The state of the guest, as `xl list --json` has it: "running", "" for none.
 * Valid until the next call. */
static const char *
state(void)
{
    static char word[32];
    AUTO_OUTPUT struct harness_output output =
        xl_run("list", "--json", XL_GUEST);
    AUTO_JSON struct libspawn__json *json = NULL;
    const char *text;
    struct libspawn_err err;

    xl_assert_ok(&output);
    assert_ok(libspawn__json_parse(output.out, strlen(output.out), 1 << 20,
                                   &json, &err),
              &err);
    text = libspawn__json_string(libspawn__json_item(
        libspawn__json_member(libspawn__json_item(json, 0), "state"), 0));
    snprintf(word, sizeof word, "%s", text ? text : "");
    return word;
}

static void
run_ok(const char *command)
{
    AUTO_OUTPUT struct harness_output output = xl_run(command, XL_GUEST);

    xl_assert_ok(&output);
    ck_assert_str_eq(output.out, "");
}

/* ---- Life -------------------------------------------------------------- */

TEST_TIMEOUT(guest_is_created_and_destroyed__nothing_is_left, XL_TEST_S)
{
    xl_begin();
    xl_write_config("");
    create();
    ck_assert_str_eq(state(), "running");
    xl_destroy_guest();
}

TEST_TIMEOUT(guest_in_the_list__has_the_stock_columns, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    char name[64];
    unsigned int domid;
    unsigned int memory;
    unsigned int vcpus;
    char letters[16];

    xl_begin();
    xl_write_config("vcpus = 2");
    create();
    list = xl_run("list");
    xl_assert_ok(&list);
    ck_assert_int_eq(sscanf(strchr(list.out, '\n') + 1, "%63s %u %u %u %15s",
                            name, &domid, &memory, &vcpus, letters),
                     5);
    ck_assert_str_eq(name, XL_GUEST);
    ck_assert_uint_eq(domid, 1);
    ck_assert_uint_eq(memory, 16);
    ck_assert_uint_eq(vcpus, 2);
    ck_assert_str_eq(letters, "r-----");
    xl_destroy_guest();
}

TEST_TIMEOUT(guest_long_list__is_the_stock_json, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };

    xl_begin();
    xl_write_config("");
    create();
    list = xl_run("list", "-l");
    xl_assert_ok(&list);
    assert_contains(list.out, "\"domid\": 1");
    assert_contains(list.out, "\"name\": \"" XL_GUEST "\"");
    xl_destroy_guest();
}

TEST_TIMEOUT(domid_and_domname__are_inverse, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output domid = { 0 };
    AUTO_OUTPUT struct harness_output domname = { 0 };

    xl_begin();
    xl_write_config("");
    create();
    domid = xl_run("domid", XL_GUEST);
    domname = xl_run("domname", "1");
    xl_assert_ok(&domid);
    xl_assert_ok(&domname);
    ck_assert_str_eq(domid.out, "1\n");
    ck_assert_str_eq(domname.out, XL_GUEST "\n");
    xl_destroy_guest();
}

TEST_TIMEOUT(guest_is_paused_and_unpaused__list_says_so, XL_TEST_S)
{
    xl_begin();
    xl_write_config("");
    create();
    run_ok("pause");
    ck_assert_str_eq(state(), "paused");
    run_ok("pause");
    run_ok("unpause");
    ck_assert_str_eq(state(), "running");
    xl_destroy_guest();
}

TEST_TIMEOUT(guest_is_created_paused__and_runs_when_told, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    xl_write_config("");
    output = xl_run("create", "-p", XL_CONFIG);
    xl_assert_ok(&output);
    ck_assert_str_eq(state(), "paused");
    run_ok("unpause");
    ck_assert_str_eq(state(), "running");
    xl_destroy_guest();
}

TEST_TIMEOUT(create_as_json__tells_name_and_domid, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    xl_write_config("");
    output = xl_run("create", "--json", XL_CONFIG);
    xl_assert_ok(&output);
    ck_assert_str_eq(output.out, "{\"name\":\"" XL_GUEST "\",\"domid\":1}\n");
    xl_destroy_guest();
}

TEST_TIMEOUT(create_with_overrides__the_last_word_counts, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_OUTPUT struct harness_output list = { 0 };
    AUTO_OUTPUT struct harness_output end = { 0 };

    xl_begin();
    xl_write_config("");
    output = xl_run("create", XL_CONFIG, "memory=24", "name=\"other\"");
    xl_assert_ok(&output);
    list = xl_run("list", "--json", "other");
    assert_contains(list.out, "\"memory_mib\": 24");
    end = xl_run("destroy", "other");
    xl_assert_ok(&end);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(domain_ids__are_not_used_again, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output domid = { 0 };

    xl_begin();
    xl_write_config("");
    create();
    xl_destroy_guest();
    create();
    domid = xl_run("domid", XL_GUEST);
    ck_assert_str_eq(domid.out, "2\n");
    xl_destroy_guest();
}

TEST_TIMEOUT(verbose_create__names_every_step, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    const char *at;
    size_t i;

    xl_begin();
    xl_write_config("");
    output = xl_run("-v", "create", XL_CONFIG);
    ck_assert_int_eq(output.status, 0);
    at = output.err;
    for (i = 0; xl_steps[i]; i++) {
        at = strstr(at, xl_steps[i]);
        ck_assert_msg(at != NULL, "step '%s' is not in its place in:\n%s",
                      xl_steps[i], output.err);
    }
    xl_destroy_guest();
}

/* Nobody else may look at its screen or type at its console. */
TEST_TIMEOUT(files_of_a_guest__are_for_their_owner_only, XL_TEST_S)
{
    static const char *const paths[] = { "state", "state/guests/1",
                                         "state/guests/1/qmp",
                                         "state/guests/1/config.json",
                                         "state/store" };
    struct stat st;
    size_t i;

    xl_begin();
    xl_write_config("");
    create();
    for (i = 0; i < ARRAY_SIZE(paths); i++) {
        ck_assert_int_eq(stat(paths[i], &st), 0);
        ck_assert_msg(!(st.st_mode & 077), "'%s' has mode %o", paths[i],
                      (unsigned int)st.st_mode & 0777);
    }
    xl_destroy_guest();
}

/* Nothing below an xl that has ended may hold its descriptors. */
TEST_TIMEOUT(create_in_a_pipeline__ends_the_pipeline, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    xl_write_config("");
    output = harness_run("/bin/sh", "-c",
                         "\"$0\" create " XL_CONFIG " 2>&1 | cat", xl_path());
    ck_assert_int_eq(output.status, 0);
    xl_destroy_guest();
}

/* ---- The guest itself -------------------------------------------------- */

TEST_TIMEOUT(guest_console__greets_and_answers, XL_TEST_S)
{
    struct xl_process console;

    xl_begin();
    write_hello_config();
    console = xl_start_talk("create", "-c", XL_CONFIG);
    ck_assert(xl_await_words(&console, "Hello from the guest"));
    ck_assert(xl_await_words(&console, "> "));
    xl_say(&console, "good morning\r");
    ck_assert(xl_await_words(&console, "you said: good morning"));
    xl_say(&console, "\x1d"); /* Ctrl-] */
    ck_assert_int_eq(xl_wait(&console), 0);
    ck_assert_str_eq(state(), "running");
    console = xl_start_talk("console", XL_GUEST);
    xl_say(&console, "again\r");
    ck_assert(xl_await_words(&console, "you said: again"));
    xl_say(&console, "\x1d");
    ck_assert_int_eq(xl_wait(&console), 0);
    xl_destroy_guest();
}

static bool
is_not_listed(void *user)
{
    AUTO_OUTPUT struct harness_output list = xl_run("list");

    (void)user;
    xl_assert_ok(&list);
    return !strstr(list.out, XL_GUEST);
}

TEST_TIMEOUT(guest_powers_off__console_ends_and_nothing_is_left, XL_TEST_S)
{
    struct xl_process console;

    xl_begin();
    write_hello_config();
    console = xl_start_talk("create", "-c", XL_CONFIG);
    ck_assert(xl_await_words(&console, "> "));
    xl_say(&console, "off\r");
    ck_assert_int_eq(xl_wait(&console), 0);
    ck_assert(harness_wait_until(is_not_listed, NULL, XL_WAIT_MS));
    xl_assert_nothing_left();
}

TEST_TIMEOUT(guest_is_asked_to_power_off__it_does_and_nothing_is_left,
             XL_TEST_S)
{
    struct xl_process console;
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    write_hello_config();
    console = xl_start_talk("create", "-c", XL_CONFIG);
    ck_assert(xl_await_words(&console, "> "));
    output = xl_run("shutdown", "-w", "-F", "--timeout=20", XL_GUEST);
    xl_assert_ok(&output);
    ck_assert(is_not_listed(NULL)); /* at once: its end is written down */
    ck_assert_int_eq(xl_wait(&console), 0);
    xl_assert_nothing_left();
}

/* QEMU stays, and only its monitor knows that the guest is off. */
TEST_TIMEOUT(guest_is_kept_when_off__wait_ends_and_it_is_listed_shut_down,
             XL_TEST_S)
{
    struct xl_process console;
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    write_hello_config();
    console = xl_start_talk("create", "-c", XL_CONFIG,
                            "on_poweroff=\"preserve\"");
    ck_assert(xl_await_words(&console, "> "));
    xl_say(&console, "\x1d");
    ck_assert_int_eq(xl_wait(&console), 0);
    output = xl_run("shutdown", "-w", "--timeout=20", XL_GUEST);
    xl_assert_ok(&output);
    ck_assert_str_eq(state(), "shutdown");
    xl_destroy_guest();
}

TEST_TIMEOUT(guest_ignores_the_power_button__wait_is_over_in_time, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    xl_write_model_config("'--ignore-powerdown'");
    create();
    output = xl_run("shutdown", "-w", "--timeout=1", XL_GUEST);
    xl_assert_error(&output, 75, "has not powered off within 1 s");
    xl_destroy_guest();
}

/* Big-endian, as everything in a PNG. */
static unsigned int
number_at(const char *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;

    return (unsigned int)b[0] << 24 | (unsigned int)b[1] << 16 |
           (unsigned int)b[2] << 8 | b[3];
}

/* The size of a picture that is whole, chunk by chunk. */
static size_t
check_png(const char *path)
{
    static const char signature[] = "\x89PNG\r\n\x1a\n";
    AUTO_FREE char *text = NULL;
    struct libspawn_err err;
    size_t size;
    size_t at = sizeof signature - 1;

    assert_ok(libspawn__file_read(path, 1 << 24, &text, &size, &err), &err);
    ck_assert_uint_gt(size, 64);
    ck_assert(!memcmp(text, signature, at));
    ck_assert(!memcmp(text + at + 4, "IHDR", 4));
    ck_assert_uint_ge(number_at(text + at + 8), 320);
    ck_assert_uint_ge(number_at(text + at + 12), 200);
    while (memcmp(text + at + 4, "IEND", 4) != 0) {
        at += 12 + number_at(text + at);
        ck_assert_uint_le(at + 12, size);
    }
    ck_assert_uint_eq(at + 12, size);
    return size;
}

static bool
screen_shows_text(void *user)
{
    const size_t *blank_size = user;
    AUTO_OUTPUT struct harness_output output =
        xl_run("screenshot", XL_GUEST, "now.png");

    xl_assert_ok(&output);
    return check_png("now.png") > *blank_size + 200;
}

/* Blank is what a guest shows that has not begun. */
TEST_TIMEOUT(screenshot_of_a_guest_that_greets__is_a_picture_of_it, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_OUTPUT struct harness_output blank = { 0 };
    size_t blank_size;

    xl_begin();
    write_hello_config();
    output = xl_run("create", "-p", XL_CONFIG);
    xl_assert_ok(&output);
    blank = xl_run("screenshot", XL_GUEST, "blank.png");
    xl_assert_ok(&blank);
    blank_size = check_png("blank.png");
    run_ok("unpause");
    ck_assert(harness_wait_until(screen_shows_text, &blank_size, XL_WAIT_MS));
    xl_destroy_guest();
}

TEST_TIMEOUT(screenshot_into_a_missing_directory__is_an_error, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    xl_write_config("");
    create();
    output = xl_run("screenshot", XL_GUEST, "missing/now.png");
    xl_assert_error(&output, 1, "'missing/now.png'");
    xl_destroy_guest();
}

/* ---- A device model that ends ------------------------------------------ */

static struct libspawn__record
read_record(void)
{
    struct libspawn__store *store;
    struct libspawn__record record;
    struct libspawn_err err;
    AUTO_FREE char *address =
        libspawn__str_format("dir:%s/state/store", harness_dir());

    assert_ok(libspawn__store_open(address, &store, &err), &err);
    assert_ok(libspawn__record_read(store, "/libxl/1/libspawn/dm", &record,
                                    &err),
              &err);
    libspawn__store_close(store);
    return record;
}

static void
kill_identity(const struct libspawn__identity *id)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn_err err;

    assert_ok(libspawn__pidref_open(id, &ref, &err), &err);
    assert_ok(libspawn__pidref_signal(&ref, SIGKILL, &err), &err);
    assert_ok(libspawn__pidref_wait(&ref, XL_WAIT_MS, &err), &err);
}

static bool
is_gone(void *user)
{
    const struct libspawn__identity *id = user;

    waitpid(id->pid, NULL, WNOHANG); /* it may have been left to us */
    return kill(id->pid, 0) < 0;
}

/* Covers X6. */
TEST_TIMEOUT(model_is_killed_later__list_tells_how_and_destroy_works,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    AUTO_OUTPUT struct harness_output pause = { 0 };
    struct libspawn__record record;

    xl_begin();
    xl_write_config("");
    create();
    record = read_record();
    kill_identity(&record.child);
    ck_assert(harness_wait_until(is_gone, &record.watcher, XL_WAIT_MS));
    list = xl_run("list");
    xl_assert_ok(&list);
    assert_contains(list.out, "was killed by SIGKILL (Killed)");
    pause = xl_run("pause", XL_GUEST);
    xl_assert_error(&pause, 1, "the device model of domain 1 does not run");
    xl_destroy_guest();
}

/* Covers X15. */
TEST_TIMEOUT(model_is_gone_and_its_pid_is_another__destroy_harms_nobody,
             XL_TEST_S)
{
    struct libspawn__pidref innocent = LIBSPAWN__PIDREF_INIT;
    struct libspawn__record record;
    struct libspawn_err err;

    xl_begin();
    xl_write_config("");
    create();
    record = read_record();
    kill_identity(&record.watcher); /* so that no end is recorded */
    kill_identity(&record.child);
    ck_assert(harness_wait_until(is_gone, &record.child, XL_WAIT_MS));
    if (fork_with_pid(record.child.pid) < 0) {
        xl_destroy_guest();
        TEST_SKIP("cannot choose the number of a process");
    }
    assert_ok(libspawn__pidref_from_pid(record.child.pid, &innocent, &err),
              &err);
    {
        AUTO_OUTPUT struct harness_output output =
            xl_run("destroy", XL_GUEST);

        xl_assert_ok(&output);
    }
    ck_assert(libspawn__pidref_is_alive(&innocent));
    libspawn__pidref_signal(&innocent, SIGKILL, NULL);
    ck_assert_int_eq(waitpid(innocent.id.pid, NULL, 0), innocent.id.pid);
    libspawn__pidref_dispose(&innocent);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(watcher_is_killed__guest_lives_and_can_be_destroyed, XL_TEST_S)
{
    struct libspawn__record record;

    xl_begin();
    xl_write_config("");
    create();
    record = read_record();
    kill_identity(&record.watcher);
    ck_assert_str_eq(state(), "running");
    xl_destroy_guest();
}

static bool
is_stopped(void *user)
{
    const struct libspawn__identity *id = user;
    AUTO_FREE char *path = libspawn__str_format("/proc/%d/stat", (int)id->pid);
    AUTO_FREE char *text = harness_read_file(path);
    const char *end = strrchr(text, ')');

    return end && end[1] == ' ' && end[2] == 'T';
}

/* A stopped process is not waited for: it is seen that it cannot run. */
TEST_TIMEOUT(model_is_stopped__list_says_paused_at_once_and_destroy_ends_it,
             XL_TEST_S)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn__record record;
    struct libspawn_err err;
    int64_t began;

    xl_begin();
    xl_write_config("");
    create();
    record = read_record();
    assert_ok(libspawn__pidref_open(&record.child, &ref, &err), &err);
    assert_ok(libspawn__pidref_signal(&ref, SIGSTOP, &err), &err);
    ck_assert(harness_wait_until(is_stopped, &record.child, 2000));
    began = libspawn__clock_now_ms();
    ck_assert_str_eq(state(), "paused");
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 2000);
    xl_destroy_guest();
}

TEST_MAIN_UNLESS("xl_life", xl_no_qemu)
