/*
 * Death at any moment, with the record in the real xenstored and
 * spawn-watcher-xen: tests/sweep/crash.h.
 */
#include <sched.h>

#include "guest/xen_detect.h"
#include "store/provider.h"
#include "tests/lib/harness.h"
#include "tests/sweep/crash.h"

#define ADDRESS "xenstore:"

enum { SWEEP_TEST_S = 60 };

__attribute__((constructor)) static void
register_xenstore(void)
{
    libspawn__store_register(&libspawn__store_xenstore_class);
}

/* On an emulated host every switch between two processors costs more than what
 * is done there, and a process that is traced switches at each call. */
static void
stay_on_this_processor(void)
{
    cpu_set_t processors;
    int processor = sched_getcpu();

    ck_assert_int_ge(processor, 0);
    CPU_ZERO(&processors);
    CPU_SET(processor, &processors);
    ck_assert_int_eq(sched_setaffinity(0, sizeof processors, &processors), 0);
}

static void
sweep(enum lead_role role, unsigned int quick)
{
    stay_on_this_processor();
    sweep_crash(ADDRESS, role, DEED_RELEASE, quick);
    deed_clean_store(ADDRESS);
}

TEST_TIMEOUT(xenstored_caller_killed_until_the_release__no_orphan,
             SWEEP_TEST_S)
{
    sweep(LEAD_CALLER, 23);
}

TEST_TIMEOUT(xenstored_watcher_killed_until_the_release__no_orphan,
             SWEEP_TEST_S)
{
    sweep(LEAD_WATCHER, 43);
}

TEST_TIMEOUT(xenstored_child_killed_until_the_release__is_told, SWEEP_TEST_S)
{
    sweep(LEAD_CHILD, 29);
}

static const char *
is_no_xen_host(void)
{
    return libspawn__xen_is_control_domain()
               ? NULL
               : "this is not the control domain of a Xen host";
}

TEST_MAIN_UNLESS("sweep_xenstored", is_no_xen_host)
