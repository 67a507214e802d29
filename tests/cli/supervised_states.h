/*
 * Every state in which a supervisor can be killed: how the guest XL_GUEST, of
 * supervised_create, gets there, and what is to be seen when the next
 * supervisor has gone on.
 */
#ifndef TESTS_CLI_SUPERVISED_STATES_H
#define TESTS_CLI_SUPERVISED_STATES_H

#include "service/states.h"

struct supervised_state {
    const char *lines;  /* of the configuration */
    void (*lead)(void); /* NULL: nobody can see it in that state */
    void (*check)(void);
};

extern const struct supervised_state supervised_states[];

#endif
