#!/bin/sh
# Before the files go: the agent ends, and with the package also the pods, which nobody would look
# after. An upgrade touches neither: the next agent takes over.
set -e

[ "$1" = remove ] || exit 0

if [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop mote-agent.service mote-pods.service || true
fi
