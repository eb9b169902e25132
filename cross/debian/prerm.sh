#!/bin/sh
# Before the files go: the agent ends, and with the package also the pods, which nobody would look
# after, and their network. An upgrade touches none of them: the next agent takes over.
set -e

[ "$1" = remove ] || exit 0

if [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop mote-agent.service mote-pods.service || true
    nft delete table inet mote 2>/dev/null || true
fi
