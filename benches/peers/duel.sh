# What the scripts beside this one share; they source it. Set in the environment, with these defaults:
#
#     ROUNDS=7        rounds of each duel, Passage and the peer in turn; medians of them are what counts
#     DURATION=1      seconds of measured load of each turn
#     RESULTS=target/peers    where each script leaves a JSON file
#     LOADTEST=target/release/passage-loadtest    the load generator
#
# A workload takes about ROUNDS × (DURATION + 1) seconds for Passage and for each peer. Server and load have a
# core each: two cores are needed, and nobody else should use them meanwhile.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

: "${ROUNDS:=7}" "${DURATION:=1}" "${RESULTS:=target/peers}" "${LOADTEST:=target/release/passage-loadtest}"

# Workloads by what they are about. The scripts pass on those that make sense for their peer.
bulk=(bulk-1 bulk-4 bulk-16 bulk-up-1)
messages=(messages-1 messages-100 messages-2000 messages-8000)
relay=("${bulk[@]}" "${messages[@]}" players-1000 churn idle)
status=(status-64 status-512 status-open)
login=(login transfer)

say() { printf '%s\n' "$*" >&2; }

# need PROGRAM PACKAGE…: says what to install where a program is missing, and ends with 69 (unavailable).
need() {
    local program=$1
    shift
    command -v "$program" >/dev/null || [[ -x /usr/sbin/$program ]] && return 0
    say "$(basename "$0"): $program is not installed; on Debian: apt-get install $*"
    exit 69
}

# build: the release binaries of everything that takes part, unless that has been done for this run.
build() {
    [[ -z ${BUILT:-} ]] || return 0
    cargo build --release --quiet -p passage -p passage-loadtest
    cargo build --release --quiet -p passage-shards --example ring --example relay
    export BUILT=yes
}

# duel PEER[,PEER…] WORKLOAD…: all rounds of Passage against these peers, into $RESULTS/PEER,….json.
duel() {
    local peers=$1 workloads
    shift
    build
    mkdir -p "$RESULTS"
    workloads=$(IFS=, && printf '%s' "$*")
    "$LOADTEST" duel --peer "$peers" --workload "$workloads" --rounds "$ROUNDS" --duration "$DURATION" \
        --json "$RESULTS/$peers.json"
}
