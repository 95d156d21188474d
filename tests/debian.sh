# A Debian below a folder, as root, for another_python.sh, bare.sh and codec_on_debian.sh, which read this file with `.`.
# It must not know what is done there.
#
# The mirror is the one that /etc/apt names, the settings of pip, npm, apt and the network are the machine's. The mounts live
# in a namespace of the calling script: they are gone when it ends, however it ends.

# in_own_mounts SCRIPT ARGUMENTS...: begins the script again where its mounts are nobody else's.
in_own_mounts() {
    [ "${IN_MOUNT_NAMESPACE-}" != yes ] || return 0
    [ "$(id -u)" = 0 ] || { echo "Left out: it takes root to unpack a Debian" >&2; exit 1; }
    command -v debootstrap >/dev/null || { echo "Left out: debootstrap is not installed (apt-get install debootstrap)" >&2; exit 1; }
    IN_MOUNT_NAMESPACE=yes exec unshare --mount --propagation private sh "$@"
}

# unpack_debian FOLDER [SUITE [ARCHITECTURE]]: sid, or that, with nothing but what makes it one; once, a minute or two.
unpack_debian() {
    [ ! -e "$1/unpacked" ] || return 0
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
    [ -n "$mirror" ] || { echo "/etc/apt names no Debian mirror" >&2; exit 1; }
    rm -rf "$1"
    # Certificates take minutes to set up under qemu, and `open_debian` brings the machine's.
    include=--include=ca-certificates
    [ -z "${3-}" ] || include=--arch=$3
    debootstrap --variant=minbase "$include" "${2-sid}" "$1" "$mirror"
    touch "$1/unpacked"
}

# emulate PROCESSOR: until the script ends, the kernel gives its programs to qemu, unless it runs them itself or does so already.
emulate() {
    case $(dpkg --print-architecture)-$1 in
    "$1-$1" | amd64-i386 | arm64-armhf) return 0 ;;
    esac
    case $1 in
    arm64) qemu=qemu-aarch64 ;;
    armhf) qemu=qemu-arm ;;
    ppc64el) qemu=qemu-ppc64le ;;
    *) qemu=qemu-$1 ;;
    esac
    rules=/usr/lib/binfmt.d/$qemu.conf
    [ -e "$rules" ] || { echo "Left out: qemu-user-static is not installed, or does not know $1" >&2; exit 1; }
    formats=/proc/sys/fs/binfmt_misc
    [ -e "$formats/register" ] || mount -t binfmt_misc binfmt_misc "$formats"
    [ ! -e "$formats/$qemu" ] || return 0
    cat "$rules" >"$formats/register" # with the flag F: qemu is opened here, and need not stand below the folder
    trap 'echo -1 >"$formats/$qemu"' EXIT
}

# cross_compiler FOLDER PROCESSOR: a compiler of this machine's kind that is seen there as $compiler: under qemu it takes minutes.
cross_compiler() {
    triplet=$(dpkg-architecture -a"$2" -qDEB_HOST_MULTIARCH)
    own=$(dpkg-architecture -qDEB_BUILD_MULTIARCH)
    loader=$(readelf -l /bin/sh | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
    compiler=/host/usr/bin/$triplet-gcc
    [ -e "/usr/bin/$triplet-gcc" ] && [ -d "/usr/$triplet" ] || {
        echo "Left out: no compiler for $2 (apt-get install gcc-$triplet libc6-dev-$2-cross)" >&2
        exit 1
    }
    mkdir -p "$1/host/usr" "$1/usr/$triplet" "$1/usr/lib/$own" "$1${loader%/*}"
    [ -e "$1$loader" ] || touch "$1$loader"
    mount --bind /usr "$1/host/usr"
    mount --bind "/usr/$triplet" "$1/usr/$triplet" # the scripts of its linker name this path
    mount --bind "/usr/lib/$own" "$1/usr/lib/$own"
    mount --bind "$(readlink -f "$loader")" "$1$loader"
}

# copy_settings FOLDER: the machine's name server, certificates, pip and npm.
copy_settings() {
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt /root/.npmrc; do
        [ ! -e "$file" ] || { mkdir -p "$1${file%/*}" && cp -L "$file" "$1$file"; }
    done
}

# open_debian FOLDER: gives it the network, the devices and an empty /tmp.
open_debian() {
    copy_settings "$1"
    apt-config dump | grep '^Acquire::' >"$1/etc/apt/apt.conf.d/90-of-the-machine" # its proxy, its clock's tolerance
    mount --bind /proc "$1/proc"
    mount --bind /dev "$1/dev"
    mount --bind /dev/pts "$1/dev/pts"
    mount -t tmpfs tmpfs "$1/dev/shm"
    mount -t tmpfs tmpfs "$1/tmp"
}

# install_there FOLDER PACKAGES...
install_there() {
    folder=$1
    shift
    chroot "$folder" sh -ec '
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"' - "$@"
    copy_settings "$folder" # ca-certificates, if it came along, has written Debian's own alone
}

# copy_sources TREE FOLDER: what a checkout holds, into FOLDER/src.
copy_sources() {
    rm -rf "$2/src"
    mkdir "$2/src"
    tar -C "$1" --exclude=./build --exclude=./.git --exclude='./.venv*' -cf - . | tar -C "$2/src" -xf -
}

# copy_tracked TREE FOLDER: only what git holds of it.
copy_tracked() {
    mkdir "$2/src"
    git -C "$1" ls-files -z | tar -C "$1" --null --files-from=- -cf - | tar -C "$2/src" --no-same-owner -xf -
}
