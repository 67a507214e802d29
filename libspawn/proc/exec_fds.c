/*
 * The descriptors that the program shall have, and no others.
 */
#include "proc/exec_steps.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

/* One move of a descriptor: 'from' is above all targets by then. */
struct move {
    int from;
    int to;
};

/* Lists what the program shall have: /dev/null as 0, the output as 1 and 2,
 * where the plan does not say otherwise. */
static size_t
list_moves(const struct libspawn__exec *exec, int null_fd, struct move *moves)
{
    const struct libspawn_plan *plan = exec->plan;
    const int standard[] = { null_fd, exec->output_fd, exec->output_fd };
    bool is_given[ARRAY_SIZE(standard)] = { false };
    size_t n = 0;
    size_t i;

    for (i = 0; i < plan->n_fds; i++) {
        moves[n++] = (struct move){ plan->fds[i].fd, plan->fds[i].child_fd };
    }
    if (exec->notify_fd >= 0) {
        moves[n++] = (struct move){ exec->notify_fd, (int)plan->notify_fd };
    }
    for (i = 0; i < n; i++) {
        if (moves[i].to < (int)ARRAY_SIZE(standard)) {
            is_given[moves[i].to] = true;
        }
    }
    for (i = 0; i < ARRAY_SIZE(standard); i++) {
        if (!is_given[i]) {
            moves[n++] = (struct move){ standard[i], (int)i };
        }
    }
    return n;
}

/* A failure leaves it where it was: the reason has to go through one. */
static int
move_up(int *fd, int base)
{
    int copy = fcntl(*fd, F_DUPFD_CLOEXEC, base);

    if (copy >= 0) {
        *fd = copy;
    } else if (errno == EINVAL) {
        errno = EMFILE; /* the limit is below even the base */
    }
    return copy;
}

/* First every source goes above all targets, so that no move overwrites the
 * source of a later one; whatever is not a target gets close-on-exec. */
int
libspawn__exec_move_fds(struct libspawn__exec *exec)
{
    struct move moves[LIBSPAWN__PLAN_FDS_MAX + 4];
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int base = 3;
    size_t n_moves;
    size_t i;

    if (null_fd < 0) {
        return -1;
    }
    n_moves = list_moves(exec, null_fd, moves);
    for (i = 0; i < n_moves; i++) {
        base = MAX(base, moves[i].to + 1);
    }
    for (i = 0; i < n_moves; i++) {
        if (move_up(&moves[i].from, base) < 0) {
            return -1;
        }
    }
    if (move_up(&exec->hold_fds[0], base) < 0 ||
        move_up(&exec->result_fds[1], base) < 0) {
        return -1;
    }
    if (libspawn__fd_cloexec_from(0) < 0) {
        return -1;
    }
    for (i = 0; i < n_moves; i++) {
        if (dup2(moves[i].from, moves[i].to) < 0) { /* not close-on-exec */
            return -1;
        }
    }
    return 0;
}
