/*
 * A watcher becomes another program while its child runs: nobody notices, and
 * a program that cannot take over gives back.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"

#define LOG "dm.log"
#define NEW_WATCHER "new-watcher"

/* The watcher's program of the build with another magic number in front of
 * the states that it understands, or the same. */
static void
make_new_watcher(bool is_other_version)
{
    static const char magic[] = "LSWATCH2";
    AUTO_FREE char *path =
        libspawn__str_format("%s/bin/spawn-watcher", harness_build_dir());
    AUTO_FREE char *bytes = NULL;
    AUTO_FD int fd = -1;
    struct libspawn_err err;
    size_t size;
    char *found;

    assert_ok(libspawn__file_read(path, 64 << 20, &bytes, &size, &err), &err);
    while (is_other_version &&
           (found = memmem(bytes, size, magic, sizeof magic - 1)) != NULL) {
        found[sizeof magic - 2] = '9';
    }
    fd = open(NEW_WATCHER, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(libspawn__fd_write_full(fd, bytes, size), 0);
}

/* A context that knows the new program. */
static struct libspawn_ctx *
new_context(void)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/" NEW_WATCHER, harness_dir());
    struct libspawn_ctx_options options = { .watcher_path = path };
    struct libspawn_ctx *ctx = NULL;
    struct libspawn_err err;

    assert_ok(libspawn_ctx_new(&options, &ctx, &err), &err);
    return ctx;
}

/* A child that does what each line on its descriptor 8 says, released, and
 * adopted by a context that knows the new program.  Returns our end. */
static int
begin(struct story *story, bool is_other_version)
{
    AUTO_FREE char *log = libspawn__str_format("%s/" LOG, harness_dir());
    struct libspawn_err err;
    int command;

    story_begin(story);
    make_new_watcher(is_other_version);
    libspawn_plan_set_log(story->plan, log, 0, 0);
    command = story_run_script(
        story, "while read line <&8; do eval \"$line\"; done");
    story_release(story, LIBSPAWN_RELEASE_WATCHED);
    story_forget(story);
    libspawn_ctx_free(story->ctx);
    story->ctx = new_context();
    assert_ok(libspawn_child_adopt(story->ctx, story->address, STORY_RECORD,
                                   story_on_event, story, &story->child, &err),
              &err);
    return command;
}

static bool
log_has_line(void *line)
{
    AUTO_FREE char *log = harness_read_file(LOG);

    return strstr(log, line) != NULL;
}

static void
await_line(char *line)
{
    ck_assert(harness_wait_until(log_has_line, line, STORY_WAIT_MS));
}

static bool
runs(pid_t pid, const char *name)
{
    AUTO_FREE char *link = libspawn__str_format("/proc/%d/exe", (int)pid);
    char path[4096];
    ssize_t n = readlink(link, path, sizeof path - 1);

    ck_assert_int_gt(n, 0);
    path[n] = '\0';
    return libspawn__str_has_suffix(path, name);
}

static void
assert_exited(struct story *story, int exit_code)
{
    struct libspawn__record record;

    story_await(story, "exited");
    ck_assert_int_eq(story_report(story)->end, LIBSPAWN_END_EXITED);
    ck_assert_int_eq(story_report(story)->exit_code, exit_code);
    ck_assert(story_read_record(story, &record));
    ck_assert_int_eq(record.state, LIBSPAWN__RECORD_EXITED);
    ck_assert_int_eq(WEXITSTATUS(record.wait_status), exit_code);
}

TEST(watcher_is_upgraded__is_the_same_process_with_another_program)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref watcher;
    struct libspawn_err err;
    size_t n_fds;
    AUTO_FD int command = begin(&story, false);
    AUTO_FREE char *log = NULL;
    char before[] = "before\n";

    story_tell(command, "echo before\n");
    await_line(before);
    watcher = story_pin_watcher(&story);
    n_fds = harness_count_fds(watcher.id.pid);
    assert_ok(libspawn_child_upgrade_watcher(story.child, &err), &err);
    ck_assert(libspawn__pidref_is_alive(&watcher));
    ck_assert(runs(watcher.id.pid, "/" NEW_WATCHER));
    /* Nothing of the old program stays open. */
    ck_assert_uint_le(harness_count_fds(watcher.id.pid), n_fds);
    libspawn__pidref_dispose(&watcher);
    story_tell(command, "echo after; exit 5\n");
    assert_exited(&story, 5);
    ck_assert_str_eq(story_report(&story)->tail, "before\nafter\n");
    ck_assert(story_report(&story)->has_usage);
    log = harness_read_file(LOG);
    assert_contains(log, "before\nafter\n");
}

TEST(watcher_is_upgraded_twice__others_stay_attached_and_can_come)
{
    AUTO_STORY struct story story;
    struct libspawn_child *first;
    struct libspawn_err err;
    AUTO_FD int command = begin(&story, false);

    first = TAKE_PTR(story.child);
    assert_ok(libspawn_child_upgrade_watcher(first, &err), &err);
    assert_ok(libspawn_child_adopt(story.ctx, story.address, STORY_RECORD,
                                   story_on_event, &story, &story.child, &err),
              &err);
    assert_ok(libspawn_child_upgrade_watcher(story.child, &err), &err);
    story_tell(command, "exit 6\n");
    story_await(&story, "exited exited");
    ck_assert_int_eq(libspawn_child_report(first)->exit_code, 6);
    ck_assert_int_eq(story_report(&story)->exit_code, 6);
    libspawn_child_free(first);
}

TEST(upgraded_watcher__stops_the_child)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;
    AUTO_FD int command = begin(&story, false);

    assert_ok(libspawn_child_upgrade_watcher(story.child, &err), &err);
    libspawn_child_stop(story.child);
    story_await(&story, "exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_STOPPED);
    (void)command;
}

TEST(new_program_does_not_know_the_state__gives_back)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref watcher;
    struct libspawn_err err;
    AUTO_FD int command = begin(&story, true);

    watcher = story_pin_watcher(&story);
    assert_code(libspawn_child_upgrade_watcher(story.child, &err),
                LIBSPAWN_ERR_UNSUPPORTED);
    ck_assert(runs(watcher.id.pid, strrchr(story.watcher, '/')));
    libspawn__pidref_dispose(&watcher);
    story_tell(command, "exit 5\n");
    assert_exited(&story, 5);
}

TEST(new_program_cannot_be_executed__all_is_as_before)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;
    AUTO_FD int command = begin(&story, false);
    AUTO_FD int fd = open(NEW_WATCHER, O_WRONLY | O_TRUNC | O_CLOEXEC);

    ck_assert_int_eq(libspawn__fd_write_full(fd, "no program\n", 11), 0);
    libspawn__auto_close(&fd);
    fd = -1;
    ck_assert_int_ne(libspawn_child_upgrade_watcher(story.child, &err), 0);
    assert_contains(err.text, "executing the new watcher");
    story_tell(command, "exit 5\n");
    assert_exited(&story, 5);
}

/* It ends between the two programs, at some time. */
TEST_TIMEOUT(child_ends_while_its_watcher_is_upgraded__is_told, 60)
{
    enum {
        ROUNDS = 20
    };
    int i;

    for (i = 0; i < ROUNDS; i++) {
        struct story story;
        AUTO_FD int command = begin(&story, false);

        story_tell(command, "exit 7\n");
        libspawn_child_upgrade_watcher(story.child, NULL);
        assert_exited(&story, 7);
        story_end(&story);
        ck_assert_int_eq(unlink(NEW_WATCHER), 0);
    }
}

TEST_MAIN("spawn_upgrade")
