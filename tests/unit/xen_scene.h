/*
 * A Xen guest on a machine without Xen: everything that needs no hypervisor,
 * with a directory store.
 */
#ifndef TESTS_UNIT_XEN_SCENE_H
#define TESTS_UNIT_XEN_SCENE_H

#include "guest/xen/guest.h"

struct scene {
    struct libspawn__xen xen; /* only its store is there */
    struct libspawn_guest_config config;
    struct libspawn__xen_guest guest; /* number 7, of 32 MiB */
};

/* Opens the store in the current directory. */
void scene_open(struct scene *scene);
void scene_close(struct scene *scene);

/* The value of a node as a new string; NULL when it is missing. */
char *scene_read(struct scene *scene, const char *path);
#define assert_node(SCENE, PATH, VALUE)                                       \
    do {                                                                      \
        char *value_ = scene_read((SCENE), (PATH));                           \
        ck_assert_pstr_eq(value_, (VALUE));                                   \
        free(value_);                                                         \
    } while (0)

/* Rights as xenstore-ls prints them, "n0,r7". */
void scene_perms(struct scene *scene, const char *path, char text[static 64]);
#define assert_perms(SCENE, PATH, TEXT)                                       \
    do {                                                                      \
        char text_[64];                                                       \
        scene_perms((SCENE), (PATH), text_);                                  \
        ck_assert_str_eq(text_, (TEXT));                                      \
    } while (0)

#endif
