/*
 * guest-supervisor --monitor: a process that stays, starts the supervisor as
 * its child, and starts it again when it crashes.  To whoever started it, it
 * looks like the supervisor itself: what that says, its verdict, and its exit
 * status are passed on unchanged.  Where somebody else was quicker with the
 * next supervisor, it waits for the end of that one, of which it is not the
 * parent: how that ended it cannot know.
 *
 * There is one for each guest, which its pid file makes sure of: one that
 * finds another passes on what it says, and restarts nobody.
 *
 * It supervises no guest and knows nothing of them; it opens no host.
 */
#ifndef TOOLS_GUEST_SUPERVISOR_MONITOR_H
#define TOOLS_GUEST_SUPERVISOR_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

struct monitor_plan {
    char *state_dir; /* NULL: default */
    char *name;      /* of the guest */
    bool is_adopting;
    bool is_again;      /* for one that runs, or has just ended */
    const char *control; /* of the first one; the next remember it; or NULL */
    int64_t restart_ms; /* between two starts at least */
};

enum {
    MONITOR_UNWANTED = -1
};

/* Returns what to exit with; MONITOR_UNWANTED when the supervisor has created
 * the guest, but nobody waited for it any more: the guest is to go. */
int monitor_run(const struct monitor_plan *plan);

#endif
