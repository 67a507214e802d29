/*
 * A released child is taken over from its record: by another process, by the
 * same one after a restart, with a watcher that lives, hangs or died.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/util.h"
#include "proc/protocol.h"
#include "proc/status.h"
#include "tests/flow/spawn_story.h"
#include "wire/stream.h"

#define PID_NODE "/libxl/1/pid"

/* ---- A kernel that does not tell --------------------------------------- */

static bool is_old_kernel;

int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, void *argument);

int
__wrap_ioctl(int fd, unsigned long request, ...)
{
    void *argument;
    va_list args;

    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);
    if (is_old_kernel) {
        errno = ENOTTY;
        return -1;
    }
    return __real_ioctl(fd, request, argument);
}

static bool
kernel_tells(void)
{
    pid_t pid = fork();
    int status = 0;
    AUTO_FD int pidfd = -1;

    if (!pid) {
        _exit(3);
    }
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    return libspawn__status_from_pidfd(pidfd, &status) ==
               LIBSPAWN__STATUS_KNOWN &&
           WEXITSTATUS(status) == 3;
}

/* ---- The story --------------------------------------------------------- */

/* A child that ends as the next line on its descriptor 8 says, is released
 * and forgotten.  Returns our end. */
static int
begin_forgotten(struct story *story)
{
    int command;

    story_begin(story);
    libspawn_plan_add_pid_node(story->plan, PID_NODE);
    command = story_run_obedient(story);
    story_release(story, LIBSPAWN_RELEASE_WATCHED);
    story_forget(story);
    return command;
}

/* One that ends by SIGKILL only, which comes soon. */
static void
begin_forgotten_stubborn(struct story *story)
{
    story_begin(story);
    libspawn_plan_set_timeouts(story->plan, 0, 100);
    story_model(story, "--never-ready", "--ignore-term");
    story_run(story);
    story_release(story, LIBSPAWN_RELEASE_WATCHED);
    story_forget(story);
}

static int
try_adopt(struct story *story, struct libspawn_err *err)
{
    return libspawn_child_adopt(story->ctx, story->address, STORY_RECORD,
                                story_on_event, story, &story->child, err);
}

static void
adopt(struct story *story)
{
    struct libspawn_err err;

    assert_ok(try_adopt(story, &err), &err);
}

static void
kill_watcher(struct story *story)
{
    struct libspawn__pidref ref = story_pin_watcher(story);
    struct libspawn_err err;

    assert_ok(libspawn__pidref_signal(&ref, SIGKILL, &err), &err);
    story_assert_gone(&ref);
}

static bool
has_pid_node(struct story *story)
{
    AUTO_FREE char *pid = NULL;

    return !libspawn__store_read(story->store, NULL, PID_NODE, &pid, NULL,
                                 NULL);
}

static void
assert_recorded(struct story *story, bool is_known, int exit_code)
{
    struct libspawn__record record;

    ck_assert(story_read_record(story, &record));
    ck_assert_int_eq(record.state, LIBSPAWN__RECORD_EXITED);
    ck_assert_int_eq(record.is_known, is_known);
    ck_assert(record.ended_at_ms >= record.started_at_ms);
    if (is_known) {
        ck_assert_int_eq(WEXITSTATUS(record.wait_status), exit_code);
    }
    ck_assert(!has_pid_node(story));
}

static void
assert_exited(struct story *story, int exit_code)
{
    story_await(story, "exited");
    ck_assert_int_eq(story_report(story)->end, LIBSPAWN_END_EXITED);
    ck_assert_int_eq(story_report(story)->exit_code, exit_code);
    assert_recorded(story, true, exit_code);
}

static void
assert_unknown(struct story *story)
{
    story_await(story, "exited");
    ck_assert_int_eq(story_report(story)->end, LIBSPAWN_END_UNKNOWN);
    assert_contains(story_sentence(story), "how is unknown");
    assert_recorded(story, false, 0);
}

/* There is no watcher to tell it. */
static void
assert_told_by_kernel(struct story *story, int exit_code)
{
    if (kernel_tells()) {
        assert_exited(story, exit_code);
    } else {
        assert_unknown(story);
    }
}

static void
read_text(struct story *story, struct libspawn__record *record_r,
          struct libspawn__record_text *text_r)
{
    struct libspawn_err err;

    assert_ok(libspawn__record_read_text(story->store, STORY_RECORD, record_r,
                                         text_r, &err),
              &err);
}

/* Somebody changed where the watcher listens, or what it wants to hear; NULL:
 * not this one. */
static void
change_record(struct story *story, const char *control, const char *secret)
{
    AUTO_RECORD_TEXT struct libspawn__record_text text = { 0 };
    struct libspawn__record record;
    struct libspawn_err err;

    read_text(story, &record, &text);
    if (control) {
        assert_ok(libspawn__str_assign(&text.control, control, &err), &err);
    }
    if (secret) {
        assert_ok(libspawn__str_assign(&text.secret, secret, &err), &err);
    }
    record.text = &text;
    assert_ok(
        libspawn__record_write(story->store, STORY_RECORD, &record, &err),
        &err);
}

/* ---- With its watcher -------------------------------------------------- */

TEST(adopted_child_exits__is_told_with_status_tail_and_usage)
{
    AUTO_STORY struct story story;
    const struct libspawn_report *report;
    AUTO_FD int command = begin_forgotten(&story);

    adopt(&story);
    report = story_report(&story);
    ck_assert_str_eq(report->guest, "tale");
    ck_assert_str_eq(report->program, "/bin/sh");
    ck_assert_str_eq(report->argv[1], "-c");
    ck_assert_int_gt(libspawn_child_pid(story.child), 0);
    story_tell(command, "echo bye; exit 5\n");
    assert_exited(&story, 5);
    report = story_report(&story);
    ck_assert_str_eq(report->tail, "bye\n");
    ck_assert(report->has_usage);
    ck_assert_int_gt(report->max_rss_kib, 100);
}

static void
start_elsewhere(struct story *story)
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        story_begin(story);
        story_model(story, "--never-ready");
        story_run(story);
        story_release(story, LIBSPAWN_RELEASE_WATCHED);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

TEST(child_of_a_process_that_is_gone__is_adopted_and_stopped)
{
    AUTO_STORY struct story story;

    start_elsewhere(&story);
    story_begin(&story);
    adopt(&story);
    libspawn_child_stop(story.child);
    story_await(&story, "exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_STOPPED);
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_EXITED);
}

TEST(child_adopted_twice__tells_both)
{
    AUTO_STORY struct story story;
    struct libspawn_child *other;
    struct libspawn_err err;
    AUTO_FD int command = begin_forgotten(&story);

    adopt(&story);
    other = TAKE_PTR(story.child);
    adopt(&story);
    story_tell(command, "exit 6\n");
    story_await(&story, "exited exited");
    assert_code(libspawn_child_check(other, &err), LIBSPAWN_ERR_CHILD);
    assert_contains(err.text, "exited with status 6");
    ck_assert_int_eq(story_report(&story)->exit_code, 6);
    libspawn_child_free(other);
}

TEST(adopted_child_is_released_and_freed__lives_and_is_adopted_again)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref ref;
    AUTO_FD int command = begin_forgotten(&story);

    adopt(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    ref = story_pin_child(&story);
    libspawn_child_free(TAKE_PTR(story.child));
    adopt(&story);
    ck_assert(libspawn__pidref_is_alive(&ref));
    libspawn__pidref_dispose(&ref);
    story_tell(command, "exit 0\n");
    assert_exited(&story, 0);
}

TEST(adopted_child_that_ignores_sigterm__is_killed_after_the_grace)
{
    AUTO_STORY struct story story;

    begin_forgotten_stubborn(&story);
    adopt(&story);
    libspawn_child_stop(story.child);
    story_await(&story, "exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_STOPPED);
}

TEST(child_that_was_not_released__stays_its_callers)
{
    AUTO_STORY struct story story;
    struct libspawn_child *other = NULL;
    struct libspawn_err err;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    assert_code(libspawn_child_adopt(story.ctx, story.address, STORY_RECORD,
                                     NULL, NULL, &other, &err),
                LIBSPAWN_ERR_BUSY);
    assert_contains(err.text, "was not released");
    ck_assert_ptr_null(other);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    story_end_released(&story);
    story_await(&story, "started ready exited");
}

TEST(no_record__is_nothing_to_adopt)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    assert_code(try_adopt(&story, NULL), LIBSPAWN_ERR_NOT_FOUND);
}

/* ---- Ended meanwhile --------------------------------------------------- */

TEST(child_ended_before_it_is_adopted__tells_the_end_in_the_record)
{
    AUTO_STORY struct story story;
    AUTO_FD int command = begin_forgotten(&story);

    story_tell(command, "kill -SEGV $$\n");
    story_await_record(&story, LIBSPAWN__RECORD_EXITED);
    adopt(&story);
    assert_code(libspawn_child_check(story.child, NULL), LIBSPAWN_ERR_CHILD);
    story_await(&story, "exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_SIGNALED);
    ck_assert_int_eq(story_report(&story)->signal, SIGSEGV);
    ck_assert(story_report(&story)->is_oom_known);
    assert_contains(story_sentence(&story), "guest 'tale'");
    ck_assert(story_report(&story)->has_usage);
    ck_assert(!has_pid_node(&story));
}

/* The watcher may still be at work when the child is gone. */
TEST(child_ends_while_it_is_adopted__is_told_whichever_comes_first)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref ref;
    AUTO_FD int command = begin_forgotten(&story);

    ref = story_pin_child(&story);
    story_tell(command, "exit 4\n");
    story_assert_gone(&ref);
    adopt(&story);
    assert_exited(&story, 4);
}

TEST(child_and_watcher_died__how_is_unknown_and_recorded_so)
{
    AUTO_STORY struct story story;
    AUTO_FD int command = begin_forgotten(&story);
    struct libspawn__pidref child = story_pin_child(&story);

    kill_watcher(&story);
    story_tell(command, "exit 4\n");
    story_assert_gone(&child);
    adopt(&story);
    assert_unknown(&story);
}

/* ---- Without its watcher ----------------------------------------------- */

TEST(watcher_died_before__child_lives_and_the_kernel_tells_its_status)
{
    AUTO_STORY struct story story;
    AUTO_FD int command = begin_forgotten(&story);

    kill_watcher(&story);
    adopt(&story);
    ck_assert_str_eq(story_report(&story)->program, "/bin/sh");
    ck_assert_str_eq(story_report(&story)->argv[1], "-c");
    story_tell(command, "exit 7\n");
    assert_told_by_kernel(&story, 7);
}

TEST(watcher_dies_while_attached__child_lives_and_its_end_is_told)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref ref;
    struct libspawn_err err;
    AUTO_FD int command = begin_forgotten(&story);

    adopt(&story);
    ref = story_pin_child(&story);
    kill_watcher(&story);
    assert_ok(libspawn_ctx_wait(story.ctx, 50, &err), &err);
    ck_assert(libspawn__pidref_is_alive(&ref));
    ck_assert_str_eq(story.trace, "");
    libspawn__pidref_dispose(&ref);
    story_tell(command, "exit 7\n");
    assert_told_by_kernel(&story, 7);
}

TEST(kernel_that_does_not_tell__leaves_the_end_unknown)
{
    AUTO_STORY struct story story;
    AUTO_FD int command = begin_forgotten(&story);

    is_old_kernel = true;
    kill_watcher(&story);
    adopt(&story);
    story_tell(command, "exit 0\n");
    assert_unknown(&story);
}

TEST(child_without_watcher_is_stopped__gets_sigterm_then_sigkill)
{
    AUTO_STORY struct story story;

    begin_forgotten_stubborn(&story);
    kill_watcher(&story);
    adopt(&story);
    libspawn_child_stop(story.child);
    story_await(&story, "exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_STOPPED);
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_EXITED);
}

TEST(detached_child__is_adopted_and_its_end_recorded)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref watcher;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    watcher = story_pin_watcher(&story);
    story_release(&story, LIBSPAWN_RELEASE_DETACHED);
    story_assert_gone(&watcher);
    story_forget(&story);
    adopt(&story);
    story_end_released(&story);
    story_await(&story, "exited");
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_EXITED);
}

/* Whoever removed the traces wants none back. */
TEST(record_is_removed_before_the_end__is_not_written_again)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;
    AUTO_FD int command = begin_forgotten(&story);

    kill_watcher(&story);
    adopt(&story);
    assert_ok(libspawn__store_remove(story.store, NULL, STORY_RECORD, NULL),
              NULL);
    story_tell(command, "exit 7\n");
    story_await(&story, "exited");
    ck_assert(!story_read_record(&story, &record));
}

/* Nor is it believed: the next child has the same record. */
TEST(record_is_another_childs_before_the_end__is_neither_read_nor_written)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;
    AUTO_FD int command = begin_forgotten(&story);

    kill_watcher(&story);
    adopt(&story);
    ck_assert(story_read_record(&story, &record));
    record.state = LIBSPAWN__RECORD_EXITED;
    record.is_known = true;
    record.wait_status = 9 << 8;
    record.child.start_time++;
    assert_ok(libspawn__record_write(story.store, STORY_RECORD, &record, NULL),
              NULL);
    story_tell(command, "exit 7\n");
    story_await(&story, "exited");
    ck_assert_int_eq(story_report(&story)->exit_code, kernel_tells() ? 7 : 0);
    ck_assert(story_report(&story)->lived_ms < 1000000);
    ck_assert(story_read_record(&story, &record));
    ck_assert_int_eq(WEXITSTATUS(record.wait_status), 9);
}

/* ---- Proof of identity ------------------------------------------------- */

TEST(pid_belongs_to_another_process__that_one_is_not_touched)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;
    struct libspawn__pidref child;
    AUTO_FD int command = begin_forgotten(&story);

    child = story_pin_child(&story);
    ck_assert(story_read_record(&story, &record));
    record.child.start_time++;
    record.watcher.start_time++;
    assert_ok(libspawn__record_write(story.store, STORY_RECORD, &record, NULL),
              NULL);
    adopt(&story);
    libspawn_child_stop(story.child);
    story_await(&story, "exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_UNKNOWN);
    ck_assert(libspawn__pidref_is_alive(&child));
    story_tell(command, "exit 0\n");
    story_assert_gone(&child);
}

/* Its name was free for a moment, and somebody took it. */
TEST(somebody_else_has_the_watchers_name__hears_no_secret)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *name = NULL;
    AUTO_FD int listener = -1;
    AUTO_FD int peer = -1;
    struct libspawn_err err;
    char bytes[64];
    AUTO_FD int command = begin_forgotten(&story);

    assert_ok(libspawn__stream_listen_hidden(&name, &listener, &err), &err);
    change_record(&story, name, NULL);
    adopt(&story);
    assert_ok(libspawn__stream_accept(listener, &peer, &err), &err);
    ck_assert_int_eq(read(peer, bytes, sizeof bytes), 0);
    story_tell(command, "exit 5\n");
    assert_exited(&story, 5);
}

TEST(who_does_not_know_the_secret__is_not_attached)
{
    AUTO_STORY struct story story;
    AUTO_FD int command = begin_forgotten(&story);

    change_record(&story, NULL, "00000000000000000000000000000000");
    adopt(&story);
    story_tell(command, "echo bye; exit 5\n");
    assert_exited(&story, 5);
    /* Which only the watcher can tell. */
    ck_assert_str_eq(story_report(&story)->tail, "");
}

/* As another user, who has read the record somehow; 0 when dropped. */
static int
attach_as_nobody(const struct libspawn__record_text *text)
{
    struct libspawn__watcher_message message = {
        .version = LIBSPAWN__WATCHER_VERSION,
        .type = LIBSPAWN__WATCHER_ATTACH,
    };
    int fd;

    if (setresuid(65534, 65534, 65534) < 0 ||
        libspawn__stream_connect_hidden(text->control, &fd, NULL)) {
        return 1;
    }
    memcpy(message.u.attach.secret, text->secret, strlen(text->secret));
    libspawn__stream_send(fd, &message, sizeof message, NULL, 0);
    return !harness_wait_readable(fd, STORY_WAIT_MS) ||
           read(fd, &message, sizeof message) > 0;
}

TEST(another_user__is_not_attached)
{
    AUTO_STORY struct story story;
    AUTO_RECORD_TEXT struct libspawn__record_text text = { 0 };
    struct libspawn__record record;
    int status;
    pid_t pid;
    AUTO_FD int command = begin_forgotten(&story);

    read_text(&story, &record, &text);
    pid = getuid() ? -1 : fork();
    if (!pid) {
        _exit(attach_as_nobody(&text));
    }
    if (pid > 0) {
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
    }
    story_tell(command, "exit 0\n");
    story_await_record(&story, LIBSPAWN__RECORD_EXITED);
    if (pid < 0) {
        TEST_SKIP("needs to be root");
    }
}

/* ---- A watcher in trouble ---------------------------------------------- */

TEST_TIMEOUT(watcher_that_hangs__child_is_adopted_beside_it, 30)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref watcher;
    struct libspawn_err err;
    AUTO_FD int command = begin_forgotten(&story);

    watcher = story_pin_watcher(&story);
    assert_ok(libspawn__pidref_signal(&watcher, SIGSTOP, &err), &err);
    adopt(&story);
    story_tell(command, "exit 5\n");
    assert_ok(libspawn_ctx_wait(story.ctx, 200, &err), &err);
    ck_assert_str_eq(story.trace, "");
    assert_ok(libspawn__pidref_signal(&watcher, SIGCONT, &err), &err);
    assert_exited(&story, 5);
    libspawn__pidref_dispose(&watcher);
}

/* They hold all places and say nothing. */
TEST(watcher_with_silent_visitors__serves_the_next_when_they_leave)
{
    enum {
        VISITORS = 40
    };
    AUTO_STORY struct story story;
    AUTO_RECORD_TEXT struct libspawn__record_text text = { 0 };
    struct libspawn__record record;
    int fds[VISITORS];
    size_t i;
    AUTO_FD int command = begin_forgotten(&story);

    read_text(&story, &record, &text);
    for (i = 0; i < VISITORS; i++) {
        assert_ok(libspawn__stream_connect_hidden(text.control, &fds[i], NULL),
                  NULL);
    }
    for (i = 0; i < VISITORS; i++) {
        close(fds[i]);
    }
    adopt(&story);
    story_tell(command, "echo bye; exit 5\n");
    assert_exited(&story, 5);
    ck_assert_str_eq(story_report(&story)->tail, "bye\n");
}

TEST_MAIN("spawn_adopt")
