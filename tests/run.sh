#!/usr/bin/env bash
# The one test command: everything that must hold before a change is merged, on a bare Debian 12 or later, as root.
#
#   tests/run.sh            all of it; missing Debian packages and cargo tools are installed
#   tests/run.sh STEP...    only these steps, in the order below
#
# A Rust toolchain (1.88 or later, with clippy and rustfmt) must be there. Nothing outside the machine is talked to except the
# package registries. The end says what ran, how long it took, and what was skipped and why.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

STEPS=(packages tools scripts format lint licences docs unit system fuzz)
FUZZ_SECONDS=20
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
PATH="$PATH:$HOME/.cargo/bin"
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain='' CARGO_TERM_COLOR=never; export CARGO_TERM_COLOR; fi
export CARGO_TERM_PROGRESS_WHEN=never

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

say() { printf '%s\n' "$bold$*$plain"; }

# Prints the command, then runs it.
run() {
    say "+ $*"
    "$@"
}

missing_package() { ! dpkg-query --show --showformat='${Status}' "$1" 2>/dev/null | grep --quiet 'ok installed'; }

packages() {
    if ! command -v apt-get >/dev/null; then
        echo "no apt-get: install by hand what the tests ask for"
        return
    fi
    local wanted=(bash build-essential ca-certificates chromium curl faketime fish golang-go groff iproute2
        libnss3-tools lintian mandoc mkcert mmdebstrap mount nghttp2-client openssl pebble php-cli procps python3
        python3-grpcio python3-h2 python3-httpx python3-websockets rpm rpmlint ruby shellcheck strace
        systemd-container testssl.sh util-linux zsh)
    # A Node.js from elsewhere stays as it is.
    command -v node >/dev/null || wanted+=(nodejs)
    wanted+=(node-ws)
    local missing=() package
    for package in "${wanted[@]}"; do
        if missing_package "$package"; then missing+=("$package"); fi
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "all there: ${wanted[*]}"
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing: ${missing[*]}; install them, or run this as root"
        return 1
    fi
    run apt-get update --quiet=2 && run apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}"
}

tools() {
    cargo deny --version 2>/dev/null || run cargo install --locked --quiet cargo-deny || return
    cargo deb --version 2>/dev/null || run cargo install --locked --quiet cargo-deb || return
    cargo generate-rpm --version 2>/dev/null || run cargo install --locked --quiet cargo-generate-rpm || return
    if [ -d fuzz ]; then
        cargo fuzz --version 2>/dev/null || run cargo install --locked --quiet cargo-fuzz || return
    fi
}

scripts() {
    local found=()
    mapfile -t found < <({ git ls-files --cached --others --exclude-standard 2>/dev/null || find . -path ./target -prune -o -type f -print; } |
        while read -r file; do
            if [ -f "$file" ] && head --bytes=64 "$file" | head --lines=1 | grep --quiet --extended-regexp '^#!.*\b(ba|da)?sh\b'; then echo "$file"; fi
        done)
    echo "${#found[@]} scripts: ${found[*]}"
    [ ${#found[@]} -gt 0 ] && run shellcheck "${found[@]}"
}

format() { run cargo fmt --check; }

lint() { run cargo clippy --locked --all-targets -- -D warnings; }

licences() {
    run cargo deny --locked check bans licenses sources || return
    # The advisories live on GitHub, which a build machine may not reach: then it says so.
    if cargo deny --locked fetch db >"$log/advisories" 2>&1; then
        run cargo deny --locked check --disable-fetch advisories
    else
        echo "SKIPPED advisories: cannot fetch their database: $(grep . "$log/advisories" | tail --lines=1)"
    fi
}

docs() {
    RUSTDOCFLAGS='-D warnings' run cargo doc --locked --no-deps && run cargo test --locked --doc
}

# Each suite must have run something: an empty one is a mistake in the command.
counted() {
    local suite
    tee "$log/output"
    if ! grep --quiet '^test result:' "$log/output"; then
        echo "no test ran"
        return 1
    fi
    for suite in "$@"; do
        if ! awk -v suite="$suite" '
            /^ *Running/ { wanted = index($0, suite) }
            wanted && /^test result:/ { ran += $4 + $6 }
            END { exit ran > 0 ? 0 : 1 }' "$log/output"; then
            echo "the suite $suite ran no test"
            return 1
        fi
    done
}

# Many of them wait for something, so there are more at a time than processors.
unit() {
    run cargo test --locked --no-fail-fast --lib --test in_process -- --test-threads="$((2 * $(nproc)))" 2>&1 |
        counted src/lib.rs tests/in_process
}

# The program as it is shipped, one test at a time: they measure time and memory, and some keep both processors busy.
system() { run cargo test --locked --release --test system -- --test-threads=1 2>&1 | counted tests/system; }

fuzz() {
    if [ ! -d fuzz ]; then
        echo "no fuzz targets"
        return
    fi
    local target targets
    targets=$(cargo fuzz list) || return
    [ -n "$targets" ] || return
    # Without an address sanitizer: all of it is safe code, which needs panics and limits found, and it builds twice as fast. The
    # coverage that guides the fuzzer is an option that a stable compiler takes in this mode only.
    export RUSTC_BOOTSTRAP=1
    run cargo fuzz build --sanitizer none --all-features || return
    # One on each processor: a fuzzer uses no more.
    for target in $targets; do
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
        {
            run cargo fuzz run --sanitizer none --all-features "$target" -- \
                -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
                > "$log/fuzz.$target" 2>&1 && : > "$log/fuzz.$target.ok"
        } &
    done
    wait
    local outcome=0
    for target in $targets; do
        if [ -e "$log/fuzz.$target.ok" ]; then
            grep --extended-regexp '^(\+|stat::number_of_executed_units|Done)' "$log/fuzz.$target"
        else
            tail --lines=60 "$log/fuzz.$target"
            outcome=1
        fi
    done
    return "$outcome"
}

if ! command -v cargo >/dev/null; then
    echo "cargo is missing: https://rustup.rs has Rust; stable, 1.88 or later, with clippy and rustfmt"
    exit 1
fi
say "$(rustc --version), $(sed --quiet 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release), kernel $(uname -r), $(nproc) processors"

for step in "$@"; do
    if [[ " ${STEPS[*]} " != *" $step "* ]]; then
        echo "no such step: $step; there are: ${STEPS[*]}"
        exit 2
    fi
done
failed=()
: > "$log/summary"
: > "$log/skipped"
for step in "${STEPS[@]}"; do
    if [ $# -gt 0 ] && [[ " $* " != *" $step "* ]]; then continue; fi
    say "==== $step"
    begun=$SECONDS
    "$step" 2>&1 | tee "$log/step"
    if [ "${PIPESTATUS[0]}" -eq 0 ]; then outcome=ok; else outcome=FAILED failed+=("$step"); fi
    grep --only-matching 'SKIPPED .*' "$log/step" >> "$log/skipped"
    counts=$(awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END { if (passed + failed + ignored) printf "%d passed, %d failed, %d ignored", passed, failed, ignored }' "$log/step")
    printf '%-10s %-7s %4d s  %s\n' "$step" "$outcome" $((SECONDS - begun)) "$counts" >> "$log/summary"
done

say "==== summary"
cat "$log/summary"
if [ -s "$log/skipped" ]; then cat "$log/skipped"; else echo "nothing skipped"; fi
echo "$SECONDS s in all"
if [ ${#failed[@]} -gt 0 ]; then
    say "failed: ${failed[*]}"
    exit 1
fi
