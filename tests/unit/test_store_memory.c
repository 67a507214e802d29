/*
 * The store and memory running out at each allocation in turn, once or from
 * then on: an error that says so, nothing leaked (the sanitizers look), and a
 * store that works afterwards.
 */
#include <string.h>

#include "tests/lib/memory.h"
#include "tests/unit/store_contract.h"

static int
open_store(struct libspawn__store **store_r, struct libspawn_err *err)
{
    return libspawn__store_open("dir:store", store_r, err);
}

const struct store_contract store_contract = { .open = open_store };

/* Runs the story with the first allocation failing, then with the second, and
 * so on until none fails any more. */
static void
check_story(int (*story)(struct libspawn__store *store))
{
    int mode;

    for (mode = 0; mode < 2; mode++) {
        bool has_failed = true;
        long n;

        for (n = 1; has_failed; n++) {
            AUTO_STORE struct libspawn__store *store = NULL;
            int rc;

            libspawn__store_close(contract_open_clean());
            memory_fail_at(n, mode);
            rc = open_store(&store, NULL);
            if (!rc) {
                rc = story(store);
            }
            has_failed = memory_stop_failing();
            if (rc != LIBSPAWN_ERR_NO_MEMORY || !has_failed) {
                assert_ok(rc, NULL);
            }
        }
    }
}

static int
use_nodes(struct libspawn__store *store)
{
    static const struct libspawn__store_perm perms[] = { { 5, true, false } };
    AUTO_STRV struct libspawn__strv names = { 0 };
    AUTO_FREE struct libspawn__store_perm *found = NULL;
    AUTO_FREE char *value = NULL;
    size_t n_found;
    int rc = libspawn__store_puts(store, NULL, TOP "/a/b/c", "1", NULL);

    rc = rc ? rc : libspawn__store_printf(store, NULL, TOP "/d", NULL, "x");
    rc = rc ? rc : libspawn__store_list(store, NULL, TOP, &names, NULL);
    rc = rc ? rc : libspawn__store_set_perms(store, NULL, TOP, perms, 1, NULL);
    rc = rc ? rc
            : libspawn__store_get_perms(store, NULL, TOP, &found, &n_found,
                                        NULL);
    rc = rc ? rc
            : libspawn__store_read(store, NULL, TOP "/a/b/c", &value, NULL,
                                   NULL);
    return rc ? rc : libspawn__store_remove(store, NULL, TOP, NULL);
}

TEST_TIMEOUT(store_without_memory__says_so, 60)
{
    check_story(use_nodes);
}

static int
use_transaction(struct libspawn__store *store)
{
    static const struct libspawn__store_perm perms[] = { { 5, true, false } };
    AUTO_STRV struct libspawn__strv names = { 0 };
    AUTO_FREE struct libspawn__store_perm *found = NULL;
    struct libspawn__store_txn *txn;
    size_t n_found;
    int rc = libspawn__store_puts(store, NULL, TOP "/a/b", "1", NULL);

    rc = rc ? rc : libspawn__store_txn_begin(store, &txn, NULL);
    if (rc) {
        return rc;
    }
    rc = libspawn__store_list(store, txn, TOP "/a", &names, NULL);
    rc = rc ? rc : libspawn__store_puts(store, txn, TOP "/a/c", "2", NULL);
    rc = rc ? rc : libspawn__store_remove(store, txn, TOP "/a/b", NULL);
    rc = rc ? rc
            : libspawn__store_set_perms(store, txn, TOP "/a", perms, 1, NULL);
    rc = rc ? rc
            : libspawn__store_get_perms(store, txn, TOP "/a/c", &found,
                                        &n_found, NULL);
    if (rc) {
        libspawn__store_txn_abort(store, txn);
        return rc;
    }
    return libspawn__store_txn_commit(store, txn, NULL);
}

TEST_TIMEOUT(txn_without_memory__says_so, 60)
{
    check_story(use_transaction);
}

static void
ignore(struct libspawn__store_watch *watch, const char *path)
{
    (void)watch;
    (void)path;
}

static int
use_watches(struct libspawn__store *store)
{
    struct libspawn__store_watch above = { 0 };
    struct libspawn__store_watch below = { 0 };
    struct libspawn__loop *loop = NULL;
    int rc = libspawn__loop_new(&loop, NULL);

    rc =
        rc ? rc
           : libspawn__store_watch_add(store, loop, &above, TOP, ignore, NULL);
    rc = rc ? rc
            : libspawn__store_watch_add(store, loop, &below, TOP "/a/b",
                                        ignore, NULL);
    rc = rc ? rc : libspawn__store_puts(store, NULL, TOP "/a/b/c", "1", NULL);
    rc = rc ? rc : libspawn__loop_dispatch(loop, NULL);
    rc = rc ? rc : libspawn__store_remove(store, NULL, TOP "/a", NULL);
    rc = rc ? rc : libspawn__loop_dispatch(loop, NULL);
    libspawn__store_watch_remove(&above);
    libspawn__store_watch_remove(&below);
    libspawn__loop_free(loop);
    return rc;
}

/* Without memory for the list of directories a watch polls: no error. */
TEST_TIMEOUT(watch_without_memory__says_so_or_polls, 60)
{
    check_story(use_watches);
}

TEST_MAIN("store_memory")
