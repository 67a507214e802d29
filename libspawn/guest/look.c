#include "guest/look.h"

#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "proc/status.h"

void
libspawn__guest_info_dispose(struct libspawn_guest_info *info)
{
    free(info->name);
    free(info->dm_end);
    memset(info, 0, sizeof *info);
}

void
libspawn__guest_info_take_end(struct libspawn_guest_info *info,
                              const struct libspawn__record *record)
{
    char text[LIBSPAWN__STATUS_TEXT_SIZE];

    info->state |= LIBSPAWN_GUEST_DM_DEAD;
    libspawn__status_describe(record->state == LIBSPAWN__RECORD_EXITED &&
                                  record->is_known,
                              record->wait_status, text);
    info->dm_end = strdup(text);
    info->dm_ended_at_ms = record->ended_at_ms;
}

static int
look_in_list(struct libspawn_host *host, uint32_t domid,
             struct libspawn_guest_info *info_r, struct libspawn_err *err)
{
    struct libspawn_guest_info *list;
    bool is_found = false;
    size_t n;
    size_t i;
    int rc = host->hypervisor->list(host, &list, &n, err);

    if (rc) {
        return rc;
    }
    for (i = 0; i < n && !is_found; i++) {
        is_found = list[i].domid == domid;
        if (is_found) {
            *info_r = list[i];
            memset(&list[i], 0, sizeof list[i]);
        }
    }
    libspawn_guest_list_free(list, n);
    return is_found ? 0
                    : libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                                     "there is no guest with domain id %u",
                                     (unsigned int)domid);
}

int
libspawn__guest_look(struct libspawn_host *host, uint32_t domid,
                     struct libspawn_guest_info *info_r,
                     struct libspawn_err *err)
{
    return host->hypervisor->look
               ? host->hypervisor->look(host, domid, info_r, err)
               : look_in_list(host, domid, info_r, err);
}
