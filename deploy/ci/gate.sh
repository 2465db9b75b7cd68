#!/usr/bin/env bash
# Gates a model file against the one of another commit: its size, its accuracy, and the ARM
# instructions of an inference, all of which are the same on every machine. Time is not gated.
#
#   bash gate.sh MODEL COMMIT [DATASET] [TOLERANCE]
#
# Writes summary.md for a pull request and junit*.xml; exits with 1 where a limit is broken.
set -euo pipefail

model=$1
commit=$2
judge=(${3:+--accuracy "$3"})
tolerance=${4:-1%}
before=before/$(basename "$model")
status=0

mkdir -p before
git show "$commit:$model" > "$before"

edgegolf bench "$before" "${judge[@]}" --min-time 0.1 --json -o before.json
edgegolf bench "$model" "${judge[@]}" --min-time 0.1 --baseline before.json \
  --gate size,accuracy --tolerance "$tolerance" --junit junit.xml --markdown -o summary.md ||
  status=$?
edgegolf anatomy "$before" "$model" --markdown -o causes.md

# Needs Debian or Ubuntu; the first time, root folders of the boards are made.
if [ -z "${WITHOUT_ARM:-}" ]; then
  edgegolf bench "$before" --emulate aarch64 --json -o before-arm.json
  edgegolf bench "$model" --emulate aarch64 --baseline before-arm.json \
    --tolerance "$tolerance" --junit junit-arm.xml --markdown -o arm.md || status=$?
fi

for part in causes.md arm.md; do
  if [ -f "$part" ]; then
    printf '\n' >> summary.md
    cat "$part" >> summary.md
  fi
done
exit "$status"
