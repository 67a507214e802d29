/*
 * A soak: many guests for a long time, to each of which something is done
 * again and again, by a seeded random number; and what must then be true of
 * it.
 *
 *   test_sweep_soak.c   the rounds, and the end
 *   soak_action.c       what is done, and what must follow: a table
 *   soak_guest.c        one guest: what is to be true, and what is
 *   soak_story.c        what `xl events -f` tells, and whether it makes sense
 *
 * A round does something to a few guests at once and then looks at each of
 * them.  What cannot be known beforehand (who was quicker) is asked for.
 */
#ifndef TESTS_SWEEP_SOAK_H
#define TESTS_SWEEP_SOAK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pidref.h"
#include "base/str.h"
#include "include/libspawn-guest.h"
#include "store/store.h"
#include "tests/cli/supervised_story.h"

enum {
    SOAK_MAX_GUESTS = 1000,
    SOAK_N_KINDS = 32, /* of events, at most */
    SOAK_TAIL = 24     /* events of a guest, for messages */
};

enum soak_flavour {
    SOAK_BARE, /* xl create -e */
    SOAK_RESTART,
    SOAK_DESTROY, /* these three: on_dm_crash */
    SOAK_PRESERVE,
    SOAK_N_FLAVOURS
};

enum soak_condition {
    SOAK_ABSENT,
    SOAK_RUNNING,
    SOAK_DEAD, /* a bare one, whose device model has ended */
    SOAK_KEPT  /* the same, preserved by its supervisor */
};

/* What was told of a guest of that name. */
struct soak_story {
    bool is_there; /* created, and not destroyed since */
    bool is_down;  /* its device model died; what follows was not told yet */
    char uuid[64]; /* of the one that is there */
    uint32_t domid;
    unsigned int counts[SOAK_N_KINDS]; /* ever */
    char tail[SOAK_TAIL][64]; /* the last events, a ring */
    unsigned int n_told;
};

struct soak_guest {
    char name[32];
    bool is_real; /* QEMU, not the test device model */
    enum soak_flavour flavour;
    bool is_monitored; /* xl create --monitor */
    enum soak_condition condition;
    struct libspawn__identity model;   /* pid 0: none, of these three; */
    struct libspawn__identity watcher; /* numbers alone are used again */
    struct soak_story story;
    unsigned int marks[SOAK_N_KINDS]; /* its counts before what is done now */
    unsigned int n_killed; /* device models of it, which must be told */
    unsigned int n_slack;  /* ... and those that may be */

    /* Of what is done now. */
    const char *action;
    struct libspawn__identity victim;
    struct libspawn__identity monitor; /* that was killed */
    bool is_fatal;
    struct xl_process runs[2];
    int statuses[2];
};

struct soak {
    uint64_t seed;
    uint64_t random;
    struct soak_guest *guests;
    size_t n_guests;
    struct libspawn__store *store;
    struct xl_process follower; /* xl events -f */
    struct libspawn__buf told;  /* by it, not a whole line yet */
    unsigned int n_told;
    unsigned int n_rounds;
};

/* A number below 'n'. */
unsigned int soak_random(struct soak *soak, unsigned int n);

/* Fails, with all that is known of the guest. */
void soak_fail(const struct soak *soak, const struct soak_guest *guest,
               const char *format, ...) LIBSPAWN__PRINTF(3, 4)
    __attribute__((noreturn));
#define soak_assert(SOAK, GUEST, CONDITION)                                   \
    do {                                                                      \
        if (!(CONDITION)) {                                                   \
            soak_fail((SOAK), (GUEST), "%s: not so", #CONDITION);             \
        }                                                                     \
    } while (0)

/* ---- Stories (soak_story.c) -------------------------------------------- */

void soak_follow(struct soak *soak);

/* Takes what was told, or waits for it.  A story that makes no sense fails. */
void soak_listen(struct soak *soak, int timeout_ms);

/* Everything that was told so far has been taken, and no guest is there. */
void soak_unfollow(struct soak *soak);

/* What comes is counted from here. */
void soak_mark(struct soak_guest *guest);
unsigned int soak_count(const struct soak_guest *guest,
                        enum libspawn_guest_event_kind kind);
void soak_await(struct soak *soak, struct soak_guest *guest,
                enum libspawn_guest_event_kind kind);

/* Waits until the first or the second is told. */
void soak_await_either(struct soak *soak, struct soak_guest *guest,
                       enum libspawn_guest_event_kind first,
                       enum libspawn_guest_event_kind second);

/* ---- One guest (soak_guest.c) ------------------------------------------ */

bool soak_is_supervised(const struct soak_guest *guest);

/* Chooses what it is to be, and writes its configuration. */
void soak_choose(struct soak *soak, struct soak_guest *guest);

/* Starts xl -v create for it as run 'i'. */
void soak_start_create(struct soak_guest *guest, int i);

/* Starts "xl COMMAND NAME" as run 'i'. */
void soak_start(struct soak_guest *guest, int i, const char *command);

/* Some command about it, which brings back supervisors that were lost; its
 * status. */
int soak_look(const struct soak_guest *guest);

/* Waits for the end of run 'i', whose status is then known. */
void soak_finish(struct soak_guest *guest, int i);

/* It runs: who its processes are is looked up. */
void soak_learn(struct soak *soak, struct soak_guest *guest);

/* It is gone, and so are its processes and files. */
void soak_assert_gone(struct soak *soak, struct soak_guest *guest);

/* Finds out whether it is there. */
void soak_settle(struct soak *soak, struct soak_guest *guest);

/* Who it is, which must be there. */
struct libspawn__identity
soak_supervisor(const struct soak_guest *guest);
struct libspawn__identity
soak_monitor(const struct soak_guest *guest);

/* If there is one: the victim. */
void soak_kill_supervisor(struct soak_guest *guest);

/* Unless it has ended. */
void soak_signal(const struct libspawn__identity *id, int signal);
void soak_await_end(struct soak *soak, struct soak_guest *guest,
                    const struct libspawn__identity *id);
bool soak_is_same(const struct libspawn__identity *a,
                  const struct libspawn__identity *b);

/* ---- What is done (soak_action.c) -------------------------------------- */

struct soak_action {
    const char *name;
    unsigned int weight;     /* how often */
    unsigned int conditions; /* in which it can be done: bits */
    bool (*suits)(const struct soak_guest *guest); /* NULL: any other */
    void (*begin)(struct soak *soak, struct soak_guest *guest);
    void (*end)(struct soak *soak, struct soak_guest *guest);
};

extern const struct soak_action soak_actions[];
extern const size_t soak_n_actions;

/* Those that suit have the chances of their weights. */
const struct soak_action *soak_choose_action(struct soak *soak,
                                             const struct soak_guest *guest);

extern const struct soak_action soak_destruction;

#endif
