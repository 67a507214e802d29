/*
 * proc/plan.c: the packed form.
 */
#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "proc/plan.h"
#include "tests/lib/harness.h"

static struct libspawn_plan *
new_plan(void)
{
    struct libspawn_plan *plan = libspawn_plan_new();

    ck_assert_ptr_nonnull(plan);
    libspawn_plan_set_program(plan, "/bin/true");
    libspawn_plan_add_arg(plan, "true");
    return plan;
}

/* ---- Packed and unpacked ----------------------------------------------- */

static int
pack(const struct libspawn_plan *plan)
{
    struct libspawn_err err;
    int memfd = -1;

    assert_ok(libspawn__plan_pack(plan, &memfd, &err), &err);
    return memfd;
}

/* A value of its own for each. */
static void
set_rights(struct libspawn_plan *plan)
{
    libspawn_plan_set_user(plan, "11", "12");
    libspawn_plan_add_group(plan, "13");
    libspawn_plan_add_group(plan, "4294967294");
    libspawn_plan_set_capabilities(plan, UINT64_C(1) << 40 | 1);
    libspawn_plan_set_securebits(plan, 15);
    libspawn_plan_set_no_new_privs(plan);
    libspawn_plan_set_chroot(plan, "/jail");
    libspawn_plan_set_landlock(plan, LIBSPAWN_LANDLOCK_BEST_EFFORT);
    libspawn_plan_add_landlock_path(plan, "/usr", LIBSPAWN_ACCESS_READ);
    libspawn_plan_add_landlock_path(plan, "/lib", LIBSPAWN_ACCESS_READ);
    libspawn_plan_add_landlock_path(plan, "/tmp", LIBSPAWN_ACCESS_WRITE);
    libspawn_plan_set_namespaces(plan, LIBSPAWN_NAMESPACE_PID);
    libspawn_plan_set_cgroup(plan, "/sys/fs/cgroup/x");
    libspawn_plan_set_limit(plan, RLIMIT_NOFILE, 16, LIBSPAWN_UNLIMITED);
    libspawn_plan_set_core_size(plan, 0);
    libspawn_plan_set_umask(plan, 027);
    libspawn_plan_set_nice(plan, -17);
    libspawn_plan_set_oom_score_adj(plan, -18);
    libspawn_plan_set_scheduler(plan, LIBSPAWN_SCHEDULER_IDLE);
    libspawn_plan_set_io_priority(plan, LIBSPAWN_IO_BEST_EFFORT, 6);
}

static struct libspawn_plan *
full_plan(void)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_set_label(plan, "device model", "win7");
    libspawn_plan_add_arg(plan, "");
    libspawn_plan_add_arg(plan, "two words\nand a line");
    libspawn_plan_add_env(plan, "A=1");
    libspawn_plan_add_env(plan, "B=");
    libspawn_plan_set_directory(plan, "/tmp");
    libspawn_plan_add_fd(plan, 0, 7);
    libspawn_plan_add_fd(plan, 1, 1000);
    libspawn_plan_set_log(plan, "/var/log/x", 1234567890123, 9);
    libspawn_plan_set_log_stamps(plan);
    libspawn_plan_set_record(plan, "dir:/x", "/r");
    libspawn_plan_add_pid_node(plan, "/p1");
    libspawn_plan_add_pid_node(plan, "/p2");
    libspawn_plan_ready_on_store(plan, "/s", "running");
    libspawn_plan_ready_on_notify(plan, 8);
    libspawn_plan_ready_on_confirm(plan);
    libspawn_plan_ready_on_socket(plan, 39);
    libspawn_plan_set_timeouts(plan, 1, UINT32_MAX);
    libspawn_plan_remove_at_end(plan, "/e");
    set_rights(plan);
    return plan;
}

static void
assert_same_strings(const struct libspawn__strv *a,
                    const struct libspawn__strv *b)
{
    size_t i;

    ck_assert_uint_eq(a->n_items, b->n_items);
    for (i = 0; i < a->n_items; i++) {
        ck_assert_str_eq(a->items[i], b->items[i]);
    }
}

static void
assert_same_rights(const struct libspawn_plan *a,
                   const struct libspawn_plan *b)
{
    size_t i;

    ck_assert(a->options == b->options);
    ck_assert(a->uid == b->uid);
    ck_assert(a->gid == b->gid);
    ck_assert_uint_eq(a->groups.n_items, b->groups.n_items);
    for (i = 0; i < a->groups.n_items; i++) {
        ck_assert_uint_eq(a->groups.items[i], b->groups.items[i]);
    }
    ck_assert(a->capabilities == b->capabilities);
    ck_assert(a->securebits == b->securebits);
    ck_assert(libspawn__str_equal(a->chroot, b->chroot));
    assert_same_strings(&a->read_paths, &b->read_paths);
    assert_same_strings(&a->write_paths, &b->write_paths);
    ck_assert(a->namespaces == b->namespaces);
    ck_assert(libspawn__str_equal(a->cgroup, b->cgroup));
    for (i = 0; i < ARRAY_SIZE(a->limits); i++) {
        ck_assert(a->limits[i].is_set == b->limits[i].is_set);
        ck_assert(a->limits[i].soft == b->limits[i].soft);
        ck_assert(a->limits[i].hard == b->limits[i].hard);
    }
    ck_assert(a->umask == b->umask);
    ck_assert(a->nice == b->nice);
    ck_assert(a->oom_score_adj == b->oom_score_adj);
    ck_assert(a->scheduler == b->scheduler);
    ck_assert(a->io_class == b->io_class);
    ck_assert(a->io_level == b->io_level);
}

static void
assert_same_plan(const struct libspawn_plan *a, const struct libspawn_plan *b)
{
    size_t i;

    ck_assert(libspawn__str_equal(a->label, b->label));
    ck_assert(libspawn__str_equal(a->guest, b->guest));
    ck_assert(libspawn__str_equal(a->program, b->program));
    ck_assert(libspawn__str_equal(a->directory, b->directory));
    assert_same_strings(&a->argv, &b->argv);
    assert_same_strings(&a->env, &b->env);
    ck_assert_uint_eq(a->n_fds, b->n_fds);
    for (i = 0; i < a->n_fds; i++) {
        ck_assert_int_eq(a->fds[i].child_fd, b->fds[i].child_fd);
        ck_assert_int_eq(b->fds[i].fd, -1);
    }
    ck_assert(libspawn__str_equal(a->log_path, b->log_path));
    ck_assert(a->log_max_size == b->log_max_size);
    ck_assert(a->n_old_logs == b->n_old_logs);
    ck_assert(libspawn__str_equal(a->store_address, b->store_address));
    ck_assert(libspawn__str_equal(a->record_path, b->record_path));
    assert_same_strings(&a->pid_nodes, &b->pid_nodes);
    ck_assert(a->ready == b->ready);
    ck_assert(libspawn__str_equal(a->ready_path, b->ready_path));
    ck_assert(libspawn__str_equal(a->ready_value, b->ready_value));
    ck_assert(a->notify_fd == b->notify_fd);
    ck_assert(a->max_start_ms == b->max_start_ms);
    ck_assert(a->start_ms == b->start_ms);
    ck_assert(a->stop_ms == b->stop_ms);
    assert_same_strings(&a->end_files, &b->end_files);
    assert_same_rights(a, b);
}

static void
assert_survives_packing(struct libspawn_plan *plan)
{
    AUTO_PLAN struct libspawn_plan copy;
    struct libspawn_err err;
    int memfd = pack(plan);

    libspawn__plan_init(&copy);
    assert_ok(libspawn__plan_unpack(memfd, &copy, &err), &err);
    assert_same_plan(plan, &copy);
    libspawn_plan_free(plan);
    close(memfd);
}

TEST(plan_packed__comes_back_the_same)
{
    assert_survives_packing(full_plan());
    assert_survives_packing(new_plan());
}

TEST(plan_packed__cannot_be_changed_any_more)
{
    struct libspawn_plan *plan = full_plan();
    int memfd = pack(plan);

    ck_assert_int_lt(write(memfd, "x", 1), 0);
    ck_assert_int_lt(ftruncate(memfd, 0), 0);
    ck_assert_int_lt(fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    libspawn_plan_free(plan);
    close(memfd);
}

TEST(plan_larger_than_the_limit__is_refused)
{
    struct libspawn_plan *plan = new_plan();
    size_t size = 1 << 20;
    char *large = malloc(size + 1);
    struct libspawn_err err;
    int memfd = -1;
    int i;

    memset(large, 'x', size);
    large[size] = '\0';
    for (i = 0; i < 17; i++) {
        libspawn_plan_add_arg(plan, large);
    }
    assert_code(libspawn__plan_pack(plan, &memfd, &err), LIBSPAWN_ERR_LIMIT);
    ck_assert_int_eq(memfd, -1);
    free(large);
    libspawn_plan_free(plan);
}

/* ---- Bytes that nobody packed ------------------------------------------ */

/* The packed form of a full plan. */
static char *
packed_bytes(size_t *size_r)
{
    struct libspawn_plan *plan = full_plan();
    int memfd = pack(plan);
    struct stat st;
    char *bytes;

    ck_assert_int_eq(fstat(memfd, &st), 0);
    bytes = malloc((size_t)st.st_size);
    ck_assert_int_eq(pread(memfd, bytes, (size_t)st.st_size, 0), st.st_size);
    *size_r = (size_t)st.st_size;
    libspawn_plan_free(plan);
    close(memfd);
    return bytes;
}

static int
unpack(const void *bytes, size_t size, struct libspawn_err *err)
{
    AUTO_PLAN struct libspawn_plan plan;

    libspawn__plan_init(&plan);
    return libspawn__plan_unpack_bytes(bytes, size, &plan, err);
}

TEST(plan_cut_short_anywhere__is_refused_or_shorter)
{
    size_t size;
    AUTO_FREE char *bytes = packed_bytes(&size);
    size_t n_whole = 0;
    size_t i;

    for (i = 0; i < size; i++) {
        /* A copy of that size, so that reading on would be found. */
        AUTO_FREE char *part = malloc(i ? i : 1);
        int rc;

        memcpy(part, bytes, i);
        rc = unpack(part, i, NULL);
        n_whole += !rc;
        ck_assert(!rc || rc == LIBSPAWN_ERR_PROTOCOL);
    }
    ck_assert_uint_lt(n_whole, 60); /* between two fields only */
}

struct item {
    uint32_t tag;
    uint32_t size;
};

static int
unpack_item(uint32_t tag, const void *bytes, size_t size,
            struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    struct item item = { htole32(tag), htole32((uint32_t)size) };

    libspawn__buf_append(&buf, "LSPLAN3", 8);
    libspawn__buf_append(&buf, &item, sizeof item);
    libspawn__buf_append(&buf, bytes, size);
    return unpack(buf.data, buf.size, err);
}

enum {
    TAG_PROGRAM = 3,
    TAG_FDS = 7,
    TAG_READY = 14,
    TAG_NOTIFY_FD = 17,
    TAG_OPTIONS = 21,
    TAG_GROUPS = 24,
    TAG_LIMITS = 32,
    TAG_SCHEDULER = 36
};

TEST(plan_of_another_version__is_refused)
{
    struct libspawn_err err;

    assert_code(unpack("LSPLAN1", 8, &err), LIBSPAWN_ERR_PROTOCOL);
    assert_contains(err.text, "another version");
    assert_code(unpack("", 0, &err), LIBSPAWN_ERR_PROTOCOL);
}

TEST(plan_with_impossible_fields__is_refused)
{
    const uint32_t fd = htole32(LIBSPAWN__PLAN_CHILD_FD_MAX + 1);
    struct libspawn_err err;

    assert_code(unpack_item(99, "x", 1, &err), LIBSPAWN_ERR_PROTOCOL);
    assert_contains(err.text, "unknown field");
    assert_code(unpack_item(TAG_PROGRAM, "a\0b", 3, &err),
                LIBSPAWN_ERR_PROTOCOL);
    assert_contains(err.text, "holds a NUL");
    assert_code(unpack_item(TAG_FDS, &fd, sizeof fd, &err),
                LIBSPAWN_ERR_PROTOCOL);
    assert_code(unpack_item(TAG_FDS, &fd, 3, &err), LIBSPAWN_ERR_PROTOCOL);
    assert_code(unpack_item(TAG_READY, "1234567", 7, &err),
                LIBSPAWN_ERR_PROTOCOL);
}

TEST(plan_with_numbers_that_index_nothing__is_refused)
{
    const uint64_t number = htole64(UINT64_C(1) << 40);
    const uint64_t limit[3] = { htole64(LIBSPAWN__PLAN_RESOURCES), 0, 0 };
    static const uint32_t tags[] = { TAG_NOTIFY_FD, TAG_OPTIONS,
                                     TAG_SCHEDULER, TAG_GROUPS };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(tags); i++) {
        assert_code(unpack_item(tags[i], &number, sizeof number, NULL),
                    LIBSPAWN_ERR_PROTOCOL);
    }
    assert_code(unpack_item(TAG_LIMITS, limit, sizeof limit, NULL),
                LIBSPAWN_ERR_PROTOCOL);
    assert_code(unpack_item(TAG_LIMITS, limit, 8, NULL),
                LIBSPAWN_ERR_PROTOCOL);
}

TEST(plan_with_a_field_twice__is_refused)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    struct item item = { htole32(TAG_PROGRAM), htole32(1) };
    struct libspawn_err err;

    libspawn__buf_append(&buf, "LSPLAN3", 8);
    libspawn__buf_append(&buf, &item, sizeof item);
    libspawn__buf_append(&buf, "a", 1);
    libspawn__buf_append(&buf, &item, sizeof item);
    libspawn__buf_append(&buf, "b", 1);
    assert_code(unpack(buf.data, buf.size, &err), LIBSPAWN_ERR_PROTOCOL);
    assert_contains(err.text, "twice");
}

TEST(plan_from_an_empty_or_unreadable_descriptor__is_refused)
{
    AUTO_PLAN struct libspawn_plan plan;
    int empty = memfd_create("empty", MFD_CLOEXEC);

    libspawn__plan_init(&plan);
    assert_code(libspawn__plan_unpack(empty, &plan, NULL),
                LIBSPAWN_ERR_PROTOCOL);
    close(empty);
    ck_assert_int_lt(libspawn__plan_unpack(empty, &plan, NULL), 0);
}

TEST_MAIN("plan")
