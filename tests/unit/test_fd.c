/*
 * base/fd.c: descriptors and small files.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/util.h"
#include "tests/lib/harness.h"

static size_t
count_entries(const char *path)
{
    AUTO_DIR DIR *dir = opendir(path);
    struct dirent *entry;
    size_t n = 0;

    while ((entry = readdir(dir))) {
        n += entry->d_name[0] != '.';
    }
    return n;
}

/* ---- Reading ----------------------------------------------------------- */

TEST(file_read__gives_bytes_and_size)
{
    AUTO_FREE char *text = NULL;
    struct libspawn_err err;
    size_t size;

    harness_write_file("f", "content");
    assert_ok(libspawn__file_read("f", 7, &text, &size, &err), &err);
    ck_assert_str_eq(text, "content");
    ck_assert_uint_eq(size, 7);
}

TEST(file_read_one_byte_too_large__is_a_limit)
{
    struct libspawn_err err;
    char *text = NULL;

    harness_write_file("f", "content");
    assert_code(libspawn__file_read("f", 6, &text, NULL, &err),
                LIBSPAWN_ERR_LIMIT);
    ck_assert_ptr_null(text);
    assert_contains(err.text, "'f' is larger than 6 bytes");
}

TEST(file_read_of_endless_file__stops_at_the_limit)
{
    char *text = NULL;

    assert_code(libspawn__file_read("/dev/zero", 1 << 20, &text, NULL, NULL),
                LIBSPAWN_ERR_LIMIT);
}

TEST(file_read_of_proc__works_though_its_size_is_zero)
{
    AUTO_FREE char *text = NULL;
    size_t size;

    assert_ok(libspawn__file_read("/proc/self/status", 1 << 16, &text, &size,
                                  NULL),
              NULL);
    ck_assert_uint_gt(size, 100);
}

TEST(file_read_of_what_is_no_file__is_an_error)
{
    char *text = NULL;

    ck_assert_int_eq(mkdir("d", 0755), 0);
    assert_code(libspawn__file_read("d", 100, &text, NULL, NULL),
                LIBSPAWN_ERR_INVALID);
    assert_code(libspawn__file_read("missing", 100, &text, NULL, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
}

/* ---- Replacing --------------------------------------------------------- */

TEST(file_replace__has_content_mode_and_no_temporary_file)
{
    AUTO_FREE char *text = NULL;
    struct libspawn_err err;
    struct stat st;

    harness_write_file("f", "old");
    assert_ok(libspawn__file_replace("f", "new", 3, 0640, &err), &err);
    text = harness_read_file("f");
    ck_assert_str_eq(text, "new");
    ck_assert_int_eq(stat("f", &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0640);
    ck_assert_uint_eq(count_entries("."), 1);
}

TEST(file_replace_that_fails__leaves_no_temporary_file)
{
    struct libspawn_err err;

    ck_assert_int_eq(mkdir("f", 0755), 0);
    ck_assert_int_lt(libspawn__file_replace("f", "new", 3, 0640, &err), 0);
    ck_assert_uint_eq(count_entries("."), 1);
    assert_code(libspawn__file_replace("missing/f", "", 0, 0600, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "'missing/f'");
}

/* ---- Pipes ------------------------------------------------------------- */

TEST(fd_read_full__stops_at_the_end)
{
    int fds[2];
    char bytes[8];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(libspawn__fd_write_full(fds[1], "abc", 3), 0);
    close(fds[1]);
    ck_assert_int_eq(libspawn__fd_read_full(fds[0], bytes, sizeof bytes), 3);
    ck_assert_int_eq(libspawn__fd_read_full(fds[0], bytes, sizeof bytes), 0);
    close(fds[0]);
    ck_assert_int_eq(libspawn__fd_read_full(fds[0], bytes, 1), -EBADF);
}

TEST(fd_set_nonblocking__and_back)
{
    int fds[2];
    char byte;

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    assert_ok(libspawn__fd_set_nonblocking(fds[0], true, NULL), NULL);
    ck_assert_int_eq(libspawn__fd_read_full(fds[0], &byte, 1), -EAGAIN);
    assert_ok(libspawn__fd_set_nonblocking(fds[0], false, NULL), NULL);
    ck_assert_int_eq(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    close(fds[0]);
    close(fds[1]);
    assert_code(libspawn__fd_set_nonblocking(fds[0], true, NULL),
                LIBSPAWN_ERR_SYSTEM);
}

/* ---- Directories ------------------------------------------------------- */

TEST(dir_make__makes_parents_and_accepts_what_is_there)
{
    struct libspawn_err err;

    assert_ok(libspawn__dir_make("a/b/c", 0700, &err), &err);
    assert_ok(libspawn__dir_make("a/b/c", 0700, &err), &err);
    assert_ok(libspawn__dir_make("a/b/c/", 0700, &err), &err);
    ck_assert_int_eq(access("a/b/c", X_OK), 0);
}

TEST(dir_make_below_a_file__is_an_error)
{
    harness_write_file("f", "");
    ck_assert_int_lt(libspawn__dir_make("f/a", 0700, NULL), 0);
}

TEST(dir_remove_tree__removes_links_and_not_what_they_lead_to)
{
    struct libspawn_err err;

    assert_ok(libspawn__dir_make("tree/sub/empty", 0700, &err), &err);
    assert_ok(libspawn__dir_make("elsewhere", 0700, &err), &err);
    harness_write_file("elsewhere/keep", "");
    harness_write_file("tree/sub/f", "");
    ck_assert_int_eq(symlink("../elsewhere", "tree/link"), 0);
    ck_assert_int_eq(symlink("missing", "tree/dangling"), 0);
    assert_ok(libspawn__dir_remove_tree("tree", &err), &err);
    ck_assert_int_ne(access("tree", F_OK), 0);
    ck_assert_int_eq(access("elsewhere/keep", F_OK), 0);
}

TEST(dir_remove_tree_that_is_missing__is_fine)
{
    assert_ok(libspawn__dir_remove_tree("missing", NULL), NULL);
}

TEST_MAIN("fd")
