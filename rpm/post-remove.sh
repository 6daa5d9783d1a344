#!/bin/sh
# After the files have gone; $1 is 0 for a removal and 1 for the old package in an upgrade. Rules, certificates and keys stay in
# /var/lib/hotcore, and so does the user whose they are: rpm knows no purge.

if [ "$1" -eq 0 ]; then
    # rpm knows the files of this package alone.
    rmdir /usr/share/doc/hotcore/docs /usr/share/doc/hotcore /usr/share/licenses/hotcore 2>/dev/null
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
    # firewalld is to forget the service too.
    if command -v firewall-cmd >/dev/null && firewall-cmd --quiet --state 2>/dev/null; then firewall-cmd --quiet --reload; fi
fi
exit 0
