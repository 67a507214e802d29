/*
 * The contract of store/store.h as tests: store_contract_node.c, _txn.c and
 * _watch.c.  A program links them and says how its store is opened and lost;
 * the tests register themselves.  This header has what they and tests of one
 * store use.  All nodes are below TOP.
 */
#ifndef TESTS_UNIT_STORE_CONTRACT_H
#define TESTS_UNIT_STORE_CONTRACT_H

#include "base/auto.h"
#include "store/store.h"
#include "tests/lib/harness.h"

#define TOP "/libspawn-test"

struct store_contract {
    /* Opens a connection to the store of this test. */
    int (*open)(struct libspawn__store **store_r, struct libspawn_err *err);

    /* Takes the server away from the connections that are open; before these
     * were opened, the other was called. */
    void (*expect_loss)(void);
    void (*lose)(void);
};

extern const struct store_contract store_contract;

/* Opens the store; the first with nothing below TOP. */
struct libspawn__store *contract_open_clean(void);
struct libspawn__store *contract_open(void);
void contract_close(struct libspawn__store **store);
#define AUTO_STORE AUTO(contract_close)

/* Plain calls that must succeed. */
void contract_write(struct libspawn__store *store, const char *path,
                    const char *value);
void contract_remove(struct libspawn__store *store, const char *path);

/* Whether the node has this value; NULL: whether it is missing. */
bool contract_has(struct libspawn__store *store,
                  struct libspawn__store_txn *txn, const char *path,
                  const char *value);

/* The names of the children, with a blank behind each. */
char *contract_list(struct libspawn__store *store,
                    struct libspawn__store_txn *txn, const char *path);

/* Runs the function in a process of its own, which exits with its result. */
pid_t contract_start(int (*fn)(void));

/* Waits for it; the exit code, or 128 + signal. */
int contract_finish(pid_t pid);

#endif
