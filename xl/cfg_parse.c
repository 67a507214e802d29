#include "xl/cfg_parse.h"

#include <string.h>

#include "base/util.h"

#define AUTO_VALUE AUTO(value_dispose)

/* ---- The tree ---------------------------------------------------------- */

static void
value_dispose(struct xl__cfg_value *value)
{
    size_t i;

    for (i = 0; i < value->n_items; i++) {
        value_dispose(&value->items[i]);
    }
    free(value->items);
    libspawn__buf_dispose(&value->text);
    memset(value, 0, sizeof *value);
}

static void
setting_dispose(struct xl__cfg_setting *setting)
{
    free(setting->key);
    value_dispose(&setting->value);
}

void
xl__cfg_dispose(struct xl__cfg *cfg)
{
    size_t i;

    for (i = 0; i < cfg->n_settings; i++) {
        setting_dispose(&cfg->settings[i]);
    }
    free(cfg->settings);
    memset(cfg, 0, sizeof *cfg);
}

static struct xl__cfg_setting *
find(const struct xl__cfg *cfg, const char *key)
{
    size_t i;

    for (i = 0; i < cfg->n_settings; i++) {
        if (!strcmp(cfg->settings[i].key, key)) {
            return &cfg->settings[i];
        }
    }
    return NULL;
}

const struct xl__cfg_setting *
xl__cfg_find(const struct xl__cfg *cfg, const char *key)
{
    return find(cfg, key);
}

const char *
xl__cfg_text(const struct xl__cfg_value *value)
{
    if (value->is_list) {
        return NULL;
    }
    return value->text.data ? value->text.data : "";
}

int
xl__cfg_warn(struct libspawn__strv *warnings,
             const struct xl__cfg_place *place, struct libspawn_err *err,
             const char *format, ...)
{
    AUTO_BUF struct libspawn__buf sentence = { 0 };
    va_list args;

    if (!warnings) {
        return 0;
    }
    va_start(args, format);
    libspawn__buf_vprintf(&sentence, format, args);
    va_end(args);
    if (sentence.failed) {
        return libspawn__fail_nomem(err);
    }
    xl__cfg_clean(sentence.data);
    return libspawn__strv_addf(warnings, err, "%s:%u: %s", place->source,
                               place->line, sentence.data);
}

/* Moves '*item' into the list. */
static int
value_add(struct xl__cfg_value *list, struct xl__cfg_value *item,
          struct libspawn_err *err)
{
    size_t n_wanted = list->n_items + 1;
    struct xl__cfg_value *items;

    if (n_wanted > list->n_allocated) {
        n_wanted = MAX(n_wanted, list->n_allocated * 2);
        items = reallocarray(list->items, n_wanted, sizeof *items);
        if (!items) {
            return libspawn__fail_nomem(err);
        }
        list->items = items;
        list->n_allocated = n_wanted;
    }
    list->items[list->n_items++] = *item;
    memset(item, 0, sizeof *item);
    return 0;
}

/* Appends what 'more' holds, which is emptied, to the value 'value'. */
static int
value_append(struct xl__cfg_value *value, struct xl__cfg_value *more,
             struct libspawn_err *err)
{
    size_t i;
    int rc;

    if (value->is_list != more->is_list) {
        return xl__cfg_fail(
            err, &more->place, "a %s cannot be appended to the %s of line %u",
            more->is_list ? "list" : "string",
            value->is_list ? "list" : "string", value->place.line);
    }
    libspawn__buf_append(&value->text, more->text.data, more->text.size);
    if (value->text.failed) {
        return libspawn__fail_nomem(err);
    }
    for (i = 0; i < more->n_items; i++) {
        rc = value_add(value, &more->items[i], err);
        if (rc) {
            return rc;
        }
    }
    value->place = more->place;
    return 0;
}

/* ---- The parser -------------------------------------------------------- */

struct parser {
    struct xl__cfg_lexer lexer;
    struct xl__cfg_token token; /* the one to look at */
    struct xl__cfg *cfg;
    struct libspawn__strv *warnings;
    struct libspawn_err *err;
};

static int
advance(struct parser *parser)
{
    return xl__cfg_lexer_next(&parser->lexer, &parser->token, parser->err);
}

static int
fail_at_token(struct parser *parser, const char *wanted)
{
    const struct xl__cfg_token *token = &parser->token;
    const char *text = token->text.data ? token->text.data : "";

    switch (token->kind) {
    case XL__CFG_TOKEN_END:
        return xl__cfg_fail(parser->err, &token->place,
                            "the text ends where %s should be", wanted);
    case XL__CFG_TOKEN_NEWLINE:
        return xl__cfg_fail(parser->err, &token->place,
                            "the line ends where %s should be", wanted);
    case XL__CFG_TOKEN_NAME:
    case XL__CFG_TOKEN_ATOM:
        return xl__cfg_fail(parser->err, &token->place,
                            "'%.40s' stands where %s should be", text, wanted);
    case XL__CFG_TOKEN_ADD:
    case XL__CFG_TOKEN_MARK:
        break;
    }
    return xl__cfg_fail(
        parser->err, &token->place, "'%c%s' stands where %s should be",
        token->mark ? token->mark : '+', token->mark ? "" : "=", wanted);
}

static int
skip_newlines(struct parser *parser)
{
    int rc = 0;

    while (!rc && parser->token.kind == XL__CFG_TOKEN_NEWLINE) {
        rc = advance(parser);
    }
    return rc;
}

static int parse_value(struct parser *parser, unsigned int depth,
                       struct xl__cfg_value *value);

/* From behind the "[" to behind the "]". */
static int
parse_items(struct parser *parser, unsigned int depth,
            struct xl__cfg_value *list)
{
    AUTO_VALUE struct xl__cfg_value item = { 0 };
    struct xl__cfg_place open = list->place;
    bool may_begin = true; /* a value: after "[" or "," */
    int rc;

    for (;;) {
        rc = skip_newlines(parser);
        if (rc) {
            return rc;
        }
        if (parser->token.kind == XL__CFG_TOKEN_END) {
            return xl__cfg_fail(parser->err, &open, "the list is not ended");
        }
        if (parser->token.mark == ']') {
            return advance(parser);
        }
        if (!may_begin && parser->token.mark != ',') {
            return fail_at_token(parser, "',' or ']'");
        }
        if (may_begin) {
            rc = parse_value(parser, depth + 1, &item);
            if (!rc) {
                rc = value_add(list, &item, parser->err);
            }
        } else {
            rc = advance(parser);
        }
        if (rc) {
            return rc;
        }
        may_begin = !may_begin;
    }
}

/* Leaves the token behind the value to look at. */
static int
parse_value(struct parser *parser, unsigned int depth,
            struct xl__cfg_value *value)
{
    int rc;

    value->place = parser->token.place;
    if (parser->token.kind == XL__CFG_TOKEN_ATOM) {
        value->text = parser->token.text;
        memset(&parser->token.text, 0, sizeof parser->token.text);
        return advance(parser);
    }
    if (parser->token.mark != '[') {
        return fail_at_token(parser, "a number, a string in quotes or a list");
    }
    if (depth >= XL__CFG_DEPTH_MAX) {
        return xl__cfg_fail(parser->err, &value->place,
                            "lists are nested more than %d deep",
                            XL__CFG_DEPTH_MAX);
    }
    value->is_list = true;
    rc = advance(parser);
    return rc ? rc : parse_items(parser, depth, value);
}

/* Moves 'setting' to the end of the settings, where none has its key. */
static int
add_setting(struct parser *parser, struct xl__cfg_setting *setting)
{
    struct xl__cfg *cfg = parser->cfg;
    struct xl__cfg_setting *settings;
    size_t n_wanted = cfg->n_settings + 1;

    if (n_wanted > XL__CFG_SETTINGS_MAX) {
        return xl__cfg_fail(parser->err, &setting->place,
                            "there are more than %d keys",
                            XL__CFG_SETTINGS_MAX);
    }
    if (n_wanted > cfg->n_allocated) {
        n_wanted = MAX(n_wanted, cfg->n_allocated * 2);
        settings = reallocarray(cfg->settings, n_wanted, sizeof *settings);
        if (!settings) {
            return libspawn__fail_nomem(parser->err);
        }
        cfg->settings = settings;
        cfg->n_allocated = n_wanted;
    }
    cfg->settings[cfg->n_settings++] = *setting;
    memset(setting, 0, sizeof *setting);
    return 0;
}

static void
remove_setting(struct xl__cfg *cfg, struct xl__cfg_setting *setting)
{
    struct xl__cfg_setting *end = cfg->settings + cfg->n_settings--;

    setting_dispose(setting);
    memmove(setting, setting + 1,
            (size_t)(end - setting - 1) * sizeof *setting);
}

/* Takes over what 'setting' owns on success. */
static int
store(struct parser *parser, struct xl__cfg_setting *setting)
{
    struct xl__cfg_setting *old = find(parser->cfg, setting->key);
    int rc = 0;

    if (old && setting->is_sum) {
        old->is_sum = true;
        return value_append(&old->value, &setting->value, parser->err);
    }
    if (old) {
        if (old->place.source == setting->place.source) {
            rc = xl__cfg_warn(parser->warnings, &setting->place, parser->err,
                              "'%s' is set again; what line %u says is lost",
                              setting->key, old->place.line);
        }
        remove_setting(parser->cfg, old);
    }
    return rc ? rc : add_setting(parser, setting);
}

/* From the key to behind the value, filling 'setting'. */
static int
parse_assignment(struct parser *parser, struct xl__cfg_setting *setting)
{
    int rc;

    setting->place = parser->token.place;
    setting->key = libspawn__buf_take(&parser->token.text);
    if (!setting->key) {
        return libspawn__fail_nomem(parser->err);
    }
    rc = advance(parser);
    if (rc) {
        return rc;
    }
    setting->is_sum = parser->token.kind == XL__CFG_TOKEN_ADD;
    if (!setting->is_sum && parser->token.mark != '=') {
        return fail_at_token(parser, "'=' or '+='");
    }
    rc = advance(parser);
    return rc ? rc : parse_value(parser, 0, &setting->value);
}

static int
parse_setting(struct parser *parser)
{
    AUTO(setting_dispose) struct xl__cfg_setting setting = { 0 };
    int rc;

    if (parser->token.kind != XL__CFG_TOKEN_NAME) {
        return fail_at_token(parser, "a key");
    }
    rc = parse_assignment(parser, &setting);
    return rc ? rc : store(parser, &setting);
}

static bool
at_separator(const struct parser *parser)
{
    return parser->token.kind == XL__CFG_TOKEN_NEWLINE ||
           parser->token.mark == ';';
}

static int
parse_file(struct parser *parser)
{
    int rc = advance(parser);

    while (!rc && parser->token.kind != XL__CFG_TOKEN_END) {
        if (at_separator(parser)) {
            rc = advance(parser);
            continue;
        }
        rc = parse_setting(parser);
        if (!rc && parser->token.kind != XL__CFG_TOKEN_END &&
            !at_separator(parser)) {
            rc = fail_at_token(parser, "the end of the line or ';'");
        }
    }
    return rc;
}

int
xl__cfg_parse(struct xl__cfg *cfg, const char *source, const char *text,
              size_t size, struct libspawn__strv *warnings,
              struct libspawn_err *err)
{
    struct parser parser = { .cfg = cfg, .warnings = warnings, .err = err };
    int rc;

    xl__cfg_lexer_init(&parser.lexer, source, text, size);
    rc = parse_file(&parser);
    xl__cfg_token_dispose(&parser.token);
    return rc;
}
