/*
 * proc/pidfile.c: a pid file that is also a lock.
 */
#include "proc/pidfile.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"
#include "wire/stream.h"

#define PATH "daemon.pid"

enum { N_TAKES = 500 };

static void
take(struct libspawn__pidfile *pidfile)
{
    struct libspawn_err err;

    assert_ok(libspawn__pidfile_take(pidfile, PATH, NULL, &err), &err);
}

/* A process that has it until it is told, or killed. */
struct owner {
    pid_t pid;
    int tell; /* closing it tells */
};

static struct owner
start_owner(void)
{
    struct owner owner;
    int told[2];
    int ready[2];
    char byte;

    ck_assert(!pipe2(told, O_CLOEXEC) && !pipe2(ready, O_CLOEXEC));
    owner.pid = fork();
    if (!owner.pid) {
        struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;

        close(told[1]);
        if (libspawn__pidfile_take(&pidfile, PATH, NULL, NULL) ||
            write(ready[1], "x", 1) != 1 || read(told[0], &byte, 1) != 0) {
            _exit(1);
        }
        libspawn__pidfile_remove(&pidfile);
        _exit(0);
    }
    close(told[0]);
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    owner.tell = told[1];
    return owner;
}

static void
end_owner(struct owner *owner, int signal)
{
    if (signal) {
        kill(owner->pid, signal);
    }
    close(owner->tell);
    ck_assert_int_eq(waitpid(owner->pid, NULL, 0), owner->pid);
}

static void
assert_alone(void)
{
    AUTO_OUTPUT struct harness_output ls = harness_run("ls", "-A", ".");

    ck_assert_str_eq(ls.out, "");
}

/* ---- One process ------------------------------------------------------- */

/* Covers D1. */
TEST(pidfile_taken__names_the_process_and_goes_with_it)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
    AUTO_FREE char *expected = libspawn__str_format("%d\n", (int)getpid());
    AUTO_FREE char *text = NULL;
    pid_t pid = 0;

    take(&pidfile);
    text = harness_read_file(PATH);
    ck_assert_str_eq(text, expected);
    assert_ok(libspawn__pidfile_owner(PATH, &pid, NULL), NULL);
    ck_assert_int_eq(pid, getpid());
    assert_ok(libspawn__pidfile_owner(PATH, NULL, NULL), NULL);
    libspawn__pidfile_remove(&pidfile);
    assert_alone();
}

TEST(pidfile_taken__can_be_read_by_everybody)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
    struct stat st;

    umask(022);
    take(&pidfile);
    ck_assert_int_eq(stat(PATH, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0644);
    libspawn__pidfile_remove(&pidfile);
}

TEST(pidfile_removed_twice__is_fine)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;

    take(&pidfile);
    libspawn__pidfile_remove(&pidfile);
    libspawn__pidfile_remove(&pidfile);
}

TEST(pidfile_in_a_missing_directory__is_an_error_that_names_it)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
    struct libspawn_err err;

    assert_code(libspawn__pidfile_take(&pidfile, "none/x.pid", NULL, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "none/x.pid");
    ck_assert_int_eq(pidfile.fd, -1);
}

TEST(pidfile_of_nobody__has_no_owner)
{
    pid_t pid = -5;

    assert_code(libspawn__pidfile_owner(PATH, &pid, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    harness_write_file(PATH, "1\n");
    assert_code(libspawn__pidfile_owner(PATH, &pid, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    ck_assert_int_eq(pid, -5);
}

/* ---- Two processes ----------------------------------------------------- */

/* Covers D15. */
TEST(pidfile_of_a_living_process__is_refused_and_names_it)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
    struct owner owner = start_owner();
    AUTO_FREE char *words =
        libspawn__str_format("process %d", (int)owner.pid);
    struct libspawn_err err;
    pid_t pid = 0;

    assert_code(libspawn__pidfile_take(&pidfile, PATH, &pid, &err),
                LIBSPAWN_ERR_BUSY);
    ck_assert_int_eq(pid, owner.pid);
    assert_contains(err.text, words);
    end_owner(&owner, 0);
    assert_alone();
}

TEST(pidfile_of_a_killed_process__is_taken_over)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
    struct owner owner = start_owner();
    pid_t pid = 0;

    end_owner(&owner, SIGKILL);
    ck_assert_int_eq(access(PATH, F_OK), 0);
    take(&pidfile);
    assert_ok(libspawn__pidfile_owner(PATH, &pid, NULL), NULL);
    ck_assert_int_eq(pid, getpid());
    libspawn__pidfile_remove(&pidfile);
    assert_alone();
}

/* Only the lock decides. */
TEST(pidfile_that_names_a_living_stranger__is_taken_over)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;

    harness_write_file(PATH, "1\n");
    take(&pidfile);
    libspawn__pidfile_remove(&pidfile);
    assert_alone();
}

TEST(pidfile_full_of_rubbish_but_locked__has_an_owner_without_a_number)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
    struct owner owner = start_owner();
    pid_t pid = -5;

    harness_write_file(PATH, "who knows");
    assert_code(libspawn__pidfile_take(&pidfile, PATH, &pid, NULL),
                LIBSPAWN_ERR_BUSY);
    ck_assert_int_eq(pid, 0);
    end_owner(&owner, 0);
}

TEST(pidfile_that_is_a_link__is_not_followed)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
    AUTO_FREE char *text = NULL;

    harness_write_file("precious", "x");
    ck_assert_int_eq(symlink("precious", PATH), 0);
    ck_assert_int_ne(libspawn__pidfile_take(&pidfile, PATH, NULL, NULL), 0);
    text = harness_read_file("precious");
    ck_assert_str_eq(text, "x");
}

/* Ours was deleted by somebody, and another daemon has one there now. */
TEST(pidfile_replaced_by_anothers__is_left_to_it)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
    struct owner owner;
    pid_t pid = 0;

    take(&pidfile);
    ck_assert_int_eq(unlink(PATH), 0);
    owner = start_owner();
    libspawn__pidfile_remove(&pidfile);
    assert_ok(libspawn__pidfile_owner(PATH, &pid, NULL), NULL);
    ck_assert_int_eq(pid, owner.pid);
    end_owner(&owner, 0);
}

TEST(pidfile_in_a_forked_child__is_not_given_up_by_its_end)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
    pid_t owner = 0;
    pid_t pid;

    take(&pidfile);
    pid = fork();
    if (!pid) {
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    assert_ok(libspawn__pidfile_owner(PATH, &owner, NULL), NULL);
    ck_assert_int_eq(owner, getpid());
    libspawn__pidfile_remove(&pidfile);
}

/* ---- Many -------------------------------------------------------------- */

/* 0 as long as whatever is seen at the path is complete and, unless it went
 * in the meantime, locked. */
static int
look_once(void)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    AUTO_FD int fd = open(PATH, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char text[32];
    ssize_t n;

    if (fd < 0) {
        return 0;
    }
    n = read(fd, text, sizeof text);
    if (n < 2 || text[n - 1] != '\n') {
        return 2;
    }
    /* Its owner unlinks it before it lets go of the lock. */
    fcntl(fd, F_OFD_GETLK, &lock);
    return lock.l_type == F_UNLCK && !fstat(fd, &st) && st.st_nlink ? 3 : 0;
}

static pid_t
start_reader(void)
{
    pid_t pid = fork();

    if (!pid) {
        int r = 0;

        while (!r && access("stop", F_OK)) {
            r = look_once();
        }
        _exit(r);
    }
    return pid;
}

/* Covers D1, D15. */
TEST_TIMEOUT(pidfile_taken_five_hundred_times__is_never_empty_nor_unlocked, 60)
{
    pid_t reader = start_reader();
    int status = -1;
    int i;

    for (i = 0; i < N_TAKES; i++) {
        struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;

        take(&pidfile);
        libspawn__pidfile_remove(&pidfile);
    }
    harness_write_file("stop", "");
    ck_assert_int_eq(waitpid(reader, &status, 0), reader);
    ck_assert_msg(status == 0, "seen %s",
                  WEXITSTATUS(status) == 2 ? "empty" : "unlocked");
}

/* Takes it until it has had it so often; while it has it, it is alone. */
static int
compete(int n)
{
    while (n) {
        struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
        int rc = libspawn__pidfile_take(&pidfile, PATH, NULL, NULL);
        int fd;

        if (rc == LIBSPAWN_ERR_BUSY) {
            continue;
        }
        fd = rc ? -1 : open("alone", O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || unlink("alone")) {
            return 1;
        }
        close(fd);
        libspawn__pidfile_remove(&pidfile);
        n--;
    }
    return 0;
}

/* Covers D15. */
TEST_TIMEOUT(pidfile_wanted_by_four_at_once__is_had_by_one_at_a_time, 60)
{
    enum { N = 4 };
    pid_t pids[N];
    int status;
    int i;

    for (i = 0; i < N; i++) {
        pids[i] = fork();
        if (!pids[i]) {
            _exit(compete(N_TAKES / N));
        }
    }
    for (i = 0; i < N; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_int_eq(status, 0);
    }
    assert_alone();
}

/* Its death is news for the one that comes after it, and for no other. */
TEST_TIMEOUT(pidfile_left_and_wanted_by_four_at_once__who_has_it_knows, 60)
{
    enum { N = 4, N_ROUNDS = 100 };
    int round;

    for (round = 0; round < N_ROUNDS; round++) {
        struct owner owner = start_owner();
        int n_told = 0;
        int status;
        int i;

        end_owner(&owner, SIGKILL);
        for (i = 0; i < N; i++) {
            if (!fork()) {
                struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;

                _exit(libspawn__pidfile_take(&pidfile, PATH, NULL, NULL)
                          ? 0
                          : 1 + pidfile.was_left);
            }
        }
        for (i = 0; i < N; i++) {
            ck_assert_int_gt(wait(&status), 0);
            ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 1);
            n_told += WEXITSTATUS(status) == 2;
        }
        ck_assert_int_ge(n_told, 1); /* they die in it themselves */
        ck_assert_int_eq(unlink(PATH), 0);
    }
    assert_alone();
}

/* Its socket, and one that it was just making; not those of others. */
TEST(pidfile_of_a_dead_process__is_tidied_with_its_sockets)
{
    static const struct {
        const char *path;
        bool is_left;
    } cases[] = {
        { "d.sock", false },
        { "d.sock.tmp-01234567", false },
        { "d.sock.tmp-file", true },
        { "e.sock", true },
        { PATH, false },
    };
    size_t i;

    harness_write_file(PATH, "1\n");
    harness_write_file("d.sock.tmp-file", "");
    for (i = 0; i < 4; i++) {
        AUTO_FREE char *name = libspawn__str_format("punix:%s", cases[i].path);
        int fd;

        if (!libspawn__stream_listen(name, 0600, &fd, NULL)) {
            close(fd);
        }
    }
    assert_ok(libspawn__pidfile_tidy(PATH, "d.sock", NULL), NULL);
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        ck_assert_int_eq(!access(cases[i].path, F_OK), cases[i].is_left);
    }
}

TEST(pidfile_of_a_dead_process__is_tidied_without_a_socket_in_use)
{
    AUTO_FD int fd = -1;

    harness_write_file(PATH, "1\n");
    assert_ok(libspawn__stream_listen("punix:d.sock", 0600, &fd, NULL), NULL);
    assert_ok(libspawn__pidfile_tidy(PATH, "d.sock", NULL), NULL);
    ck_assert_int_eq(access("d.sock", F_OK), 0);
    ck_assert_int_ne(access(PATH, F_OK), 0);
}

TEST_MAIN("pidfile")
