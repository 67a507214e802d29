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
    DEFAULT_STOP_MS = 10 * 1000
};

void
libspawn__plan_init(struct libspawn_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    plan->log_max_size = LIBSPAWN__PLAN_LOG_MAX_SIZE;
    plan->n_old_logs = LIBSPAWN__PLAN_OLD_LOGS;
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
    free(plan->groups.items);
    free(plan->chroot);
    libspawn__strv_dispose(&plan->read_paths);
    libspawn__strv_dispose(&plan->write_paths);
    free(plan->cgroup);
    free(plan->log_path);
    free(plan->store_address);
    free(plan->record_path);
    libspawn__strv_dispose(&plan->pid_nodes);
    libspawn__strv_dispose(&plan->end_files);
    free(plan->ready_path);
    free(plan->ready_value);
    libspawn__plan_init(plan);
}

/* ---- Lists ------------------------------------------------------------- */

bool
libspawn__plan_has_child_fd(const struct libspawn_plan *plan, int child_fd)
{
    size_t i;

    for (i = 0; i < plan->n_fds; i++) {
        if (plan->fds[i].child_fd == child_fd) {
            return true;
        }
    }
    return false;
}

int
libspawn__plan_add_fd(struct libspawn_plan *plan, int fd, int child_fd,
                      struct libspawn_err *err)
{
    if (child_fd < 0 || child_fd > LIBSPAWN__PLAN_CHILD_FD_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "descriptor %d of the child is out of range (0 "
                              "to %d)",
                              child_fd, LIBSPAWN__PLAN_CHILD_FD_MAX);
    }
    if (plan->n_fds == LIBSPAWN__PLAN_FDS_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "a plan passes on at most %d descriptors",
                              LIBSPAWN__PLAN_FDS_MAX);
    }
    if (libspawn__plan_has_child_fd(plan, child_fd)) {
        return libspawn__fail(err, LIBSPAWN_ERR_EXISTS,
                              "descriptor %d of the child is given twice",
                              child_fd);
    }
    plan->fds[plan->n_fds++] =
        (struct libspawn__plan_fd){ .fd = fd, .child_fd = child_fd };
    return 0;
}

int
libspawn__plan_add_gid(struct libspawn_plan *plan, gid_t gid,
                       struct libspawn_err *err)
{
    struct libspawn__plan_groups *groups = &plan->groups;

    if (groups->n_items == LIBSPAWN__PLAN_GROUPS_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "a plan has at most %d supplementary groups",
                              LIBSPAWN__PLAN_GROUPS_MAX);
    }
    if (groups->n_items == groups->n_allocated) {
        size_t n_wanted = MAX(16, groups->n_allocated * 2);
        gid_t *items =
            reallocarray(groups->items, n_wanted, sizeof *items);

        if (!items) {
            return libspawn__fail_nomem(err);
        }
        groups->items = items;
        groups->n_allocated = n_wanted;
    }
    groups->items[groups->n_items++] = gid;
    return 0;
}

/* ---- Packed form ------------------------------------------------------- */

enum kind { STRING, STRINGS, NUMBER, DESCRIPTORS, GROUPS, LIMITS };

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
    FIELD(21, NUMBER, options),
    FIELD(22, NUMBER, uid),
    FIELD(23, NUMBER, gid),
    FIELD(24, GROUPS, groups),
    FIELD(25, NUMBER, capabilities),
    FIELD(26, NUMBER, securebits),
    FIELD(27, STRING, chroot),
    FIELD(28, STRINGS, read_paths),
    FIELD(29, STRINGS, write_paths),
    FIELD(30, NUMBER, namespaces),
    FIELD(31, STRING, cgroup),
    FIELD(32, LIMITS, limits),
    FIELD(33, NUMBER, umask),
    FIELD(34, NUMBER, nice),
    FIELD(35, NUMBER, oom_score_adj),
    FIELD(36, NUMBER, scheduler),
    FIELD(37, NUMBER, io_class),
    FIELD(38, NUMBER, io_level),
    FIELD(39, NUMBER, max_start_ms),
#undef FIELD
};

static const char magic[8] = "LSPLAN3";

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
pack_groups(struct libspawn__buf *buf, const struct field *field,
            const struct libspawn_plan *plan)
{
    size_t i;

    for (i = 0; i < plan->groups.n_items; i++) {
        uint32_t gid = htole32(plan->groups.items[i]);

        pack_item(buf, field->tag, &gid, sizeof gid);
    }
}

/* A limit on its way. */
struct packed_limit {
    uint64_t resource;
    uint64_t soft;
    uint64_t hard;
};

static void
pack_limits(struct libspawn__buf *buf, const struct field *field,
            const struct libspawn_plan *plan)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(plan->limits); i++) {
        const struct libspawn__plan_limit *limit = &plan->limits[i];
        struct packed_limit packed = { htole64(i), htole64(limit->soft),
                                       htole64(limit->hard) };

        if (limit->is_set) {
            pack_item(buf, field->tag, &packed, sizeof packed);
        }
    }
}

static void
pack_number(struct libspawn__buf *buf, const struct field *field,
            const void *member)
{
    uint64_t number;

    memcpy(&number, member, sizeof number);
    number = htole64(number);
    pack_item(buf, field->tag, &number, sizeof number);
}

static void
pack_field(struct libspawn__buf *buf, const struct field *field,
           const struct libspawn_plan *plan)
{
    const void *member = (const char *)plan + field->offset;
    const struct libspawn__strv *list = member;
    const char *text = NULL;
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
        pack_number(buf, field, member);
        break;
    case DESCRIPTORS:
        pack_descriptors(buf, field, plan);
        break;
    case GROUPS:
        pack_groups(buf, field, plan);
        break;
    case LIMITS:
        pack_limits(buf, field, plan);
        break;
    }
}

/* No right and no argument can be wrong with it: then the call is refused. */
static int
fail_memfd(struct libspawn_err *err, int sys_errno)
{
    int rc = libspawn__fail_errno(err, sys_errno,
                                  "making a memory file (memfd_create)");

    if (rc == LIBSPAWN_ERR_DENIED || rc == LIBSPAWN_ERR_INVALID) {
        rc = LIBSPAWN_ERR_UNSUPPORTED;
        if (err) {
            err->code = rc;
        }
    }
    return rc;
}

int
libspawn__plan_pack_bytes(const struct libspawn_plan *plan,
                          struct libspawn__buf *buf, struct libspawn_err *err)
{
    size_t i;

    libspawn__buf_append(buf, magic, sizeof magic);
    for (i = 0; i < ARRAY_SIZE(fields); i++) {
        pack_field(buf, &fields[i], plan);
    }
    if (buf->failed) {
        return libspawn__fail_nomem(err);
    }
    if (buf->size > LIBSPAWN__PLAN_SIZE_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "the plan is larger than %d bytes",
                              LIBSPAWN__PLAN_SIZE_MAX);
    }
    return 0;
}

int
libspawn__plan_pack(const struct libspawn_plan *plan, int *memfd_r,
                    struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    AUTO_FD int memfd = -1;
    int rc = libspawn__plan_pack_bytes(plan, &buf, err);
    int r;

    if (rc) {
        return rc;
    }
    memfd = memfd_create("libspawn-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memfd < 0) {
        return fail_memfd(err, errno);
    }
    r = libspawn__fd_write_full(memfd, buf.data, buf.size);
    if (!r) {
        r = libspawn__fd_seal(memfd);
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

/* Anything wrong in it is a broken protocol, except for want of memory. */
static int
as_broken(int rc, struct libspawn_err *err)
{
    return rc && rc != LIBSPAWN_ERR_NO_MEMORY
               ? fail_packed(err, "a list is too long, or has an item twice "
                                  "or out of range")
               : rc;
}

static int
unpack_u32(const char *bytes, size_t size, uint32_t *value_r,
           struct libspawn_err *err)
{
    uint32_t value;

    if (size != sizeof value) {
        return fail_packed(err, "a number of another size");
    }
    memcpy(&value, bytes, sizeof value);
    *value_r = le32toh(value);
    return 0;
}

static int
unpack_descriptor(const char *bytes, size_t size, struct libspawn_plan *plan,
                  struct libspawn_err *err)
{
    uint32_t child_fd = 0;
    int rc = unpack_u32(bytes, size, &child_fd, err);

    return rc ? rc
              : as_broken(libspawn__plan_add_fd(plan, -1, (int)child_fd, err),
                          err);
}

static int
unpack_group(const char *bytes, size_t size, struct libspawn_plan *plan,
             struct libspawn_err *err)
{
    uint32_t gid = 0;
    int rc = unpack_u32(bytes, size, &gid, err);

    return rc ? rc : as_broken(libspawn__plan_add_gid(plan, gid, err), err);
}

static int
unpack_limit(const char *bytes, size_t size, struct libspawn_plan *plan,
             struct libspawn_err *err)
{
    struct packed_limit packed;
    struct libspawn__plan_limit *limit;

    if (size != sizeof packed) {
        return fail_packed(err, "a limit of another size");
    }
    memcpy(&packed, bytes, sizeof packed);
    packed.resource = le64toh(packed.resource);
    if (packed.resource >= ARRAY_SIZE(plan->limits)) {
        return fail_packed(err, "a limit of an unknown resource");
    }
    limit = &plan->limits[packed.resource];
    if (limit->is_set) {
        return fail_packed(err, "a limit appears twice");
    }
    limit->is_set = true;
    limit->soft = le64toh(packed.soft);
    limit->hard = le64toh(packed.hard);
    return 0;
}

static int
unpack_number(const char *bytes, size_t size, void *member,
              struct libspawn_err *err)
{
    uint64_t number;

    if (size != sizeof number) {
        return fail_packed(err, "a number of another size");
    }
    memcpy(&number, bytes, sizeof number);
    number = le64toh(number);
    memcpy(member, &number, sizeof number);
    return 0;
}

static int
unpack_field(const struct field *field, const char *bytes, size_t size,
             struct libspawn_plan *plan, struct libspawn_err *err)
{
    void *member = (char *)plan + field->offset;
    bool is_text = field->kind == STRING || field->kind == STRINGS;

    if (is_text && memchr(bytes, '\0', size)) {
        return fail_packed(err, "a string holds a NUL");
    }
    switch (field->kind) {
    case STRING:
        return unpack_string(bytes, size, member, err);
    case STRINGS:
        return libspawn__strv_addf(member, err, "%.*s", (int)size, bytes);
    case NUMBER:
        return unpack_number(bytes, size, member, err);
    case DESCRIPTORS:
        return unpack_descriptor(bytes, size, plan, err);
    case GROUPS:
        return unpack_group(bytes, size, plan, err);
    case LIMITS:
        return unpack_limit(bytes, size, plan, err);
    }
    return fail_packed(err, "bad kind");
}

/* Numbers that index a table, or that a step would misunderstand. */
static int
check_numbers(const struct libspawn_plan *plan, struct libspawn_err *err)
{
    if (plan->options & ~(uint64_t)LIBSPAWN__PLAN_ALL_OPTIONS) {
        return fail_packed(err, "unknown option");
    }
    if (plan->notify_fd > LIBSPAWN__PLAN_CHILD_FD_MAX) {
        return fail_packed(err, "descriptor out of range");
    }
    if (plan->scheduler > LIBSPAWN_SCHEDULER_IDLE ||
        plan->io_class > LIBSPAWN_IO_IDLE || plan->io_level > 7) {
        return fail_packed(err, "a priority out of range");
    }
    return 0;
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
    return check_numbers(plan, err);
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
