# Prints what zsh offers behind the line $2, a word a line. The completions are in the folder $1.
#
# Only on a terminal is there a line editor, so a second zsh gets one, reads this file too, and tells the first what it would add.

if [[ $1 == inside ]]; then
    fpath=($2 $fpath)
    autoload -Uz compinit
    compinit -u -D
    compadd() {
        local -a offered
        # With these options it is called to sort or to describe, and not to offer.
        if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
            builtin compadd "$@"
            return
        fi
        builtin compadd -A offered "$@"
        local word
        for word in $offered; do print -r -- "<offered>$word</offered>"; done
        builtin compadd "$@"
    }
    finish() { print '<end>' }
    comppostfuncs=(finish)
    print '<ready>'
    return
fi

zmodload zsh/zpty
zpty inside zsh -f -i
zpty -w inside "source ${(q)ZSH_SCRIPT} inside ${(q)1}"
zpty -r -m inside said '*<ready>*'
zpty -w -n inside "$2"$'\t'
zpty -r -m inside said '*<end>*'
zpty -d inside
for line in ${(f)said}; do
    if [[ $line == *'<offered>'*'</offered>'* ]]; then print -r -- ${${line##*<offered>}%</offered>*}; fi
done
