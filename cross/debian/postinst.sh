#!/bin/sh
# After the files are there: the configuration, the service, the profile of containers. With DPKG_ROOT
# they are in the system of an image, of which nothing runs.
set -e

unit=mote-agent.service
example=$DPKG_ROOT/usr/share/mote-agent/agent.toml
config=$DPKG_ROOT/etc/mote/agent.toml

# The package stays after all: what `prerm` stopped goes on.
if [ "$1" = abort-remove ] && [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke start "$unit" || true
fi

[ "$1" = configure ] || exit 0

# Once: who removed it later meant it.
if [ -z "$2" ] && [ ! -e "$config" ]; then
    mkdir -p "$DPKG_ROOT/etc/mote"
    install -m 600 "$example" "$config"
fi

# Enabled unless somebody disabled it.
deb-systemd-helper unmask "$unit" >/dev/null || true
if deb-systemd-helper --quiet was-enabled "$unit"; then
    deb-systemd-helper enable "$unit" >/dev/null || true
else
    deb-systemd-helper update-state "$unit" >/dev/null || true
fi

[ -z "$DPKG_ROOT" ] || exit 0

if [ -x /usr/sbin/apparmor_parser ] && [ -d /sys/module/apparmor ]; then
    apparmor_parser -r -T -W /etc/apparmor.d/mote-default || true
fi

[ -d /run/systemd/system ] || exit 0
systemctl --system daemon-reload >/dev/null || true
systemd-tmpfiles --create mote-agent.conf || true
if [ -n "$2" ]; then
    # Another agent takes over; pods are not in the service's cgroup, and go on.
    deb-systemd-invoke restart "$unit" || true
elif cmp -s "$example" "$config"; then
    echo "mote-agent: say in $config which broker and fleet, then: systemctl start mote-agent"
else
    deb-systemd-invoke start "$unit" || true
fi
