#include "tests/unit/store_contract.h"

#include <string.h>
#include <sys/wait.h>

struct libspawn__store *
contract_open(void)
{
    struct libspawn_err err = { 0 };
    struct libspawn__store *store = NULL;

    assert_ok(store_contract.open(&store, &err), &err);
    return store;
}

struct libspawn__store *
contract_open_clean(void)
{
    struct libspawn__store *store = contract_open();
    struct libspawn_err err = { 0 };
    int rc = libspawn__store_remove(store, NULL, TOP, &err);

    if (rc != LIBSPAWN_ERR_NOT_FOUND) {
        assert_ok(rc, &err);
    }
    return store;
}

void
contract_close(struct libspawn__store **store)
{
    libspawn__store_close(*store);
}

void
contract_write(struct libspawn__store *store, const char *path,
               const char *value)
{
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__store_puts(store, NULL, path, value, &err), &err);
}

void
contract_remove(struct libspawn__store *store, const char *path)
{
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__store_remove(store, NULL, path, &err), &err);
}

bool
contract_has(struct libspawn__store *store, struct libspawn__store_txn *txn,
             const char *path, const char *value)
{
    struct libspawn_err err = { 0 };
    AUTO_FREE char *found = NULL;
    size_t size = 0;
    int rc = libspawn__store_read(store, txn, path, &found, &size, &err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return !value;
    }
    assert_ok(rc, &err);
    return value && strlen(value) == size && !memcmp(found, value, size);
}

char *
contract_list(struct libspawn__store *store, struct libspawn__store_txn *txn,
              const char *path)
{
    struct libspawn_err err = { 0 };
    AUTO_STRV struct libspawn__strv names = { 0 };
    struct libspawn__buf buf = { 0 };
    size_t i;

    assert_ok(libspawn__store_list(store, txn, path, &names, &err), &err);
    for (i = 0; i < names.n_items; i++) {
        libspawn__buf_printf(&buf, "%s ", names.items[i]);
    }
    return libspawn__buf_take(&buf);
}

pid_t
contract_start(int (*fn)(void))
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (!pid) {
        _exit(fn());
    }
    return pid;
}

int
contract_finish(pid_t pid)
{
    int status = 0;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
