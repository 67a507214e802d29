/*
 * The words of an xl.cfg file: names, atoms (numbers and quoted strings) and
 * marks.  A number stays text here; what it means, its key says.
 *
 * The rules are those of the stock xl, with these kindnesses: a comment may
 * end with the file, lines may end with CR LF, an octal escape has the value
 * one expects, and a string that is not UTF-8 is refused here because it
 * could not be stored.
 *
 * Knowledge: xl.cfg(5), section SYNTAX; tools/libs/util/libxlu_cfg_l.l in the
 * Xen tree.
 */
#ifndef XL_CFG_LEX_H
#define XL_CFG_LEX_H

#include <stddef.h>

#include "base/str.h"

/* Where something stands.  Columns count bytes, from 1. */
struct xl__cfg_place {
    const char *source; /* name of the file, "command line" or "stdin" */
    unsigned int line;
    unsigned int column;
};

/* Fills 'err' with LIBSPAWN_ERR_INVALID and "SOURCE:LINE:COLUMN: sentence". */
int xl__cfg_fail(struct libspawn_err *err, const struct xl__cfg_place *place,
                 const char *format, ...) LIBSPAWN__PRINTF(3, 4);

/* Replaces control characters, which may come from values that a sentence
 * quotes: a sentence is one line. */
void xl__cfg_clean(char *sentence);

enum xl__cfg_token_kind {
    XL__CFG_TOKEN_END,
    XL__CFG_TOKEN_NEWLINE,
    XL__CFG_TOKEN_NAME,
    XL__CFG_TOKEN_ATOM, /* a number or a string */
    XL__CFG_TOKEN_ADD,  /* += */
    XL__CFG_TOKEN_MARK  /* one of = ; , [ ], in 'mark' */
};

struct xl__cfg_token {
    enum xl__cfg_token_kind kind;
    char mark; /* 0 unless a MARK */
    struct xl__cfg_place place;
    struct libspawn__buf text; /* of a NAME or ATOM */
};

struct xl__cfg_lexer {
    struct xl__cfg_place place; /* of the next byte */
    const char *at;
    const char *end;
};

/* 'source' and 'text' are borrowed; without a size 'text' may be NULL. */
void xl__cfg_lexer_init(struct xl__cfg_lexer *lexer, const char *source,
                        const char *text, size_t size);

/* Reads the next token into 'token', which was zeroed or used before. */
int xl__cfg_lexer_next(struct xl__cfg_lexer *lexer,
                       struct xl__cfg_token *token, struct libspawn_err *err);
void xl__cfg_token_dispose(struct xl__cfg_token *token);

#endif
