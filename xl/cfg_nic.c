#include "xl/cfg_nic.h"

#include <ctype.h>
#include <string.h>

#include "base/util.h"
#include "guest/config_fields.h"
#include "xl/cfg_part.h"

#define AUTO_PART AUTO(xl__cfg_part_dispose)

struct reader {
    struct libspawn_nic *nic;
    const struct xl__cfg_place *place;
    struct libspawn__strv *warnings;
    struct libspawn_err *err;
};

struct parameter {
    const char *name;
    int (*set)(const struct reader *reader, const struct parameter *parameter,
               const char *value);
    size_t offset; /* of a string in struct libspawn_nic */
};

static int
set_string(const struct reader *reader, const struct parameter *parameter,
           const char *value)
{
    void *at = (char *)reader->nic + parameter->offset;

    return libspawn__str_assign(at, *value ? value : NULL, reader->err);
}

/* Leading zeroes may be missing, as the stock xl allows. */
static int
set_mac(const struct reader *reader, const struct parameter *parameter,
        const char *value)
{
    AUTO_BUF struct libspawn__buf mac = { 0 };
    const char *at = value;
    unsigned int i;

    for (i = 0; i < 6; i++) {
        size_t n = strspn(at, "0123456789abcdefABCDEF");

        if (!n || n > 2 || at[n] != (i < 5 ? ':' : '\0')) {
            return xl__cfg_fail(reader->err, reader->place,
                                "'%.40s' is not a MAC address", value);
        }
        libspawn__buf_printf(&mac, "%s%.*s", n == 1 ? "0" : "",
                             (int)(n + (i < 5)), at);
        at += n + 1;
    }
    if (mac.failed) {
        return libspawn__fail_nomem(reader->err);
    }
    for (i = 0; i < mac.size; i++) {
        mac.data[i] = (char)tolower((unsigned char)mac.data[i]);
    }
    return set_string(reader, parameter, mac.data);
}

static int
set_net(const struct reader *reader, const struct parameter *parameter,
        const char *value)
{
    unsigned int net;

    if (!libspawn__words_find(&libspawn__words_nic_net, value, &net)) {
        return xl__cfg_fail(reader->err, reader->place,
                            "%s '%.40s' is neither 'user' nor 'tap'",
                            parameter->name, value);
    }
    reader->nic->net = net;
    return 0;
}

/* Without it the interface works, if not quite as wished. */
static int
ignore(const struct reader *reader, const struct parameter *parameter,
       const char *value)
{
    (void)value;
    return xl__cfg_warn(reader->warnings, reader->place, reader->err,
                        "'%s' of a vif is not supported yet and is ignored",
                        parameter->name);
}

/* Without it the interface would be another one than the user thinks. */
static int
refuse(const struct reader *reader, const struct parameter *parameter,
       const char *value)
{
    (void)value;
    return xl__cfg_fail(reader->err, reader->place,
                        "'%s' of a vif is not supported yet", parameter->name);
}

static const struct parameter parameters[] = {
    { "accel", ignore, 0 },
    { "backend", refuse, 0 },
    { "bridge", set_string, offsetof(struct libspawn_nic, bridge) },
    { "devid", ignore, 0 },
    { "forwarddev", refuse, 0 },
    { "gatewaydev", ignore, 0 },
    { "ip", set_string, offsetof(struct libspawn_nic, ip) },
    { "mac", set_mac, offsetof(struct libspawn_nic, mac) },
    { "model", set_string, offsetof(struct libspawn_nic, model) },
    { "mtu", ignore, 0 },
    { "net", set_net, 0 },
    { "netdev", ignore, 0 },
    { "rate", ignore, 0 },
    { "script", set_string, offsetof(struct libspawn_nic, script) },
    { "type", set_string, offsetof(struct libspawn_nic, type) },
    { "vifname", set_string, offsetof(struct libspawn_nic, vifname) },
};

static int
set_parameter(const struct reader *reader, const struct xl__cfg_part *part)
{
    size_t i;

    /* The default, said aloud; its opposite is not supported. */
    if (!strcmp(part->name, "trusted") && !part->value) {
        return 0;
    }
    for (i = 0; i < ARRAY_SIZE(parameters); i++) {
        if (part->value && !strcmp(parameters[i].name, part->name)) {
            return parameters[i].set(reader, &parameters[i], part->value);
        }
    }
    return xl__cfg_warn(reader->warnings, reader->place, reader->err,
                        "unknown parameter '%.40s' of a vif ignored",
                        part->name);
}

int
xl__cfg_nic_parse(const char *text, const struct xl__cfg_place *place,
                  struct libspawn_nic *nic, struct libspawn__strv *warnings,
                  struct libspawn_err *err)
{
    struct reader reader = { nic, place, warnings, err };
    AUTO_PART struct xl__cfg_part part = { 0 };
    bool more;
    int rc;

    for (;;) {
        rc = xl__cfg_part_next(&text, &part, &more, err);
        if (rc || !more) {
            return rc;
        }
        rc = set_parameter(&reader, &part);
        if (rc) {
            return rc;
        }
    }
}
