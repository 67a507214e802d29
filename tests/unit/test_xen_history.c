/*
 * The domain numbers that were in use a moment ago; the file and its lock are
 * shared with the stock tools.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "guest/xen/history.h"
#include "tests/lib/harness.h"

static bool
has(uint32_t domid)
{
    bool yes = false;

    assert_ok(libspawn__xen_history_has(".", domid, &yes, NULL), NULL);
    return yes;
}

static void
write_line(int64_t seconds_ago, uint32_t domid)
{
    FILE *file = fopen("domid-history", "a");

    fprintf(file, "%" PRId64 " %" PRIu32 "\n",
            libspawn__clock_now_ms() / 1000 - seconds_ago, domid);
    fclose(file);
}

TEST(history_missing_file__holds_nothing)
{
    ck_assert(!has(1));
}

TEST(history_added_number__is_found_and_others_are_not)
{
    assert_ok(libspawn__xen_history_add(".", 7, NULL), NULL);
    assert_ok(libspawn__xen_history_add(".", 8, NULL), NULL);
    ck_assert(has(7));
    ck_assert(has(8));
    ck_assert(!has(78));
}

TEST(history_after_a_minute__is_forgotten_and_dropped_from_the_file)
{
    AUTO_FREE char *text = NULL;

    write_line(120, 5);
    write_line(30, 6);
    ck_assert(!has(5));
    ck_assert(has(6));
    assert_ok(libspawn__xen_history_add(".", 7, NULL), NULL);
    text = harness_read_file("domid-history");
    assert_lacks(text, " 5\n");
    assert_contains(text, " 6\n");
    assert_contains(text, " 7\n");
}

TEST(history_with_rubbish__keeps_the_lines_that_make_sense)
{
    harness_write_file("domid-history", "\nx y\n12\n");
    write_line(1, 9);
    ck_assert(has(9));
}

TEST(history_lock__is_gone_afterwards)
{
    assert_ok(libspawn__xen_history_add(".", 7, NULL), NULL);
    ck_assert(access("domid-history.lock", F_OK) < 0);
    ck_assert(access("domid-history", F_OK) == 0);
}

/* The holder leaves as the stock tools do: unlinks, then closes.  Whoever
 * waited on the old file must take the lock anew, on the new one. */
TEST(history_lock_that_somebody_holds__is_waited_for)
{
    int fd = open("domid-history.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int status;
    pid_t pid;

    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    pid = fork();
    if (pid == 0) {
        close(fd); /* the lock is shared by fork */
        _exit(libspawn__xen_history_add(".", 3, NULL) == 0 ? 0 : 1);
    }
    ck_assert(access("domid-history", F_OK) < 0);
    unlink("domid-history.lock");
    close(fd);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert(has(3));
    ck_assert(access("domid-history.lock", F_OK) < 0);
}

TEST(history_directory_missing__is_an_error_that_names_it)
{
    struct libspawn_err err;

    assert_code(libspawn__xen_history_add("./none", 1, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "./none/domid-history.lock");
}

TEST_MAIN("xen_history")
