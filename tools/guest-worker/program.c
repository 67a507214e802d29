/*
 * Running a program with a limit.  What it leaves behind when it ends in time
 * stays: a hotplug script may start a daemon.  What is late is killed with all
 * that it started; we are the subreaper, so these become our children, and
 * those that we had before are spared.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/pidref.h"
#include "base/util.h"
#include "proc/exec.h"
#include "tools/guest-worker/worker.h"

enum { CHILDREN_SIZE_MAX = 1024 * 1024 };

void
program_init(struct program *program)
{
    *program = (struct program){ .limit_ms = 0 };
    libspawn__plan_init(&program->plan);
}

void
program_dispose(struct program *program)
{
    libspawn__plan_dispose(&program->plan);
}

/* ---- Children ---------------------------------------------------------- */

/* The pids of our children, each followed by a blank; NULL: not to be had. */
static char *
list_children(void)
{
    char *text = NULL;

    libspawn__file_read("/proc/thread-self/children", CHILDREN_SIZE_MAX, &text,
                        NULL, NULL);
    return text;
}

static bool
is_in_list(const char *list, const char *word)
{
    size_t len = strlen(word);
    const char *found = list;

    while (found && (found = strstr(found, word))) {
        if ((found == list || found[-1] == ' ') && found[len] == ' ') {
            return true;
        }
        found += len;
    }
    return false;
}

/* A child of ours that was not waited for has its number still. */
static void
kill_child(pid_t pid)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    if (!libspawn__pidref_of_child(pid, &ref, NULL)) {
        libspawn__pidref_signal(&ref, SIGKILL, NULL);
    }
}

/* Kills those that are not in 'spared' (NULL: not known, so none), reaps those
 * but 'kept' that have ended, and returns how many there were. */
static size_t
kill_children(const char *spared, pid_t kept)
{
    AUTO_FREE char *list = spared ? list_children() : NULL;
    char *save = NULL;
    size_t n = 0;
    char *word;

    for (word = list ? strtok_r(list, " ", &save) : NULL; word;
         word = strtok_r(NULL, " ", &save)) {
        uint64_t pid;

        if (is_in_list(spared, word) ||
            libspawn__str_to_u64(word, 1, INT32_MAX, &pid, NULL)) {
            continue;
        }
        kill_child((pid_t)pid);
        if ((pid_t)pid != kept) {
            waitpid((pid_t)pid, NULL, WNOHANG);
        }
        n++;
    }
    return n;
}

/* ---- One run ----------------------------------------------------------- */

struct run {
    struct program *program;
    struct libspawn__exec exec;
    char *spared; /* children from before */
    int output_fd;
    int64_t deadline_ms;
    pid_t pid;
    bool has_ended;
};

static void
run_dispose(struct run *run)
{
    libspawn__exec_dispose(&run->exec);
    libspawn__auto_close(&run->output_fd);
    free(run->spared);
}

static bool
has_ended(struct run *run)
{
    if (!run->has_ended) {
        run->has_ended = waitpid(run->pid, &run->program->end.wait_status,
                                 WNOHANG) == run->pid;
    }
    return run->has_ended;
}

/* Children that are killed leave theirs to us, which the next round finds.
 * Bounded: a process that hangs in the kernel must not hang us too. */
static void
kill_all(struct run *run)
{
    enum {
        ROUNDS = 200,
        ROUND_MS = 10
    };
    const struct timespec round = { 0, ROUND_MS * 1000000 };
    sigset_t sigchld;
    int i;

    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    kill_child(run->pid);
    for (i = 0; i < ROUNDS; i++) {
        size_t n = kill_children(run->spared, run->pid);

        if (has_ended(run) && !n) {
            return;
        }
        sigtimedwait(&sigchld, NULL, &round);
    }
}

static void
take(struct program *program, const char *bytes, size_t size)
{
    if (program->log) {
        libspawn__log_write(program->log, bytes, size);
    }
    if (program->text && program->text->size < program->max_text_size) {
        libspawn__buf_append(program->text, bytes,
                             MIN(size, program->max_text_size -
                                           program->text->size));
    }
}

/* What has been written so far; false at its end, or when there is none. */
static bool
read_output(struct run *run)
{
    char bytes[16384];
    ssize_t n = read(run->output_fd, bytes, sizeof bytes);

    if (n > 0) {
        take(run->program, bytes, (size_t)n);
        return true;
    }
    if (!n) {
        libspawn__auto_close(&run->output_fd);
        run->output_fd = -1;
    }
    return false;
}

static bool
is_late(struct run *run)
{
    if (libspawn__clock_now_ms() < run->deadline_ms) {
        return false;
    }
    run->program->end.is_late = 1;
    run->program->end.wait_status = SIGKILL;
    kill_all(run);
    return true;
}

/* Until the program itself has ended: who inherited its output may keep it. */
static void
follow(struct run *run)
{
    while (!run->program->end.is_late && !has_ended(run) && !is_late(run)) {
        if (worker_wait(run->output_fd, run->deadline_ms)) {
            read_output(run);
        }
    }
    while (run->output_fd >= 0 && read_output(run)) {
    }
}

/* From the fork to the program. */
static int
start(struct run *run, struct libspawn_err *err)
{
    const char *path = run->program->plan.program;
    struct libspawn__exec_result result;
    int rc = libspawn__exec_fork(&run->exec, &run->pid, err);

    if (rc) {
        return rc;
    }
    rc = libspawn__exec_release(&run->exec, err);
    if (rc) {
        libspawn__exec_cancel(&run->exec);
    }
    /* Also the program may be on a disk that is dead. */
    while (!rc && !worker_wait(run->exec.result_fds[0], run->deadline_ms)) {
        if (is_late(run)) {
            return 0;
        }
    }
    if (!rc && libspawn__exec_read_result(&run->exec, &result)) {
        rc = libspawn__fail_errno(err, result.sys_errno,
                                  "running '%s' (step %s)", path,
                                  libspawn__exec_step_name(result.step));
    }
    if (rc) {
        while (waitpid(run->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    return rc;
}

int
program_run(struct program *program, struct libspawn_err *err)
{
    AUTO(run_dispose) struct run run = { .program = program,
                                         .output_fd = -1,
                                         .exec.hold_fds = { -1, -1 },
                                         .exec.result_fds = { -1, -1 },
                                         .exec.cgroup_fd = -1 };
    AUTO_FD int theirs = -1;
    int fds[2];
    int rc = libspawn__str_assign(&program->plan.directory, "/", err);

    if (rc) {
        return rc;
    }
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return libspawn__fail_errno(err, errno, "making a pipe");
    }
    run.output_fd = fds[0];
    theirs = fds[1];
    run.spared = list_children();
    run.deadline_ms = libspawn__clock_now_ms() + program->limit_ms;
    rc = libspawn__fd_set_nonblocking(run.output_fd, true, err);
    if (!rc) {
        rc = libspawn__exec_prepare(&run.exec, &program->plan, theirs, -1,
                                    err);
    }
    if (!rc) {
        rc = start(&run, err);
    }
    if (rc) {
        return rc;
    }
    libspawn__auto_close(&theirs);
    theirs = -1;
    follow(&run);
    return 0;
}
