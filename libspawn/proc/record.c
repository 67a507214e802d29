#include "proc/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

static const char *const state_names[] = {
    [LIBSPAWN__RECORD_STARTING] = "starting",
    [LIBSPAWN__RECORD_RUNNING] = "running",
    [LIBSPAWN__RECORD_EXITED] = "exited",
};

static const char *const oom_names[] = {
    [LIBSPAWN__OOM_UNKNOWN] = "unknown",
    [LIBSPAWN__OOM_NO] = "no",
    [LIBSPAWN__OOM_YES] = "yes",
};

/* Most keys are a number or an identity. */
enum kind {
    IDENTITY,
    NUMBER,
    END_NUMBER, /* once it has exited */
    USAGE       /* the same, if it is known */
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
    KEY("stop-ms", NUMBER, stop_ms),
    KEY("lived-ms", END_NUMBER, lived_ms),
    KEY("user-us", USAGE, user_us),
    KEY("system-us", USAGE, system_us),
    KEY("max-rss-kib", USAGE, max_rss_kib),
#undef KEY
};

/* The most important first: what has no room is left out. */
static const struct text_key {
    const char *name;
    size_t offset;
    bool is_for_life; /* of no use once it has exited */
} text_keys[] = {
#define KEY(NAME, MEMBER, IS_FOR_LIFE)                                        \
    {                                                                         \
        NAME, offsetof(struct libspawn__record_text, MEMBER), IS_FOR_LIFE     \
    }
    KEY("control", control, true),  KEY("secret", secret, true),
    KEY("label", label, false),     KEY("guest", guest, false),
    KEY("program", program, false), KEY("log", log_path, false),
#undef KEY
};

static const char pid_node_key[] = "pid-node";

/* ---- Writing ----------------------------------------------------------- */

/* A line that would not read back as one, or that finds no room, is left out:
 * nothing depends on it but how much a report tells. */
static void
put_text(struct libspawn__buf *buf, size_t max_size, const char *name,
         const char *value)
{
    if (value && !strchr(value, '\n') &&
        buf->size + strlen(name) + strlen(value) + sizeof "=\n" <= max_size) {
        libspawn__buf_printf(buf, "%s=%s\n", name, value);
    }
}

static void
put_texts(struct libspawn__buf *buf, size_t max_size,
          const struct libspawn__record *record)
{
    const struct libspawn__record_text *text = record->text;
    bool has_ended = record->state == LIBSPAWN__RECORD_EXITED;
    size_t i;

    for (i = 0; i < text->pid_nodes.n_items && !has_ended; i++) {
        put_text(buf, max_size, pid_node_key, text->pid_nodes.items[i]);
    }
    for (i = 0; i < ARRAY_SIZE(text_keys); i++) {
        if (!has_ended || !text_keys[i].is_for_life) {
            put_text(
                buf, max_size, text_keys[i].name,
                *(char *const *)((const char *)text + text_keys[i].offset));
        }
    }
}

static void
put_key(struct libspawn__buf *buf, const struct libspawn__record *record,
        const struct key *key)
{
    const void *member = (const char *)record + key->offset;
    const struct libspawn__identity *id = member;
    bool has_ended = record->state == LIBSPAWN__RECORD_EXITED;

    switch (key->kind) {
    case IDENTITY:
        libspawn__buf_printf(buf, "%s=%d %" PRIu64 " %s\n", key->name,
                             (int)id->pid, id->start_time, id->boot_id);
        return;
    case USAGE:
        has_ended = has_ended && record->has_usage;
        break;
    case END_NUMBER:
        break;
    case NUMBER:
        has_ended = true;
        break;
    }
    if (has_ended) {
        libspawn__buf_printf(buf, "%s=%" PRId64 "\n", key->name,
                             *(const int64_t *)member);
    }
}

static void
put_end(struct libspawn__buf *buf, const struct libspawn__record *record)
{
    if (record->is_known) {
        libspawn__buf_printf(buf, "wait-status=%d\n", record->wait_status);
    } else {
        libspawn__buf_puts(buf, "wait-status=unknown\n");
    }
    libspawn__buf_printf(buf, "oom=%s\n", oom_names[record->oom]);
}

static int
write_record(struct libspawn__store *store, struct libspawn__store_txn *txn,
             const char *path, const struct libspawn__record *record,
             struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    size_t i;

    libspawn__buf_printf(&buf, "version=1\nstate=%s\n",
                         state_names[record->state]);
    for (i = 0; i < ARRAY_SIZE(keys); i++) {
        put_key(&buf, record, &keys[i]);
    }
    if (record->state == LIBSPAWN__RECORD_EXITED) {
        put_end(&buf, record);
    }
    if (record->text) {
        put_texts(&buf, LIBSPAWN__STORE_VALUE_MAX - strlen(path) - 1, record);
    }
    if (buf.failed) {
        return libspawn__fail_nomem(err);
    }
    return libspawn__store_write(store, txn, path, buf.data, buf.size, err);
}

int
libspawn__record_write(struct libspawn__store *store, const char *path,
                       const struct libspawn__record *record,
                       struct libspawn_err *err)
{
    return write_record(store, NULL, path, record, err);
}

/* ---- Reading ----------------------------------------------------------- */

/* "PID START_TIME BOOT_ID" */
static bool
parse_identity(const char *text, struct libspawn__identity *id_r)
{
    struct libspawn__identity id = { .pid = 0 };
    char copy[128]; /* longer ones are none */
    char *save = NULL;
    const char *word;
    uint64_t pid;

    snprintf(copy, sizeof copy, "%s", text);
    word = strtok_r(copy, " ", &save);
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
parse_oom(const char *text, struct libspawn__record *record)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(oom_names); i++) {
        if (!strcmp(text, oom_names[i])) {
            record->oom = (enum libspawn__oom)i;
        }
    }
    return true; /* another word is one of a later version */
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
    } else if (!strcmp(name, "oom")) {
        return parse_oom(value, record);
    }
    for (i = 0; i < ARRAY_SIZE(keys); i++) {
        if (!strcmp(name, keys[i].name)) {
            void *member = (char *)record + keys[i].offset;

            record->has_usage |= keys[i].kind == USAGE;
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

static int
keep_text(const char *name, const char *value,
          struct libspawn__record_text *text, struct libspawn_err *err)
{
    size_t i;

    if (!strcmp(name, pid_node_key)) {
        return libspawn__strv_add(&text->pid_nodes, value, err);
    }
    for (i = 0; i < ARRAY_SIZE(text_keys); i++) {
        if (!strcmp(name, text_keys[i].name)) {
            char **slot = (char **)((char *)text + text_keys[i].offset);

            return libspawn__str_assign(slot, value, err);
        }
    }
    return 0;
}

/* Of a record that was parsed already, so every line is a good one. */
static int
parse_texts(char *lines, struct libspawn__record_text *text,
            struct libspawn_err *err)
{
    char *save = NULL;
    char *line;
    int rc = 0;

    for (line = strtok_r(lines, "\n", &save); line && !rc;
         line = strtok_r(NULL, "\n", &save)) {
        char *equals = strchr(line, '=');

        if (equals) {
            *equals = '\0';
            rc = keep_text(line, equals + 1, text, err);
        }
    }
    return rc;
}

void
libspawn__record_text_dispose(struct libspawn__record_text *text)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(text_keys); i++) {
        char **slot = (char **)((char *)text + text_keys[i].offset);

        free(*slot);
        *slot = NULL;
    }
    libspawn__strv_dispose(&text->pid_nodes);
}

static int
read_record(struct libspawn__store *store, struct libspawn__store_txn *txn,
            const char *path, struct libspawn__record *record_r,
            struct libspawn__record_text *text_r, struct libspawn_err *err)
{
    AUTO_RECORD_TEXT struct libspawn__record_text text = { 0 };
    AUTO_FREE char *lines = NULL;
    size_t size;
    int rc = libspawn__store_read(store, txn, path, &lines, &size, err);

    if (!rc) {
        rc = libspawn__record_parse(lines, size, record_r, err);
    }
    if (!rc && text_r) {
        rc = parse_texts(lines, &text, err);
    }
    if (!rc && text_r) {
        *text_r = text;
        memset(&text, 0, sizeof text);
    }
    return rc;
}

int
libspawn__record_read(struct libspawn__store *store, const char *path,
                      struct libspawn__record *record_r,
                      struct libspawn_err *err)
{
    return read_record(store, NULL, path, record_r, NULL, err);
}

int
libspawn__record_read_text(struct libspawn__store *store, const char *path,
                           struct libspawn__record *record_r,
                           struct libspawn__record_text *text_r,
                           struct libspawn_err *err)
{
    return read_record(store, NULL, path, record_r, text_r, err);
}

/* ---- The end, written by others than the watcher ----------------------- */

static bool
is_same_child(const struct libspawn__record *a,
              const struct libspawn__record *b)
{
    return a->child.pid == b->child.pid &&
           a->child.start_time == b->child.start_time &&
           !strcmp(a->child.boot_id, b->child.boot_id);
}

static int
write_end(struct libspawn__store *store, struct libspawn__store_txn *txn,
          const char *path, const struct libspawn__record *end,
          struct libspawn_err *err)
{
    AUTO_RECORD_TEXT struct libspawn__record_text text = { 0 };
    struct libspawn__record now = { 0 };
    struct libspawn__record next = *end;
    size_t i;
    int rc = read_record(store, txn, path, &now, &text, err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND ||
        (!rc && (now.state == LIBSPAWN__RECORD_EXITED ||
                 !is_same_child(&now, end)))) {
        return 0;
    }
    for (i = 0; !rc && i < text.pid_nodes.n_items; i++) {
        rc = libspawn__store_discard(store, txn, text.pid_nodes.items[i], err);
    }
    if (!rc) {
        next.text = &text;
        rc = write_record(store, txn, path, &next, err);
    }
    return rc;
}

int
libspawn__record_write_end(struct libspawn__store *store, const char *path,
                           const struct libspawn__record *record,
                           struct libspawn_err *err)
{
    struct libspawn__store_txn *txn;
    int rc;

    do {
        rc = libspawn__store_txn_begin(store, &txn, err);
        if (rc) {
            return rc;
        }
        rc = write_end(store, txn, path, record, err);
        if (rc) {
            libspawn__store_txn_abort(store, txn);
        } else {
            rc = libspawn__store_txn_commit(store, txn, err);
        }
    } while (rc == LIBSPAWN_ERR_CONFLICT);
    return rc;
}
