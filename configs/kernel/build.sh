#!/bin/sh
# Builds the small guest kernel: build.sh SRC_TARBALL OUT_DIR
#
# SRC_TARBALL  Debian's linux-source-6.1.tar.xz (package linux-source-6.1) or any tarball of Linux 6.1
# OUT_DIR      receives bzImage, vmlinux (stripped ELF, the same kernel) and config;
#              the tree is unpacked and built in OUT_DIR/build, which is removed on success
#
# JOBS         parallel compilers, default: all processors
# KEEP_BUILD   when set, OUT_DIR/build stays
#
# Equal sources, compiler and configuration give equal files: time, user and host are fixed.
set -eu

die() {
    echo "build.sh: $*" >&2
    exit 1
}

[ $# -eq 2 ] || die "usage: build.sh SRC_TARBALL OUT_DIR"
here=$(cd "$(dirname "$0")" && pwd)
[ -r "$1" ] || die "cannot read $1; 'apt-get download linux-source-6.1' and dpkg -x give it"
tarball=$(realpath "$1")
mkdir -p "$2"
out=$(cd "$2" && pwd)

missing=
need() { # tool, Debian package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need make make
need gcc gcc
need ld binutils
need flex flex
need bison bison
need bc bc
need xz xz-utils
need tar tar
# objtool, built with the kernel, reads ELF through this library.
printf '#include <gelf.h>\nint main(void) { return 0; }\n' |
    gcc -x c -fsyntax-only - 2>/dev/null || missing="$missing libelf-dev"
[ -z "$missing" ] || die "tools are missing; as root: apt-get install$missing"

export LC_ALL=C
export KBUILD_BUILD_TIMESTAMP='2026-01-01 00:00:00 UTC'
export KBUILD_BUILD_USER=xlr
export KBUILD_BUILD_HOST=xlr
export KBUILD_BUILD_VERSION=1
unset MAKEFLAGS MAKELEVEL KCFLAGS 2>/dev/null || :
jobs=${JOBS:-$(nproc)}

tree=$out/build
rm -rf "$tree"
mkdir -p "$tree"
echo "unpacking $tarball"
tar -xf "$tarball" -C "$tree" --strip-components=1
cd "$tree"

make -s tinyconfig >build.log
cat "$here/small.config" >>.config
echo 'CONFIG_LOCALVERSION="-xlr"' >>.config
make -s olddefconfig 2>/dev/null

# A dropped option would only show much later, as a guest that lacks something.
lost=
while IFS= read -r line; do
    case $line in
    CONFIG_*=n) grep -q "^${line%=n}=" .config && lost="$lost $line" ;;
    CONFIG_*) grep -qx "$line" .config || lost="$lost $line" ;;
    esac
done <"$here/small.config"
[ -z "$lost" ] || die "the kernel's Kconfig did not accept:$lost"

echo "building with $jobs jobs"
make -s -j"$jobs" bzImage
cp arch/x86/boot/bzImage "$out/bzImage.new"
strip -s -o "$out/vmlinux.new" vmlinux
cp .config "$out/config"
mv "$out/bzImage.new" "$out/bzImage"
mv "$out/vmlinux.new" "$out/vmlinux"
cd "$out"
[ -n "${KEEP_BUILD:-}" ] || rm -rf "$tree"
ls -l "$out/bzImage" "$out/vmlinux"
