#include "xl/cfg.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/util.h"
#include "guest/config.h"
#include "xl/cfg_keys.h"
#include "xl/cfg_parse.h"

#define AUTO_CFG AUTO(xl__cfg_dispose)
#define AUTO_CONFIG AUTO(libspawn_guest_config_dispose)

enum {
    SOURCE_LEN_MAX = 200
}; /* so that a sentence fits behind it */

/* ---- Reading ----------------------------------------------------------- */

static int
read_all(int fd, const char *source, struct libspawn__buf *text,
         struct libspawn_err *err)
{
    ssize_t n;

    if (!libspawn__buf_reserve(text, XL__CONFIG_SIZE_MAX + 1)) {
        return libspawn__fail_nomem(err);
    }
    n = libspawn__fd_read_full(fd, text->data, XL__CONFIG_SIZE_MAX + 1);
    if (n < 0) {
        return libspawn__fail_errno(err, (int)-n, "reading '%s'", source);
    }
    if (n > XL__CONFIG_SIZE_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "'%s' is larger than %d bytes: no configuration",
                              source, XL__CONFIG_SIZE_MAX);
    }
    text->size = (size_t)n;
    return 0;
}

static int
read_file(const char *path, const char *source, struct libspawn__buf *text,
          struct libspawn_err *err)
{
    /* Non-blocking, not to hang on a FIFO that nobody writes to. */
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return libspawn__fail_errno(err, errno, "reading '%s'", source);
    }
    if (S_ISDIR(st.st_mode)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID, "'%s' is a directory",
                              source);
    }
    rc = libspawn__fd_set_nonblocking(fd, false, err);
    return rc ? rc : read_all(fd, source, text, err);
}

/* ---- Parsing ----------------------------------------------------------- */

/* The overrides are the lines of one more source. */
static int
parse_overrides(struct xl__cfg *cfg, char *const overrides[], size_t n,
                struct libspawn__strv *warnings, struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf text = { 0 };
    size_t i;

    for (i = 0; i < n; i++) {
        libspawn__buf_printf(&text, "%s\n", overrides[i]);
    }
    if (text.failed) {
        return libspawn__fail_nomem(err);
    }
    return xl__cfg_parse(cfg, "command line", text.data, text.size, warnings,
                         err);
}

/* Puts the place that a failed check objects to in front of its sentence. */
static void
blame(const struct xl__cfg *cfg, const char *source,
      const struct libspawn__config_fault *fault, struct libspawn_err *err)
{
    const struct xl__cfg_setting *setting = NULL;
    const struct xl__cfg_value *value;

    if (!err) {
        return;
    }
    xl__cfg_clean(err->text);
    if (fault->key) {
        setting = xl__cfg_find(cfg, fault->key);
    }
    if (!setting) {
        libspawn__err_prefix(err, "%s", source);
        return;
    }
    value = &setting->value;
    if (fault->index < value->n_items) {
        value = &value->items[fault->index];
    }
    libspawn__err_prefix(err, "%s:%u:%u", value->place.source,
                         value->place.line, value->place.column);
}

static int
build(const struct xl__cfg *cfg, const char *source,
      struct libspawn_guest_config *config, struct libspawn__strv *warnings,
      struct libspawn_err *err)
{
    AUTO_CONFIG struct libspawn_guest_config built;
    struct libspawn__config_fault fault = { NULL, 0 };
    int rc;

    libspawn_guest_config_init(&built);
    rc = xl__cfg_apply(cfg, &built, warnings, err);
    if (rc) {
        return rc;
    }
    rc = libspawn__guest_config_check(&built, &fault, err);
    if (rc) {
        blame(cfg, source, &fault, err);
        return rc;
    }
    libspawn_guest_config_dispose(config);
    *config = built;
    memset(&built, 0, sizeof built);
    return 0;
}

int
xl__config_parse(const char *source, const char *text, size_t size,
                 char *const overrides[], size_t n_overrides,
                 struct libspawn_guest_config *config,
                 struct libspawn__strv *warnings, struct libspawn_err *err)
{
    AUTO_CFG struct xl__cfg cfg = { 0 };
    size_t len = strlen(source);
    int rc;

    if (len > SOURCE_LEN_MAX) {
        source += len - SOURCE_LEN_MAX;
    }
    rc = xl__cfg_parse(&cfg, source, text, size, warnings, err);
    if (!rc) {
        rc = parse_overrides(&cfg, overrides, n_overrides, warnings, err);
    }
    return rc ? rc : build(&cfg, source, config, warnings, err);
}

int
xl__config_load(const char *path, char *const overrides[], size_t n_overrides,
                struct libspawn_guest_config *config,
                struct libspawn__strv *warnings, struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf text = { 0 };
    bool is_stdin = !strcmp(path, "-");
    const char *source = is_stdin ? "standard input" : path;
    int rc;

    if (is_stdin) {
        rc = read_all(STDIN_FILENO, source, &text, err);
    } else {
        rc = read_file(path, source, &text, err);
    }
    if (rc) {
        return rc;
    }
    return xl__config_parse(source, text.data, text.size, overrides,
                            n_overrides, config, warnings, err);
}
