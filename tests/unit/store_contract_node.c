/*
 * The contract: values, the tree, paths and addresses, permissions.
 */
#include <string.h>

#include "tests/unit/store_contract.h"

/* ---- Values ------------------------------------------------------------ */

TEST(store_write_then_read__gives_the_same_bytes)
{
    static const char bytes[] = { 'a', '\0', '\n', '\xff', ' ', 'z' };
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_FREE char *value = NULL;
    struct libspawn_err err = { 0 };
    size_t size = 0;

    assert_ok(libspawn__store_write(store, NULL, TOP "/a", bytes, sizeof bytes,
                                    &err),
              &err);
    assert_ok(libspawn__store_read(store, NULL, TOP "/a", &value, &size, &err),
              &err);
    ck_assert_uint_eq(size, sizeof bytes);
    ck_assert_mem_eq(value, bytes, sizeof bytes);
    ck_assert_int_eq(value[size], '\0');
}

TEST(store_write_twice__replaces_the_value)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "a long value");
    contract_write(store, TOP "/a", "short");
    ck_assert(contract_has(store, NULL, TOP "/a", "short"));
}

TEST(store_write_nothing__gives_an_empty_value)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "something");
    contract_write(store, TOP "/a", "");
    ck_assert(contract_has(store, NULL, TOP "/a", ""));
}

TEST(store_read_without_size__is_allowed)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_FREE char *value = NULL;

    contract_write(store, TOP "/a", "1");
    assert_ok(libspawn__store_read(store, NULL, TOP "/a", &value, NULL, NULL),
              NULL);
    ck_assert_str_eq(value, "1");
}

TEST(store_read_each__gives_what_a_read_of_each_would)
{
    static const char bytes[] = { 'a', '\0', '\n', '\xff', ' ', 'z' };
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_item items[] = {
        { .path = TOP "/a" },
        { .path = TOP "/missing" },
        { .path = TOP "/b/c" },
        { .path = TOP "/b" },
    };

    contract_write(store, TOP "/a", "1");
    assert_ok(libspawn__store_write(store, NULL, TOP "/b/c", bytes,
                                    sizeof bytes, NULL),
              NULL);
    libspawn__store_read_each(store, items, ARRAY_SIZE(items));
    assert_ok(items[0].rc, NULL);
    ck_assert_str_eq(items[0].value, "1");
    assert_code(items[1].rc, LIBSPAWN_ERR_NOT_FOUND);
    ck_assert_ptr_null(items[1].value);
    assert_ok(items[2].rc, NULL);
    ck_assert_uint_eq(items[2].size, sizeof bytes);
    ck_assert_mem_eq(items[2].value, bytes, sizeof bytes);
    assert_ok(items[3].rc, NULL);
    ck_assert_str_eq(items[3].value, "");
    libspawn__store_items_dispose(items, ARRAY_SIZE(items));
    ck_assert_ptr_null(items[0].value);
}

TEST(store_read_each_with_a_bad_path__reads_the_others)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_item items[] = { { .path = TOP "/../x" },
                                            { .path = TOP "/a" } };

    contract_write(store, TOP "/a", "1");
    libspawn__store_read_each(store, items, ARRAY_SIZE(items));
    assert_code(items[0].rc, LIBSPAWN_ERR_INVALID);
    ck_assert_str_eq(items[1].value, "1");
    libspawn__store_items_dispose(items, ARRAY_SIZE(items));
}

TEST(store_printf__writes_the_formatted_string)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn_err err = { 0 };

    assert_ok(
        libspawn__store_printf(store, NULL, TOP "/a", &err, "%d-%s", 7, "up"),
        &err);
    ck_assert(contract_has(store, NULL, TOP "/a", "7-up"));
}

TEST(store_biggest_value__comes_back_whole)
{
    enum { SIZE = LIBSPAWN__STORE_VALUE_MAX - sizeof TOP "/a" };
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_FREE char *value = NULL;
    struct libspawn_err err = { 0 };
    char bytes[SIZE + 1];
    size_t size = 0;

    memset(bytes, 'x', sizeof bytes);
    assert_ok(libspawn__store_write(store, NULL, TOP "/a", bytes, SIZE, &err),
              &err);
    assert_ok(libspawn__store_read(store, NULL, TOP "/a", &value, &size, &err),
              &err);
    ck_assert_uint_eq(size, SIZE);
    ck_assert_mem_eq(value, bytes, SIZE);
    assert_code(
        libspawn__store_write(store, NULL, TOP "/a", bytes, SIZE + 1, &err),
        LIBSPAWN_ERR_LIMIT);
}

TEST(store_read_missing__is_not_found_and_names_it)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn_err err = { 0 };
    char *value = NULL;
    size_t size = 77;

    assert_code(
        libspawn__store_read(store, NULL, TOP "/none", &value, &size, &err),
        LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "'" TOP "/none'");
    ck_assert_ptr_null(value);
    ck_assert_uint_eq(size, 77);
}

/* ---- The tree ---------------------------------------------------------- */

TEST(store_write_deep__makes_empty_parents)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a/b/c", "1");
    ck_assert(contract_has(store, NULL, TOP "/a/b/c", "1"));
    ck_assert(contract_has(store, NULL, TOP "/a/b", ""));
    ck_assert(contract_has(store, NULL, TOP "/a", ""));
}

TEST(store_write_below_a_leaf__keeps_the_leafs_value)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "own");
    contract_write(store, TOP "/a/b/c", "1");
    ck_assert(contract_has(store, NULL, TOP "/a", "own"));
    ck_assert(contract_has(store, NULL, TOP "/a/b/c", "1"));
}

TEST(store_write_a_node_with_children__keeps_them)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a/b", "1");
    contract_write(store, TOP "/a", "own");
    ck_assert(contract_has(store, NULL, TOP "/a", "own"));
    ck_assert(contract_has(store, NULL, TOP "/a/b", "1"));
}

TEST(store_read_below_a_leaf__is_not_found)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STRV struct libspawn__strv names = { 0 };

    contract_write(store, TOP "/a", "1");
    ck_assert(contract_has(store, NULL, TOP "/a/b", NULL));
    assert_code(libspawn__store_list(store, NULL, TOP "/a/b", &names, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
}

TEST(store_mkdir__makes_an_empty_node_and_keeps_an_existing_one)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__store_mkdir(store, NULL, TOP "/a/b", &err), &err);
    ck_assert(contract_has(store, NULL, TOP "/a/b", ""));

    contract_write(store, TOP "/a/b", "own");
    contract_write(store, TOP "/leaf", "own");
    assert_ok(libspawn__store_mkdir(store, NULL, TOP "/a/b", &err), &err);
    assert_ok(libspawn__store_mkdir(store, NULL, TOP "/leaf", &err), &err);
    ck_assert(contract_has(store, NULL, TOP "/a/b", "own"));
    ck_assert(contract_has(store, NULL, TOP "/leaf", "own"));
}

TEST(store_remove__takes_all_below)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "1");
    contract_write(store, TOP "/a/b/c", "2");
    contract_write(store, TOP "/ab", "3");
    contract_remove(store, TOP "/a");
    ck_assert(contract_has(store, NULL, TOP "/a/b/c", NULL));
    ck_assert(contract_has(store, NULL, TOP "/a", NULL));
    ck_assert(contract_has(store, NULL, TOP "/ab", "3"));
}

TEST(store_remove_a_leaf__leaves_its_parent)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a/b", "1");
    contract_remove(store, TOP "/a/b");
    ck_assert(contract_has(store, NULL, TOP "/a", ""));
}

TEST(store_remove_missing__is_not_found)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "1");
    assert_code(libspawn__store_remove(store, NULL, TOP "/b", NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_code(libspawn__store_remove(store, NULL, TOP "/a/b", NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_code(libspawn__store_remove(store, NULL, TOP "/b/c/d", NULL),
                LIBSPAWN_ERR_NOT_FOUND);
}

TEST(store_discard__is_a_remove_that_does_not_mind_a_missing_node)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    static const char *const paths[] = { TOP "/a", TOP "/a", TOP "/b/c/d" };
    struct libspawn_err err;
    size_t i;

    contract_write(store, TOP "/a/b", "1");
    contract_write(store, TOP "/ab", "2");
    for (i = 0; i < ARRAY_SIZE(paths); i++) {
        assert_ok(libspawn__store_discard(store, NULL, paths[i], &err), &err);
    }
    ck_assert(contract_has(store, NULL, TOP "/a", NULL));
    ck_assert(contract_has(store, NULL, TOP "/ab", "2"));
    assert_code(libspawn__store_discard(store, NULL, "/", NULL),
                LIBSPAWN_ERR_INVALID);
}

TEST(store_prune__removes_what_is_empty_above_and_nothing_else)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn_err err;

    contract_write(store, TOP "/a/x", "1");
    contract_write(store, TOP "/a/b/c/d", "2");
    assert_ok(libspawn__store_prune(store, TOP "/a/b/c/d", &err), &err);
    ck_assert(contract_has(store, NULL, TOP "/a/b/c/d", "2"));
    contract_remove(store, TOP "/a/b/c/d");
    assert_ok(libspawn__store_prune(store, TOP "/a/b/c/d", &err), &err);
    ck_assert(contract_has(store, NULL, TOP "/a/b", NULL));
    ck_assert(contract_has(store, NULL, TOP "/a/x", "1"));
}

TEST(store_remove_the_root__is_invalid)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    assert_code(libspawn__store_remove(store, NULL, "/", NULL),
                LIBSPAWN_ERR_INVALID);
}

TEST(store_write_after_remove__finds_nothing_of_the_old_node)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_FREE char *names = NULL;

    contract_write(store, TOP "/a", "own");
    contract_write(store, TOP "/a/b", "1");
    contract_remove(store, TOP "/a");
    contract_write(store, TOP "/a/c", "2");
    names = contract_list(store, NULL, TOP "/a");
    ck_assert_str_eq(names, "c ");
    ck_assert(contract_has(store, NULL, TOP "/a", ""));
}

TEST(store_list__is_sorted_and_only_of_children)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_FREE char *names = NULL;
    AUTO_FREE char *none = NULL;

    contract_write(store, TOP "/a", "own");
    contract_write(store, TOP "/a/10", "1");
    contract_write(store, TOP "/a/9/deeper", "2");
    contract_write(store, TOP "/a/B", "3");
    contract_write(store, TOP "/a/a", "4");
    names = contract_list(store, NULL, TOP "/a");
    ck_assert_str_eq(names, "10 9 B a ");
    none = contract_list(store, NULL, TOP "/a/a");
    ck_assert_str_eq(none, "");
}

TEST(store_list_missing__is_not_found)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STRV struct libspawn__strv names = { 0 };

    assert_code(libspawn__store_list(store, NULL, TOP "/a", &names, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    ck_assert_uint_eq(names.n_items, 0);
}

/* More than one message of xenstored, or one read of a directory. */
TEST_TIMEOUT(store_list_many__gives_each_once, 30)
{
    enum { N_NODES = 1500 };
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STRV struct libspawn__strv names = { 0 };
    struct libspawn_err err = { 0 };
    int i;

    for (i = 0; i < N_NODES; i++) {
        AUTO_FREE char *path = libspawn__str_format(TOP "/a/node-%04d", i);

        contract_write(store, path, "");
    }
    assert_ok(libspawn__store_list(store, NULL, TOP "/a", &names, &err), &err);
    ck_assert_uint_eq(names.n_items, N_NODES);
    for (i = 0; i < N_NODES; i++) {
        AUTO_FREE char *name = libspawn__str_format("node-%04d", i);

        ck_assert_str_eq(names.items[i], name);
    }
}

/* ---- Paths and addresses ----------------------------------------------- */

TEST(store_bad_paths__are_invalid)
{
    static const char *const paths[] = {
        "",
        "a",
        "//",
        TOP "/",
        TOP "//a",
        TOP "/a b",
        TOP "/a\n",
        TOP "/.a",
        TOP "/..",
        TOP "/../etc",
        TOP "/\xc3",
        TOP "/a*",
        "@releaseDomain",
    };
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    size_t i;

    for (i = 0; i < ARRAY_SIZE(paths); i++) {
        assert_code(libspawn__store_puts(store, NULL, paths[i], "1", NULL),
                    LIBSPAWN_ERR_INVALID);
    }
}

TEST(store_longest_path__works_and_a_longer_one_is_invalid)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    char path[LIBSPAWN__STORE_PATH_MAX + 2] = TOP;
    size_t i;

    for (i = strlen(path); i < LIBSPAWN__STORE_PATH_MAX; i++) {
        path[i] = i % 2 ? 'd' : '/';
    }
    path[LIBSPAWN__STORE_PATH_MAX - 1] = 'd';
    contract_write(store, path, "deep");
    ck_assert(contract_has(store, NULL, path, "deep"));
    contract_remove(store, TOP);

    path[LIBSPAWN__STORE_PATH_MAX] = 'd';
    assert_code(libspawn__store_puts(store, NULL, path, "1", NULL),
                LIBSPAWN_ERR_INVALID);
}

TEST(store_longest_name__works_and_a_longer_one_is_invalid)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    char path[sizeof TOP "/" + LIBSPAWN__STORE_NAME_MAX + 1] = TOP "/";

    memset(path + strlen(TOP "/"), 'n', LIBSPAWN__STORE_NAME_MAX);
    contract_write(store, path, "1");
    ck_assert(contract_has(store, NULL, path, "1"));

    path[sizeof path - 2] = 'n';
    assert_code(libspawn__store_puts(store, NULL, path, "1", NULL),
                LIBSPAWN_ERR_INVALID);
}

TEST(store_bad_address__is_refused)
{
    struct libspawn__store *store;

    assert_code(libspawn__store_open(NULL, &store, NULL),
                LIBSPAWN_ERR_INVALID);
    assert_code(libspawn__store_open("/run/xl", &store, NULL),
                LIBSPAWN_ERR_INVALID);
    assert_code(libspawn__store_open("etcd:here", &store, NULL),
                LIBSPAWN_ERR_UNSUPPORTED);
}

TEST(store_address__opens_the_same_store)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STORE struct libspawn__store *other = NULL;
    struct libspawn_err err = { 0 };

    ck_assert_int_eq(chdir("/"), 0);
    assert_ok(
        libspawn__store_open(libspawn__store_address(store), &other, &err),
        &err);
    contract_write(store, TOP "/a", "1");
    ck_assert(contract_has(other, NULL, TOP "/a", "1"));
}

/* ---- Permissions ------------------------------------------------------- */

static void
set_perms(struct libspawn__store *store, const char *path, unsigned int domid,
          bool can_read, bool can_write)
{
    struct libspawn__store_perm perms[] = {
        { .domid = 0 },
        { .domid = domid, .can_read = can_read, .can_write = can_write },
    };
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__store_set_perms(store, NULL, path, perms,
                                        ARRAY_SIZE(perms), &err),
              &err);
}

/* As "n0 r1". */
static char *
get_perms(struct libspawn__store *store, struct libspawn__store_txn *txn,
          const char *path)
{
    AUTO_FREE struct libspawn__store_perm *perms = NULL;
    struct libspawn__buf buf = { 0 };
    struct libspawn_err err = { 0 };
    size_t n_perms;
    size_t i;

    assert_ok(
        libspawn__store_get_perms(store, txn, path, &perms, &n_perms, &err),
        &err);
    for (i = 0; i < n_perms; i++) {
        libspawn__buf_printf(&buf, "%s%s%s%u", i ? " " : "",
                             perms[i].can_read ? "r" : "",
                             perms[i].can_write ? "w" : "", perms[i].domid);
    }
    return libspawn__buf_take(&buf);
}

static bool
has_perms(struct libspawn__store *store, struct libspawn__store_txn *txn,
          const char *path, const char *expected)
{
    AUTO_FREE char *perms = get_perms(store, txn, path);

    ck_assert_str_eq(perms, expected);
    return true;
}

TEST(store_perms_set__are_what_get_returns)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "1");
    set_perms(store, TOP "/a", 0, true, false);
    ck_assert(has_perms(store, NULL, TOP "/a", "0 r0"));
    set_perms(store, TOP "/a", 0, true, true);
    ck_assert(has_perms(store, NULL, TOP "/a", "0 rw0"));
    set_perms(store, TOP "/a", 0, false, true);
    ck_assert(has_perms(store, NULL, TOP "/a", "0 w0"));
    ck_assert(contract_has(store, NULL, TOP "/a", "1"));
}

TEST(store_new_node__has_the_perms_of_its_parent)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "1");
    set_perms(store, TOP "/a", 0, true, false);
    contract_write(store, TOP "/a/b/c", "2");
    ck_assert(has_perms(store, NULL, TOP "/a/b/c", "0 r0"));
    ck_assert(has_perms(store, NULL, TOP "/a/b", "0 r0"));
}

TEST(store_perms_change__does_not_reach_the_children)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a/leaf", "1");
    contract_write(store, TOP "/a/b/c", "2");
    set_perms(store, TOP "/a", 0, true, true);
    ck_assert(has_perms(store, NULL, TOP "/a", "0 rw0"));
    ck_assert(has_perms(store, NULL, TOP "/a/leaf", "0"));
    ck_assert(has_perms(store, NULL, TOP "/a/b", "0"));
    ck_assert(has_perms(store, NULL, TOP "/a/b/c", "0"));
    ck_assert(contract_has(store, NULL, TOP "/a/leaf", "1"));
}

TEST(store_perms_of_removed_node__are_not_inherited_by_the_next)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "1");
    set_perms(store, TOP "/a", 0, true, true);
    contract_remove(store, TOP "/a");
    contract_write(store, TOP "/a", "1");
    ck_assert(has_perms(store, NULL, TOP "/a", "0"));
}

TEST(store_perms_in_a_transaction__follow_the_order_of_changes)
{
    static const struct libspawn__store_perm readable[] = { { 0, true,
                                                              false } };
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_txn *txn;
    struct libspawn_err err = { 0 };

    contract_write(store, TOP "/a/old", "1");
    assert_ok(libspawn__store_txn_begin(store, &txn, &err), &err);
    assert_ok(libspawn__store_mkdir(store, txn, TOP "/a/before", &err), &err);
    assert_ok(
        libspawn__store_set_perms(store, txn, TOP "/a", readable, 1, &err),
        &err);
    assert_ok(libspawn__store_mkdir(store, txn, TOP "/a/after/b", &err), &err);
    ck_assert(has_perms(store, txn, TOP "/a/before", "0"));
    ck_assert(has_perms(store, txn, TOP "/a/after/b", "r0"));
    assert_ok(libspawn__store_txn_commit(store, txn, &err), &err);
    ck_assert(has_perms(store, NULL, TOP "/a", "r0"));
    ck_assert(has_perms(store, NULL, TOP "/a/old", "0"));
    ck_assert(has_perms(store, NULL, TOP "/a/before", "0"));
    ck_assert(has_perms(store, NULL, TOP "/a/after/b", "r0"));
}

TEST(store_perms_of_missing_node__are_not_found)
{
    static const struct libspawn__store_perm perms[] = { { .domid = 0 } };
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_perm *found;
    size_t n_found;

    assert_code(libspawn__store_get_perms(store, NULL, TOP "/a", &found,
                                          &n_found, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_code(
        libspawn__store_set_perms(store, NULL, TOP "/a", perms, 1, NULL),
        LIBSPAWN_ERR_NOT_FOUND);
}

TEST(store_perms_bad_lists__are_invalid)
{
    static const struct libspawn__store_perm perms[] = { { .domid = 70000 } };
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "1");
    assert_code(
        libspawn__store_set_perms(store, NULL, TOP "/a", perms, 0, NULL),
        LIBSPAWN_ERR_INVALID);
    assert_code(
        libspawn__store_set_perms(store, NULL, TOP "/a", perms, 1, NULL),
        LIBSPAWN_ERR_INVALID);
}
