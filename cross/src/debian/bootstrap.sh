# Installs a Debian for another processor into an archive, with programs of that processor run by an emulator.
# As the root of a user namespace: what is mounted and registered here ends with it, and nothing of it is seen outside.
#
# bootstrap.sh ARCHITECTURE EMULATOR MAGIC MMDEBSTRAP...
set -eu
architecture=$1 emulator=$2 magic=$3
shift 3

# Nobody is root here before whoever started this has said so.
echo started
read -r go

mount -t proc proc /proc
if ! arch-test "$architecture" >/dev/null 2>&1; then
    # Since Linux 6.7 a user namespace may have emulators of its own. The file of an emulator is opened here and now (F),
    # since it is not in the tree that programs are run in.
    binfmt=/proc/sys/fs/binfmt_misc
    mount -t binfmt_misc binfmt_misc $binfmt && printf '%s' ":$emulator:M::$magic:$(command -v "$emulator"):OCF" >$binfmt/register || {
        echo "this kernel lets nobody but the whole machine have an emulator: apt-get install qemu-user-static binfmt-support" >&2
        exit 1
    }
fi
exec mmdebstrap --mode=root --architectures="$architecture" "$@" >&2
