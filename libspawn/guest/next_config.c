/*
 * The configuration of a guest's next start.  It is a file beside the one with
 * which the guest runs, "NAME.next", and is made by the first update; a
 * counter in the store tells its versions apart.
 *
 * Whoever changes it holds the lock of the guest.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/host.h"
#include "store/paths.h"

enum { CONFIG_MAX_SIZE = 1024 * 1024 };

/* ---- Looking ----------------------------------------------------------- */

static int
find_file(struct libspawn_host *host, uint32_t domid, char **path_r,
          struct libspawn_err *err)
{
    AUTO_FREE char *path = NULL;
    int rc = host->hypervisor->find_config(host, domid, &path, err);

    if (rc) {
        return rc;
    }
    *path_r = libspawn__str_format("%s.next", path);
    return *path_r ? 0 : libspawn__fail_nomem(err);
}

int
libspawn_guest_get_next_config(struct libspawn_host *host, uint32_t domid,
                               struct libspawn_guest_config *config,
                               struct libspawn_err *err)
{
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *json = NULL;
    int rc = find_file(host, domid, &path, err);

    if (!rc) {
        rc = libspawn__file_read(path, CONFIG_MAX_SIZE, &json, NULL, err);
    }
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return libspawn_guest_get_config(host, domid, config, err);
    }
    return rc ? rc : libspawn_guest_config_from_json(json, config, err);
}

/* 0 before the first update. */
static int
read_count(struct libspawn_host *host, const char *path, uint64_t *count_r,
           struct libspawn_err *err)
{
    AUTO_FREE char *text = NULL;
    int rc = libspawn__store_read(host->store, NULL, path, &text, NULL, err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        *count_r = 0;
        return 0;
    }
    return rc ? rc : libspawn__str_to_u64(text, 1, UINT64_MAX, count_r, err);
}

int
libspawn_guest_get_config_version(struct libspawn_host *host, uint32_t domid,
                                  char **version_r, struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_CONFIG_VERSION, domid);
    uint64_t count = 0;
    char *version;
    int rc = path ? read_count(host, path, &count, err)
                  : libspawn__fail_nomem(err);

    if (rc) {
        return rc;
    }
    version = libspawn__str_format("%u.%" PRIu64, (unsigned int)domid, count);
    if (!version) {
        return libspawn__fail_nomem(err);
    }
    *version_r = version;
    return 0;
}

/* ---- Changing ---------------------------------------------------------- */

static int
check_base(struct libspawn_host *host, uint32_t domid, const char *base,
           struct libspawn_err *err)
{
    AUTO_FREE char *version = NULL;
    int rc = libspawn_guest_get_config_version(host, domid, &version, err);

    if (!rc && base && strcmp(version, base) != 0) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                            "the configuration has changed: its version is "
                            "%s, not '%s'",
                            version, base);
    }
    return rc;
}

static int
check_name(const struct libspawn_guest_config *old,
           const struct libspawn_guest_config *config,
           struct libspawn_err *err)
{
    return libspawn__str_equal(old->name, config->name)
               ? 0
               : libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                "the configuration is for a guest '%s', but "
                                "this one is '%s'",
                                config->name, old->name);
}

/* The counter first: when this is interrupted in between, an old base is
 * refused for nothing, but never taken for the new one. */
static int
write_next(struct libspawn_host *host, uint32_t domid,
           const struct libspawn_guest_config *config,
           struct libspawn_err *err)
{
    AUTO_FREE char *node =
        libspawn__path_new(LIBSPAWN__PATH_CONFIG_VERSION, domid);
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *json = NULL;
    uint64_t count = 0;
    int rc = node ? find_file(host, domid, &path, err)
                  : libspawn__fail_nomem(err);

    if (!rc) {
        rc = libspawn_guest_config_to_json(config, &json, err);
    }
    if (!rc) {
        rc = read_count(host, node, &count, err);
    }
    if (!rc) {
        rc = libspawn__store_printf(host->store, NULL, node, err, "%" PRIu64,
                                    count + 1);
    }
    return rc ? rc
              : libspawn__file_replace(path, json, strlen(json), 0600, err);
}

/* Under the lock: what was looked at before may not be true any more. */
static int
update(struct libspawn_host *host, uint32_t domid,
       const struct libspawn_guest_config *config, const char *base,
       struct libspawn_err *err)
{
    struct libspawn_guest_config next = *config;
    struct libspawn_guest_config old;
    int rc;

    libspawn_guest_config_init(&old);
    rc = libspawn_guest_get_next_config(host, domid, &old, err);
    if (!rc) {
        rc = check_base(host, domid, base, err);
    }
    if (!rc) {
        rc = check_name(&old, config, err);
    }
    if (!rc) {
        next.uuid = next.uuid ? next.uuid : old.uuid;
        rc = write_next(host, domid, &next, err);
    }
    libspawn_guest_config_dispose(&old);
    return rc;
}

int
libspawn_guest_update_config(struct libspawn_host *host, uint32_t domid,
                             const struct libspawn_guest_config *config,
                             const char *base, struct libspawn_err *err)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    int rc = libspawn_guest_config_check(config, err);

    if (!rc) {
        rc = libspawn__host_lock_guest(host, domid, &lock, err);
    }
    if (!rc) {
        rc = update(host, domid, config, base, err);
    }
    libspawn__host_unlock(host, &lock);
    return rc;
}
