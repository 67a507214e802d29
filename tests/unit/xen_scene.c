#include "tests/unit/xen_scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/lib/harness.h"

static char name[] = "scene";

void
scene_open(struct scene *scene)
{
    struct libspawn_err err;

    memset(scene, 0, sizeof *scene);
    scene->xen.version_major = 4;
    scene->xen.version_minor = 17;
    assert_ok(libspawn__store_open("dir:store", &scene->xen.store, &err),
              &err);
    scene->config = (struct libspawn_guest_config){
        .name = name,
        .type = LIBSPAWN_GUEST_TYPE_HVM,
        .memory_mib = 32,
        .vcpus = 1,
        .max_vcpus = 2,
    };
    scene->guest = (struct libspawn__xen_guest){
        .config = &scene->config,
        .type = LIBSPAWN_GUEST_TYPE_HVM,
        .uuid = "01234567-89ab-cdef-0123-456789abcdef",
        .hap = true,
        .n_vcpus = 1,
        .n_vcpus_max = 2,
        .domid = 7,
        .store_port = 1,
        .console_port = 2,
        .store_frame = 1044476,
        .console_frame = 1044479,
    };
    assert_ok(libspawn__xen_memory_plan(&scene->config,
                                        LIBSPAWN_GUEST_TYPE_HVM, true,
                                        &scene->guest.memory, &err),
              &err);
}

void
scene_close(struct scene *scene)
{
    libspawn__xen_guest_dispose(&scene->guest);
    libspawn__store_close(scene->xen.store);
}

char *
scene_read(struct scene *scene, const char *path)
{
    char *value = NULL;

    libspawn__store_read(scene->xen.store, NULL, path, &value, NULL, NULL);
    return value;
}

void
scene_perms(struct scene *scene, const char *path, char text[static 64])
{
    static const char letters[] = { 'n', 'r', 'w', 'b' };
    AUTO_FREE struct libspawn__store_perm *perms = NULL;
    struct libspawn_err err;
    size_t n = 0;
    size_t i;
    int len = 0;

    assert_ok(libspawn__store_get_perms(scene->xen.store, NULL, path, &perms,
                                        &n, &err),
              &err);
    text[0] = '\0';
    for (i = 0; i < n; i++) {
        len += snprintf(text + len, 64 - (size_t)len, "%s%c%u", i ? "," : "",
                        letters[perms[i].can_read + 2 * perms[i].can_write],
                        perms[i].domid);
    }
}
