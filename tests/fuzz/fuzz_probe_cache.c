/*
 * The cache of what device models support, from any bytes: another version of
 * the library may have written it, or an editor.
 *
 * Whatever it holds, an answer is a sound one, and storing an answer gives it
 * back and makes the file one that reads.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "dm/probe_cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FEATURES_END = LIBSPAWN__DM_XEN_DOMID_RESTRICT << 1 };

static char state_dir[] = "/tmp/fuzz_probe_cache.XXXXXX";
static char cache_dir[sizeof state_dir + sizeof "/cache"];
static char path[sizeof cache_dir + sizeof "/device-models"];
static char next[sizeof path + sizeof ".new"];

/* In the corpus: the first, and another that is younger. */
static const struct libspawn__dm_identity ids[] = {
    { 1, 2, 3, 4, 5 },
    { 65024, 10977298, 18397984, 1779741869000000000, 1795241047042832682 },
};

static void
must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void
remove_files(void)
{
    unlink(next);
    unlink(path);
    rmdir(cache_dir);
    rmdir(state_dir);
}

static void
make_dir(void)
{
    if (*path) {
        return;
    }
    must(mkdtemp(state_dir) != NULL);
    snprintf(cache_dir, sizeof cache_dir, "%s/cache", state_dir);
    snprintf(path, sizeof path, "%s/device-models", cache_dir);
    snprintf(next, sizeof next, "%s.new", path);
    must(!mkdir(cache_dir, 0700));
    atexit(remove_files);
}

static void
write_cache(const uint8_t *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    must(fd >= 0);
    must(!libspawn__fd_write_full(fd, data, size));
    close(fd);
}

static bool
find(const struct libspawn__dm_identity *id,
     struct libspawn__dm_support *support_r)
{
    bool is_known = libspawn__probe_cache_find(state_dir, id, support_r);

    if (is_known) {
        must(support_r->features < FEATURES_END);
        must(memchr(support_r->version, '\0', sizeof support_r->version));
        must(!strpbrk(support_r->version, " \n"));
    }
    return is_known;
}

static bool
is_same(const struct libspawn__dm_support *a,
        const struct libspawn__dm_support *b)
{
    return a->features == b->features && !strcmp(a->version, b->version);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct libspawn__dm_support answer = {
        .features = LIBSPAWN__DM_SANDBOX | LIBSPAWN__DM_RUN_WITH_USER,
        .version = "9.1.0",
    };
    struct libspawn__dm_support before;
    struct libspawn__dm_support after;
    bool was_known;

    make_dir();
    write_cache(data, size);
    was_known = find(&ids[1], &before);
    must(!libspawn__probe_cache_store(state_dir, &ids[0], &answer, 0, NULL));
    must(find(&ids[0], &after) && is_same(&after, &answer));
    /* A full cache drops its oldest, and no other. */
    if (find(&ids[1], &after)) {
        must(was_known && is_same(&after, &before));
    }
    return 0;
}
