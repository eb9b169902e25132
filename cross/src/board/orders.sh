# Obeys the host: its orders come over the virtio port "host", one shell command a line; the answer is what the
# command printed, each line after "| ", closed by "= STATUS". Ends when the host goes away.
exec 3<>/dev/vport0p1
echo "| $(uname -r) $(uname -m)" >&3
echo "= 0" >&3
while read -r command <&3; do
    sh -c "$command" >/run/answer 2>&1 3<&-
    status=$?
    # The last line may have no end.
    while IFS= read -r text || [ -n "$text" ]; do
        printf '| %s\n' "$text"
    done </run/answer >&3
    echo "= $status" >&3
done
