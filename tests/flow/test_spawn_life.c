/*
 * A child's whole life after its release: what is known of its end, and a log
 * that keeps up with it whatever it writes and wherever that goes.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"

#define LOG "dm.log"

static void
begin_with_log(struct story *story, const char *directory, size_t max_size,
               unsigned int n_old)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/%s/" LOG, harness_dir(), directory);

    story_begin(story);
    libspawn_plan_set_log(story->plan, path, max_size, n_old);
    libspawn_plan_set_directory(story->plan, harness_dir());
}

/* ---- What is known of the end ------------------------------------------ */

TEST(released_child_ends__record_and_log_tell_what_it_used)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *log = NULL;
    struct libspawn__record record;
    int fds[2];

    begin_with_log(&story, ".", 0, 0);
    story_program(&story, "/bin/sh", "-c",
                  "read line <&8; i=0; "
                  "while [ $i -lt 200000 ]; do i=$((i + 1)); done; exit 3");
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    libspawn_plan_add_fd(story.plan, fds[0], 8);
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    close(fds[0]);
    close(fds[1]);
    story_await(&story, "started ready exited");
    ck_assert(story_read_record(&story, &record));
    ck_assert_int_eq(WEXITSTATUS(record.wait_status), 3);
    ck_assert(record.has_usage);
    ck_assert_int_gt(record.user_us + record.system_us, 10000);
    ck_assert_int_gt(record.max_rss_kib, 100);
    ck_assert_int_gt(record.lived_ms, 0);
    ck_assert_int_eq(record.oom, LIBSPAWN__OOM_NO);
    ck_assert(story_report(&story)->user_us == record.user_us);
    log = harness_read_file(LOG);
    assert_contains(log, "exited with status 3; it lived ");
    assert_contains(log, " KiB of memory\n");
}

TEST(child_killed_on_a_host_with_memory__was_not_out_of_memory)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref ref;
    struct libspawn_err err;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    ref = story_pin_child(&story);
    assert_ok(libspawn__pidref_signal(&ref, SIGKILL, &err), &err);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_report(&story)->signal, SIGKILL);
    ck_assert(!story_report(&story)->out_of_memory);
    libspawn__pidref_dispose(&ref);
}

/* Waits for its plan. */
static bool
is_waiting_watcher(void *user)
{
    AUTO_FREE char *stat = harness_read_file(user);

    return strstr(stat, " (spawn-watcher") && strstr(stat, ") S ");
}

static void
prepare_watcher(struct story *story)
{
    AUTO_FREE char *path = NULL;
    struct libspawn_err err;
    pid_t pid;

    assert_ok(libspawn_ctx_prepare(story->ctx, NULL, "tale", &err), &err);
    ck_assert_uint_eq(harness_child_pids(&pid, 1), 1);
    path = libspawn__str_format("/proc/%d/stat", (int)pid);
    ck_assert(harness_wait_until(is_waiting_watcher, path, STORY_WAIT_MS));
}

/* Somebody else on this host may be killed for memory meanwhile, but not each
 * time. */
TEST(prepared_child_is_killed_at_once__surely_was_not_out_of_memory)
{
    enum { MAX_TRIES = 10 };
    bool is_known = false;
    int i;

    for (i = 0; i < MAX_TRIES && !is_known; i++) {
        AUTO_STORY struct story story;
        struct libspawn__pidref ref;
        struct libspawn_err err;

        story_begin(&story);
        prepare_watcher(&story);
        story_model(&story, "--never-ready");
        story_run(&story);
        ref = story_pin_child(&story);
        assert_ok(libspawn__pidref_signal(&ref, SIGKILL, &err), &err);
        story_await(&story, "started ready exited");
        ck_assert(!story_report(&story)->out_of_memory);
        is_known = story_report(&story)->is_oom_known;
        libspawn__pidref_dispose(&ref);
    }
    ck_assert(is_known);
}

/* A directory that looks like a cgroup and counts what we say. */
TEST(counter_of_its_cgroup_rises__child_was_out_of_memory)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *cgroup = libspawn__str_format("%s/cgroup", harness_dir());
    AUTO_FREE char *json = NULL;
    struct libspawn__pidref ref;
    struct libspawn_err err;

    ck_assert_int_eq(mkdir("cgroup", 0755), 0);
    harness_write_file("cgroup/cgroup.procs", "");
    harness_write_file("cgroup/memory.events.local",
                       "low 0\noom 7\noom_kill 3\n");
    story_begin(&story);
    libspawn_plan_set_cgroup(story.plan, cgroup);
    story_model(&story, "--never-ready");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    harness_write_file("cgroup/memory.events.local",
                       "low 0\noom 8\noom_kill 4\n");
    ref = story_pin_child(&story);
    assert_ok(libspawn__pidref_signal(&ref, SIGKILL, &err), &err);
    story_await(&story, "started ready exited");
    ck_assert(story_report(&story)->out_of_memory);
    ck_assert(story_report(&story)->is_oom_known);
    assert_contains(story_sentence(&story), "the host was out of memory");
    json = libspawn_report_json(story_report(&story));
    assert_contains(json, "\"out_of_memory\":true");
    assert_contains(json, "\"max_rss_kib\":");
    libspawn__pidref_dispose(&ref);
}

/* A memory cgroup (version 1 or 2) of 16 MiB; false when none can be made. */
static bool
make_tight_cgroup(char *path, size_t size)
{
    static const struct {
        const char *top;
        const char *limit;
    } kinds[] = {
        { "/sys/fs/cgroup", "memory.max" },
        { "/sys/fs/cgroup/memory", "memory.limit_in_bytes" },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(kinds); i++) {
        AUTO_FREE char *limit = NULL;

        snprintf(path, size, "%s/libspawn-test-%d", kinds[i].top,
                 (int)getpid());
        limit = libspawn__str_format("%s/%s", path, kinds[i].limit);
        if (!mkdir(path, 0755)) {
            AUTO_FD int fd = open(limit, O_WRONLY | O_CLOEXEC);

            if (fd >= 0 && !libspawn__fd_write_full(fd, "16777216", 8)) {
                return true;
            }
            rmdir(path);
        }
    }
    return false;
}

static bool
is_removed(void *user)
{
    return !rmdir(user);
}

/* Really, by the kernel; the plan knows nothing of the cgroup. */
TEST(kernel_kills_it_to_free_memory__is_told_or_unknown_but_not_denied)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *script = NULL;
    char cgroup[128];

    if (!make_tight_cgroup(cgroup, sizeof cgroup)) {
        TEST_SKIP("needs a memory cgroup");
    }
    script = libspawn__str_format(
        "echo $$ >%s/cgroup.procs && exec tail /dev/zero", cgroup);
    story_begin(&story);
    story_program(&story, "/bin/sh", "-c", script);
    story_run(&story);
    story_await(&story, "started ready exited");
    ck_assert(harness_wait_until(is_removed, cgroup, STORY_WAIT_MS));
    ck_assert_int_eq(story_report(&story)->signal, SIGKILL);
    ck_assert(story_report(&story)->out_of_memory ||
              !story_report(&story)->is_oom_known);
    if (!access("/dev/kmsg", R_OK)) {
        ck_assert(story_report(&story)->out_of_memory);
    }
}

/* ---- Noise ------------------------------------------------------------- */

/* Megabytes; NOISE_MB for more. */
static unsigned long
noise_size(void)
{
    const char *text = getenv("NOISE_MB");
    unsigned long megabytes = text ? strtoul(text, NULL, 10) : 0;

    return (megabytes ? megabytes : 200) * 1000000;
}

TEST_TIMEOUT(child_that_writes_without_pause__is_logged_within_bounds, 120)
{
    enum {
        MAX_SIZE = 1024 * 1024,
        N_OLD = 2
    };
    AUTO_STORY struct story story;
    AUTO_FREE char *noise =
        libspawn__str_format("yes noise | head -c %lu; exit 7", noise_size());

    begin_with_log(&story, ".", MAX_SIZE, N_OLD);
    story_program(&story, "/bin/sh", "-c", noise);
    story_start(&story);
    while (story.trace[0] == '\0' || !strstr(story.trace, "exited")) {
        struct libspawn_err err;

        assert_ok(libspawn_ctx_wait(story.ctx, -1, &err), &err);
        ck_assert_int_le(harness_file_size(LOG), MAX_SIZE);
    }
    ck_assert_int_eq(story_report(&story)->exit_code, 7);
    ck_assert_int_le(harness_file_size(LOG), MAX_SIZE);
    ck_assert_int_le(harness_file_size(LOG ".1"), MAX_SIZE);
    ck_assert_int_le(harness_file_size(LOG ".2"), MAX_SIZE);
    ck_assert_int_eq(harness_file_size(LOG ".3"), -1);
    assert_contains(story_report(&story)->tail, "noise\n");
}

static bool
make_small_disk(void)
{
    return unshare(CLONE_NEWNS) == 0 && mkdir("small", 0755) == 0 &&
           mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "small", "tmpfs", 0, "size=64k") == 0;
}

TEST(disk_is_full_for_a_while__log_says_how_much_is_lost_once_there_is_room)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *log = NULL;
    int fds[2];

    if (!make_small_disk()) {
        TEST_SKIP("needs the right to mount");
    }
    begin_with_log(&story, "small", 0, 0);
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    libspawn_plan_add_fd(story.plan, fds[0], 8);
    libspawn_plan_ready_on_notify(story.plan, 7);
    story_program(&story, "/bin/sh", "-c",
                  "dd if=/dev/zero of=small/full bs=4k count=100 2>&-; "
                  "i=0; while [ $i -lt 2000 ]; do echo line $i; "
                  "i=$((i + 1)); done; rm small/full; echo >&7; "
                  "read line <&8; echo last; exit 7");
    story_start(&story);
    story_await(&story, "started ready");
    close(fds[0]);
    close(fds[1]);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_report(&story)->exit_code, 7);
    log = harness_read_file("small/" LOG);
    assert_contains(log, " bytes of output are lost: No space left on device");
    assert_contains(log, "last\n");
    umount2("small", MNT_DETACH);
}

TEST_MAIN("spawn_life")
