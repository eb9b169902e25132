# Makes the partition of the root file system, and that, as large as the card is. Once.
set -eu
part=$(findmnt --noheadings --output SOURCE /)
name=${part##*/}
disk=/dev/$(basename "$(readlink -f "/sys/class/block/$name/..")")
# 1: it is that large already.
growpart "$disk" "$(cat "/sys/class/block/$name/partition")" || [ $? -eq 1 ]
resize2fs "$part"
rm /etc/systemd/system/multi-user.target.wants/mote-grow.service
