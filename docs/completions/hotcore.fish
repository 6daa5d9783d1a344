# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_hotcore_global_optspecs
    string join \n control= json h/help V/version
end

function __fish_hotcore_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_hotcore_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_hotcore_using_subcommand
    set -l cmd (__fish_hotcore_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c hotcore -n "__fish_hotcore_needs_command" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_needs_command" -l json -d 'Print the status as JSON'
complete -c hotcore -n "__fish_hotcore_needs_command" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_needs_command" -s V -l version -d 'Print version'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "add" -d 'Map a domain name to a port on this machine'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "remove" -d 'Remove a domain name; its certificate is kept'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "cert" -d 'Install a certificate of your own for a domain, or take it away'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "list" -d 'List the rules, sorted by name, and on a terminal their certificates'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "msg" -d 'Send a message to the daemon and print the reply'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "log" -d 'Follow the log of the daemon'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "status" -d 'Show the status of the daemon; the same as no command'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "retry" -d 'Try now to get the certificate of a domain name'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "check" -d 'Ask whether the daemon answers, whether its certificates are well, or who has its ports'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "version" -d 'Print the version number'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "license" -d 'Print the licence'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "credits" -d 'List the libraries in this program and their licences'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "help" -d 'Print this help, or that of a command'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "serve" -d 'Route requests, until told to stop; meant for systemd, and for trying out'
complete -c hotcore -n "__fish_hotcore_needs_command" -f -a "install" -d 'Make this program a service of the machine, and start it; needs root'
complete -c hotcore -n "__fish_hotcore_using_subcommand add" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand add" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand remove" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand remove" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand cert" -l state -d 'The folder for the rules [default: the one that the daemon uses]' -r -f -a "(__fish_complete_directories)"
complete -c hotcore -n "__fish_hotcore_using_subcommand cert" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand cert" -l remove -d 'Take the domain\'s own certificate away'
complete -c hotcore -n "__fish_hotcore_using_subcommand cert" -l json -d 'Print JSON'
complete -c hotcore -n "__fish_hotcore_using_subcommand cert" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand list" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand list" -l json -d 'Print JSON'
complete -c hotcore -n "__fish_hotcore_using_subcommand list" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand msg" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand msg" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand log" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand log" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand status" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand status" -l json -d 'Print JSON'
complete -c hotcore -n "__fish_hotcore_using_subcommand status" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand retry" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand retry" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand check" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand check" -l certs -d 'Look at the certificates'
complete -c hotcore -n "__fish_hotcore_using_subcommand check" -l ports -d 'Look who has ports 80 and 443; as root, to see other users\' programs'
complete -c hotcore -n "__fish_hotcore_using_subcommand check" -l json -d 'Print JSON'
complete -c hotcore -n "__fish_hotcore_using_subcommand check" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand version" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand version" -l json -d 'Print JSON'
complete -c hotcore -n "__fish_hotcore_using_subcommand version" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand license" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand license" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand credits" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand credits" -l json -d 'Print JSON'
complete -c hotcore -n "__fish_hotcore_using_subcommand credits" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand help" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand help" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l http -d 'Where plain HTTP is served; may be given several times, or comma-separated [default: port 80 of all addresses]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l https -d 'Where HTTPS is served; likewise [default: port 443 of all addresses]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l state -d 'The folder for the rules [default: /var/lib/hotcore for root, else ~/.local/state/hotcore]' -r -f -a "(__fish_complete_directories)"
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l acme-directory -d 'Who signs certificates: the directory of an ACME server [default: Let\'s Encrypt]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l acme-root -d 'Trust that server if one of the certificates in this file has signed its own [default: as browsers do]' -r -F
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l acme-contact -d 'Your mail address, for whoever signs certificates' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l workers -d 'Threads that route [default: one for each processor]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l hand-over -d 'Serve nothing: have the process with this number start its successor (a reload), and wait until that serves' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l local -d 'For development: listen on loopback only, on 8080 where 80 is not allowed, and let nobody sign certificates'
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -l access-log -d 'Log each request'
complete -c hotcore -n "__fish_hotcore_using_subcommand serve" -s h -l help -d 'Print help'
complete -c hotcore -n "__fish_hotcore_using_subcommand install" -l control -d 'Where the daemon takes commands, on loopback [default: 127.0.0.1:40608]' -r -f
complete -c hotcore -n "__fish_hotcore_using_subcommand install" -l local -d 'For development: a service of your own, on this machine\'s loopback alone; run it by sudo, as yourself'
complete -c hotcore -n "__fish_hotcore_using_subcommand install" -l remove -d 'Undo it; rules, certificates and keys are kept'
complete -c hotcore -n "__fish_hotcore_using_subcommand install" -l dry-run -d 'Show what would be done, and change nothing'
complete -c hotcore -n "__fish_hotcore_using_subcommand install" -s h -l help -d 'Print help'

# The word before is one of these commands.
function __fish_hotcore_behind
    set -l words (commandline -opc)
    __fish_hotcore_using_subcommand $argv
    and contains -- $words[-1] $argv
end

function __fish_hotcore_domains
    hotcore list 2>/dev/null | string split -f 1 ' '
end

complete -c hotcore -n "not __fish_hotcore_using_subcommand cert" -f
complete -c hotcore -n "__fish_hotcore_behind add remove cert retry" -f -a "(__fish_hotcore_domains)" -d 'mapped domain'
complete -c hotcore -n "__fish_hotcore_behind help" -f -a "add remove cert list msg log status retry check version license credits help serve install"
