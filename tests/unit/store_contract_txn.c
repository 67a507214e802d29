/*
 * The contract: transactions, several processes at once, and a lost server.
 */
#include <string.h>

#include "tests/unit/store_contract.h"

static struct libspawn__store_txn *
begin(struct libspawn__store *store)
{
    struct libspawn__store_txn *txn = NULL;
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__store_txn_begin(store, &txn, &err), &err);
    return txn;
}

static void
put(struct libspawn__store *store, struct libspawn__store_txn *txn,
    const char *path, const char *value)
{
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__store_puts(store, txn, path, value, &err), &err);
}

static void
commit(struct libspawn__store *store, struct libspawn__store_txn *txn)
{
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__store_txn_commit(store, txn, &err), &err);
}

/* ---- What a transaction sees ------------------------------------------- */

TEST(txn_reads__see_its_own_changes)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_txn *txn;
    AUTO_FREE char *names = NULL;

    contract_write(store, TOP "/a/old", "1");
    contract_write(store, TOP "/a/gone/x", "2");
    txn = begin(store);
    put(store, txn, TOP "/a/old", "new");
    put(store, txn, TOP "/a/b/c", "3");
    assert_ok(libspawn__store_remove(store, txn, TOP "/a/gone", NULL), NULL);
    ck_assert(contract_has(store, txn, TOP "/a/old", "new"));
    ck_assert(contract_has(store, txn, TOP "/a/b/c", "3"));
    ck_assert(contract_has(store, txn, TOP "/a/b", ""));
    ck_assert(contract_has(store, txn, TOP "/a/gone", NULL));
    ck_assert(contract_has(store, txn, TOP "/a/gone/x", NULL));
    names = contract_list(store, txn, TOP "/a");
    ck_assert_str_eq(names, "b old ");
    libspawn__store_txn_abort(store, txn);
}

TEST(txn_removed_and_written_again__has_only_the_new)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_txn *txn;
    AUTO_FREE char *inside = NULL;
    AUTO_FREE char *outside = NULL;

    contract_write(store, TOP "/a", "own");
    contract_write(store, TOP "/a/old", "1");
    txn = begin(store);
    assert_ok(libspawn__store_remove(store, txn, TOP "/a", NULL), NULL);
    put(store, txn, TOP "/a/new", "2");
    ck_assert(contract_has(store, txn, TOP "/a", ""));
    ck_assert(contract_has(store, txn, TOP "/a/old", NULL));
    inside = contract_list(store, txn, TOP "/a");
    ck_assert_str_eq(inside, "new ");
    commit(store, txn);
    outside = contract_list(store, NULL, TOP "/a");
    ck_assert_str_eq(outside, "new ");
    ck_assert(contract_has(store, NULL, TOP "/a", ""));
}

TEST(txn_missing_nodes__are_not_found_inside_too)
{
    static const struct libspawn__store_perm perms[] = { { .domid = 0 } };
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STRV struct libspawn__strv names = { 0 };
    struct libspawn__store_txn *txn = begin(store);

    assert_code(libspawn__store_remove(store, txn, TOP "/a", NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_code(libspawn__store_list(store, txn, TOP "/a", &names, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_code(
        libspawn__store_set_perms(store, txn, TOP "/a", perms, 1, NULL),
        LIBSPAWN_ERR_NOT_FOUND);
    libspawn__store_txn_abort(store, txn);
}

TEST(txn_changes__are_seen_by_others_at_the_commit_only)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STORE struct libspawn__store *other = contract_open();
    struct libspawn__store_txn *txn;

    contract_write(store, TOP "/a", "1");
    txn = begin(store);
    put(store, txn, TOP "/a", "2");
    put(store, txn, TOP "/b/c", "3");
    ck_assert(contract_has(store, NULL, TOP "/a", "1"));
    ck_assert(contract_has(other, NULL, TOP "/a", "1"));
    ck_assert(contract_has(other, NULL, TOP "/b", NULL));
    commit(store, txn);
    ck_assert(contract_has(other, NULL, TOP "/a", "2"));
    ck_assert(contract_has(other, NULL, TOP "/b/c", "3"));
}

TEST(txn_abort__changes_nothing)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_txn *txn;

    contract_write(store, TOP "/a", "1");
    txn = begin(store);
    put(store, txn, TOP "/a", "2");
    libspawn__store_txn_abort(store, txn);
    ck_assert(contract_has(store, NULL, TOP "/a", "1"));
    libspawn__store_txn_abort(store, NULL);
}

TEST(txn_left_open__ends_without_effect_at_close)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store *other = contract_open();

    put(other, begin(other), TOP "/a", "1");
    put(other, begin(other), TOP "/a", "2");
    libspawn__store_close(other);
    ck_assert(contract_has(store, NULL, TOP "/a", NULL));
}

TEST(txn_of_another_store__is_invalid)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STORE struct libspawn__store *other = contract_open();
    struct libspawn__store_txn *txn = begin(other);

    assert_code(libspawn__store_puts(store, txn, TOP "/a", "1", NULL),
                LIBSPAWN_ERR_INVALID);
    assert_code(libspawn__store_txn_commit(store, txn, NULL),
                LIBSPAWN_ERR_INVALID);
}

/* ---- Conflicts --------------------------------------------------------- */

TEST(txn_read_node_changed__conflicts_and_writes_nothing)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STORE struct libspawn__store *other = contract_open();
    struct libspawn__store_txn *txn;

    contract_write(store, TOP "/a", "1");
    txn = begin(store);
    ck_assert(contract_has(store, txn, TOP "/a", "1"));
    contract_write(other, TOP "/a", "2");
    ck_assert(contract_has(store, txn, TOP "/a", "1"));
    put(store, txn, TOP "/b", "3");
    assert_code(libspawn__store_txn_commit(store, txn, NULL),
                LIBSPAWN_ERR_CONFLICT);
    ck_assert(contract_has(store, NULL, TOP "/b", NULL));
}

TEST(txn_missing_node_made__conflicts)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STORE struct libspawn__store *other = contract_open();
    struct libspawn__store_txn *txn;

    contract_write(store, TOP "/x", "");
    txn = begin(store);
    ck_assert(contract_has(store, txn, TOP "/a", NULL));
    contract_write(other, TOP "/a", "2");
    put(store, txn, TOP "/a", "mine");
    assert_code(libspawn__store_txn_commit(store, txn, NULL),
                LIBSPAWN_ERR_CONFLICT);
    ck_assert(contract_has(store, NULL, TOP "/a", "2"));
}

TEST(txn_listed_node_got_a_child__conflicts)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STORE struct libspawn__store *other = contract_open();
    struct libspawn__store_txn *txn;
    AUTO_FREE char *names = NULL;

    contract_write(store, TOP "/a/x", "1");
    txn = begin(store);
    names = contract_list(store, txn, TOP "/a");
    contract_write(other, TOP "/a/y", "2");
    put(store, txn, TOP "/b", "3");
    assert_code(libspawn__store_txn_commit(store, txn, NULL),
                LIBSPAWN_ERR_CONFLICT);
    ck_assert(contract_has(store, NULL, TOP "/b", NULL));
}

TEST(txn_changes_elsewhere__do_not_conflict)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STORE struct libspawn__store *other = contract_open();
    struct libspawn__store_txn *txn;

    contract_write(store, TOP "/a/x", "1");
    contract_write(store, TOP "/b/x", "1");
    txn = begin(store);
    ck_assert(contract_has(store, txn, TOP "/a/x", "1"));
    contract_write(other, TOP "/b/x", "2");
    put(store, txn, TOP "/a/x", "3");
    commit(store, txn);
    ck_assert(contract_has(store, NULL, TOP "/a/x", "3"));
}

/* ---- Several processes ------------------------------------------------- */

enum { N_ROUNDS = 100 };

/* Adds one to the number at TOP/sum; a code. */
static int
add_one(struct libspawn__store *store)
{
    struct libspawn__store_txn *txn;
    AUTO_FREE char *value = NULL;
    int rc = libspawn__store_txn_begin(store, &txn, NULL);

    if (rc) {
        return rc;
    }
    rc = libspawn__store_read(store, txn, TOP "/sum", &value, NULL, NULL);
    if (!rc) {
        rc = libspawn__store_printf(store, txn, TOP "/sum", NULL, "%ld",
                                    strtol(value, NULL, 10) + 1);
    }
    if (rc) {
        libspawn__store_txn_abort(store, txn);
        return rc;
    }
    return libspawn__store_txn_commit(store, txn, NULL);
}

static int
count_up(void)
{
    AUTO_STORE struct libspawn__store *store = contract_open();
    int n_done = 0;

    while (n_done < N_ROUNDS) {
        int rc = add_one(store);

        if (!rc) {
            n_done++;
        } else if (rc != LIBSPAWN_ERR_CONFLICT) {
            return 1;
        }
    }
    return 0;
}

TEST_TIMEOUT(txn_of_two_processes__lose_no_update, 60)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    pid_t a, b;

    contract_write(store, TOP "/sum", "0");
    a = contract_start(count_up);
    b = contract_start(count_up);
    ck_assert_int_eq(contract_finish(a), 0);
    ck_assert_int_eq(contract_finish(b), 0);
    ck_assert(contract_has(store, NULL, TOP "/sum", "200"));
}

static int
write_own_nodes(void)
{
    AUTO_STORE struct libspawn__store *store = contract_open();
    int rc = 0;
    int i;

    for (i = 0; !rc && i < N_ROUNDS; i++) {
        AUTO_FREE char *path =
            libspawn__str_format(TOP "/%d/%d/x", i % 10, (int)getpid());

        rc = libspawn__store_printf(store, NULL, path, NULL, "%d", i);
    }
    return rc ? 1 : 0;
}

TEST_TIMEOUT(store_two_writers__lose_no_node, 60)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    pid_t a = contract_start(write_own_nodes);
    pid_t b = contract_start(write_own_nodes);
    AUTO_STRV struct libspawn__strv names = { 0 };

    ck_assert_int_eq(contract_finish(a), 0);
    ck_assert_int_eq(contract_finish(b), 0);
    assert_ok(libspawn__store_list(store, NULL, TOP "/7", &names, NULL), NULL);
    ck_assert_uint_eq(names.n_items, 2);
}

/* One long value after the other, until TOP/stop appears. */
static int
write_long_values(void)
{
    AUTO_STORE struct libspawn__store *store = contract_open();
    char value[3000];
    int i;

    for (i = 0; contract_has(store, NULL, TOP "/stop", NULL); i++) {
        memset(value, 'a' + i % 26, sizeof value);
        if (libspawn__store_write(store, NULL, TOP "/a", value, sizeof value,
                                  NULL)) {
            return 1;
        }
    }
    return 0;
}

TEST_TIMEOUT(store_read_during_writes__is_never_a_part, 60)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    pid_t writer;
    int i;

    contract_write(store, TOP "/a", "a");
    writer = contract_start(write_long_values);
    while (contract_has(store, NULL, TOP "/a", "a")) {
        continue;
    }
    for (i = 0; i < 20 * N_ROUNDS; i++) {
        AUTO_FREE char *value = NULL;
        size_t size = 0;

        assert_ok(
            libspawn__store_read(store, NULL, TOP "/a", &value, &size, NULL),
            NULL);
        ck_assert_uint_eq(size, 3000);
        ck_assert_uint_eq(strspn(value, (char[]){ value[0], '\0' }), 3000);
    }
    contract_write(store, TOP "/stop", "");
    ck_assert_int_eq(contract_finish(writer), 0);
}

/* The same number at x, y and below, in one transaction each, with a leaf that
 * becomes a directory and goes, until TOP/stop appears. */
static int
write_in_step(void)
{
    AUTO_STORE struct libspawn__store *store = contract_open();
    int rc = 0;
    int i;

    for (i = 1; !rc && contract_has(store, NULL, TOP "/stop", NULL); i++) {
        struct libspawn__store_txn *txn = begin(store);

        rc = libspawn__store_printf(store, txn, TOP "/x", NULL, "%d", i);
        libspawn__store_remove(store, txn, TOP "/z", NULL);
        libspawn__store_puts(store, txn, TOP "/z", "", NULL);
        libspawn__store_printf(store, txn, TOP "/z/y", NULL, "%d", i);
        libspawn__store_txn_commit(store, txn, NULL);
    }
    return rc ? 1 : 0;
}

static long
read_number(struct libspawn__store *store, struct libspawn__store_txn *txn,
            const char *path)
{
    AUTO_FREE char *value = NULL;
    struct libspawn_err err = { 0 };
    int rc = libspawn__store_read(store, txn, path, &value, NULL, &err);

    if (rc == LIBSPAWN_ERR_CONFLICT) {
        return -1;
    }
    assert_ok(rc, &err);
    return strtol(value, NULL, 10);
}

TEST_TIMEOUT(store_read_during_commits__never_sees_half_of_one, 60)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    pid_t writer;
    int i;

    contract_write(store, TOP "/x", "0");
    contract_write(store, TOP "/z/y", "0");
    writer = contract_start(write_in_step);
    for (i = 0; i < 10 * N_ROUNDS; i++) {
        long x = read_number(store, NULL, TOP "/x");
        long y = read_number(store, NULL, TOP "/z/y");

        ck_assert_int_ge(y, x);
    }
    contract_write(store, TOP "/stop", "");
    ck_assert_int_eq(contract_finish(writer), 0);
}

TEST_TIMEOUT(txn_reads_during_commits__see_one_tree, 60)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    int n_seen = 0;
    pid_t writer;

    contract_write(store, TOP "/x", "0");
    contract_write(store, TOP "/z/y", "0");
    writer = contract_start(write_in_step);
    while (n_seen < N_ROUNDS) {
        struct libspawn__store_txn *txn = begin(store);
        long x = read_number(store, txn, TOP "/x");
        long y = read_number(store, txn, TOP "/z/y");

        if (!libspawn__store_txn_commit(store, txn, NULL)) {
            ck_assert_int_eq(x, y);
            n_seen++;
        }
    }
    contract_write(store, TOP "/stop", "");
    ck_assert_int_eq(contract_finish(writer), 0);
}

/* ---- A lost server ----------------------------------------------------- */

static struct libspawn__store *
open_to_lose(void)
{
    store_contract.expect_loss();
    return contract_open_clean();
}

TEST(store_server_lost__is_gone_for_every_call)
{
    AUTO_STORE struct libspawn__store *store = open_to_lose();
    AUTO_STRV struct libspawn__strv names = { 0 };
    struct libspawn__store_txn *txn;
    struct libspawn_err err = { 0 };
    char *value;

    contract_write(store, TOP "/a", "1");
    store_contract.lose();
    assert_code(libspawn__store_puts(store, NULL, TOP "/a", "2", &err),
                LIBSPAWN_ERR_GONE);
    assert_code(
        libspawn__store_read(store, NULL, TOP "/a", &value, NULL, NULL),
        LIBSPAWN_ERR_GONE);
    assert_code(libspawn__store_list(store, NULL, TOP, &names, NULL),
                LIBSPAWN_ERR_GONE);
    assert_code(libspawn__store_txn_begin(store, &txn, NULL),
                LIBSPAWN_ERR_GONE);
}

TEST(store_server_lost_before_nodes_are_read__is_gone_for_each)
{
    AUTO_STORE struct libspawn__store *store = open_to_lose();
    struct libspawn__store_item items[] = { { .path = TOP "/a" },
                                            { .path = TOP "/b" } };
    int i;

    contract_write(store, TOP "/a", "1");
    store_contract.lose();
    for (i = 0; i < 2; i++) {
        libspawn__store_read_each(store, items, ARRAY_SIZE(items));
        assert_code(items[0].rc, LIBSPAWN_ERR_GONE);
        assert_code(items[1].rc, LIBSPAWN_ERR_GONE);
        ck_assert_ptr_null(items[0].value);
    }
}

TEST(store_server_lost_before_a_read__is_gone)
{
    AUTO_STORE struct libspawn__store *store = open_to_lose();
    char *value;

    store_contract.lose();
    assert_code(
        libspawn__store_read(store, NULL, TOP "/a", &value, NULL, NULL),
        LIBSPAWN_ERR_GONE);
}

TEST(txn_server_lost__is_gone_at_the_commit)
{
    AUTO_STORE struct libspawn__store *store = open_to_lose();
    struct libspawn__store_txn *txn = begin(store);

    put(store, txn, TOP "/a", "1");
    store_contract.lose();
    assert_code(libspawn__store_txn_commit(store, txn, NULL),
                LIBSPAWN_ERR_GONE);
}
