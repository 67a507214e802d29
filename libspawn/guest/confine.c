#include "guest/confine.h"

#include <stdlib.h>
#include <string.h>

#include "guest/names.h"
#include "store/paths.h"

static void
warn(const struct libspawn_create *create, const char *sentence)
{
    if (create->options.warning) {
        create->options.warning(create->options.user, sentence);
    }
}

/* ---- User -------------------------------------------------------------- */

/* Where a hypervisor gives out the numbers, all of a machine's guests have
 * different ones. */
#define MACHINE "xen"

static struct libspawn__restrict_owner
describe_owner(const struct libspawn_host *host, uint32_t domid,
               const char *uuid)
{
    bool is_only_domid = host->hypervisor->release_cpus;

    return (struct libspawn__restrict_owner){
        .place = is_only_domid ? MACHINE : host->state_dir,
        .domid = domid,
        .uuid = uuid,
        .is_only_domid = is_only_domid,
    };
}

static int
note_user(struct libspawn_create *create,
          const struct libspawn__restrict_owner *owner,
          struct libspawn_err *err)
{
    unsigned int uid = create->restricted.uid;
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_DM_KILL_UID, create->domid);
    int rc = path ? libspawn__store_printf(create->host->store, NULL, path,
                                           err, "%u", uid)
                  : libspawn__fail_nomem(err);

    if (rc) {
        libspawn__restrict_release(owner, uid, NULL);
    }
    return rc;
}

int
libspawn__confine_choose(struct libspawn_create *create,
                         struct libspawn_err *err)
{
    struct libspawn__restrict_owner owner =
        describe_owner(create->host, create->domid, create->uuid);
    AUTO_FREE char *warning = NULL;
    int rc = libspawn__restrict_choose(create->config, &owner,
                                       &create->restricted, &warning, err);

    if (!rc && create->restricted.is_own) {
        rc = note_user(create, &owner, err);
    }
    if (!rc && warning) {
        warn(create, warning);
    }
    return rc;
}

static int
release_owner(struct libspawn__store *store,
              struct libspawn__restrict_owner *owner, struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_DM_KILL_UID, owner->domid);
    AUTO_FREE char *uuid = NULL;
    AUTO_FREE char *text = NULL;
    uint64_t uid;
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_read(store, NULL, path, &text, NULL, err);
    if (rc) {
        return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
    }
    if (!owner->uuid) {
        rc = libspawn__name_read_uuid(store, NULL, owner->domid, &uuid, err);
        owner->uuid = uuid;
    }
    if (rc || !owner->uuid ||
        libspawn__str_to_u64(text, 1, UINT32_MAX - 1, &uid, NULL)) {
        return rc; /* written by somebody else, whose business it is */
    }
    return libspawn__restrict_release(owner, (uint32_t)uid, err);
}

int
libspawn__confine_release(struct libspawn_host *host, uint32_t domid,
                          const char *uuid, struct libspawn_err *err)
{
    struct libspawn__restrict_owner owner = describe_owner(host, domid, uuid);

    return release_owner(host->store, &owner, err);
}

int
libspawn__confine_release_domid(struct libspawn__store *store, uint32_t domid,
                                struct libspawn_err *err)
{
    struct libspawn__restrict_owner owner = {
        .place = MACHINE,
        .domid = domid,
    };

    return release_owner(store, &owner, err);
}

/* ---- What the program supports ----------------------------------------- */

static void
end_probe(struct libspawn_create *create)
{
    libspawn__probe_free(TAKE_PTR(create->probe));
    free(TAKE_PTR(create->probed_program));
}

static void
on_probed(void *user, const struct libspawn__dm_support *support,
          const char *warning)
{
    struct libspawn_create *create = user;
    AUTO_FREE char *program = TAKE_PTR(create->probed_program);
    struct libspawn_err err = { 0 };
    int rc = 0;

    end_probe(create);
    if (warning) {
        warn(create, warning);
    }
    /* Whoever is warned may abort, which is taken note of behind this step. */
    if (!create->err.code) {
        rc = create->run_probed(create, program, support, &err);
    }
    libspawn__create_step_done(create, rc ? &err : NULL);
}

bool
libspawn__confine_abort_probe(struct libspawn_create *create)
{
    bool is_probing = create->probe;

    end_probe(create);
    return is_probing;
}

int
libspawn__confine_probe(struct libspawn_create *create, const char *program,
                        libspawn__create_run_fn *run, struct libspawn_err *err)
{
    const struct libspawn_host *host = create->host;
    struct libspawn__dm_support support;
    int rc;

    if (libspawn__probe_is_known(host->state_dir, program, &support)) {
        return run(create, program, &support, err);
    }
    rc = libspawn__str_assign(&create->probed_program, program, err);
    if (rc) {
        return rc;
    }
    create->run_probed = run;
    rc = libspawn__probe_start(
        host->ctx,
        &(struct libspawn__probe_request){
            .state_dir = host->state_dir,
            .program = program,
            .start_timeout_ms = create->config->start_timeout_ms,
            .fn = on_probed,
            .user = create },
        &create->probe, err);
    if (rc) {
        end_probe(create);
    }
    return rc ? rc : LIBSPAWN__STEP_PENDING;
}
