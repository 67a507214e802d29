#include "proc/plan.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/util.h"

enum {
    DEFAULT_START_MS = 60 * 1000, /* what libxl allows a device model */
    DEFAULT_STOP_MS = 10 * 1000,
    DEFAULT_LOG_MAX_SIZE = 1024 * 1024,
    DEFAULT_OLD_LOGS = 4
};

void
libspawn__plan_init(struct libspawn_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    plan->log_max_size = DEFAULT_LOG_MAX_SIZE;
    plan->n_old_logs = DEFAULT_OLD_LOGS;
    plan->start_ms = DEFAULT_START_MS;
    plan->stop_ms = DEFAULT_STOP_MS;
}

void
libspawn__plan_dispose(struct libspawn_plan *plan)
{
    free(plan->label);
    free(plan->guest);
    free(plan->program);
    free(plan->directory);
    libspawn__strv_dispose(&plan->argv);
    libspawn__strv_dispose(&plan->env);
    free(plan->log_path);
    free(plan->store_address);
    free(plan->record_path);
    libspawn__strv_dispose(&plan->pid_nodes);
    libspawn__strv_dispose(&plan->end_files);
    free(plan->ready_path);
    free(plan->ready_value);
    libspawn__plan_init(plan);
}

/* ---- Setters ----------------------------------------------------------- */

struct libspawn_plan *
libspawn_plan_new(void)
{
    struct libspawn_plan *plan = malloc(sizeof *plan);

    if (plan) {
        libspawn__plan_init(plan);
    }
    return plan;
}

void
libspawn_plan_free(struct libspawn_plan *plan)
{
    if (plan) {
        libspawn__plan_dispose(plan);
        free(plan);
    }
}

static void
set_string(struct libspawn_plan *plan, char **slot, const char *text)
{
    if (libspawn__str_assign(slot, text, NULL)) {
        plan->no_memory = true;
    }
}

static void
add_string(struct libspawn_plan *plan, struct libspawn__strv *list,
           const char *text)
{
    if (libspawn__strv_add(list, text, NULL)) {
        plan->no_memory = true;
    }
}

void
libspawn_plan_set_label(struct libspawn_plan *plan, const char *label,
                        const char *guest)
{
    set_string(plan, &plan->label, label);
    set_string(plan, &plan->guest, guest);
}

void
libspawn_plan_set_program(struct libspawn_plan *plan, const char *path)
{
    set_string(plan, &plan->program, path);
}

void
libspawn_plan_add_arg(struct libspawn_plan *plan, const char *arg)
{
    add_string(plan, &plan->argv, arg);
}

void
libspawn_plan_add_env(struct libspawn_plan *plan, const char *assignment)
{
    add_string(plan, &plan->env, assignment);
}

void
libspawn_plan_set_directory(struct libspawn_plan *plan, const char *directory)
{
    set_string(plan, &plan->directory, directory);
}

static bool
has_child_fd(const struct libspawn_plan *plan, int child_fd)
{
    size_t i;

    for (i = 0; i < plan->n_fds; i++) {
        if (plan->fds[i].child_fd == child_fd) {
            return true;
        }
    }
    return false;
}

void
libspawn_plan_add_fd(struct libspawn_plan *plan, int fd, int child_fd)
{
    if (plan->n_fds == LIBSPAWN__PLAN_FDS_MAX || child_fd < 0 ||
        child_fd > LIBSPAWN__PLAN_CHILD_FD_MAX ||
        has_child_fd(plan, child_fd)) {
        plan->bad_fd = true;
        return;
    }
    plan->fds[plan->n_fds++] =
        (struct libspawn__plan_fd){ .fd = fd, .child_fd = child_fd };
}

void
libspawn_plan_set_log(struct libspawn_plan *plan, const char *path,
                      size_t max_size, unsigned int n_old)
{
    set_string(plan, &plan->log_path, path);
    plan->log_max_size = max_size ? max_size : DEFAULT_LOG_MAX_SIZE;
    plan->n_old_logs = n_old ? n_old : DEFAULT_OLD_LOGS;
}

void
libspawn_plan_set_record(struct libspawn_plan *plan, const char *store_address,
                         const char *path)
{
    set_string(plan, &plan->store_address, store_address);
    set_string(plan, &plan->record_path, path);
}

void
libspawn_plan_add_pid_node(struct libspawn_plan *plan, const char *path)
{
    add_string(plan, &plan->pid_nodes, path);
}

void
libspawn_plan_remove_at_end(struct libspawn_plan *plan, const char *path)
{
    add_string(plan, &plan->end_files, path);
}

void
libspawn_plan_ready_on_store(struct libspawn_plan *plan, const char *path,
                             const char *value)
{
    set_string(plan, &plan->ready_path, path);
    set_string(plan, &plan->ready_value, value);
    plan->ready |= LIBSPAWN_READY_STORE;
}

void
libspawn_plan_ready_on_notify(struct libspawn_plan *plan, int child_fd)
{
    if (child_fd < 0 || child_fd > LIBSPAWN__PLAN_CHILD_FD_MAX) {
        plan->bad_fd = true;
        return;
    }
    plan->notify_fd = (uint64_t)child_fd;
    plan->ready |= LIBSPAWN_READY_NOTIFY;
}

void
libspawn_plan_ready_on_confirm(struct libspawn_plan *plan)
{
    plan->ready |= LIBSPAWN_READY_CALLER;
}

void
libspawn_plan_set_timeouts(struct libspawn_plan *plan, uint32_t start_ms,
                           uint32_t stop_ms)
{
    plan->start_ms = start_ms;
    plan->stop_ms = stop_ms;
}

/* ---- Check ------------------------------------------------------------- */

static int
check_environment(const struct libspawn_plan *plan, struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < plan->env.n_items; i++) {
        const char *equals = strchr(plan->env.items[i], '=');

        if (!equals || equals == plan->env.items[i]) {
            return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                  "'%.80s' in the environment is not "
                                  "NAME=value",
                                  plan->env.items[i]);
        }
    }
    return 0;
}

static int
check_descriptors(const struct libspawn_plan *plan, struct libspawn_err *err)
{
    size_t i;

    if (plan->bad_fd) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "a descriptor of the plan is given twice, is "
                              "out of range, or is one too many");
    }
    if (plan->ready & LIBSPAWN_READY_NOTIFY &&
        has_child_fd(plan, (int)plan->notify_fd)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "descriptor %d is both passed on and used to "
                              "notify",
                              (int)plan->notify_fd);
    }
    for (i = 0; i < plan->n_fds; i++) {
        if (fcntl(plan->fds[i].fd, F_GETFD) < 0) {
            return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                  "descriptor %d of the plan is not open",
                                  plan->fds[i].fd);
        }
    }
    return 0;
}

int
libspawn__plan_check(const struct libspawn_plan *plan,
                     struct libspawn_err *err)
{
    int rc;

    if (plan->no_memory) {
        return libspawn__fail_nomem(err);
    }
    if (!plan->program || !plan->program[0]) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the plan names no program");
    }
    if (!plan->argv.n_items) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the plan has no argument zero");
    }
    if (!plan->store_address != !plan->record_path) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "a record needs both a store and a path");
    }
    if ((plan->ready & LIBSPAWN_READY_STORE || plan->pid_nodes.n_items) &&
        !plan->store_address) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the plan uses nodes but names no store");
    }
    rc = check_environment(plan, err);
    return rc ? rc : check_descriptors(plan, err);
}

/* ---- Packed form ------------------------------------------------------- */

enum kind { STRING, STRINGS, NUMBER, DESCRIPTORS };

/* The numbers are those of docs/PROTOCOLS.md and never change meaning. */
static const struct field {
    uint32_t tag;
    enum kind kind;
    size_t offset;
} fields[] = {
#define FIELD(TAG, KIND, MEMBER)                                              \
    { TAG, KIND, offsetof(struct libspawn_plan, MEMBER) }
    FIELD(1, STRING, label),
    FIELD(2, STRING, guest),
    FIELD(3, STRING, program),
    FIELD(4, STRING, directory),
    FIELD(5, STRINGS, argv),
    FIELD(6, STRINGS, env),
    FIELD(7, DESCRIPTORS, fds),
    FIELD(8, STRING, log_path),
    FIELD(9, NUMBER, log_max_size),
    FIELD(10, NUMBER, n_old_logs),
    FIELD(11, STRING, store_address),
    FIELD(12, STRING, record_path),
    FIELD(13, STRINGS, pid_nodes),
    FIELD(14, NUMBER, ready),
    FIELD(15, STRING, ready_path),
    FIELD(16, STRING, ready_value),
    FIELD(17, NUMBER, notify_fd),
    FIELD(18, NUMBER, start_ms),
    FIELD(19, NUMBER, stop_ms),
    FIELD(20, STRINGS, end_files),
#undef FIELD
};

static const char magic[8] = "LSPLAN1";

struct item_header {
    uint32_t tag;  /* little endian, as all numbers */
    uint32_t size; /* of what follows */
};

static void
pack_item(struct libspawn__buf *buf, uint32_t tag, const void *bytes,
          size_t size)
{
    struct item_header header = { htole32(tag), htole32((uint32_t)size) };

    libspawn__buf_append(buf, &header, sizeof header);
    libspawn__buf_append(buf, bytes, size);
}

static void
pack_descriptors(struct libspawn__buf *buf, const struct field *field,
                 const struct libspawn_plan *plan)
{
    size_t i;

    for (i = 0; i < plan->n_fds; i++) {
        uint32_t child_fd = htole32((uint32_t)plan->fds[i].child_fd);

        pack_item(buf, field->tag, &child_fd, sizeof child_fd);
    }
}

static void
pack_field(struct libspawn__buf *buf, const struct field *field,
           const struct libspawn_plan *plan)
{
    const void *member = (const char *)plan + field->offset;
    const struct libspawn__strv *list = member;
    const char *text = NULL;
    uint64_t number;
    size_t i;

    switch (field->kind) {
    case STRING:
        memcpy(&text, member, sizeof text);
        if (text) {
            pack_item(buf, field->tag, text, strlen(text));
        }
        break;
    case STRINGS:
        for (i = 0; i < list->n_items; i++) {
            pack_item(buf, field->tag, list->items[i], strlen(list->items[i]));
        }
        break;
    case NUMBER:
        memcpy(&number, member, sizeof number);
        number = htole64(number);
        pack_item(buf, field->tag, &number, sizeof number);
        break;
    case DESCRIPTORS:
        pack_descriptors(buf, field, plan);
        break;
    }
}

int
libspawn__plan_pack(const struct libspawn_plan *plan, int *memfd_r,
                    struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    AUTO_FD int memfd = -1;
    size_t i;
    int r;

    libspawn__buf_append(&buf, magic, sizeof magic);
    for (i = 0; i < ARRAY_SIZE(fields); i++) {
        pack_field(&buf, &fields[i], plan);
    }
    if (buf.failed) {
        return libspawn__fail_nomem(err);
    }
    if (buf.size > LIBSPAWN__PLAN_SIZE_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "the plan is larger than %d bytes",
                              LIBSPAWN__PLAN_SIZE_MAX);
    }
    memfd = memfd_create("libspawn-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memfd < 0) {
        return libspawn__fail_errno(err, errno, "making a memory file");
    }
    r = libspawn__fd_write_full(memfd, buf.data, buf.size);
    if (!r &&
        fcntl(memfd, F_ADD_SEALS,
              F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
        r = -errno;
    }
    if (r) {
        return libspawn__fail_errno(err, -r, "writing the plan");
    }
    *memfd_r = TAKE_FD(memfd);
    return 0;
}

static int
fail_packed(struct libspawn_err *err, const char *what)
{
    return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL, "packed plan: %s", what);
}

static int
unpack_string(const char *bytes, size_t size, char **slot,
              struct libspawn_err *err)
{
    if (*slot) {
        return fail_packed(err, "a field appears twice");
    }
    *slot = strndup(bytes, size);
    return *slot ? 0 : libspawn__fail_nomem(err);
}

static int
unpack_descriptor(const char *bytes, size_t size, struct libspawn_plan *plan,
                  struct libspawn_err *err)
{
    uint32_t child_fd;

    if (size != sizeof child_fd) {
        return fail_packed(err, "bad descriptor");
    }
    memcpy(&child_fd, bytes, sizeof child_fd);
    child_fd = le32toh(child_fd);
    if (child_fd > LIBSPAWN__PLAN_CHILD_FD_MAX) {
        return fail_packed(err, "descriptor out of range");
    }
    libspawn_plan_add_fd(plan, -1, (int)child_fd);
    return plan->bad_fd ? fail_packed(err, "bad descriptor") : 0;
}

static int
unpack_field(const struct field *field, const char *bytes, size_t size,
             struct libspawn_plan *plan, struct libspawn_err *err)
{
    void *member = (char *)plan + field->offset;
    uint64_t number;

    if (field->kind != NUMBER && field->kind != DESCRIPTORS &&
        memchr(bytes, '\0', size)) {
        return fail_packed(err, "a string holds a NUL");
    }
    switch (field->kind) {
    case STRING:
        return unpack_string(bytes, size, member, err);
    case STRINGS:
        return libspawn__strv_addf(member, err, "%.*s", (int)size, bytes);
    case NUMBER:
        if (size != sizeof number) {
            return fail_packed(err, "bad number");
        }
        memcpy(&number, bytes, sizeof number);
        number = le64toh(number);
        memcpy(member, &number, sizeof number);
        return 0;
    case DESCRIPTORS:
        return unpack_descriptor(bytes, size, plan, err);
    }
    return fail_packed(err, "bad kind");
}

static const struct field *
find_field(uint32_t tag)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(fields); i++) {
        if (fields[i].tag == tag) {
            return &fields[i];
        }
    }
    return NULL;
}

int
libspawn__plan_unpack_bytes(const void *bytes, size_t size,
                            struct libspawn_plan *plan,
                            struct libspawn_err *err)
{
    const char *p = bytes;
    const char *end = p + size;

    if (size < sizeof magic || memcmp(p, magic, sizeof magic) != 0) {
        return fail_packed(err, "another version wrote it");
    }
    p += sizeof magic;
    while (p < end) {
        const struct field *field;
        struct item_header header;
        int rc;

        if ((size_t)(end - p) < sizeof header) {
            return fail_packed(err, "truncated");
        }
        memcpy(&header, p, sizeof header);
        p += sizeof header;
        header.size = le32toh(header.size);
        if ((size_t)(end - p) < header.size) {
            return fail_packed(err, "truncated");
        }
        field = find_field(le32toh(header.tag));
        if (!field) {
            return fail_packed(err, "unknown field");
        }
        rc = unpack_field(field, p, header.size, plan, err);
        if (rc) {
            return rc;
        }
        p += header.size;
    }
    return 0;
}

int
libspawn__plan_unpack(int memfd, struct libspawn_plan *plan,
                      struct libspawn_err *err)
{
    struct stat st;
    void *bytes;
    int rc;

    if (fstat(memfd, &st) < 0) {
        return libspawn__fail_errno(err, errno, "reading the plan");
    }
    if (st.st_size <= 0 || st.st_size > LIBSPAWN__PLAN_SIZE_MAX) {
        return fail_packed(err, "bad size");
    }
    bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, memfd, 0);
    if (bytes == MAP_FAILED) {
        return libspawn__fail_errno(err, errno, "reading the plan");
    }
    rc = libspawn__plan_unpack_bytes(bytes, (size_t)st.st_size, plan, err);
    munmap(bytes, (size_t)st.st_size);
    return rc;
}
