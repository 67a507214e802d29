/*
 * What a test left behind: open descriptors and running processes.  For the
 * harness itself; tests use harness.h.
 */
#ifndef TESTS_LIB_LEFTOVERS_H
#define TESTS_LIB_LEFTOVERS_H

#include <stdbool.h>
#include <stddef.h>

enum { LEFTOVERS_MAX_FDS = 1024 };

/* Which descriptors were open before the test. */
struct leftovers {
    bool open[LEFTOVERS_MAX_FDS];
};

void leftovers_remember(struct leftovers *before);

/* Compares with now, and looks for processes that the test started; gives
 * those that are just ending two seconds for it.  False, and a sentence per
 * finding in 'text', when something is left or missing. */
bool leftovers_check(const struct leftovers *before, char *text, size_t size);

/* Ends, through pidfds, and reaps every descendant of this process. */
void leftovers_end(void);

#endif
