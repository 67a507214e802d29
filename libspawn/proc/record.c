#include "proc/record.h"

#include <inttypes.h>
#include <string.h>

#include "base/util.h"

static const char *const state_names[] = {
    [LIBSPAWN__RECORD_STARTING] = "starting",
    [LIBSPAWN__RECORD_RUNNING] = "running",
    [LIBSPAWN__RECORD_EXITED] = "exited",
};

/* Everything but the state is a number or an identity. */
enum kind {
    IDENTITY,
    NUMBER
};

static const struct key {
    const char *name;
    enum kind kind;
    size_t offset;
} keys[] = {
#define KEY(NAME, KIND, MEMBER)                                               \
    {                                                                         \
        NAME, KIND, offsetof(struct libspawn__record, MEMBER)                 \
    }
    KEY("child", IDENTITY, child),
    KEY("watcher", IDENTITY, watcher),
    KEY("caller", IDENTITY, caller),
    KEY("started-at", NUMBER, started_at_ms),
    KEY("ended-at", NUMBER, ended_at_ms),
#undef KEY
};

int
libspawn__record_write(struct libspawn__store *store, const char *path,
                       const struct libspawn__record *record,
                       struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    size_t i;

    libspawn__buf_printf(&buf, "version=1\nstate=%s\n",
                         state_names[record->state]);
    for (i = 0; i < ARRAY_SIZE(keys); i++) {
        const void *member = (const char *)record + keys[i].offset;

        if (keys[i].kind == IDENTITY) {
            const struct libspawn__identity *id = member;

            libspawn__buf_printf(&buf, "%s=%d %" PRIu64 " %s\n", keys[i].name,
                                 (int)id->pid, id->start_time, id->boot_id);
        } else {
            libspawn__buf_printf(&buf, "%s=%" PRId64 "\n", keys[i].name,
                                 *(const int64_t *)member);
        }
    }
    if (record->state == LIBSPAWN__RECORD_EXITED) {
        if (record->is_known) {
            libspawn__buf_printf(&buf, "wait-status=%d\n",
                                 record->wait_status);
        } else {
            libspawn__buf_puts(&buf, "wait-status=unknown\n");
        }
    }
    if (buf.failed) {
        return libspawn__fail_nomem(err);
    }
    return libspawn__store_write(store, NULL, path, buf.data, buf.size, err);
}

/* "PID START_TIME BOOT_ID" */
static bool
parse_identity(const char *text, struct libspawn__identity *id_r)
{
    struct libspawn__identity id = { .pid = 0 };
    AUTO_FREE char *copy = strdup(text);
    char *save = NULL;
    const char *word = copy ? strtok_r(copy, " ", &save) : NULL;
    uint64_t pid;

    if (!word || libspawn__str_to_u64(word, 1, INT32_MAX, &pid, NULL)) {
        return false;
    }
    word = strtok_r(NULL, " ", &save);
    if (!word ||
        libspawn__str_to_u64(word, 0, UINT64_MAX, &id.start_time, NULL)) {
        return false;
    }
    word = strtok_r(NULL, " ", &save);
    if (!word || strlen(word) != LIBSPAWN__BOOT_ID_SIZE - 1 ||
        strtok_r(NULL, " ", &save)) {
        return false;
    }
    memcpy(id.boot_id, word, LIBSPAWN__BOOT_ID_SIZE);
    id.pid = (pid_t)pid;
    *id_r = id;
    return true;
}

static bool
parse_state(const char *text, struct libspawn__record *record)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(state_names); i++) {
        if (!strcmp(text, state_names[i])) {
            record->state = (enum libspawn__record_state)i;
            return true;
        }
    }
    return false;
}

static bool
parse_wait_status(const char *text, struct libspawn__record *record)
{
    uint64_t value;

    if (!strcmp(text, "unknown")) {
        return true;
    }
    if (libspawn__str_to_u64(text, 0, UINT16_MAX, &value, NULL)) {
        return false;
    }
    record->is_known = true;
    record->wait_status = (int)value;
    return true;
}

static bool
parse_number(const char *text, int64_t *number_r)
{
    uint64_t value;

    if (libspawn__str_to_u64(text, 0, INT64_MAX, &value, NULL)) {
        return false;
    }
    *number_r = (int64_t)value;
    return true;
}

static bool
parse_pair(const char *name, const char *value,
           struct libspawn__record *record)
{
    size_t i;

    if (!strcmp(name, "version")) {
        return !strcmp(value, "1");
    } else if (!strcmp(name, "state")) {
        return parse_state(value, record);
    } else if (!strcmp(name, "wait-status")) {
        return parse_wait_status(value, record);
    }
    for (i = 0; i < ARRAY_SIZE(keys); i++) {
        if (!strcmp(name, keys[i].name)) {
            void *member = (char *)record + keys[i].offset;

            return keys[i].kind == IDENTITY ? parse_identity(value, member)
                                            : parse_number(value, member);
        }
    }
    return true; /* a key of a later version */
}

int
libspawn__record_parse(const char *text, size_t size,
                       struct libspawn__record *record_r,
                       struct libspawn_err *err)
{
    struct libspawn__record record = { 0 };
    AUTO_FREE char *copy = strndup(text, size);
    char *save = NULL;
    char *line;

    if (!copy) {
        return libspawn__fail_nomem(err);
    }
    for (line = strtok_r(copy, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        char *equals = strchr(line, '=');

        if (equals) {
            *equals = '\0';
        }
        if (!equals || !parse_pair(line, equals + 1, &record)) {
            return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                                  "the record has a bad line '%.40s'", line);
        }
    }
    if (!record.child.pid) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the record names no process");
    }
    *record_r = record;
    return 0;
}

int
libspawn__record_read(struct libspawn__store *store, const char *path,
                      struct libspawn__record *record_r,
                      struct libspawn_err *err)
{
    AUTO_FREE char *text = NULL;
    size_t size;
    int rc = libspawn__store_read(store, NULL, path, &text, &size, err);

    return rc ? rc : libspawn__record_parse(text, size, record_r, err);
}
