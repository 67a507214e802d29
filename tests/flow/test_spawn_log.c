/*
 * What the child writes: a bounded file with older generations, and its last
 * lines in the report, whatever bytes it writes and whatever becomes of the
 * file.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/utf8.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"
#include "wire/json.h"

#define LOG "dm.log"

static void
begin_with_log(struct story *story, size_t max_size, unsigned int n_old)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/" LOG, harness_dir());

    story_begin(story);
    libspawn_plan_set_log(story->plan, path, max_size, n_old);
    libspawn_plan_set_directory(story->plan, harness_dir());
    story_ready_on_confirm(story, false);
}

static void
run_until_failed(struct story *story)
{
    story_start(story);
    story_await(story, "started failed");
}

/* ---- The file ---------------------------------------------------------- */

TEST(log_of_a_noisy_child__is_bounded_and_keeps_so_many_generations)
{
    enum { MAX_SIZE = 64 * 1024 };
    AUTO_STORY struct story story;

    begin_with_log(&story, MAX_SIZE, 2);
    story_model(&story, "--noise=1000000", "--exit=1");
    run_until_failed(&story);
    ck_assert_int_le(harness_file_size(LOG), MAX_SIZE);
    ck_assert_int_gt(harness_file_size(LOG ".1"), MAX_SIZE / 2);
    ck_assert_int_le(harness_file_size(LOG ".1"), MAX_SIZE);
    ck_assert_int_le(harness_file_size(LOG ".2"), MAX_SIZE);
    ck_assert_int_eq(harness_file_size(LOG ".3"), -1);
}

TEST(log_smaller_than_one_write__is_bounded_too)
{
    AUTO_STORY struct story story;

    begin_with_log(&story, 1000, 1);
    story_model(&story, "--noise=50000", "--exit=1");
    run_until_failed(&story);
    ck_assert_int_le(harness_file_size(LOG), 1000);
    ck_assert_int_le(harness_file_size(LOG ".1"), 1000);
    ck_assert_int_eq(harness_file_size(LOG ".2"), -1);
}

TEST(log_of_a_second_start__is_a_new_generation)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *log = NULL;
    AUTO_FREE char *old = NULL;

    begin_with_log(&story, 0, 0);
    story_program(&story, "/bin/sh", "-c",
                  "[ -e twice ] && echo second || echo first; touch twice; "
                  "exit 1");
    run_until_failed(&story);
    story_start_again(&story);
    story_await(&story, "started failed");
    log = harness_read_file(LOG);
    old = harness_read_file(LOG ".1");
    ck_assert_str_eq(log, "second\n");
    ck_assert_str_eq(old, "first\n");
}

TEST(log_of_both_outputs__is_in_the_order_of_writing)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *log = NULL;

    begin_with_log(&story, 0, 0);
    story_program(&story, "/bin/sh", "-c",
                  "echo one; echo two >&2; echo three; exit 1");
    run_until_failed(&story);
    log = harness_read_file(LOG);
    ck_assert_str_eq(log, "one\ntwo\nthree\n");
    ck_assert_str_eq(story_report(&story)->tail, log);
}

TEST(log_with_time_stamps__has_them_and_the_report_has_not)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *log = NULL;

    begin_with_log(&story, 0, 0);
    libspawn_plan_set_log_stamps(story.plan);
    story_program(&story, "/bin/sh", "-c", "printf one; printf ' two\\n'; "
                                           "exit 1");
    run_until_failed(&story);
    log = harness_read_file(LOG);
    ck_assert_uint_eq(strlen(log), strlen("0000-00-00T00:00:00.000Z ") + 8);
    ck_assert_str_eq(log + strlen(log) - 10, "Z one two\n");
    ck_assert_str_eq(story_report(&story)->tail, "one two\n");
}

TEST(log_that_is_a_symbolic_link__is_not_followed)
{
    AUTO_STORY struct story story;

    begin_with_log(&story, 0, 0);
    ck_assert_int_eq(symlink("victim", LOG), 0);
    story_program(&story, "/bin/echo", "overwritten");
    story_start(&story);
    story_await(&story, "failed");
    ck_assert_int_eq(harness_file_size("victim"), -1);
}

/* ---- A file that cannot be written ------------------------------------- */

TEST(log_directory_vanishes__neither_stalls_nor_ends_the_child)
{
    AUTO_STORY struct story story;

    begin_with_log(&story, 1000, 1);
    story_program(&story, "/bin/sh", "-c",
                  "rm -f " LOG "; ln -s / " LOG "; i=0; "
                  "while [ $i -lt 500 ]; do echo line $i; i=$((i + 1)); done; "
                  "exit 7");
    run_until_failed(&story);
    ck_assert_int_eq(story_report(&story)->exit_code, 7);
    assert_contains(story_report(&story)->tail, "line 499\n");
}

TEST(log_on_a_full_disk__neither_stalls_nor_ends_the_child)
{
    AUTO_STORY struct story story = { 0 };
    AUTO_FREE char *path =
        libspawn__str_format("%s/small/" LOG, harness_dir());

    if (unshare(CLONE_NEWNS) < 0 || mkdir("small", 0755) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "small", "tmpfs", 0, "size=64k") < 0) {
        TEST_SKIP("needs the right to mount");
    }
    story_begin(&story);
    libspawn_plan_set_log(story.plan, path, 0, 0);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--noise=300000", "--exit=7");
    run_until_failed(&story);
    ck_assert_int_eq(story_report(&story)->exit_code, 7);
    ck_assert_int_eq(strlen(story_report(&story)->tail) > 100, 1);
    umount2("small", MNT_DETACH);
}

/* A child must not hang in a write because nobody reads. */
TEST(child_that_writes_without_end__can_be_stopped)
{
    AUTO_STORY struct story story;

    begin_with_log(&story, 100000, 1);
    libspawn_plan_set_timeouts(story.plan, 0, 60000);
    story_program(&story, "/usr/bin/yes");
    story_start(&story);
    story_await(&story, "started");
    libspawn_child_confirm(story.child);
    story_await(&story, "started ready");
    libspawn_child_stop(story.child);
    story_await(&story, "started ready exited");
    ck_assert_int_le(harness_file_size(LOG), 100000);
}

TEST(child_that_closes_its_output__lives_on)
{
    AUTO_STORY struct story story;

    begin_with_log(&story, 0, 0);
    story_model(&story, "--close-stdio", "--die-after=50");
    story_start(&story);
    story_await(&story, "started");
    libspawn_child_confirm(story.child);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_report(&story)->exit_code, 1);
}

/* ---- The tail ---------------------------------------------------------- */

static size_t
count_char(const char *text, char c)
{
    size_t n = 0;

    for (; *text; text++) {
        n += *text == c;
    }
    return n;
}

TEST(tail_of_many_lines__is_the_last_twenty)
{
    AUTO_STORY struct story story;
    const char *tail;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_program(&story, "/bin/sh", "-c", "seq 1 1000; exit 1");
    run_until_failed(&story);
    tail = story_report(&story)->tail;
    ck_assert_uint_eq(count_char(tail, '\n'), 20);
    ck_assert(libspawn__str_has_prefix(tail, "981\n"));
    ck_assert(libspawn__str_has_suffix(tail, "1000\n"));
}

TEST(tail_without_newline_at_the_end__is_whole)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_program(&story, "/bin/sh", "-c", "printf 'one\\ntwo'; exit 1");
    run_until_failed(&story);
    ck_assert_str_eq(story_report(&story)->tail, "one\ntwo\n");
}

TEST(tail_of_an_endless_line__is_its_end)
{
    AUTO_STORY struct story story;
    const char *tail;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_program(&story, "/bin/sh", "-c",
                  "head -c 100000 /dev/zero | tr '\\0' x; printf end; "
                  "exit 1");
    run_until_failed(&story);
    tail = story_report(&story)->tail;
    ck_assert_uint_gt(strlen(tail), 1000);
    ck_assert(libspawn__str_has_suffix(tail, "xend\n"));
}

/* Terminals act on control characters, also on those above 0x7f. */
TEST(tail_of_binary_garbage__is_printable_and_good_json)
{
    AUTO_STORY struct story story;
    AUTO_JSON struct libspawn__json *tree = NULL;
    AUTO_FREE char *json = NULL;
    AUTO_FREE char *text = NULL;
    struct libspawn_err err;
    const unsigned char *p;
    const char *tail;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_program(&story, "/bin/sh", "-c",
                  "printf 'a\\033[2Jb\\000\\177\\233c\\302\\233d\\303\\244"
                  "e\\377\\n'; head -c 3000 /dev/urandom; exit 1");
    run_until_failed(&story);
    tail = story_report(&story)->tail;
    ck_assert_uint_eq(libspawn__utf8_prefix(tail, strlen(tail)),
                      strlen(tail));
    for (p = (const unsigned char *)tail; *p; p++) {
        ck_assert(*p >= ' ' || *p == '\n' || *p == '\t');
        ck_assert(*p != 0x7f);
        ck_assert(!(p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0));
    }
    text = libspawn_report_text(story_report(&story));
    ck_assert_ptr_nonnull(text);
    json = libspawn_report_json(story_report(&story));
    assert_ok(libspawn__json_parse(json, strlen(json), strlen(json), &tree,
                                   &err),
              &err);
}

TEST(tail_in_a_foreign_language__is_kept)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_program(&story, "/bin/echo", "nicht gefunden: größe €");
    run_until_failed(&story);
    ck_assert_str_eq(story_report(&story)->tail,
                     "nicht gefunden: größe €\n");
}

TEST_MAIN("spawn_log")
