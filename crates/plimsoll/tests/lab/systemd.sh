#!/bin/sh
# A machine for one test: systemd as process 1 of new namespaces, over a copy of the root file system that is thrown away.
# $1: an empty folder; $2: the folder shared with the test, at its own name; $3: the folder of the doctor's program.
set -e
new=$1/new
mount -t tmpfs tmpfs "$1"
mkdir "$1/above" "$1/work" "$new"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/above,workdir=$1/work" "$new"
mount -t proc proc "$new/proc"
mount --bind -o ro "$new/proc/sys" "$new/proc/sys"
mount -t sysfs -o ro sysfs "$new/sys"
mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
for folder in run tmp dev; do mount -t tmpfs tmpfs "$new/$folder"; done
for device in null zero full random urandom tty; do
    touch "$new/dev/$device"
    mount --bind "/dev/$device" "$new/dev/$device"
done
mkdir -p "$new$2" "$new$3" "$new/dev/pts" "$new/dev/shm"
mount --bind "$2" "$new$2"
mount --bind -o ro "$3" "$new$3"
cd "$new"
mkdir -p before
pivot_root . before
umount -l /before
echo 0123456789abcdef0123456789abcdef > /etc/machine-id
cp "$2/nginx.conf" /etc/nginx/nginx.conf
mkdir -p /etc/systemd/system/nginx.service.d /var/log/nginx
cp "$2/nginx.service" /etc/systemd/system/
cp "$2/override.conf" /etc/systemd/system/nginx.service.d/
printf '[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service nginx.service\n' > /etc/systemd/system/lab.target
export container=lab
exec /lib/systemd/systemd --system --unit=lab.target --show-status=no
