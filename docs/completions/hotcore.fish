complete -c hotcore
