/*
 * xl lock: takes a lock of xl for a script, and becomes the script's command.
 *
 * The lock is a classic one, of the process: it passes through exec, ends with
 * the process, the kernel names its owner to others, and sees when two
 * processes wait for each other.
 *
 *   parse options -> find the lock file -> take it -> is the guest still
 *   there? -> exec
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "guest/host.h"
#include "proc/lock.h"
#include "xl/command.h"

enum {
    PATIENCE_MS = 1000, /* before it is said who is waited for */
    LOOK_MS = 100,      /* between two looks at the clock after that */
    EXIT_NOT_EXECUTABLE = 126,
    EXIT_NO_COMMAND = 127
};

struct request {
    struct xl *xl;
    const char *of; /* "host", or a guest */
    char **command;
    bool has_timeout;
    uint64_t timeout_s;

    uint32_t domid; /* of the guest */
    int64_t began_ms;
    bool has_said;
};

/* ---- Options ----------------------------------------------------------- */

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "nonblock", no_argument, NULL, 'n' },
    { "wait", required_argument, NULL, 'w' },
    { NULL, 0, NULL, 0 },
};

/* -1, or what to exit with. */
static int
parse(struct request *request, int argc, char *argv[])
{
    struct xl *xl = request->xl;
    struct libspawn_err err;
    int option;

    while ((option = xl__next_option(xl, argc, argv, "+:hnw:",
                                     long_options)) != -1) {
        if (option == 'n') {
            request->has_timeout = true;
            request->timeout_s = 0;
        } else if (option == 'w') {
            request->has_timeout = true;
            if (libspawn__str_to_u64(optarg, 0, 86400, &request->timeout_s,
                                     &err)) {
                return xl__usage_error(xl, "--wait: %s", err.text);
            }
        } else {
            return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
        }
    }
    if (optind == argc) {
        return xl__usage_error(xl, "whose lock?");
    }
    request->of = argv[optind++];
    if (optind < argc && !strcmp(argv[optind], "--")) {
        optind++;
    }
    if (optind == argc) {
        return xl__usage_error(xl, "which command?");
    }
    request->command = argv + optind;
    return -1;
}

/* ---- Which file -------------------------------------------------------- */

static bool
is_host(const struct request *request)
{
    return !strcmp(request->of, "host");
}

static bool
is_time_over(const struct request *request)
{
    return request->has_timeout &&
           libspawn__clock_now_ms() - request->began_ms >=
               (int64_t)request->timeout_s * 1000;
}

/* Opening a host may have to wait, to remove what others left. */
static bool
is_interrupted(void *user)
{
    return is_time_over(user);
}

static int
find_guest(struct request *request, char **path_r, struct libspawn_err *err)
{
    struct xl *xl = request->xl;
    int rc;

    xl->is_interrupted = is_interrupted;
    xl->user = request;
    rc = xl__try_open_host(xl, err);
    if (rc == LIBSPAWN_ERR_ABORTED) {
        rc = err->code = LIBSPAWN_ERR_TIMEOUT;
    }
    if (!rc) {
        rc = libspawn_guest_find(xl->host, request->of, &request->domid, err);
    }
    if (!rc) {
        *path_r = libspawn__host_guest_lock_path(xl->host, request->domid);
        rc = *path_r ? 0 : libspawn__fail_nomem(err);
    }
    return rc;
}

/* Without opening the host, which needs this very lock at times. */
static int
find_host(const struct request *request, char **path_r,
          struct libspawn_err *err)
{
    const struct libspawn_host_options options = {
        .state_dir = request->xl->state_dir
    };

    return libspawn__host_find_lock(&options, path_r, err);
}

/* ---- Waiting ----------------------------------------------------------- */

static void
on_alarm(int number)
{
    (void)number; /* It is there to interrupt the wait. */
}

/* The wait is interrupted when there is something to say, and at its end.  An
 * alarm that comes just before the wait is followed by others. */
static void
set_alarm(const struct request *request)
{
    int64_t first_ms = PATIENCE_MS;
    struct itimerval timer = { .it_interval.tv_usec = LOOK_MS * 1000 };

    if (request->has_timeout) {
        first_ms = MIN(first_ms, (int64_t)request->timeout_s * 1000);
    }
    timer.it_value.tv_sec = first_ms / 1000;
    timer.it_value.tv_usec = first_ms % 1000 * 1000;
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void
clear_alarm(void)
{
    static const struct itimerval none;

    setitimer(ITIMER_REAL, &none, NULL);
}

static int
on_interrupt(void *user, int fd, const struct libspawn__lock_request *lock,
             struct libspawn_err *err)
{
    struct request *request = user;
    char holder[LIBSPAWN__LOCK_TEXT_SIZE];

    if (is_time_over(request)) {
        libspawn__lock_describe_holder(fd, holder);
        return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                              "%s was not free within %llu s: it is %s",
                              lock->name,
                              (unsigned long long)request->timeout_s, holder);
    }
    if (!request->has_said &&
        libspawn__clock_now_ms() - request->began_ms >= PATIENCE_MS) {
        request->has_said = true;
        libspawn__lock_describe_holder(fd, holder);
        fprintf(stderr, "xl: waiting for %s, %s\n", lock->name, holder);
        if (!request->has_timeout) {
            clear_alarm();
        }
    }
    return 0;
}

/* The command gets our way of dealing with the alarm as we got it. */
static int
take_waiting(struct request *request,
             const struct libspawn__lock_request *lock, int *fd_r,
             struct libspawn_err *err)
{
    const struct sigaction action = { .sa_handler = on_alarm };
    struct sigaction old;
    sigset_t alarm;
    sigset_t old_mask;
    int rc;

    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigaction(SIGALRM, &action, &old);
    sigprocmask(SIG_UNBLOCK, &alarm, &old_mask);
    set_alarm(request);
    rc = libspawn__lock_take_classic(lock, on_interrupt, request, fd_r, err);
    clear_alarm();
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
    sigaction(SIGALRM, &old, NULL);
    return rc;
}

static int
take(struct request *request, const char *path, struct libspawn_err *err)
{
    AUTO_FREE char *name =
        is_host(request) ? strdup("the host lock")
                         : libspawn__str_format("the lock of guest '%s'",
                                                request->of);
    const struct libspawn__lock_request lock = { .path = path, .name = name };
    int fd; /* stays open, until the command ends */

    if (!name) {
        return libspawn__fail_nomem(err);
    }
    return request->has_timeout && !request->timeout_s
               ? libspawn__lock_take_classic(&lock, NULL, NULL, &fd, err)
               : take_waiting(request, &lock, &fd, err);
}

/* ---- All of it --------------------------------------------------------- */

/* While we waited it may have been destroyed, and created anew. */
static int
check_still_there(const struct request *request, struct libspawn_err *err)
{
    uint32_t domid;
    int rc = libspawn_guest_find(request->xl->host, request->of, &domid, err);

    if (!rc && domid != request->domid) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                            "guest '%s' is another one now", request->of);
    }
    return rc;
}

/* As which others see us. */
static void
set_name(const char *command)
{
    static char name[LIBSPAWN__LOCK_TEXT_SIZE];
    const char *slash = strrchr(command, '/');

    snprintf(name, sizeof name, "xl lock %s", slash ? slash + 1 : command);
    program_invocation_short_name = name;
}

static int
become(char *command[])
{
    int r;

    fflush(NULL);
    execvp(command[0], command);
    r = errno;
    fprintf(stderr, "xl: running '%s': %s\n", command[0], strerror(r));
    return r == ENOENT ? EXIT_NO_COMMAND : EXIT_NOT_EXECUTABLE;
}

int
xl__lock_run(struct xl *xl, int argc, char *argv[])
{
    struct request request = { .xl = xl,
                               .began_ms = libspawn__clock_now_ms() };
    AUTO_FREE char *path = NULL;
    struct libspawn_err err;
    int status = parse(&request, argc, argv);
    int rc;

    if (status >= 0) {
        return status;
    }
    set_name(request.command[0]);
    rc = is_host(&request) ? find_host(&request, &path, &err)
                           : find_guest(&request, &path, &err);
    if (!rc) {
        rc = take(&request, path, &err);
    }
    if (!rc && !is_host(&request)) {
        rc = check_still_there(&request, &err);
    }
    return rc ? xl__fail(xl, &err) : become(request.command);
}
