/*
 * A child that speaks by sd_notify(3): readiness, status, and more time; and
 * others who would like to speak in its place.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"

enum { DEADLINE_MS = 400 };

/* The child is a script with say(text) and wait_for(file); it stays at the
 * end. */
static const char prelude[] =
    "import os, socket, subprocess, sys, time\n"
    "name = '\\0' + os.environ['NOTIFY_SOCKET'][1:]\n"
    "mailbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "def say(text):\n"
    "    mailbox.sendto(text.encode(), name)\n"
    "def wait_for(path):\n"
    "    while not os.path.exists(path):\n"
    "        time.sleep(0.01)\n";

static void
begin(struct story *story, uint32_t start_ms, uint32_t max_start_ms,
      const char *script)
{
    AUTO_FREE char *text =
        libspawn__str_format("%s%s\ntime.sleep(60)\n", prelude, script);

    story_begin(story);
    libspawn_plan_ready_on_socket(story->plan, max_start_ms);
    libspawn_plan_set_timeouts(story->plan, start_ms, 1000);
    libspawn_plan_set_directory(story->plan, harness_dir());
    story_program(story, "/usr/bin/python3", "-I", "-S", "-c", text);
}

static bool
exists(void *path)
{
    return !access(path, F_OK);
}

static void
await_file(char *path)
{
    ck_assert(harness_wait_until(exists, path, STORY_WAIT_MS));
}

/* Though there was time for more. */
static void
assert_only_started(struct story *story, int ms)
{
    ck_assert_int_eq(libspawn_ctx_wait(story->ctx, ms, NULL), 0);
    ck_assert_str_eq(story->trace, "started");
}

/* The child, which waits for that, says that it is ready. */
static void
let_go(struct story *story)
{
    harness_write_file("go", "");
    story_await(story, "started ready");
}

/* ---- Readiness --------------------------------------------------------- */

TEST(spawn_ready_on_socket__waits_for_the_word)
{
    AUTO_STORY struct story story;
    char said[] = "said";

    begin(&story, 0, 0,
          "say('STATUS=not yet')\n"
          "open('said', 'w')\n"
          "wait_for('go')\n"
          "say('STATUS=done\\nREADY=1')");
    story_start(&story);
    story_await(&story, "started");
    await_file(said);
    assert_only_started(&story, 20);
    ck_assert_str_eq(story_report(&story)->stage, "not yet");
    let_go(&story);
    story_stop_and_end(&story);
}

TEST(spawn_ready_on_socket_and_notify__needs_both)
{
    AUTO_STORY struct story story;

    begin(&story, 0, 0,
          "say('READY=1')\n"
          "wait_for('go')\n"
          "os.write(7, b'\\n')");
    libspawn_plan_ready_on_notify(story.plan, 7);
    story_start(&story);
    story_await(&story, "started");
    assert_only_started(&story, 100);
    let_go(&story);
    story_stop_and_end(&story);
}

/* The kernel translates its pid. */
TEST(spawn_ready_on_socket_in_a_pid_namespace__is_believed)
{
    AUTO_STORY struct story story;

    if (geteuid() != 0) {
        TEST_SKIP("needs the right to make namespaces");
    }
    begin(&story, 0, 0, "say('READY=1')");
    libspawn_plan_set_namespaces(story.plan, LIBSPAWN_NAMESPACE_PID |
                                                 LIBSPAWN_NAMESPACE_MOUNT |
                                                 LIBSPAWN_NAMESPACE_UTS);
    story_run(&story);
    story_stop_and_end(&story);
}

/* What a process of the child says cannot be proven to be the child's, and
 * everybody on the host may write to the socket. */
TEST(spawn_other_process_says_ready__is_not_believed_and_logged)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *log_path = libspawn__str_format("%s/log", harness_dir());
    AUTO_FREE char *log = NULL;
    char said[] = "said";

    begin(&story, 0, 0,
          "if os.fork() == 0:\n"
          "    say('READY=1'); say('STATUS=hello')\n"
          "    open('said', 'w')\n"
          "    os._exit(0)\n"
          "wait_for('go')\n"
          "say('READY=1')");
    libspawn_plan_set_log(story.plan, log_path, 0, 0);
    story_start(&story);
    story_await(&story, "started");
    await_file(said);
    assert_only_started(&story, 50);
    ck_assert_str_ne(story_report(&story)->stage, "hello");
    let_go(&story);
    log = harness_read_file("log");
    assert_contains(log, "is not the child");
    story_stop_and_end(&story);
}

TEST(spawn_letter_that_is_too_long__is_dropped_and_the_next_read)
{
    AUTO_STORY struct story story;

    begin(&story, 0, 0,
          "say('READY=1\\n' + 5000 * 'x')\n"
          "say('')\n"
          "wait_for('go')\n"
          "say('READY=1')");
    story_start(&story);
    story_await(&story, "started");
    assert_only_started(&story, 100);
    let_go(&story);
    story_stop_and_end(&story);
}

/* Nobody reads it any more: that must not hold the child up. */
TEST(spawn_says_more_once_it_is_ready__gets_an_error_and_does_not_hang)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *seen = NULL;
    char done[] = "done";

    begin(&story, 0, 0,
          "say('READY=1')\n"
          "wait_for('go')\n"
          "try:\n"
          "    for i in range(100): say('STATUS=x')\n"
          "except OSError as e:\n"
          "    open('seen', 'w').write(str(e.errno))\n"
          "open('done', 'w')");
    story_run(&story);
    harness_write_file("go", "");
    await_file(done);
    seen = harness_read_file("seen");
    ck_assert_int_eq(strtol(seen, NULL, 10), EPIPE);
    story_stop_and_end(&story);
}

/* The caller hears nothing meanwhile; what it has to hear must find room. */
TEST(spawn_floods_a_busy_caller__is_ready_all_the_same)
{
    AUTO_STORY struct story story;
    char done[] = "done";

    begin(&story, 0, 0,
          "for i in range(20000):\n"
          "    say('STATUS=%d\\nEXTEND_TIMEOUT_USEC=1' % i)\n"
          "say('READY=1')\n"
          "open('done', 'w')");
    story_start(&story);
    await_file(done);
    story_await(&story, "started ready");
    story_stop_and_end(&story);
}

/* ---- The deadline ------------------------------------------------------ */

TEST(spawn_never_says_ready__deadline_names_what_it_said_last)
{
    AUTO_STORY struct story story;

    begin(&story, DEADLINE_MS, 0,
          "say('STATUS=one'); say('STATUS=loading\\033[2J firmware')");
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_DEADLINE);
    ck_assert_str_eq(story_report(&story)->stage, "loading?[2J firmware");
    assert_contains(story_sentence(&story),
                    "was not ready within 400 ms (loading?[2J firmware)");
    story_assert_nothing_left(&story);
}

TEST(spawn_says_nothing__deadline_names_the_notification)
{
    AUTO_STORY struct story story;

    begin(&story, DEADLINE_MS, 0, "");
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_str_eq(story_report(&story)->stage,
                     "waiting for its notification");
}

TEST(spawn_asks_for_more_time__gets_it)
{
    AUTO_STORY struct story story;
    int64_t began = libspawn__clock_now_ms();

    begin(&story, DEADLINE_MS, 30000,
          "say('EXTEND_TIMEOUT_USEC=20000000')\n"
          "time.sleep(0.6)\n"
          "say('READY=1')");
    story_run(&story);
    ck_assert_int_ge(libspawn__clock_now_ms() - began, 600);
    story_stop_and_end(&story);
}

/* By an earlier moment than it has, and when there is no deadline. */
TEST(spawn_asks_for_less_time__keeps_what_it_has)
{
    AUTO_STORY struct story story;

    begin(&story, 5000, 0,
          "say('EXTEND_TIMEOUT_USEC=0'); say('EXTEND_TIMEOUT_USEC=1000')\n"
          "time.sleep(0.2)\n"
          "say('READY=1')");
    story_run(&story);
    ck_assert_int_eq(story_report(&story)->deadline_ms, 5000);
    story_stop_and_end(&story);
}

static void
assert_ends_after(struct story *story, int64_t ms)
{
    int64_t began = libspawn__clock_now_ms();

    story_start(story);
    story_await(story, "started failed");
    ck_assert_int_ge(libspawn__clock_now_ms() - began, ms);
    ck_assert_int_eq(story_report(story)->end, LIBSPAWN_END_DEADLINE);
    ck_assert_int_eq(story_report(story)->deadline_ms, ms);
    story_assert_nothing_left(story);
}

static const char asks_for_ever[] =
    "while True:\n"
    "    say('EXTEND_TIMEOUT_USEC=300000')\n"
    "    time.sleep(0.05)";

TEST(spawn_asks_for_more_time_again_and_again__ends_at_the_plans_maximum)
{
    AUTO_STORY struct story story;

    begin(&story, 300, 700, asks_for_ever);
    assert_ends_after(&story, 700);
}

TEST(spawn_asks_for_more_time_without_maximum__gets_ten_times_the_deadline)
{
    AUTO_STORY struct story story;

    begin(&story, 150, 0, asks_for_ever);
    assert_ends_after(&story, 1500);
}

/* A caller that comes back late finds deadline and letter at once. */
TEST(spawn_asks_a_busy_caller_for_more_time__gets_it)
{
    AUTO_STORY struct story story;
    char said[] = "said";

    begin(&story, DEADLINE_MS, 30000,
          "say('EXTEND_TIMEOUT_USEC=20000000')\n"
          "time.sleep(0.6)\n"
          "open('said', 'w')\n"
          "wait_for('go')\n"
          "say('READY=1')");
    story_start(&story);
    await_file(said);
    story_await(&story, "started");
    let_go(&story);
    story_stop_and_end(&story);
}

TEST_MAIN("spawn_socket")
