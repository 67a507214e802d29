# What the checks share: splits the lines of C files into code and comment.
# A check defines check_line() and reads
#
#   code     the line without comments, and with "" and '' for literals
#   comment  the text of the comments on the line
#   call_of(NAME)  whether the code calls a function of that name, not a member
#
# and calls complain(TEXT).  The exit status says whether anybody complained.

function complain(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
    complaints++
}

# A call, and neither a member (x.NAME, x->NAME) nor the end of a longer name.
function call_of(name) {
    return index(code, name) && \
        (" " code) ~ ("[^A-Za-z0-9_.>]" name "[ ]?\\(")
}

function take_literal(quote,    rest, skipped) {
    rest = line
    skipped = 1
    while (skipped < length(rest)) {
        skipped++
        if (substr(rest, skipped, 1) == "\\") {
            skipped++
        } else if (substr(rest, skipped, 1) == quote) {
            break
        }
    }
    line = substr(rest, skipped + 1)
    code = code quote quote
}

function split_line(    at, token) {
    line = $0
    code = ""
    comment = ""
    has_line_comment = 0
    while (line != "") {
        if (in_comment) {
            at = index(line, "*/")
            if (!at) {
                comment = comment line
                return
            }
            comment = comment substr(line, 1, at - 1) " "
            line = substr(line, at + 2)
            in_comment = 0
            continue
        }
        if (!match(line, /["']|\/[*\/]/)) {
            code = code line
            return
        }
        code = code substr(line, 1, RSTART - 1)
        token = substr(line, RSTART, 1)
        line = substr(line, RSTART)
        if (token != "/") {
            take_literal(token)
            continue
        }
        if (substr(line, 2, 1) == "/") {
            has_line_comment = 1
            comment = comment substr(line, 3)
            return
        }
        line = substr(line, 3)
        in_comment = 1
    }
}

FNR == 1 {
    in_comment = 0
}

{
    split_line()
    check_line()
}

END {
    finish()
    exit complaints > 0
}
