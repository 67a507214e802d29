/*
 * Death at any moment, with a directory as the store: tests/sweep/crash.h.
 */
#include "tests/lib/harness.h"
#include "tests/sweep/crash.h"

enum { SWEEP_TEST_S = 60 };

TEST_TIMEOUT(caller_killed_until_the_release__no_orphan, SWEEP_TEST_S)
{
    sweep_crash(NULL, LEAD_CALLER, DEED_RELEASE, 13);
}

TEST_TIMEOUT(watcher_killed_until_the_release__no_orphan, SWEEP_TEST_S)
{
    sweep_crash(NULL, LEAD_WATCHER, DEED_RELEASE, 17);
}

TEST_TIMEOUT(child_killed_until_the_release__is_told, SWEEP_TEST_S)
{
    sweep_crash(NULL, LEAD_CHILD, DEED_RELEASE, 11);
}

TEST_TIMEOUT(caller_killed_until_the_stop__no_orphan, SWEEP_TEST_S)
{
    sweep_crash(NULL, LEAD_CALLER, DEED_STOP, 19);
}

TEST_TIMEOUT(watcher_killed_until_the_stop__no_orphan, SWEEP_TEST_S)
{
    sweep_crash(NULL, LEAD_WATCHER, DEED_STOP, 23);
}

TEST_TIMEOUT(watcher_killed_in_a_failure__is_told, SWEEP_TEST_S)
{
    sweep_crash(NULL, LEAD_WATCHER, DEED_FAIL, 19);
}

TEST_MAIN("sweep_crash")
