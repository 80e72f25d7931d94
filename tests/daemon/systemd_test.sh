#!/usr/bin/env bash
# The unit is valid, and its exposure (0 the least, 10 the most) is at most 2.0.
set -euo pipefail

unit=$(cd "$(dirname "$0")/../.." && pwd)/systemd/recalld.service
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# verify wants the program to exist; on a machine without an installation another takes its place.
sed 's|^ExecStart=/usr/bin/recalld|ExecStart=/bin/true|' "$unit" > "$folder/recalld.service"
complaints=$(systemd-analyze verify --man=no "$folder/recalld.service" 2>&1)
if [ -n "$complaints" ]; then
  printf 'systemd-analyze verify:\n%s\n' "$complaints"
  exit 1
fi

report=$(systemd-analyze security --offline=true --threshold=20 --no-pager "$folder/recalld.service") || {
  printf '%s\n' "$report"
  exit 1
}
printf '%s\n' "$report" | tail -1
