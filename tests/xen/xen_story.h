/*
 * What tests on a real Xen host share: our xl, the stock one beside it, and
 * what is expected of both.
 */
#ifndef TESTS_XEN_XEN_STORY_H
#define TESTS_XEN_XEN_STORY_H

#include "tests/lib/harness.h"

#define STOCK_XL "/usr/sbin/xl"

enum { LONG_S = 60 }; /* stretched tenfold on the emulated host */

/* The path of one of our programs, as a new string. */
char *xen_path_of(const char *name);

/* Our xl, with these arguments. */
struct harness_output xen_run_ours(const char *const args[]);
#define OURS(...) xen_run_ours((const char *const[]){ __VA_ARGS__, NULL })

/* Runs it and expects this exit status; shows what it said otherwise. */
#define EXPECT(STATUS, OUTPUT)                                                \
    do {                                                                      \
        AUTO_OUTPUT struct harness_output done_ = (OUTPUT);                   \
        ck_assert_msg(done_.status == (STATUS), "status %d: %s",              \
                      done_.status, done_.err);                               \
    } while (0)

/* Why there is nothing to test here; NULL: there is. */
const char *xen_why_not(void);

#endif
