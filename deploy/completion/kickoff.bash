# Bash completion for kickoff, kickoffd and kickoff-herd. It asks the programs themselves: what their --help lists,
# which is made from their option tables, is what can be completed, in whatever version is installed.
# Use it: source this file, or install it as /usr/share/bash-completion/completions/kickoff (and by the others' names).

_kickoff_words() { # words of --help that begin a row: commands and options, or the words of one
    "$@" --help 2>/dev/null | sed -n 's/^  \(-h, \)\{0,1\}\(--[a-z-]\{1,\}\)\( .*\)\{0,1\}$/\2/p
        /^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'
}

_kickoff() {
    local word=${COMP_WORDS[COMP_CWORD]} before i
    local -a command=("${COMP_WORDS[0]}")

    # Which command is it? Up to two words that are commands where they stand.
    for ((i = 1; i < COMP_CWORD && ${#command[@]} < 3; i++)); do
        case ${COMP_WORDS[i]} in
        -*) continue ;;
        esac
        before=$(_kickoff_words "${command[@]}")
        case "
$before
" in *"
${COMP_WORDS[i]}
"*) command+=("${COMP_WORDS[i]}") ;; esac
    done
    before=${COMP_WORDS[COMP_CWORD - 1]}
    case $before in # files and directories; all other values are the user's own
    --token-file | --data | --report | --output) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$(_kickoff_words "${command[@]}")" -- "$word")
    if [ "${command[*]:1}" = 'prefetch load' ] && [ -z "${word##[!-]*}" ]; then
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$word")
    fi
}
complete -F _kickoff kickoff kickoffd kickoff-herd
