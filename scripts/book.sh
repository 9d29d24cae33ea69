#!/usr/bin/env bash
# Makes the guides of docs/ a book, target/book/index.html. mdBook comes from its crate, at the version and with the dependencies that it was
# released with; it is built once, into target/mdbook, without what serves and watches: a good minute of CPU time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VERSION=0.5.4

mdbook=target/mdbook/bin/mdbook
if [ "$("$mdbook" --version 2>/dev/null)" != "mdbook v$VERSION" ]; then
    CARGO_PROFILE_DEV_DEBUG=0 cargo install mdbook --version "$VERSION" --locked --force --debug --no-default-features --features search \
        --root target/mdbook --target-dir target/mdbook/build </dev/null
    rm -rf target/mdbook/build
fi
rm -rf target/book
"$mdbook" build docs --dest-dir "$PWD/target/book"
