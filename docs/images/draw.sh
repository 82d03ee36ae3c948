#!/usr/bin/env bash
# Draws the pictures of the documents again, from real runs:
#
#   docs/images/draw.sh                 runs the demo first, about 20 seconds, and what
#                                       the dashboards show, about 2 minutes
#   docs/images/draw.sh RESULT.json     draws a result that exists, and no dashboards
#
# Needs Go, chromium and pngquant; for the dashboards what test/e2e/install.sh
# installs. Nothing else should be busy meanwhile: a
# machine that is short of time shows in the latencies.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

go build -o "$work/loadtest" ./cmd/loadtest
result=${1:-}
if [ -z "$result" ]; then
  "$work/loadtest" run configs/examples/demo.yaml --output-dir "$work/runs"
  result=$(echo "$work"/runs/*/result.json)
fi
"$work/loadtest" report "$result" -o "$work/report.html" >/dev/null

shoot() { # NAME SCHEME, where Chromium's number for dark is 0 and for light 1
  chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
    --user-data-dir="$work/profile" --blink-settings="preferredColorScheme=$2" \
    --window-size=1280,1420 --virtual-time-budget=3000 \
    --screenshot="$work/$1" "file://$work/report.html" 2>/dev/null
  pngquant --force --quality 70-95 --output "docs/images/$1" "$work/$1"
}
shoot report.png 1
shoot report-dark.png 0

LIVE_PICTURES=$work go test -count=1 -run '^TestPicture$' ./internal/live >/dev/null
cp "$work/live-80.svg" docs/images/live.svg

if [ $# = 0 ]; then
  LOADTEST_SCREENSHOTS=$work go test -tags e2e -count=1 -run '^TestDashboards$' ./test/e2e >/dev/null
  for picture in "$work"/dashboard-*.png; do
    pngquant --force --quality 60-90 --output "docs/images/$(basename "$picture")" "$picture"
  done
fi
chmod 644 docs/images/*.png docs/images/live.svg
ls -l docs/images
