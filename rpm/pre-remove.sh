#!/bin/sh
# Before the files go; $1 is 0 for a removal and 1 for the old package in an upgrade, which leaves all as it is.

# ---- From here on as in debian/prerm, which is compared with this.

say() { echo "hotcore: $*"; }

# What the package has opened; an administrator's own rule of ufw stays. In firewalld no zone may name a service that is gone.
close_firewall() {
    if command -v ufw >/dev/null &&
        ufw show added 2>/dev/null | grep --quiet --line-regexp "ufw allow hotcore comment 'made by the package hotcore'" &&
        ufw delete allow hotcore >/dev/null; then
        say 'closed ports 80 and 443 in ufw'
    fi
    command -v firewall-cmd >/dev/null || return 0
    closed=
    if firewall-cmd --quiet --state 2>/dev/null; then
        for zone in $(firewall-cmd --permanent --get-zones); do
            for where in "" --permanent; do
                # shellcheck disable=SC2086  # nothing is no argument
                if firewall-cmd --quiet $where --zone="$zone" --query-service=hotcore 2>/dev/null; then
                    firewall-cmd --quiet $where --zone="$zone" --remove-service=hotcore && closed=yes
                fi
            done
        done
    else
        for zone in $(firewall-offline-cmd --get-zones 2>/dev/null); do
            if firewall-offline-cmd --quiet --zone="$zone" --query-service=hotcore 2>/dev/null; then
                firewall-offline-cmd --quiet --zone="$zone" --remove-service-from-zone=hotcore && closed=yes
            fi
        done
    fi
    if [ -n "$closed" ]; then say 'closed ports 80 and 443 in firewalld'; fi
}

# ---- To here.

if [ "$1" -eq 0 ]; then
    close_firewall
    # Without systemd this takes links away and no more.
    now=
    if [ -d /run/systemd/system ]; then now=--now; fi
    # shellcheck disable=SC2086  # nothing is no argument
    systemctl --quiet disable $now hotcore.service hotcore-web.socket hotcore-control.socket
fi
exit 0
