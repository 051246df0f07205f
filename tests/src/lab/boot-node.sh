#!/usr/bin/env bash
# Keeps one node of the lab powered: boots it, boots it again when it asks for a reboot, ends when it powers off.
# A file "stays-down" beside this script is the update that breaks the boot: the node asks for a reboot and is not seen again.
# Directories "docker" and "containers" beside it hold the data of the node's container engines, which want a plain file system below.
# usage: boot-node.sh ROOT MACHINE HOSTNAME NETNS CGROUP...
#
# Each CGROUP is this node's directory in one hierarchy. Its keeper (this script) and its machine live in different
# leaves, because an inner node of the unified hierarchy may hold no processes.
set -u
root=$1 machine=$2 hostname=$3 netns=$4
shift 4

join() {
    local leaf=$1 directory
    shift
    for directory in "$@"; do
        mkdir -p "$directory/$leaf" && echo "$BASHPID" >"$directory/$leaf/cgroup.procs" || exit 1
    done
}

options=()
for data in docker containers; do
    [ -d "${0%/*}/$data" ] || continue
    options+=(--bind="${0%/*}/$data:/var/lib/$data")
done
if [ ${#options[@]} -gt 0 ]; then
    # runc asks for a keyring for each container, and in the unified hierarchy limits devices by programs. The kernel's
    # settings of the node's own network are the engine's to change.
    export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
    options+=(--capability=CAP_NET_ADMIN --system-call-filter="@keyring bpf")
fi

join keeper "$@"
while :; do
    (
        join machine "$@"
        # --register=no, --keep-unit: works without systemd on this machine, and with it leaves it alone.
        exec systemd-nspawn --quiet --register=no --keep-unit --boot --directory="$root" --machine="$machine" \
            --hostname="$hostname" --network-namespace-path="/run/netns/$netns" --link-journal=no \
            --resolv-conf=off --timezone=off --console=pipe "${options[@]}"
    )
    # With --keep-unit nspawn leaves a reboot to its caller and says so with this code.
    [ $? -eq 133 ] || break
    [ ! -e "${0%/*}/stays-down" ] || break
done
