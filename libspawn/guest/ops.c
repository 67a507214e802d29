/*
 * What can be done with a guest that exists: finds it, then asks its
 * hypervisor, or its device model's monitor where that is the same for all.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/events.h"
#include "guest/host.h"
#include "guest/intent.h"
#include "guest/look.h"
#include "guest/monitor.h"
#include "guest/names.h"
#include "guest/removal.h"
#include "guest/supervised.h"

enum {
    CONFIG_MAX_SIZE = 1024 * 1024
};

/* ---- Finding ----------------------------------------------------------- */

/* One without a name, such as another toolstack makes or an interrupted
 * destruction leaves, is there all the same; only that takes longer to see. */
static int
find_number(struct libspawn_host *host, uint32_t domid, uint32_t *domid_r,
            struct libspawn_err *err)
{
    AUTO_GUEST_INFO struct libspawn_guest_info info = { 0 };
    AUTO_FREE char *name = NULL;
    int rc = 0;

    if (libspawn_guest_get_name(host, domid, &name, NULL)) {
        rc = libspawn__guest_look(host, domid, &info, err);
    }
    if (!rc) {
        *domid_r = domid;
    }
    return rc;
}

int
libspawn_guest_find(struct libspawn_host *host, const char *name_or_domid,
                    uint32_t *domid_r, struct libspawn_err *err)
{
    uint64_t number;

    if (!libspawn__str_to_u64(name_or_domid, 0, UINT32_MAX - 1, &number,
                              NULL)) {
        return find_number(host, (uint32_t)number, domid_r, err);
    }
    return libspawn__name_find(host, name_or_domid, domid_r, err);
}

int
libspawn_guest_list(struct libspawn_host *host,
                    struct libspawn_guest_info **list_r, size_t *n_r,
                    struct libspawn_err *err)
{
    return host->hypervisor->list(host, list_r, n_r, err);
}

void
libspawn_guest_list_free(struct libspawn_guest_info *list, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        libspawn__guest_info_dispose(&list[i]);
    }
    free(list);
}

int
libspawn_guest_get_config(struct libspawn_host *host, uint32_t domid,
                          struct libspawn_guest_config *config,
                          struct libspawn_err *err)
{
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *json = NULL;
    int rc = host->hypervisor->find_config(host, domid, &path, err);

    if (!rc) {
        rc = libspawn__file_read(path, CONFIG_MAX_SIZE, &json, NULL, err);
    }
    return rc ? rc : libspawn_guest_config_from_json(json, config, err);
}

int
libspawn_guest_get_libxl_json(struct libspawn_host *host, uint32_t domid,
                              char **json_r, struct libspawn_err *err)
{
    return host->hypervisor->read_libxl_json(host, domid, json_r, err);
}

/* ---- Ending, pausing --------------------------------------------------- */

static int
fail_domain_0(struct libspawn_err *err)
{
    return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                          "domain 0 is the host itself");
}

/* Not waited for: it may take a minute, and is its creator's to end. */
static int
lock_unless_created(struct libspawn_host *host, uint32_t domid,
                    struct libspawn__lock *lock_r, struct libspawn_err *err)
{
    int rc = libspawn__host_try_guest(host, domid, lock_r, err);

    if (rc != LIBSPAWN_ERR_BUSY) {
        return rc;
    }
    rc = libspawn__intent_check_none(host, domid, err);
    return rc ? rc : libspawn__host_lock_guest(host, domid, lock_r, err);
}

int
libspawn__guest_destroy_locked(struct libspawn_host *host, uint32_t domid,
                               struct libspawn_err *err)
{
    AUTO_EVENT_SUBJECT struct libspawn__event_subject subject = { 0 };
    int rc;

    libspawn__event_subject_read(host, domid, &subject);
    libspawn__removal_begin(host, &subject);
    rc = host->hypervisor->destroy(host, domid, err);
    libspawn__removal_end(host, &subject, !rc);
    return rc;
}

struct destroying {
    struct libspawn_host *host;
    struct libspawn__event_subject subject;
    libspawn__destroyed_fn *fn;
    void *user;
};

static void
end_destroying(struct destroying *destroying, bool is_gone)
{
    libspawn__removal_end(destroying->host, &destroying->subject, is_gone);
    libspawn__event_subject_dispose(&destroying->subject);
    free(destroying);
}

static void
on_destroyed(void *user, const struct libspawn_err *err)
{
    struct destroying *destroying = user;
    libspawn__destroyed_fn *fn = destroying->fn;
    void *its_user = destroying->user;

    end_destroying(destroying, !err);
    fn(its_user, err);
}

int
libspawn__guest_start_destroy_locked(struct libspawn_host *host,
                                     uint32_t domid,
                                     libspawn__destroyed_fn *fn, void *user,
                                     struct libspawn_err *err)
{
    struct destroying *destroying = calloc(1, sizeof *destroying);
    int rc;

    if (!destroying) {
        return libspawn__fail_nomem(err);
    }
    destroying->host = host;
    destroying->fn = fn;
    destroying->user = user;
    libspawn__event_subject_read(host, domid, &destroying->subject);
    libspawn__removal_begin(host, &destroying->subject);
    rc = host->hypervisor->start_destroy(host, domid, on_destroyed, destroying,
                                         err);
    if (rc != LIBSPAWN__STEP_PENDING) {
        end_destroying(destroying, !rc);
    }
    return rc;
}

int
libspawn_guest_destroy(struct libspawn_host *host, uint32_t domid,
                       struct libspawn_err *err)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    AUTO_EVENT_SUBJECT struct libspawn__event_subject subject = { 0 };
    int rc = domid ? 0 : fail_domain_0(err);

    if (!rc) {
        libspawn__event_subject_read(host, domid, &subject);
        /* Its supervisor would take this for an end that it has to act
         * upon. */
        rc = subject.name
                 ? libspawn__supervised_dismiss(host, domid, subject.name, err)
                 : 0;
    }
    if (!rc) {
        rc = lock_unless_created(host, domid, &lock, err);
    }
    if (!rc) {
        rc = libspawn__guest_destroy_locked(host, domid, err);
    }
    libspawn__host_unlock(host, &lock);
    if (!rc && subject.name) {
        libspawn__supervised_tidy(host, subject.name);
    }
    return rc;
}

static void
note(struct libspawn_host *host, uint32_t domid,
     enum libspawn_guest_event_kind kind)
{
    AUTO_EVENT_SUBJECT struct libspawn__event_subject subject = { 0 };

    libspawn__event_subject_read(host, domid, &subject);
    libspawn__event_note(host, &subject, kind, NULL, NULL);
}

int
libspawn_guest_pause(struct libspawn_host *host, uint32_t domid,
                     struct libspawn_err *err)
{
    int rc = domid ? host->hypervisor->pause(host, domid, err)
                   : fail_domain_0(err);

    if (!rc) {
        note(host, domid, LIBSPAWN_GUEST_EVENT_PAUSED);
    }
    return rc;
}

int
libspawn_guest_unpause(struct libspawn_host *host, uint32_t domid,
                       struct libspawn_err *err)
{
    int rc = domid ? host->hypervisor->unpause(host, domid, err)
                   : fail_domain_0(err);

    if (!rc) {
        note(host, domid, LIBSPAWN_GUEST_EVENT_RESUMED);
    }
    return rc;
}

int
libspawn_guest_shutdown(struct libspawn_host *host, uint32_t domid,
                        bool reboot, struct libspawn_err *err)
{
    return domid ? host->hypervisor->shutdown(host, domid, reboot, err)
                 : fail_domain_0(err);
}

int
libspawn_guest_open_console(struct libspawn_host *host, uint32_t domid,
                            const char *kind, unsigned int number, int *fd_r,
                            struct libspawn_err *err)
{
    return domid ? host->hypervisor->open_console(host, domid, kind, number,
                                                  fd_r, err)
                 : fail_domain_0(err);
}

/* ---- Screen ------------------------------------------------------------ */

int
libspawn_guest_screenshot(struct libspawn_host *host, uint32_t domid,
                          const char *path, struct libspawn_err *err)
{
    return libspawn__monitor_screenshot(host, domid, path, err);
}

int
libspawn_guest_get_vnc(struct libspawn_host *host, uint32_t domid,
                       char **address_r, struct libspawn_err *err)
{
    AUTO_JSON struct libspawn__json *vnc = NULL;
    const char *address;
    const char *port;
    int rc =
        libspawn__monitor_run(host, domid, "query-vnc", NULL, -1, &vnc, err);

    if (rc) {
        return rc;
    }
    address = libspawn__json_string(libspawn__json_member(vnc, "host"));
    port = libspawn__json_string(libspawn__json_member(vnc, "service"));
    if (!libspawn__json_bool(libspawn__json_member(vnc, "enabled"), false) ||
        !address || !port) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "the guest has no VNC display");
    }
    *address_r = libspawn__str_format("%s:%s", address, port);
    return *address_r ? 0 : libspawn__fail_nomem(err);
}
