#include "xl/cfg_lex.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

void
xl__cfg_clean(char *sentence)
{
    for (; *sentence; sentence++) {
        if (iscntrl((unsigned char)*sentence)) {
            *sentence = '?';
        }
    }
}

int
xl__cfg_fail(struct libspawn_err *err, const struct xl__cfg_place *place,
             const char *format, ...)
{
    char sentence[sizeof err->text];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    xl__cfg_clean(sentence);
    return libspawn__fail(err, LIBSPAWN_ERR_INVALID, "%s:%u:%u: %s",
                          place->source, place->line, place->column, sentence);
}

void
xl__cfg_lexer_init(struct xl__cfg_lexer *lexer, const char *source,
                   const char *text, size_t size)
{
    lexer->place = (struct xl__cfg_place){ source, 1, 1 };
    lexer->at = size ? text : "";
    lexer->end = lexer->at + size;
}

void
xl__cfg_token_dispose(struct xl__cfg_token *token)
{
    libspawn__buf_dispose(&token->text);
}

/* The byte 'ahead' of the next one, or -1 past the end. */
static int
peek(const struct xl__cfg_lexer *lexer, size_t ahead)
{
    if (ahead >= (size_t)(lexer->end - lexer->at)) {
        return -1;
    }
    return (unsigned char)lexer->at[ahead];
}

static void
skip(struct xl__cfg_lexer *lexer, size_t n)
{
    for (; n; n--) {
        lexer->place.column++;
        if (*lexer->at++ == '\n') {
            lexer->place.line++;
            lexer->place.column = 1;
        }
    }
}

static bool
is_one_of(int c, const char *set)
{
    return c > 0 && strchr(set, c);
}

static int
fail_unexpected(const struct xl__cfg_lexer *lexer, struct libspawn_err *err)
{
    int c = peek(lexer, 0);

    if (c >= 'A' && c <= 'Z') {
        return xl__cfg_fail(err, &lexer->place,
                            "'%c' is unexpected: keys are lower case, and "
                            "text belongs in quotes",
                            c);
    }
    if (c == '-' || c == '+' || c == '.') {
        return xl__cfg_fail(err, &lexer->place,
                            "'%c' is unexpected: a number with a sign or a "
                            "fraction belongs in quotes",
                            c);
    }
    if (c == '/') {
        return xl__cfg_fail(err, &lexer->place,
                            "'/' is unexpected: text belongs in quotes");
    }
    if (c > ' ' && c < 0x7f) {
        return xl__cfg_fail(err, &lexer->place, "'%c' is unexpected", c);
    }
    return xl__cfg_fail(err, &lexer->place,
                        "byte 0x%02x is unexpected outside of a string", c);
}

/* ---- Strings ----------------------------------------------------------- */

static int
hex_value(int c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c > 0 ? strchr(digits, c | 0x20) : NULL;

    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return at && *at > '9' ? (int)(at - digits) : -1;
}

/* Up to 'n_max' digits of the base; returns how many there are. */
static size_t
read_digits(struct xl__cfg_lexer *lexer, size_t n_max, int base, int *value_r)
{
    size_t n;

    *value_r = 0;
    for (n = 0; n < n_max; n++) {
        int digit = hex_value(peek(lexer, 0));

        if (digit < 0 || digit >= base) {
            break;
        }
        *value_r = *value_r * base + digit;
        skip(lexer, 1);
    }
    return n;
}

/* What follows a backslash, which stands at 'place'. */
static int
read_escape(struct xl__cfg_lexer *lexer, const struct xl__cfg_place *place,
            struct libspawn__buf *text, struct libspawn_err *err)
{
    static const char letters[] = "abfnrtv\"'\\";
    static const char values[] = "\a\b\f\n\r\t\v\"'\\";
    int c = peek(lexer, 0);
    int value;
    char byte;

    if (is_one_of(c, letters)) {
        libspawn__buf_append(text, &values[strchr(letters, c) - letters], 1);
        skip(lexer, 1);
        return 0;
    }
    if (c == 'x') {
        skip(lexer, 1);
        if (read_digits(lexer, 2, 16, &value) != 2) {
            return xl__cfg_fail(err, place,
                                "the escape \\x needs two hexadecimal digits");
        }
    } else if (c >= '0' && c <= '7') {
        read_digits(lexer, 3, 8, &value);
    } else if (c > ' ' && c < 0x7f) {
        return xl__cfg_fail(err, place, "there is no escape \\%c", c);
    } else {
        return xl__cfg_fail(err, place, "nothing follows the backslash");
    }
    if (!value || value > 0xff) {
        return xl__cfg_fail(
            err, place, "the escape stands for %d, not a byte of text", value);
    }
    byte = (char)value;
    libspawn__buf_append(text, &byte, 1);
    return 0;
}

static int
read_string(struct xl__cfg_lexer *lexer, struct xl__cfg_token *token,
            struct libspawn_err *err)
{
    int quote = peek(lexer, 0);

    token->kind = XL__CFG_TOKEN_ATOM;
    skip(lexer, 1);
    for (;;) {
        struct xl__cfg_place place = lexer->place;
        int c = peek(lexer, 0);
        int rc;

        if (c < 0 || c == '\n') {
            return xl__cfg_fail(err, &token->place,
                                "the string is not ended on its line");
        }
        if (!c) {
            return xl__cfg_fail(err, &place, "a NUL byte in a string");
        }
        if (c == '\\') {
            skip(lexer, 1);
            rc = read_escape(lexer, &place, &token->text, err);
            if (rc) {
                return rc;
            }
            continue;
        }
        if (c != quote) {
            libspawn__buf_append(&token->text, lexer->at, 1);
        }
        skip(lexer, 1);
        if (c == quote) {
            break;
        }
    }
    if (!token->text.failed &&
        libspawn__utf8_prefix(token->text.data, token->text.size) !=
            token->text.size) {
        return xl__cfg_fail(err, &token->place, "the string is not UTF-8");
    }
    return 0;
}

/* ---- Everything else --------------------------------------------------- */

static void
read_run(struct xl__cfg_lexer *lexer, struct xl__cfg_token *token,
         enum xl__cfg_token_kind kind, const char *set)
{
    const char *begin = lexer->at;

    token->kind = kind;
    while (is_one_of(peek(lexer, 0), set)) {
        skip(lexer, 1);
    }
    libspawn__buf_append(&token->text, begin, (size_t)(lexer->at - begin));
}

static bool
at_line_end(const struct xl__cfg_lexer *lexer)
{
    int c = peek(lexer, 0);

    return c == '\n' || (c == '\r' && peek(lexer, 1) == '\n');
}

static void
skip_blanks_and_comment(struct xl__cfg_lexer *lexer)
{
    while (is_one_of(peek(lexer, 0), " \t")) {
        skip(lexer, 1);
    }
    if (peek(lexer, 0) == '#') {
        while (peek(lexer, 0) >= 0 && !at_line_end(lexer)) {
            skip(lexer, 1);
        }
    }
}

static int
read_token(struct xl__cfg_lexer *lexer, struct xl__cfg_token *token,
           struct libspawn_err *err)
{
    int c = peek(lexer, 0);

    if (c < 0) {
        token->kind = XL__CFG_TOKEN_END;
    } else if (at_line_end(lexer)) {
        token->kind = XL__CFG_TOKEN_NEWLINE;
        skip(lexer, c == '\r' ? 2 : 1);
    } else if (c >= 'a' && c <= 'z') {
        read_run(lexer, token, XL__CFG_TOKEN_NAME,
                 "abcdefghijklmnopqrstuvwxyz0123456789._");
    } else if (c >= '0' && c <= '9') {
        read_run(lexer, token, XL__CFG_TOKEN_ATOM, "0123456789abcdefx");
    } else if (c == '"' || c == '\'') {
        return read_string(lexer, token, err);
    } else if (c == '+' && peek(lexer, 1) == '=') {
        token->kind = XL__CFG_TOKEN_ADD;
        skip(lexer, 2);
    } else if (is_one_of(c, "=;,[]")) {
        token->kind = XL__CFG_TOKEN_MARK;
        token->mark = (char)c;
        skip(lexer, 1);
    } else {
        return fail_unexpected(lexer, err);
    }
    return 0;
}

int
xl__cfg_lexer_next(struct xl__cfg_lexer *lexer, struct xl__cfg_token *token,
                   struct libspawn_err *err)
{
    int rc;

    libspawn__buf_dispose(&token->text);
    token->mark = '\0';
    skip_blanks_and_comment(lexer);
    token->place = lexer->place;
    rc = read_token(lexer, token, err);
    if (!rc && token->text.failed) {
        return libspawn__fail_nomem(err);
    }
    return rc;
}
