# Completion of xl's command line for bash: commands, options, guests, files.
# What there is, xl itself is asked.

# The words of `xl help`, one per line.
_xl_commands() {
    "$1" help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\)  *.*/\1/p'
}

# The options that `xl help COMMAND` explains.
_xl_options() {
    "$1" help "$2" 2>/dev/null | sed -n '/^  *-/p' | sed 's/  [a-z].*//' |
        grep -oE -- '-[A-Za-z]\>|--[a-z][a-z-]*=?'
}

# The names of the guests; the other arguments choose the state directory.
_xl_guests() {
    local program=$1
    shift
    "$program" "$@" list --json 2>/dev/null |
        sed -n 's/^ *"name": "\(.*\)",$/\1/p'
}

# Offers those lines of the standard input that begin with $1, quoted.
_xl_offer() {
    local line
    while IFS= read -r line; do
        [[ $line != "$1"* ]] || COMPREPLY+=("$(printf '%q' "$line")")
    done
    # What ends in "=" wants a value at once.
    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace 2>/dev/null
}

_xl_offer_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_xl() {
    local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]}
    local previous=${COMP_WORDS[COMP_CWORD - 1]} command='' n_arguments=0 i
    local where=()

    COMPREPLY=()
    # bash makes three words of --state-dir=DIRECTORY.
    if [[ $previous == '=' ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ $current == '=' ]]; then
        current=''
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --state-dir)
            [[ ${COMP_WORDS[i + 1]} != '=' ]] || i=$((i + 1))
            i=$((i + 1))
            where=(--state-dir "${COMP_WORDS[i]}")
            ;;
        -* | '=') ;;
        *)
            if [[ -z $command ]]; then
                command=${COMP_WORDS[i]}
            else
                n_arguments=$((n_arguments + 1))
            fi
            ;;
        esac
    done

    case $command:$previous:$current in
    *:--state-dir:*)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        ;;
    create:-f:* | create:--defconfig:* | config-update:-f:* | \
        config-update:--defconfig:*)
        _xl_offer_files "$current"
        ;;
    console:-t:* | console:--type:*)
        _xl_offer "$current" <<<$'serial\npv'
        ;;
    :*:-*)
        _xl_offer "$current" <<<$'--help\n--state-dir=\n--verbose\n--version'
        ;;
    :*)
        _xl_offer "$current" < <(_xl_commands "$program")
        ;;
    *:--timeout:* | *:--startup-timeout:* | *:--since:* | console:-n:* | console:--num:*) ;;
    lock:-w:* | lock:--wait:* | config-update:--base:*) ;;
    *:-*)
        _xl_offer "$current" < <(_xl_options "$program" "$command")
        ;;
    create:*) _xl_offer_files "$current" ;;
    help:*) _xl_offer "$current" < <(_xl_commands "$program") ;;
    lock:*)
        if [ "$n_arguments" = 0 ]; then
            _xl_offer "$current" < <(
                echo host
                _xl_guests "$program" "${where[@]}"
            )
        else
            mapfile -t COMPREPLY < <(compgen -c -- "$current")
        fi
        ;;
    screenshot:* | config-update:*)
        if [ "$n_arguments" = 0 ]; then
            _xl_offer "$current" < <(_xl_guests "$program" "${where[@]}")
        else
            _xl_offer_files "$current"
        fi
        ;;
    pci-release:* | pci-reserve:*)
        if [ "$n_arguments" = 0 ]; then
            _xl_offer "$current" < <(_xl_guests "$program" "${where[@]}")
        else
            _xl_offer "$current" < <(
                "$program" "${where[@]}" pci-assignable-list 2>/dev/null |
                    sed 's/ .*//'
            )
        fi
        ;;
    pci-assignable-list:* | version:*) ;;
    *) _xl_offer "$current" < <(_xl_guests "$program" "${where[@]}") ;;
    esac
}

complete -F _xl xl
