#!/usr/bin/env bash
# Makes the README's pictures in packaging/screenshots anew, in a real browser, of a fleet with
# twelve instances that real engines run, and of one with 10,000 nodes.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p packaging/screenshots
# Pages that are no more leave no picture behind.
rm -f packaging/screenshots/*.png
tests/suite.sh cargo test --features planted-bugs --test integration -- \
    browser::screenshots:: --ignored --nocapture --test-threads=1
