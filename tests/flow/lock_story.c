#include "tests/flow/lock_story.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

struct libspawn__lock_request
lock_request(const char *path)
{
    return (struct libspawn__lock_request){ .path = path,
                                            .name = "the lock",
                                            .rank = LIBSPAWN__LOCK_RANK_HOST };
}

static int
take_by_library(const char *path)
{
    static struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request(path);

    return libspawn__lock_try(&request, &lock, NULL);
}

static int
take_by_hand(const char *path)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    return fcntl(fd, F_SETLK, &lock);
}

static struct lock_holder
hold(const char *path, int (*take)(const char *path))
{
    struct lock_holder holder;
    int ready[2];
    int release[2];
    char byte;

    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(release, O_CLOEXEC), 0);
    holder.pid = fork();
    if (!holder.pid) {
        close(release[1]);
        if (!take(path) && write(ready[1], "!", 1) == 1) {
            byte = (char)read(release[0], &byte, 1);
        }
        _exit(0);
    }
    close(ready[1]);
    close(release[0]);
    ck_assert_msg(read(ready[0], &byte, 1) == 1, "it does not get the lock");
    close(ready[0]);
    holder.release = release[1];
    return holder;
}

struct lock_holder
lock_hold(const char *path)
{
    return hold(path, take_by_library);
}

struct lock_holder
lock_hold_classic(const char *path)
{
    return hold(path, take_by_hand);
}

void
lock_let_go(struct lock_holder *holder)
{
    close(TAKE_FD(holder->release));
    ck_assert_int_eq(waitpid(holder->pid, NULL, 0), holder->pid);
}

void
lock_kill_holder(struct lock_holder *holder)
{
    kill(holder->pid, SIGKILL);
    lock_let_go(holder);
}

struct call {
    pid_t pid;
    int command;
};

/* By proc(5), "syscall": number and arguments. */
static bool
is_in_call(void *user)
{
    const struct call *call = user;
    AUTO_FREE char *path =
        libspawn__str_format("/proc/%d/syscall", (int)call->pid);
    AUTO_FREE char *text = NULL;
    unsigned long command;
    unsigned long fd;
    long number;

    return !libspawn__file_read(path, 4096, &text, NULL, NULL) &&
           sscanf(text, "%ld %lx %lx", &number, &fd, &command) == 3 &&
           number == SYS_fcntl && command == (unsigned long)call->command;
}

bool
lock_await_call(pid_t pid, int command)
{
    struct call call = { pid, command };

    return harness_wait_until(is_in_call, &call, 5000);
}

bool
lock_is_free(const char *path)
{
    int status;
    pid_t pid = fork();

    if (!pid) {
        _exit(take_by_library(path) ? 1 : 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status == 0;
}
