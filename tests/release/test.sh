#!/usr/bin/env bash
# The tests of what `make release` made, which the ordinary suite leaves out. With words: only tests
# that have one of them in their name. tests/suite.sh gives it the engines.
set -euo pipefail
cd "$(dirname "$0")/../.."
if cargo nextest --version >/dev/null 2>&1; then
    filter='test(/^release::/)'
    if (($#)); then
        some=$(printf ' | test(%s)' "$@")
        filter="$filter & (${some# | })"
    fi
    exec cargo nextest run --no-fail-fast --features planted-bugs --test integration --ignore-default-filter \
        --success-output final -E "$filter"
fi
exec cargo test --no-fail-fast --features planted-bugs --test integration -- --nocapture "${@:-release::}"
