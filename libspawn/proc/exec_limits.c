/*
 * How much the child gets: resource limits, priorities, umask.
 */
#include "proc/exec_steps.h"

#include <fcntl.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

static const char *const limit_names[] = {
#define NAME(RESOURCE) [RLIMIT_##RESOURCE] = "RLIMIT_" #RESOURCE
    NAME(AS),     NAME(CORE),   NAME(CPU),        NAME(DATA),
    NAME(FSIZE),  NAME(LOCKS),  NAME(MEMLOCK),    NAME(MSGQUEUE),
    NAME(NICE),   NAME(NOFILE), NAME(NPROC),      NAME(RSS),
    NAME(RTPRIO), NAME(RTTIME), NAME(SIGPENDING), NAME(STACK),
#undef NAME
};

const char *
libspawn__exec_limit_name(uint32_t resource)
{
    return resource < ARRAY_SIZE(limit_names) ? limit_names[resource] : NULL;
}

void
libspawn__exec_prepare_limits(struct libspawn__exec *exec)
{
    snprintf(exec->oom_score_adj, sizeof exec->oom_score_adj, "%d",
             (int)(int64_t)exec->plan->oom_score_adj);
}

int
libspawn__exec_set_limits(struct libspawn__exec *exec)
{
    const struct libspawn__plan_limit *limits = exec->plan->limits;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(exec->plan->limits); i++) {
        const struct rlimit limit = { limits[i].soft, limits[i].hard };

        exec->item = (uint32_t)i;
        if (limits[i].is_set &&
            setrlimit((int)i, &limit) < 0) {
            return -1;
        }
    }
    return 0;
}

int
libspawn__exec_set_oom_score_adj(struct libspawn__exec *exec)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    int r;

    if (fd < 0) {
        return -1;
    }
    r = libspawn__fd_write_full(fd, exec->oom_score_adj,
                                strlen(exec->oom_score_adj));
    close(fd);
    errno = -r;
    return r ? -1 : 0;
}

int
libspawn__exec_set_nice(struct libspawn__exec *exec)
{
    return setpriority(PRIO_PROCESS, 0, (int)(int64_t)exec->plan->nice);
}

/* Not sched_setattr(2), which would set the nice value again.  By the system
 * call itself: musl has a function that always fails. */
int
libspawn__exec_set_scheduler(struct libspawn__exec *exec)
{
    static const int policies[] = {
        [LIBSPAWN_SCHEDULER_OTHER] = SCHED_OTHER,
        [LIBSPAWN_SCHEDULER_BATCH] = SCHED_BATCH,
        [LIBSPAWN_SCHEDULER_IDLE] = SCHED_IDLE,
    };
    const struct sched_param param = { 0 };

    return (int)syscall(SYS_sched_setscheduler, 0,
                        policies[exec->plan->scheduler], &param);
}

int
libspawn__exec_set_io_priority(struct libspawn__exec *exec)
{
    static const int classes[] = {
        [LIBSPAWN_IO_BEST_EFFORT] = IOPRIO_CLASS_BE,
        [LIBSPAWN_IO_IDLE] = IOPRIO_CLASS_IDLE,
    };
    const struct libspawn_plan *plan = exec->plan;

    return (int)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                        IOPRIO_PRIO_VALUE(classes[plan->io_class],
                                          plan->io_level));
}

int
libspawn__exec_set_umask(struct libspawn__exec *exec)
{
    umask((mode_t)exec->plan->umask);
    return 0;
}
