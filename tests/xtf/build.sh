#!/bin/sh
# Builds all guests and puts them into target/guests/, where the lab takes them from.
set -eu
cd "$(dirname "$0")"
cargo build --release --target x86_64-unknown-linux-gnu --target-dir target "$@"
out=target/guests
rm -rf "$out.new"
mkdir -p "$out.new"
for source in guests/src/bin/*.rs; do
    name=$(basename "$source" .rs)
    cp "target/x86_64-unknown-linux-gnu/release/$name" "$out.new/"
done
rm -rf "$out"
mv "$out.new" "$out"
