#!/bin/sh
# After the files are gone; with `purge` also what an administrator and the agent made.
set -e

if [ "$1" = remove ] && [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi

if [ "$1" = purge ]; then
    if [ -x /usr/bin/deb-systemd-helper ]; then
        deb-systemd-helper purge mote-agent.service >/dev/null || true
        deb-systemd-helper unmask mote-agent.service >/dev/null || true
    fi
    rm -f "$DPKG_ROOT/etc/mote/agent.toml"
    # What else is there (keys, profiles) was not made by this package.
    if [ -d "$DPKG_ROOT/etc/mote" ]; then
        rmdir --ignore-fail-on-non-empty "$DPKG_ROOT/etc/mote"
    fi
    # What pods had in memory is still mounted: their secrets, volumes and `/dev/shm`.
    if [ -z "$DPKG_ROOT" ] && [ -r /proc/self/mountinfo ]; then
        while read -r _ _ _ _ place _; do
            case $place in /run/mote/*) echo "$place" ;; esac
        done </proc/self/mountinfo | sort -r | while read -r place; do
            umount -l "$place" || true
        done
    fi
    # No further than this file system: a volume may be mounted below.
    for place in "$DPKG_ROOT/var/lib/mote" "$DPKG_ROOT/run/mote"; do
        rm -rf --one-file-system "$place" ||
            echo "mote-agent: something is mounted below $place; that was left"
    done
fi
