#!/bin/sh
# After the files are in place; $1 is 1 for an install and 2 for an upgrade, in which the old package's scripts run after this one.
# No macro is expanded here, so what %systemd_post and its kin stand for is written out.

invoke() { systemctl --quiet "$@"; }

# ---- From here on as in debian/postinst, which is compared with this.

is_booted() { [ -d /run/systemd/system ]; }

say() { echo "hotcore: $*"; }

# What `hotcore install` has made gives way: its units hide those of the package, its program is found first. Rules and
# certificates are in the same place. The ports stay open, unless they were those of this machine alone (--local).
took_over=
take_over() {
    units=/etc/systemd/system
    head --quiet --lines=1 "$units/hotcore.service" 2>/dev/null | grep --quiet '^# Made by .hotcore install' || return 0
    if is_booted && grep --quiet '^ExecStart=.* --local' "$units/hotcore.service"; then
        invoke stop hotcore.service hotcore-web.socket hotcore-control.socket || true
    fi
    for unit in hotcore-web.socket hotcore-control.socket hotcore.service; do
        if head --quiet --lines=1 "$units/$unit" 2>/dev/null | grep --quiet '^# Made by .hotcore install'; then
            rm --force "$units/$unit"
        fi
        # What enabled it points nowhere now.
        for link in "$units"/*.wants/"$unit"; do
            if [ -L "$link" ] && [ ! -e "$link" ]; then rm --force "$link"; fi
        done
    done
    if [ "$(readlink /usr/local/bin/hotcore)" = /opt/hotcore/bin/hotcore ]; then rm --force /usr/local/bin/hotcore; fi
    rm --force /opt/hotcore/bin/hotcore /etc/sysusers.d/hotcore.conf /etc/firewalld/services/hotcore.xml
    rmdir /opt/hotcore/bin /opt/hotcore 2>/dev/null || true
    # Its rule becomes the package's, by the comment.
    if is_booted && command -v ufw >/dev/null && ufw show added 2>/dev/null | grep --quiet --line-regexp 'ufw allow hotcore'; then
        ufw allow hotcore comment 'made by the package hotcore' >/dev/null || true
    fi
    say 'took over from "hotcore install", with its rules and certificates'
    took_over=yes
}

# After take_over, once systemd has read the units: the process that runs has the program and the sandbox of the other install.
change_over() {
    if [ -n "$took_over" ] && is_booted; then invoke try-restart hotcore.service || true; fi
}

# The new program takes the open ports over, and the old one ends what it has begun.
hand_over() {
    invoke try-reload-or-restart hotcore.service >/dev/null 2>&1 ||
        say 'the version before this one goes on serving: it could not hand over (see: journalctl -u hotcore);' \
            'to change over now: systemctl restart hotcore' >&2
}

# Opens 80 and 443, and nothing else, in the firewall that is active. A rule that is there already is its maker's. The mark of
# ours is the comment; firewalld knows none, and a service that is gone with the package must not be left in a zone anyway.
open_firewall() {
    if command -v ufw >/dev/null && LC_ALL=C ufw status 2>/dev/null | grep --quiet '^Status: active' &&
        ! ufw show added 2>/dev/null | grep --quiet --line-regexp "ufw allow hotcore\( comment .*\)\?" &&
        ufw allow hotcore comment 'made by the package hotcore' >/dev/null; then
        say 'opened ports 80 and 443 in ufw'
    fi
    # It must hear of the new service first.
    if command -v firewall-cmd >/dev/null && firewall-cmd --quiet --state 2>/dev/null &&
        ! firewall-cmd --quiet --permanent --query-service=hotcore 2>/dev/null &&
        firewall-cmd --quiet --reload && firewall-cmd --quiet --permanent --add-service=hotcore &&
        firewall-cmd --quiet --add-service=hotcore; then
        say 'opened ports 80 and 443 in firewalld'
    fi
}

# Who has a port that hotcore needs (systemd, process 1, has them for hotcore), and what to do.
name_holders() {
    command -v ss >/dev/null || return 0
    ss -Hltunp 2>/dev/null | awk '
        { port = $5; sub(/.*:/, "", port) }
        !/pid=1,/ && ($1 == "tcp" && (port == 80 || port == 443) || $1 == "udp" && port == 40608) {
            holder = "another program"
            look = ""
            if (match($0, /"[^"]*",pid=[0-9]+/)) {
                split(substr($0, RSTART + 1, RLENGTH - 1), part, /",pid=/)
                holder = part[1] " (process " part[2] ")"
                look = ": systemctl status " part[2]
            }
            if (!told[port, holder]++) {
                print "hotcore: does not run: " toupper($1) " port " port " is taken by " holder "; end that and see that it" \
                    " does not come back" look ", then: systemctl start hotcore"
            }
        }' >&2
}

# ---- To here.

systemd-sysusers hotcore.conf
take_over
if [ "$1" -eq 1 ]; then
    # Without systemd, in the making of an image, this makes links and no more.
    systemctl --quiet enable hotcore-control.socket hotcore-web.socket hotcore.service
fi
if is_booted; then
    systemctl daemon-reload
    if [ "$1" -eq 1 ]; then
        invoke start hotcore-control.socket hotcore-web.socket hotcore.service
        change_over
        open_firewall
    else
        hand_over
    fi
    name_holders
fi
# What went wrong was said; the package is installed.
exit 0
