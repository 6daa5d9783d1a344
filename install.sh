#!/bin/sh
# Installs hotcore, or upgrades it, by the package that fits this system: ./install.sh --help
#
# It may be piped into a shell. The brace makes the shell read all of it before it runs any: cut off half-way, it does nothing.
{
set -eu

# Where releases are: the https address of a folder with the packages and their SHA256SUMS (docs/OPERATING.md, "A folder of
# packages"). There is none yet: this is the one place to fill in.
RELEASES=''

SYSTEMD_MIN=252
# What is left beside the package, in KiB, on a disk that it is installed to.
ROOM_KIB=8192

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
LC_ALL=C
export PATH LC_ALL

usage() {
    cat <<'END'
Installs hotcore, or upgrades it, by the package that fits this system: a .deb by apt-get, an .rpm by dnf, yum or zypper.

  ./install.sh [options] [FILE | FOLDER | URL]
  curl -fsSL https://.../install.sh | sh -s -- [options]

Where the package comes from, the first of these that is given:
  FILE              this package
  FOLDER            a folder of packages with their SHA256SUMS: the newest one for this system
  --from URL        such a folder, or a package in one, on the web; https only, unless --sha256 is given
  --build           a package that is built here; needs Rust, with cargo-deb or cargo-generate-rpm
  HOTCORE_RELEASES  in the environment: as --from
Nothing of that given: the folder that install.sh lies in, if it has a SHA256SUMS; else what is built from it, if it is hotcore's
source; else the address of the releases.

Options:
  --sha256 HEX       what the package's SHA-256 must be, whatever SHA256SUMS says
  --allow-downgrade  install an older version than the one that is there
  --dry-run          look, download and verify, and say what would be done; no root needed
  -y, --yes          the package manager asks nothing; so without a terminal, too
  -h, --help         this

A package from a folder or the web is installed only if its SHA-256 is the one in SHA256SUMS, or that of --sha256. A FILE is
looked up in the SHA256SUMS beside it; if it is not there, a line says that it was not verified.

Safe to run again: the same version is left as it is, a newer one upgrades without a lost request. Root is asked for by sudo.
Exit codes: 0 done and serving, 1 refused, failed, or not serving, 2 wrong command line.
END
}

say() { printf '%s\n' "$*"; }

refuse() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

misuse() {
    printf 'install.sh: %s; see install.sh --help\n' "$*" >&2
    exit 2
}

has() { command -v "$1" >/dev/null 2>&1; }

# ---- the command line

parse() {
    given='' from='' build=no sum='' downgrade=no dry=no yes=no
    while [ $# -gt 0 ]; do
        case $1 in
            --from | --sha256)
                [ $# -ge 2 ] || misuse "$1 needs a value"
                option=$1 value=$2
                shift
                ;;
            --from=* | --sha256=*) option=${1%%=*} value=${1#*=} ;;
            *) option=$1 value='' ;;
        esac
        case $option in
            --from)
                [ -n "$value" ] || misuse "--from needs an address"
                from=$value
                ;;
            --sha256) sum=$(printf '%s' "$value" | tr 'A-F' 'a-f') ;;
            --build) build=yes ;;
            --allow-downgrade) downgrade=yes ;;
            --dry-run) dry=yes ;;
            -y | --yes) yes=yes ;;
            -h | --help)
                usage
                exit 0
                ;;
            --)
                shift
                break
                ;;
            -*) misuse "there is no option $1" ;;
            *) take_given "$1" ;;
        esac
        shift
    done
    for word in "$@"; do take_given "$word"; done
    case $sum in
        '') ;;
        *[!0-9a-f]*) misuse "--sha256 takes 64 hexadecimal digits" ;;
        *) [ ${#sum} -eq 64 ] || misuse "--sha256 takes 64 hexadecimal digits" ;;
    esac
    case $given in
        http://* | https://*)
            [ -z "$from" ] || misuse "--from and $given are two sources"
            from=$given given=''
            ;;
    esac
    if [ -n "$given" ] && [ -n "$from" ]; then misuse "--from and $given are two sources"; fi
    if [ "$build" = yes ]; then
        [ -z "$given$from" ] || misuse "--build and $given$from are two sources"
        [ -z "$sum" ] || misuse "--sha256 says nothing about what is built here"
    fi
}

take_given() {
    [ -n "$1" ] || misuse "the name of a package is empty"
    [ -z "$given" ] || misuse "$given and $1 are two packages: give one"
    given=$1
}

# ---- the system

look_at_system() {
    [ "$(uname -s)" = Linux ] || refuse "hotcore runs on Linux, and this is $(uname -s): install it on the server itself"
    find_manager
    find_architecture
    [ -d /run/systemd/system ] ||
        refuse "systemd does not run this system, and hotcore is its service: start 'hotcore serve' by the means of your system, or install the package where systemd runs"
    systemd=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    [ "${systemd:-0}" -ge "$SYSTEMD_MIN" ] ||
        refuse "systemd ${systemd:-of an unknown version} is too old, $SYSTEMD_MIN is needed: upgrade the system (Debian 12, Ubuntu 24.04, RHEL 9, Fedora 38, or later)"
    for tool in sha256sum mktemp df awk; do
        has "$tool" || refuse "$tool is missing: install the packages coreutils and awk (on Debian: mawk)"
    done
    find_root
}

# The system says whose packages are its own: the tools of another family may be installed beside them.
find_manager() {
    ids=''
    # shellcheck source=/dev/null
    if [ -r /etc/os-release ]; then ids=$(unset ID ID_LIKE && . /etc/os-release && say "${ID-} ${ID_LIKE-}"); fi
    manager='' format=''
    case " $ids " in
        *' debian '* | *' ubuntu '*) format=deb ;;
        *' fedora '* | *' rhel '* | *' centos '* | *' suse '*) format=rpm ;;
        *) if has apt-get; then format=deb; elif has rpm; then format=rpm; fi ;;
    esac
    if [ "$format" = deb ] && has dpkg && has apt-get; then manager=apt-get; fi
    if [ "$format" = rpm ] && has rpm; then
        for tool in dnf yum zypper; do
            if [ -z "$manager" ] && has "$tool"; then manager=$tool; fi
        done
    fi
    [ -n "$manager" ] ||
        refuse "this system (${ids:-without /etc/os-release}) has neither apt-get nor dnf, yum or zypper of its own: build the program and run 'hotcore install'"
    [ ! -e /run/ostree-booted ] ||
        refuse "this system is an image whose packages are changed by rpm-ostree: build the program and run 'hotcore install'"
}

find_architecture() {
    if [ "$format" = deb ]; then architecture=$(dpkg --print-architecture); else architecture=$(uname -m); fi
    case $format/$architecture in
        deb/amd64 | deb/arm64 | rpm/x86_64 | rpm/aarch64) ;;
        *) refuse "there is no package for $architecture, only for amd64 (x86_64) and arm64 (aarch64): build the program and run 'hotcore install'" ;;
    esac
}

find_root() {
    sudo=''
    if [ "$(id -u)" -eq 0 ] || [ "$dry" = yes ]; then return; fi
    has sudo || refuse "this changes the system, and you are not root: run it as root, or install sudo"
    sudo=sudo
    is_interactive || sudo -n true 2>/dev/null ||
        refuse "sudo asks for a password, and there is no terminal to type it: run it as root"
}

is_interactive() { [ -t 1 ] && [ -t 2 ] && (: </dev/tty) 2>/dev/null; }

# ---- the package: where it is, and a copy of it that is verified, looked at, and installed

find_source() {
    # Piped into a shell it lies nowhere.
    here=''
    if [ "${0##*/}" = install.sh ] && [ -f "$0" ]; then here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd); fi
    kind=''
    if [ -n "$given" ]; then
        if [ -d "$given" ]; then kind=folder; else kind='file'; fi
        [ -e "$given" ] || refuse "there is no file or folder $given"
    elif [ -n "$from" ]; then
        kind=web
    elif [ "$build" = yes ]; then
        is_source || refuse "there is no source beside install.sh to build: run the one in a checkout of hotcore, as a file"
        kind=build
    elif [ -n "${HOTCORE_RELEASES-}" ]; then
        kind=web from=$HOTCORE_RELEASES
    elif [ -n "$here" ] && [ -f "$here/SHA256SUMS" ]; then
        kind=folder given=$here
    elif is_source; then
        kind=build
    elif [ -n "$RELEASES" ]; then
        kind=web from=$RELEASES
    else
        refuse "there is no public address of packages yet: give a file or a folder, an address with --from, or run install.sh in a checkout of the source"
    fi
}

is_source() { [ -n "$here" ] && [ -f "$here/Cargo.toml" ] && grep -q '^name = "hotcore"$' "$here/Cargo.toml"; }

get_package() {
    # Others may read it: apt-get reads packages as a user of its own.
    temp=$(mktemp -d) || refuse "cannot make a temporary folder: make room in ${TMPDIR:-/tmp}, or set TMPDIR to another place"
    trap 'rm -rf -- "$temp"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    case $temp in
        /*) ;;
        *) temp=$PWD/$temp ;;
    esac
    chmod 755 "$temp"
    package=$temp/hotcore.$format
    case $kind in
        file) get_file ;;
        folder) get_from_folder ;;
        web) get_from_web ;;
        build) build_it ;;
    esac
    chmod 644 "$package"
}

get_file() {
    name=${given##*/}
    case $name in
        *.deb) [ "$format" = deb ] || refuse "$given is a .deb, and this system installs .rpm packages" ;;
        *.rpm) [ "$format" = rpm ] || refuse "$given is an .rpm, and this system installs .deb packages" ;;
    esac
    case $given in
        */*) sums=${given%/*}/SHA256SUMS ;;
        *) sums=SHA256SUMS ;;
    esac
    copy "$given" "$package"
    wanted=$sum
    if [ -z "$wanted" ] && [ -r "$sums" ]; then wanted=$(sum_of "$name" "$sums"); fi
    verify "$given"
}

get_from_folder() {
    folder=${given%/}
    if [ -r "$folder/SHA256SUMS" ]; then
        choose "$folder/SHA256SUMS" "$folder"
    else
        refuse "$given has no SHA256SUMS, so nothing in it can be verified: give the file of the package itself"
    fi
    [ -f "$folder/$name" ] || refuse "$name is in SHA256SUMS, but not in $given: get all of the release again"
    copy "$folder/$name" "$package"
    wanted=${sum:-$(sum_of "$name" "$folder/SHA256SUMS")}
    verify "$folder/$name"
}

get_from_web() {
    case $from in
        https://*) ;;
        http://*)
            [ -n "$sum" ] ||
                refuse "$from is not https, so anybody on the way could change what it says: take https, or give the package's SHA-256 by --sha256" ;;
        *) misuse "$from is not the address of a folder on the web" ;;
    esac
    has curl || has wget || refuse "there is neither curl nor wget to download with: install curl"
    case $from in
        *.deb | *.rpm) name=${from##*/} base=${from%/*} ;;
        *) name='' base=${from%/} ;;
    esac
    case $name in
        *."$format" | '') ;;
        *) refuse "$from is no .$format, which this system installs" ;;
    esac
    if [ -z "$name" ] || [ -z "$sum" ]; then
        fetch "$base/SHA256SUMS" "$temp/SHA256SUMS"
        [ -n "$name" ] || choose "$temp/SHA256SUMS" "$base"
    fi
    wanted=${sum:-$(sum_of "$name" "$temp/SHA256SUMS")}
    [ -n "$wanted" ] || refuse "$base/SHA256SUMS does not name $name, so it cannot be verified: nothing was installed"
    fetch "$base/$name" "$package"
    verify "$base/$name"
}

build_it() {
    has cargo || PATH="$PATH:${HOME-}/.cargo/bin"
    has cargo ||
        refuse "there is no cargo to build with: install Rust (https://rustup.rs)${SUDO_USER:+ and run this without sudo, as who has it}, or give a package"
    case $format in
        deb) tool=cargo-deb ;;
        rpm) tool=cargo-generate-rpm ;;
    esac
    has "$tool" || refuse "$tool is missing: cargo install --locked $tool"
    name="the package built from $here"
    if [ "$dry" = yes ]; then
        say "would build $name, and install it by $manager"
        exit 0
    fi
    cd -- "$here"
    cargo build --release --locked || refuse "cargo could not build hotcore: the reason is above; nothing was installed"
    case $format in
        deb) cargo deb --locked --no-build --output "$package" ;;
        rpm) cargo generate-rpm --output "$package" ;;
    esac || refuse "$tool could not make the package: the reason is above; nothing was installed"
}

copy() {
    cp -- "$1" "$2" || refuse "cannot copy $1 to $temp: make room there, or set TMPDIR to another place"
}

# The newest package for this system of those in a SHA256SUMS.
choose() {
    case $format in
        deb) pattern="hotcore_[0-9][A-Za-z0-9.+~-]*_$architecture\\.deb" ;;
        rpm) pattern="hotcore-[0-9][A-Za-z0-9.+~^-]*\\.$architecture\\.rpm" ;;
    esac
    name=$(sed -n "s/^[0-9A-Fa-f]\\{64\\} [ *]\\($pattern\\)\$/\\1/p" "$1" | sort -V | tail -n 1)
    [ -n "$name" ] || refuse "$2/SHA256SUMS names no .$format package of hotcore for $architecture"
}

# What a SHA256SUMS says of a file; nothing, if it does not name it.
sum_of() {
    awk -v name="$1" '
        length($1) == 64 && $1 !~ /[^0-9A-Fa-f]/ && (substr($0, 66) == " " name || substr($0, 66) == "*" name) {
            print tolower($1)
            exit
        }' "$2"
}

verify() {
    if [ -z "$wanted" ]; then
        say "$1 was not verified: there is no SHA256SUMS beside it that names it, and no --sha256"
        return
    fi
    is=$(sha256sum <"$package")
    [ "${is%% *}" = "$wanted" ] ||
        refuse "the SHA-256 of $1 is ${is%% *}, and $wanted is wanted: it is damaged or not the right one, get it again; nothing was installed"
    say "$1: SHA-256 as it should be"
}

# By https alone, also after a redirection; by http only what --sha256 vouches for.
fetch() {
    if has curl; then
        case $from in
            https://*) protocols='=https' ;;
            *) protocols='=http,https' ;;
        esac
        curl --fail --silent --show-error --location --proto "$protocols" --proto-redir "$protocols" --tlsv1.2 \
            --connect-timeout 20 --retry 2 --output "$2" -- "$1" || refuse "cannot download $1: the reason is above; nothing was installed"
    else
        # It would follow a redirection to http.
        wget --no-verbose --max-redirect=0 --timeout=20 --tries=3 --output-document="$2" -- "$1" ||
            refuse "cannot download $1: the reason is above; curl, if you install it, also follows redirections; nothing was installed"
    fi
}

# ---- what it is, and whether it may be installed

look_at_package() {
    case $format in
        deb)
            # shellcheck disable=SC2016 # These are dpkg's.
            facts=$(dpkg-deb --show --showformat='${Package} ${Version} ${Architecture} ${Installed-Size}' "$package") || facts=''
            ;;
        rpm) facts=$(rpm --query --package --nosignature --queryformat '%{NAME} %{VERSION}-%{RELEASE} %{ARCH} %{SIZE}' "$package") || facts='' ;;
    esac
    read -r its_name version its_architecture size <<END
$facts
END
    [ -n "$its_name" ] || refuse "$name is no .$format package that can be read: get it again"
    [ "$its_name" = hotcore ] || refuse "$name is the package $its_name, not hotcore"
    [ "$its_architecture" = "$architecture" ] || refuse "$name is for $its_architecture, and this system is $architecture: get the one for $architecture"
    case $version in
        *[!A-Za-z0-9.+~^:-]* | '') refuse "$name has a strange version: get it again" ;;
    esac
    case $size in
        *[!0-9]* | '') size=0 ;;
    esac
    if [ "$format" = rpm ]; then size=$((size / 1024)); fi
}

# The version that is there; nothing, if there is none.
installed_version() {
    case $format in
        deb)
            status=$(dpkg-query --show --showformat='${db:Status-Status} ${Version}' hotcore 2>/dev/null) || status=''
            case $status in
                'installed '*) say "${status#* }" ;;
            esac
            ;;
        rpm) rpm --query --queryformat '%{VERSION}-%{RELEASE}' hotcore 2>/dev/null || : ;;
    esac | sed -n '/^[A-Za-z0-9.+~^:-]*$/p'
}

is_older() {
    case $format in
        deb) dpkg --compare-versions "$1" lt "$2" ;;
        rpm)
            order=$(rpm --eval "%{lua: local o = rpm.vercmp('${1%-*}', '${2%-*}') if o == 0 then o = rpm.vercmp('${1##*-}', '${2##*-}') end print(o)}")
            [ "$order" = -1 ]
            ;;
    esac
}

decide() {
    installed=$(installed_version)
    action=install
    if [ "$installed" = "$version" ]; then
        action=keep
    elif [ -n "$installed" ] && is_older "$version" "$installed"; then
        [ "$downgrade" = yes ] ||
            refuse "hotcore $installed is installed, and $version is older: take --allow-downgrade if that is meant; nothing was changed"
        action=downgrade
    elif [ -n "$installed" ]; then
        action=upgrade
    fi
}

# A package manager that runs out of space half-way leaves work behind.
look_for_room() {
    for folder in /usr /var; do
        free=$(df -Pk "$folder" | awk 'NR == 2 { print $4 }')
        [ "${free:-0}" -ge $((size + ROOM_KIB)) ] ||
            refuse "there is too little room in $folder: ${free:-0} KiB are free and $((size + ROOM_KIB)) are needed; make room, nothing was changed"
    done
}

# ---- installing

install_it() {
    case $manager in
        apt-get)
            # A fresh server often upgrades itself just now, and holds the lock.
            set -- apt-get -o DPkg::Lock::Timeout=120 install
            if [ "$yes" = yes ]; then
                # A file in /etc that was changed stays as it is.
                set -- env DEBIAN_FRONTEND=noninteractive "$@" --yes -o Dpkg::Options::=--force-confdef \
                    -o Dpkg::Options::=--force-confold
            fi
            if [ "$action" = downgrade ]; then set -- "$@" --allow-downgrades; fi
            ;;
        zypper)
            set -- zypper
            if [ "$yes" = yes ]; then set -- "$@" --non-interactive; fi
            set -- "$@" install --allow-unsigned-rpm
            if [ "$action" = downgrade ]; then set -- "$@" --oldpackage; fi
            ;;
        *)
            case $action in
                downgrade) set -- "$manager" downgrade ;;
                *) set -- "$manager" install ;;
            esac
            if [ "$yes" = yes ]; then set -- "$@" --assumeyes; fi
            ;;
    esac
    set -- "$@" "$package"
    if [ -n "$sudo" ]; then set -- sudo "$@"; fi
    if [ "$dry" = yes ]; then
        say "would $action hotcore $version${installed:+, where $installed is}: $*"
        exit 0
    fi
    say "+ $*"
    if [ "$yes" = yes ]; then "$@" </dev/null; else "$@" </dev/tty; fi || refuse "$manager could not $action hotcore: the reason is above"
    [ "$(installed_version)" = "$version" ] || refuse "$manager did not $action hotcore $version: what it says is above"
}

# ---- the end

tell() {
    program=/usr/bin/hotcore
    if ! systemctl --quiet is-active hotcore-web.socket; then
        start='systemctl start hotcore-web.socket hotcore-control.socket hotcore.service'
        [ -z "$(ss -Hltn 'sport = :80 or sport = :443' 2>/dev/null)" ] ||
            refuse "hotcore $version is installed, but does not serve: another program has port 80 or 443; see which by: ss -ltnp 'sport = :80 or sport = :443'; when it has ended: $start"
        refuse "hotcore $version is installed, but was stopped: $start"
    fi
    "$program" check >/dev/null 2>&1 ||
        refuse "hotcore $version is installed, but does not answer: journalctl -u hotcore says why"
    running=$("$program" msg version 2>/dev/null) || running=''
    own=$("$program" version 2>/dev/null) || own=''
    if [ "${own##* }" != "${running##* }" ]; then
        refuse "hotcore $version is installed, but $running still serves: journalctl -u hotcore says why; then: systemctl reload hotcore"
    fi
    cat <<END

hotcore $version serves. Next:

  hotcore add a-app.com 8080   map a name to the port of an app; HTTPS comes by itself once the name's DNS points here
  hotcore                      the status, and which names need attention
  hotcore log                  what happens

Visitors come in by the TCP ports 80 and 443. If your provider has a firewall, open both there. Commands come in by the UDP port
40608 of this machine alone: open it nowhere. hotcore check tells whether hotcore answers; man hotcore has the rest.
END
}

main() {
    exec </dev/null
    parse "$@"
    if [ "$yes" = no ] && ! is_interactive; then yes=yes; fi
    look_at_system
    find_source
    get_package
    look_at_package
    decide
    if [ "$action" = keep ]; then
        say "hotcore $version is installed already"
        if [ "$dry" = yes ]; then exit 0; fi
    else
        look_for_room
        install_it
    fi
    tell
}

main "$@"
exit
}
