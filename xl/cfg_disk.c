#include "xl/cfg_disk.h"

#include <string.h>

#include "base/util.h"
#include "guest/config_fields.h"

struct reader {
    struct libspawn_disk *disk;
    const struct xl__cfg_place *place;
    struct libspawn_err *err;
    const char *name; /* of the parameter that is being set */
    bool has_target;  /* perhaps an empty one */
    bool has_format;
    bool has_access; /* by position */
    bool has_prefix;
};

static int
set_once(struct reader *reader, const char *what, char **slot,
         const char *value)
{
    if (*slot && **slot) {
        return xl__cfg_fail(reader->err, reader->place,
                            "a disk with two %ss, '%.80s' and '%.80s'", what,
                            *slot, value);
    }
    return libspawn__str_assign(slot, value, reader->err);
}

static int
set_target(struct reader *reader, const char *value)
{
    reader->has_target = true;
    return set_once(reader, "target", &reader->disk->target, value);
}

static int
set_vdev(struct reader *reader, const char *value)
{
    return set_once(reader, "vdev", &reader->disk->vdev, value);
}

static int
set_script(struct reader *reader, const char *value)
{
    return set_once(reader, "script", &reader->disk->script, value);
}

static int
set_format(struct reader *reader, const char *value)
{
    unsigned int format = LIBSPAWN_DISK_RAW;

    if (*value &&
        !libspawn__words_find(&libspawn__words_disk_format, value, &format)) {
        return xl__cfg_fail(reader->err, reader->place,
                            "'%.40s' is not the format of a disk", value);
    }
    if (reader->has_format && reader->disk->format != format) {
        return xl__cfg_fail(reader->err, reader->place,
                            "a disk with two formats, '%s' and '%.40s'",
                            libspawn__words_name(&libspawn__words_disk_format,
                                                 reader->disk->format),
                            value);
    }
    reader->has_format = true;
    reader->disk->format = format;
    return 0;
}

static int
set_access(struct reader *reader, const char *value)
{
    bool read_only = !strcmp(value, "r") || !strcmp(value, "ro");

    if (!read_only && *value && strcmp(value, "rw") && strcmp(value, "w")) {
        return xl__cfg_fail(reader->err, reader->place,
                            "access '%.40s' to a disk is neither 'r' nor 'rw'",
                            value);
    }
    reader->disk->read_only = read_only;
    return 0;
}

static int
set_devtype(struct reader *reader, const char *value)
{
    bool is_cdrom = !strcmp(value, "cdrom");

    if (!is_cdrom && strcmp(value, "disk")) {
        return xl__cfg_fail(reader->err, reader->place,
                            "devtype '%.40s' is neither 'disk' nor 'cdrom'",
                            value);
    }
    reader->disk->is_cdrom = is_cdrom;
    return 0;
}

static int
set_backendtype(struct reader *reader, const char *value)
{
    if (strcmp(value, "phy") && strcmp(value, "qdisk") &&
        strcmp(value, "tap")) {
        return xl__cfg_fail(reader->err, reader->place,
                            "backendtype '%.40s' is none of phy, qdisk, tap",
                            value);
    }
    return set_once(reader, "backendtype", &reader->disk->backendtype, value);
}

static int
set_specification(struct reader *reader, const char *value)
{
    if (strcmp(value, "xen")) {
        return xl__cfg_fail(reader->err, reader->place,
                            "specification '%.40s' of a disk is not supported "
                            "yet",
                            value);
    }
    return 0;
}

static int
set_cdrom(struct reader *reader, const char *value)
{
    (void)value;
    reader->disk->is_cdrom = true;
    return 0;
}

static int
set_discard(struct reader *reader, const char *value)
{
    (void)value;
    reader->disk->discard = LIBSPAWN_CHOICE_YES;
    return 0;
}

static int
set_no_discard(struct reader *reader, const char *value)
{
    (void)value;
    reader->disk->discard = LIBSPAWN_CHOICE_NO;
    return 0;
}

static int
set_direct_io_safe(struct reader *reader, const char *value)
{
    (void)value;
    reader->disk->direct_io_safe = LIBSPAWN_CHOICE_YES;
    return 0;
}

/* What is the default anyway. */
static int
set_nothing(struct reader *reader, const char *value)
{
    (void)reader;
    (void)value;
    return 0;
}

/* Each would change where the data are or who may see them: not ignored. */
static int
refuse(struct reader *reader, const char *value)
{
    (void)value;
    return xl__cfg_fail(reader->err, reader->place,
                        "'%s' of a disk is not supported yet", reader->name);
}

/* Those that take a value end with "=". */
static const struct parameter {
    const char *name;
    int (*set)(struct reader *reader, const char *value);
} parameters[] = {
    { "access=", set_access },
    { "active-disk=", refuse },
    { "backend=", refuse },
    { "backendtype=", set_backendtype },
    { "cdrom", set_cdrom },
    { "colo", refuse },
    { "colo-export=", refuse },
    { "colo-host=", refuse },
    { "colo-port=", refuse },
    { "devtype=", set_devtype },
    { "direct-io-safe", set_direct_io_safe },
    { "discard", set_discard },
    { "format=", set_format },
    { "hidden-disk=", refuse },
    { "no-colo", set_nothing },
    { "no-discard", set_no_discard },
    { "script=", set_script },
    { "specification=", set_specification },
    { "trusted", set_nothing },
    { "untrusted", refuse },
    { "vdev=", set_vdev },
};

/* ---- Prefixes ---------------------------------------------------------- */

static int
set_block_script(struct reader *reader, const char *value)
{
    AUTO_FREE char *script = libspawn__str_format("block-%s", value);

    return script ? set_script(reader, script)
                  : libspawn__fail_nomem(reader->err);
}

static const struct parameter prefixes[] = {
    { "aio", set_nothing },       { "drbd", set_block_script },
    { "enbd", set_block_script }, { "file", set_nothing },
    { "ioemu", set_nothing },     { "iscsi", set_block_script },
    { "nbd", set_block_script },  { "phy", set_nothing },
    { "qcow", set_format },       { "qcow2", set_format },
    { "raw", set_format },        { "tap", set_nothing },
    { "tap2", set_nothing },      { "tapdisk", set_nothing },
    { "vhd", set_format },
};

/* Moves behind a prefix at '*at'.  A word that is none is left alone when a
 * letter or digit follows its colon: that is a target such as "rbd:pool/disk",
 * or a vdev with its devtype. */
static int
skip_prefix(struct reader *reader, const char **at, bool *skipped_r)
{
    static const char alphanumeric[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t len = strspn(*at, alphanumeric);
    size_t i;

    *skipped_r = false;
    if (!len || (*at)[len] != ':' || (**at >= '0' && **at <= '9')) {
        return 0;
    }
    for (i = 0; i < ARRAY_SIZE(prefixes); i++) {
        if (strlen(prefixes[i].name) == len &&
            !strncmp(prefixes[i].name, *at, len)) {
            *at += len + 1;
            *skipped_r = true;
            reader->has_prefix = true;
            return prefixes[i].set(reader, prefixes[i].name);
        }
    }
    if ((*at)[len + 1] && strchr(alphanumeric, (*at)[len + 1])) {
        return 0;
    }
    return xl__cfg_fail(reader->err, reader->place,
                        "'%.*s:' is not a prefix of a disk",
                        (int)MIN(len, (size_t)40), *at);
}

/* ---- Parameters -------------------------------------------------------- */

/* VDEV:DEVTYPE, the old way. */
static int
set_vdev_and_devtype(struct reader *reader, char *vdev, char *colon)
{
    int rc;

    *colon = '\0';
    rc = set_vdev(reader, vdev);
    return rc ? rc : set_devtype(reader, colon + 1);
}

static int
set_by_position(struct reader *reader, char *value)
{
    struct libspawn_disk *disk = reader->disk;
    char *colon = strrchr(value, ':');

    if (!reader->has_target) {
        return set_target(reader, value);
    }
    if (!reader->has_prefix && !reader->has_format) {
        /* An empty drive may be written without a format. */
        if (!*disk->target && colon) {
            reader->has_format = true;
            disk->format = LIBSPAWN_DISK_EMPTY;
            return set_vdev_and_devtype(reader, value, colon);
        }
        return set_format(reader, value);
    }
    if (!disk->vdev) {
        return colon ? set_vdev_and_devtype(reader, value, colon)
                     : set_vdev(reader, value);
    }
    if (!reader->has_access) {
        reader->has_access = true;
        return set_access(reader, value);
    }
    return xl__cfg_fail(reader->err, reader->place,
                        "the disk has one parameter too many: '%.80s'", value);
}

static int
set_part(struct reader *reader, char *part)
{
    char *equals = strchr(part, '=');
    size_t len = equals ? (size_t)(equals + 1 - part) : strlen(part);
    size_t i;

    for (i = 0; i < ARRAY_SIZE(parameters); i++) {
        if (strlen(parameters[i].name) == len &&
            !strncmp(parameters[i].name, part, len)) {
            reader->name = parameters[i].name;
            return parameters[i].set(reader, part + len);
        }
    }
    if (equals) {
        return xl__cfg_fail(reader->err, reader->place,
                            "a disk has no parameter '%.*s'",
                            (int)MIN(len - 1, (size_t)40), part);
    }
    return set_by_position(reader, part);
}

static int
take_part(struct reader *reader, const char **at)
{
    size_t len = strcspn(*at, ",");
    AUTO_FREE char *part = strndup(*at, len);

    if (!part) {
        return libspawn__fail_nomem(reader->err);
    }
    *at += (*at)[len] ? len + 1 : len;
    while (len && strchr(" \t\n", part[len - 1])) {
        part[--len] = '\0';
    }
    return set_part(reader, part);
}

/* "target=", which takes the rest. */
static int
take_target(struct reader *reader, const char *value)
{
    size_t len = strlen(value);
    AUTO_FREE char *target =
        strndup(value, len && value[len - 1] == ',' ? len - 1 : len);

    return target ? set_target(reader, target)
                  : libspawn__fail_nomem(reader->err);
}

static int
take_all(struct reader *reader, const char *at)
{
    static const char target[] = "target=";
    bool skipped;
    int rc;

    for (;;) {
        at += strspn(at, " \t\n");
        if (!*at) {
            return 0;
        }
        if (libspawn__str_has_prefix(at, target)) {
            return take_target(reader, at + strlen(target));
        }
        rc = skip_prefix(reader, &at, &skipped);
        if (!rc && !skipped) {
            rc = take_part(reader, &at);
        }
        if (rc) {
            return rc;
        }
    }
}

/* What follows from all parameters together. */
static int
complete(struct reader *reader)
{
    struct libspawn_disk *disk = reader->disk;

    if (!disk->vdev || !*disk->vdev) {
        return xl__cfg_fail(reader->err, reader->place,
                            "the disk has no vdev, such as 'hda' or 'xvda'");
    }
    if (disk->target && !*disk->target) {
        free(TAKE_PTR(disk->target));
    }
    if (disk->is_cdrom) {
        disk->read_only = true;
    }
    if (disk->is_cdrom && !disk->target) {
        disk->format = LIBSPAWN_DISK_EMPTY;
    }
    if (!disk->target && !disk->is_cdrom) {
        return xl__cfg_fail(reader->err, reader->place,
                            "disk '%.40s' has no target", disk->vdev);
    }
    if (disk->target && disk->format == LIBSPAWN_DISK_EMPTY) {
        return xl__cfg_fail(reader->err, reader->place,
                            "disk '%.40s' is empty but has a target",
                            disk->vdev);
    }
    return 0;
}

int
xl__cfg_disk_parse(const char *text, const struct xl__cfg_place *place,
                   struct libspawn_disk *disk, struct libspawn_err *err)
{
    struct reader reader = { .disk = disk, .place = place, .err = err };
    int rc = take_all(&reader, text);

    return rc ? rc : complete(&reader);
}
