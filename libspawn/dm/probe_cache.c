#include "dm/probe_cache.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/lock.h"

/* The number is that of the probe: another way of asking, or another meaning
 * of a feature, makes earlier answers void. */
#define HEADER "device-models 1\n"

enum {
    ENTRIES_MAX = 16,
    LIFETIME_MAX_S = 3600,
    FILE_SIZE_MAX = 8192 /* more than ENTRIES_MAX of the longest lines */
};

struct entry {
    struct libspawn__dm_identity id;
    uint64_t expires_s; /* on the wall clock; 0: never */
    struct libspawn__dm_support support;
};

struct cache {
    struct entry entries[ENTRIES_MAX]; /* the newest first */
    size_t n_entries;
};

static const struct {
    unsigned int feature;
    const char *name;
} feature_names[] = {
    { LIBSPAWN__DM_SANDBOX, "sandbox" },
    { LIBSPAWN__DM_CHROOT, "chroot" },
    { LIBSPAWN__DM_RUNAS, "runas" },
    { LIBSPAWN__DM_RUN_WITH_CHROOT, "run-with-chroot" },
    { LIBSPAWN__DM_RUN_WITH_USER, "run-with-user" },
    { LIBSPAWN__DM_XEN_DOMID_RESTRICT, "xen-domid-restrict" },
};

/* ---- Identity ---------------------------------------------------------- */

static uint64_t
to_ns(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_nsec;
}

int
libspawn__dm_identify(const char *program, struct libspawn__dm_identity *id_r,
                      struct libspawn_err *err)
{
    struct stat st;

    if (stat(program, &st) < 0) {
        return libspawn__fail_errno(err, errno, "looking at '%s'", program);
    }
    if (!S_ISREG(st.st_mode)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID, "'%s' is not a file",
                              program);
    }
    *id_r = (struct libspawn__dm_identity){
        .device = st.st_dev,
        .inode = st.st_ino,
        .size = (uint64_t)st.st_size,
        .mtime_ns = to_ns(&st.st_mtim),
        .ctime_ns = to_ns(&st.st_ctim),
    };
    return 0;
}

static bool
is_same(const struct libspawn__dm_identity *a,
        const struct libspawn__dm_identity *b)
{
    return a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

/* ---- Reading ----------------------------------------------------------- */

static bool
parse_feature(const char *name, unsigned int *features)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(feature_names); i++) {
        if (!strcmp(name, feature_names[i].name)) {
            *features |= feature_names[i].feature;
            return true;
        }
    }
    return false;
}

/* "sandbox,chroot", or "-". */
static bool
parse_features(char *word, unsigned int *features)
{
    char *rest = NULL;
    char *name;
    bool ok = true;

    if (!strcmp(word, "-")) {
        return true;
    }
    for (name = strtok_r(word, ",", &rest); name && ok;
         name = strtok_r(NULL, ",", &rest)) {
        ok = parse_feature(name, features);
    }
    return ok;
}

static bool
parse_version(const char *word, char version[LIBSPAWN__DM_VERSION_SIZE])
{
    if (strlen(word) >= LIBSPAWN__DM_VERSION_SIZE) {
        return false;
    }
    if (strcmp(word, "-") != 0) {
        memcpy(version, word, strlen(word) + 1);
    }
    return true;
}

static bool
parse_entry(char *line, struct entry *entry)
{
    uint64_t *const numbers[] = {
        &entry->id.device,   &entry->id.inode,    &entry->id.size,
        &entry->id.mtime_ns, &entry->id.ctime_ns, &entry->expires_s,
    };
    char *rest = NULL;
    char *word = strtok_r(line, " ", &rest);
    char *version;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (!word ||
            libspawn__str_to_u64(word, 0, UINT64_MAX, numbers[i], NULL)) {
            return false;
        }
        word = strtok_r(NULL, " ", &rest);
    }
    version = strtok_r(NULL, " ", &rest);
    return word && version && !strtok_r(NULL, " ", &rest) &&
           parse_features(word, &entry->support.features) &&
           parse_version(version, entry->support.version);
}

static bool
parse(char *text, struct cache *cache)
{
    char *rest = NULL;
    char *line;

    if (!libspawn__str_has_prefix(text, HEADER) ||
        !libspawn__str_has_suffix(text, "\n")) {
        return false;
    }
    for (line = strtok_r(text + strlen(HEADER), "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        if (cache->n_entries == ENTRIES_MAX ||
            !parse_entry(line, &cache->entries[cache->n_entries++])) {
            return false;
        }
    }
    return true;
}

static char *
cache_path(const char *state_dir)
{
    return libspawn__str_format("%s/cache/device-models", state_dir);
}

/* Empty when there is none, or none that can be used. */
static void
read_cache(const char *path, struct cache *cache)
{
    AUTO_FREE char *text = NULL;

    memset(cache, 0, sizeof *cache);
    if (!libspawn__file_read(path, FILE_SIZE_MAX, &text, NULL, NULL) &&
        !parse(text, cache)) {
        memset(cache, 0, sizeof *cache);
    }
}

static uint64_t
now_s(void)
{
    return (uint64_t)libspawn__clock_realtime_ms() / 1000;
}

/* A wall clock may have been set back: no entry lives longer than it might
 * have been told to. */
static bool
has_expired(const struct entry *entry)
{
    uint64_t now = now_s();

    return entry->expires_s && (entry->expires_s <= now ||
                                entry->expires_s > now + LIFETIME_MAX_S);
}

bool
libspawn__probe_cache_find(const char *state_dir,
                           const struct libspawn__dm_identity *id,
                           struct libspawn__dm_support *support_r)
{
    AUTO_FREE char *path = cache_path(state_dir);
    struct cache cache;
    size_t i;

    if (!path) {
        return false;
    }
    read_cache(path, &cache);
    for (i = 0; i < cache.n_entries; i++) {
        if (is_same(&cache.entries[i].id, id) &&
            !has_expired(&cache.entries[i])) {
            *support_r = cache.entries[i].support;
            return true;
        }
    }
    return false;
}

/* ---- Writing ----------------------------------------------------------- */

static void
put_entry(struct libspawn__buf *buf, const struct entry *entry)
{
    const char *separator = "";
    size_t i;

    libspawn__buf_printf(buf, "%llu %llu %llu %llu %llu %llu ",
                         (unsigned long long)entry->id.device,
                         (unsigned long long)entry->id.inode,
                         (unsigned long long)entry->id.size,
                         (unsigned long long)entry->id.mtime_ns,
                         (unsigned long long)entry->id.ctime_ns,
                         (unsigned long long)entry->expires_s);
    for (i = 0; i < ARRAY_SIZE(feature_names); i++) {
        if (entry->support.features & feature_names[i].feature) {
            libspawn__buf_printf(buf, "%s%s", separator,
                                 feature_names[i].name);
            separator = ",";
        }
    }
    libspawn__buf_printf(buf, "%s %s\n", *separator ? "" : "-",
                         entry->support.version[0] ? entry->support.version
                                                   : "-");
}

static int
format(const struct entry *newest, const struct cache *old,
       struct libspawn__buf *buf, struct libspawn_err *err)
{
    size_t n_entries = 1;
    size_t i;

    libspawn__buf_puts(buf, HEADER);
    put_entry(buf, newest);
    for (i = 0; i < old->n_entries && n_entries < ENTRIES_MAX; i++) {
        if (!is_same(&old->entries[i].id, &newest->id) &&
            !has_expired(&old->entries[i])) {
            put_entry(buf, &old->entries[i]);
            n_entries++;
        }
    }
    return buf->failed ? libspawn__fail_nomem(err) : 0;
}

/* The file that is to become the cache: one name, so that a writer that is
 * killed leaves nothing that the next does not use up, and a lock on it.
 * LIBSPAWN_ERR_BUSY when another writer is about. */
static int
lock_next(const char *path, struct libspawn__lock *lock_r,
          struct libspawn_err *err)
{
    return libspawn__lock_try(
        &(struct libspawn__lock_request){ .path = path,
                                          .name = "the next cache",
                                          .has_content = true },
        lock_r, err);
}

static int
replace_cache(const char *path, const char *next, const struct entry *newest,
              struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct cache old;
    int rc = lock_next(next, &lock, err);
    int r;

    if (rc) {
        return rc;
    }
    read_cache(path, &old);
    rc = format(newest, &old, &buf, err);
    if (rc) {
        return rc;
    }
    r = ftruncate(lock.fd, 0) < 0 ? -errno : 0;
    if (!r) {
        r = libspawn__fd_write_full(lock.fd, buf.data, buf.size);
    }
    if (!r && rename(next, path) < 0) {
        r = -errno;
    }
    return r ? libspawn__fail_errno(err, -r, "writing '%s'", path) : 0;
}

int
libspawn__probe_cache_store(const char *state_dir,
                            const struct libspawn__dm_identity *id,
                            const struct libspawn__dm_support *support,
                            unsigned int lifetime_s, struct libspawn_err *err)
{
    AUTO_FREE char *dir = libspawn__str_format("%s/cache", state_dir);
    AUTO_FREE char *path = cache_path(state_dir);
    AUTO_FREE char *next = path ? libspawn__str_format("%s.new", path) : NULL;
    struct entry entry = {
        .id = *id,
        .expires_s = lifetime_s ? now_s() + MIN(lifetime_s, LIFETIME_MAX_S)
                                : 0,
        .support = *support,
    };
    int rc;

    if (!dir || !next) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__dir_make(dir, 0700, err);
    return rc ? rc : replace_cache(path, next, &entry, err);
}
