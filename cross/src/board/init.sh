#!/bin/busybox sh
# The first process of a virtual board: makes it a small Linux machine, then obeys the host.
#
# What it prints goes to the serial console. With `mote=console` on the kernel's command line that is
# for a person, who finds a shell there and an agent that runs; with `mote=systemd` the flash holds a system,
# whose own first process takes over. Else it obeys the host (`orders.sh`), and switches itself off when that goes
# away.

export PATH=/bin:/sbin

# step NAME COMMAND...: does it and says so; a board that cannot be set up is of no use.
step() {
    name=$1
    shift
    if ! "$@"; then
        dmesg | tail -n 40
        echo "BOARD $name failed"
        poweroff -f
    fi
    echo "BOARD $name ok"
}

file_systems() {
    mount -t proc proc /proc &&
        mount -t sysfs sysfs /sys &&
        mount -t devtmpfs devtmpfs /dev &&
        mkdir -p /dev/pts /dev/shm &&
        mount -t devpts devpts /dev/pts &&
        mount -t tmpfs tmpfs /dev/shm &&
        mount -t tmpfs -o mode=755 tmpfs /run &&
        mount -t tmpfs tmpfs /tmp &&
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
}

modules() {
    while read -r module; do
        insmod "/lib/modules/$module.ko" || return 1
    done </lib/modules/order
}

network() {
    ip link set lo up && ip address add 10.0.2.15/24 dev eth0 && ip link set eth0 up &&
        ip route add default via 10.0.2.2 && hostname board
}

# Drivers find their devices a moment after they were loaded.
appears() {
    tries=0
    until [ -e "$1" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || return 1
        usleep 50000
    done
}

# What survives a reboot: where the agent keeps its state.
flash() {
    appears /dev/vda && mkdir -p /var/lib && mount -t ext4 /dev/vda /var/lib
}

# A whole system on the flash, with a service manager of its own.
if [ "${mote:-}" = systemd ]; then
    /bin/busybox --install -s /bin
    mkdir -p /proc /sys /flash
    mount -t devtmpfs devtmpfs /dev
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    step modules modules
    step flash appears /dev/vda
    step root mount -t ext4 /dev/vda /flash
    umount /sys /proc
    exec switch_root /flash /sbin/init
fi

# The kernel unpacks its first file system where nothing can be mounted over or pivoted away
# from. Containers need a root they can leave: move to one.
if [ "$1" != moved ]; then
    /bin/busybox --install -s /bin
    mkdir /new
    mount -t tmpfs -o mode=755,size=75% tmpfs /new
    cp -a bin etc init lib opt /new
    cd /new && mkdir -p dev proc run sys tmp root var/log
    exec switch_root /new /init moved
fi

step file-systems file_systems
exec </dev/null
step modules modules
step flash flash
step network network
if [ "${mote:-}" = console ]; then
    mote-agent >/var/log/mote-agent.log 2>&1 &
    echo "BOARD up. The agent's log is /var/log/mote-agent.log; exit switches the board off."
    setsid cttyhack sh </dev/console >/dev/console 2>&1
    poweroff -f
fi
step host-port appears /dev/vport0p1
echo "BOARD up $(cut -d ' ' -f 1 /proc/uptime)"
sh /lib/orders
poweroff -f
