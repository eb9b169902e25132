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
    # No further than this file system: a volume may be mounted below.
    rm -rf --one-file-system "$DPKG_ROOT/var/lib/mote" "$DPKG_ROOT/run/mote"
fi
