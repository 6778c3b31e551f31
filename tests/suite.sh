#!/usr/bin/env bash
# Runs a command with the tests' engines beside it and their addresses in its environment:
#
#   tests/suite.sh [COMMAND…]      without a command: the whole suite
#
# The feature plants bugs in the pure code, for the test that shows that the simulation catches them;
# each is off unless a test asks for it on its own thread.
#
# Engines that ran already stay; those that were started for this end with it, however it ends.
set -euo pipefail
cd "$(dirname "$0")/.."
ENGINES=.engines
# `ip` and its like, also where the caller's PATH is short.
export PATH=$PATH:/usr/sbin:/sbin

if ! tests/engines.sh status $ENGINES >/dev/null 2>&1; then
    trap 'tests/engines.sh stop $ENGINES' EXIT
    # So that an interrupt passes through EXIT too.
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    tests/engines.sh start $ENGINES
fi
set -a
# shellcheck disable=SC1091
source $ENGINES/env
set +a

if (($#)); then
    "$@"
elif cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --no-fail-fast --features planted-bugs
else
    # As nextest's own configuration says: what `make release` made is tested by `make release-test`.
    cargo test --no-fail-fast --features planted-bugs -- --skip release::
fi
