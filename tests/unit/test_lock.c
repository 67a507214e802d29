/*
 * Lock files, without anybody who waits for long.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "tests/flow/lock_story.h"

static void
take(const char *path, struct libspawn__lock *lock)
{
    struct libspawn__lock_request request = lock_request(path);
    struct libspawn_err err;

    assert_ok(libspawn__lock_try(&request, lock, &err), &err);
}

static void
let_go(struct libspawn__lock *lock)
{
    struct libspawn_err err;

    assert_ok(libspawn__lock_release(lock, &err), &err);
    ck_assert_int_eq(lock->fd, -1);
}

static struct libspawn_err
assert_busy(const char *path)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request(path);
    struct libspawn_err err = { 0 };

    assert_code(libspawn__lock_try(&request, &lock, &err), LIBSPAWN_ERR_BUSY);
    ck_assert_int_eq(lock.fd, -1);
    return err;
}

/* ---- Taking and letting go --------------------------------------------- */

/* Covers L1, L5. */
TEST(lock_released__can_be_taken_again_and_by_others)
{
    struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    int i;

    for (i = 0; i < 3; i++) {
        take("a", &lock);
        ck_assert(!lock_is_free("a"));
        let_go(&lock);
        ck_assert(lock_is_free("a"));
    }
    let_go(&lock);
}

/* Covers L9. */
TEST(lock_file__is_private_and_stays_the_same)
{
    struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct lock_holder holder;
    struct stat before;
    struct stat after;

    take("a", &lock);
    ck_assert_int_eq(stat("a", &before), 0);
    ck_assert_uint_eq(before.st_mode, S_IFREG | 0600);
    let_go(&lock);
    holder = lock_hold("a");
    lock_kill_holder(&holder);
    take("a", &lock);
    let_go(&lock);
    ck_assert_int_eq(stat("a", &after), 0);
    ck_assert_uint_eq(after.st_ino, before.st_ino);
}

/* Covers L6. */
TEST(three_locks__are_released_in_any_order)
{
    static const int orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                     { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    static const char *const names[] = { "a", "b", "c" };
    size_t i;
    int k;

    for (i = 0; i < ARRAY_SIZE(orders); i++) {
        struct libspawn__lock locks[3];

        for (k = 0; k < 3; k++) {
            take(names[k], &locks[k]);
        }
        for (k = 0; k < 3; k++) {
            let_go(&locks[orders[i][k]]);
            ck_assert(lock_is_free(names[orders[i][k]]));
            ck_assert(k == 2 || !lock_is_free(names[orders[i][k + 1]]));
        }
    }
}

/* ---- Who has it -------------------------------------------------------- */

/* Covers L2. */
TEST(lock_of_this_process__is_not_waited_for_and_says_so)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    AUTO_LOCK struct libspawn__lock again = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("a");
    struct libspawn_err err = { 0 };

    take("a", &lock);
    assert_code(libspawn__lock_try(&request, &again, NULL), LIBSPAWN_ERR_BUSY);
    assert_code(libspawn__lock_take(&request, &again, &err),
                LIBSPAWN_ERR_BUSY);
    ck_assert_str_eq(err.text, "the lock is held by this process already");
    ck_assert_int_eq(err.sys_errno, EDEADLK);
    assert_ok(libspawn__lock_check(&lock, &err), &err);
}

/* Covers L3. */
TEST(lock_of_another_process__names_its_pid_program_and_time)
{
    struct lock_holder holder = lock_hold("a");
    struct libspawn_err err = assert_busy("a");
    AUTO_FREE char *start = libspawn__str_format(
        "the lock is held by pid %d (test_lock) since 20", (int)holder.pid);

    assert_contains(err.text, start);
    ck_assert_int_eq(err.sys_errno, EAGAIN);
    lock_let_go(&holder);
}

/* Covers L3. */
TEST(lock_of_a_script__names_its_pid_and_program)
{
    struct lock_holder holder = lock_hold_classic("a");
    struct libspawn_err err = assert_busy("a");
    AUTO_FREE char *text = libspawn__str_format(
        "the lock is held by pid %d (test_lock)", (int)holder.pid);

    ck_assert_str_eq(err.text, text);
    lock_let_go(&holder);
}

/* What is in the file is for people, and decides nothing. */
TEST(rubbish_in_the_file__changes_nothing)
{
    static const char *const texts[] = {
        "", "\n", "1", "1 1 1 1 init\n", "-1 1 x 1 a\n",
        "999999999999999999999 1 x 1 a\n",
        "2 2 1f745701-b06c-494e-8599-7cb9a6580050 1795241047 another boot\n",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
        struct lock_holder holder;
        struct libspawn_err err;

        harness_write_file("a", texts[i]);
        take("a", &lock);
        let_go(&lock);
        holder = lock_hold("a");
        harness_write_file("a", texts[i]);
        err = assert_busy("a");
        ck_assert_str_eq(err.text, "the lock is held by an unknown owner");
        lock_let_go(&holder);
    }
}

TEST(line_of_somebody_who_was_killed__names_nobody)
{
    struct lock_holder holder = lock_hold("a");
    AUTO_FREE char *line = harness_read_file("a");
    struct libspawn_err err;

    ck_assert_int_eq(line[strlen(line) - 1], '\n');
    lock_kill_holder(&holder);
    holder = lock_hold("a");
    harness_write_file("a", line);
    err = assert_busy("a");
    ck_assert_str_eq(err.text, "the lock is held by an unknown owner");
    lock_let_go(&holder);
}

TEST(content_of_its_own__is_left_alone)
{
    struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("pid");
    AUTO_FREE char *held = NULL;
    AUTO_FREE char *released = NULL;
    struct libspawn_err err;

    harness_write_file("pid", "12\n");
    request.has_content = true;
    assert_ok(libspawn__lock_try(&request, &lock, &err), &err);
    held = harness_read_file("pid");
    let_go(&lock);
    released = harness_read_file("pid");
    ck_assert_str_eq(held, "12\n");
    ck_assert_str_eq(released, "12\n");
}

/* Covers L4, M1. */
TEST(forked_child__does_not_hold_it_and_says_so)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn_err err = { 0 };
    AUTO_FREE char *words = NULL;
    int status;
    pid_t pid;

    take("a", &lock);
    words = libspawn__str_format("the lock was taken by process %d, of which",
                                 (int)getpid());
    pid = fork();
    if (!pid) {
        bool is_said =
            libspawn__lock_check(&lock, &err) == LIBSPAWN_ERR_INVALID &&
            libspawn__str_has_prefix(err.text, words);
        bool is_lost =
            libspawn__lock_release(&lock, NULL) == LIBSPAWN_ERR_INVALID;

        _exit(is_said && is_lost ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_msg(!lock_is_free("a"), "the child let go of it");
    assert_ok(libspawn__lock_check(&lock, &err), &err);
}

/* A child that goes on must not keep it. */
TEST(forked_child_with_a_copy__does_not_keep_it)
{
    struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    int fds[2];
    pid_t pid;
    char byte;

    take("a", &lock);
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (!pid) {
        close(fds[1]);
        _exit(read(fds[0], &byte, 1) == 0 ? 0 : 1);
    }
    let_go(&lock);
    ck_assert(lock_is_free("a"));
    close(fds[0]);
    close(fds[1]);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* ---- The file ---------------------------------------------------------- */

/* Covers L7. */
TEST(live_link__is_the_same_lock)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn_err err;

    ck_assert_int_eq(symlink("a", "link"), 0);
    harness_write_file("a", "");
    take("link", &lock);
    err = assert_busy("a");
    ck_assert_str_eq(err.text, "the lock is held by this process already");
    ck_assert(!lock_is_free("a"));
}

/* Covers L7. */
TEST(dangling_link__makes_the_file_or_is_an_error)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    AUTO_LOCK struct libspawn__lock none = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("nowhere");

    ck_assert_int_eq(symlink("a", "link"), 0);
    ck_assert_int_eq(symlink("missing/a", "nowhere"), 0);
    take("link", &lock);
    ck_assert(!lock_is_free("a"));
    assert_code(libspawn__lock_take(&request, &none, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
}

/* Covers L13. */
TEST(file_deleted_or_replaced_while_held__is_told_at_the_end)
{
    struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct lock_holder holder;
    struct libspawn_err err = { 0 };

    take("a", &lock);
    ck_assert_int_eq(remove("a"), 0);
    assert_code(libspawn__lock_check(&lock, NULL), LIBSPAWN_ERR_GONE);
    holder = lock_hold("a");
    assert_code(libspawn__lock_release(&lock, &err), LIBSPAWN_ERR_GONE);
    assert_contains(err.text, "'a' was removed or replaced while it was "
                              "locked");
    ck_assert_int_eq(lock.fd, -1);
    lock_let_go(&holder);
}

/* Covers L14. */
TEST(file_opened_and_closed_elsewhere__does_not_drop_the_lock)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;

    take("a", &lock);
    free(harness_read_file("a"));
    assert_busy("a");
    ck_assert(!lock_is_free("a"));
}

/* Covers L16. */
TEST(directory_missing__is_not_found_and_not_made)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("locks/a");
    struct libspawn_err err = { 0 };

    assert_code(libspawn__lock_take(&request, &lock, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    ck_assert_str_eq(err.text, "opening the lock file 'locks/a': No such file "
                               "or directory");
    ck_assert_int_ne(access("locks", F_OK), 0);
}

/* Covers L16. */
TEST(directory_read_only__is_denied)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("locks/a");

    if (!geteuid()) {
        ck_assert_int_eq(chown(harness_dir(), 61235, 61235), 0);
        ck_assert_int_eq(setresuid(61235, 61235, 61235), 0);
    }
    ck_assert_int_eq(mkdir("locks", 0500), 0);
    assert_code(libspawn__lock_try(&request, &lock, NULL),
                LIBSPAWN_ERR_DENIED);
    ck_assert_int_eq(chmod("locks", 0700), 0);
}

TEST(file_that_is_none__is_refused)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("fifo");

    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    assert_code(libspawn__lock_take(&request, &lock, NULL),
                LIBSPAWN_ERR_INVALID);
}

/* ---- The order --------------------------------------------------------- */

/* Wrong in the program, so it is told also when nobody has the lock. */
TEST(lock_of_an_earlier_rank__is_not_taken_behind_a_later_one)
{
    AUTO_LOCK struct libspawn__lock guest = LIBSPAWN__LOCK_INIT;
    AUTO_LOCK struct libspawn__lock host = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("guest");
    struct libspawn_err err = { 0 };

    request.rank = LIBSPAWN__LOCK_RANK_GUEST(7);
    assert_ok(libspawn__lock_take(&request, &guest, &err), &err);
    request = lock_request("host");
    request.holding = &guest;
    assert_code(libspawn__lock_take(&request, &host, &err),
                LIBSPAWN_ERR_INVALID);
    assert_contains(err.text, "in the order of locks");
    request.rank = LIBSPAWN__LOCK_RANK_GUEST(7);
    assert_code(libspawn__lock_take(&request, &host, NULL),
                LIBSPAWN_ERR_INVALID);
    request.rank = LIBSPAWN__LOCK_RANK_GUEST(8);
    assert_ok(libspawn__lock_take(&request, &host, &err), &err);
}

TEST(lock_without_a_rank__can_only_be_tried)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("a");
    struct libspawn_err err;

    request.rank = LIBSPAWN__LOCK_RANK_NONE;
    assert_code(libspawn__lock_take(&request, &lock, NULL),
                LIBSPAWN_ERR_INVALID);
    assert_ok(libspawn__lock_try(&request, &lock, &err), &err);
}

/* Whoever has the host may be waiting for this guest. */
TEST(thread_with_a_later_lock__does_not_block_for_an_earlier_one)
{
    AUTO_LOCK struct libspawn__lock guest = LIBSPAWN__LOCK_INIT;
    AUTO_LOCK struct libspawn__lock host = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("guest");
    struct lock_holder holder;
    struct libspawn_err err = { 0 };

    request.rank = LIBSPAWN__LOCK_RANK_GUEST(7);
    assert_ok(libspawn__lock_take(&request, &guest, &err), &err);
    holder = lock_hold("host");
    request = lock_request("host");
    assert_code(libspawn__lock_take(&request, &host, &err),
                LIBSPAWN_ERR_BUSY);
    ck_assert_int_eq(err.sys_errno, EDEADLK);
    lock_let_go(&holder);
}

/* ---- Threads ----------------------------------------------------------- */

static void *
take_in_thread(void *path)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request(path);

    return libspawn__lock_take(&request, &lock, NULL) ? path : NULL;
}

/* It waits for the other thread, which is no deadlock. */
TEST(lock_of_another_thread__is_waited_for)
{
    struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    pthread_t thread;
    char path[] = "a";
    void *result = path;

    take("a", &lock);
    ck_assert_int_eq(pthread_create(&thread, NULL, take_in_thread, path), 0);
    ck_assert(!lock_is_free("a"));
    let_go(&lock);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_ptr_null(result);
}

/* ---- Classic locks ----------------------------------------------------- */

static int
on_interrupt(void *user, int fd, const struct libspawn__lock_request *request,
             struct libspawn_err *err)
{
    (void)user;
    (void)fd;
    (void)request;
    (void)err;
    return 0;
}

/* By a look alone: whoever tries has it for a moment. */
static bool
is_taken(void *path)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);

    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 &&
           lock.l_type != F_UNLCK;
}

/* 1: it was told of the deadlock, 0: it got both, 2: neither. */
static int
take_two(const char *first, const char *second)
{
    struct libspawn__lock_request request = lock_request(first);
    struct libspawn_err err = { 0 };
    char other[16];
    int fd;

    snprintf(other, sizeof other, "%s", second);
    if (libspawn__lock_take_classic(&request, NULL, NULL, &fd, NULL) ||
        !harness_wait_until(is_taken, other, 5000)) {
        return 2;
    }
    request = lock_request(second);
    if (!libspawn__lock_take_classic(&request, on_interrupt, NULL, &fd,
                                     &err)) {
        return 0;
    }
    return err.code == LIBSPAWN_ERR_BUSY && err.sys_errno == EDEADLK ? 1 : 2;
}

/* Covers L15. */
TEST(two_classic_locks_in_opposite_order__one_gets_an_error)
{
    static const char *const paths[] = { "a", "b" };
    int n_failed = 0;
    int i;

    for (i = 0; i < 2; i++) {
        if (!fork()) {
            _exit(take_two(paths[i], paths[!i]));
        }
    }
    for (i = 0; i < 2; i++) {
        int status;

        ck_assert_int_gt(wait(&status), 0);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2);
        n_failed += WEXITSTATUS(status);
    }
    ck_assert_int_eq(n_failed, 1);
}

TEST(classic_lock__is_seen_by_the_others_and_dropped_at_the_end)
{
    struct libspawn__lock_request request = lock_request("a");
    struct libspawn_err err;
    int fd;

    assert_ok(libspawn__lock_take_classic(&request, NULL, NULL, &fd, &err),
              &err);
    ck_assert(!lock_is_free("a"));
    close(fd);
    ck_assert(lock_is_free("a"));
}

TEST_MAIN("lock")
