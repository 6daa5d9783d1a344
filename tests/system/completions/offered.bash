#!/usr/bin/env bash
# Prints what bash offers behind the line $2, a word a line, and "(files)" where it would go on with the names of files. The
# completions are in the folder $1.
set -euo pipefail

goes_on=yes
# The builtin works only while the line editor asks.
compopt() { if [[ " $* " == *" +o default "* ]]; then goes_on=no; fi; }

# shellcheck source=/dev/null
source "$1/hotcore.bash"
set +eu
registered=$(complete -p hotcore)
[[ $registered == *" -F _hotcore "* ]] || exit 1

read -ra COMP_WORDS <<<"$2"
if [[ $2 == *' ' ]]; then COMP_WORDS+=(''); fi
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
COMPREPLY=()
_hotcore hotcore "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
if [ ${#COMPREPLY[@]} -gt 0 ]; then
    printf '%s\n' "${COMPREPLY[@]}"
elif [[ $goes_on == yes && $registered == *" -o default "* ]]; then
    echo '(files)'
fi
