#!/usr/bin/env bash
# Ceph's S3 gateway on loopback, its objects in memory. Nothing is installed: Debian's packages are unpacked into DIR.
#   tests/s3/gateway.sh start DIR [PORT]   prints the endpoint; its access key is 'ak', its secret 'sk', its bucket 'test'
#   tests/s3/gateway.sh stop DIR
# Needs Debian or a relative of it, and root.
set -euo pipefail
what=${1:?start or stop} dir=$(realpath -m "${2:?a directory}") port=${3:-18081}
root=$dir/root
lib=$root/usr/lib/$(uname -m)-linux-gnu
export PATH=$root/usr/bin:$PATH LD_LIBRARY_PATH=$lib:$lib/ceph:$root/lib/$(uname -m)-linux-gnu
export PYTHONPATH=$root/usr/lib/python3/dist-packages CEPH_CONF=$dir/ceph.conf

stop() {
    local name pid
    for name in rgw osd.0 mon.a; do # the monitor last: the others say goodbye to it
        [ -f "$dir/run/$name.pid" ] || continue
        pid=$(cat "$dir/run/$name.pid")
        rm -f "$dir/run/$name.pid"
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 20); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.2
        done
        kill -9 "$pid" 2>/dev/null || true
    done
    rm -rf "$dir"/{mon,osd0,rgw,run}
}

unpack() {
    [ -x "$root/usr/bin/radosgw" ] && return
    mkdir -p "$dir/deb" "$root"
    local wanted=(radosgw ceph-mon ceph-osd ceph-common) packages
    packages=$(apt-get install --no-install-recommends -s -qq "${wanted[@]}" 2>/dev/null | awk '/^Inst/{print $2}')
    if [ -z "$packages" ]; then
        apt-get update -qq
        packages=$(apt-get install --no-install-recommends -s -qq "${wanted[@]}" | awk '/^Inst/{print $2}')
    fi
    # shellcheck disable=SC2086
    (cd "$dir/deb" && apt-get download -qq $packages >/dev/null 2>&1)
    local deb
    for deb in "$dir"/deb/*.deb; do dpkg -x "$deb" "$root"; done
    rm -rf "$dir/deb"
}

start() {
    stop
    unpack
    mkdir -p "$dir"/{run,log,mon,osd0,rgw}
    rm -f "$dir"/log/*
    local fsid osd me=(--setuser root --setgroup root)
    fsid=$(cat /proc/sys/kernel/random/uuid)
    osd=$(cat /proc/sys/kernel/random/uuid)
    cat > "$CEPH_CONF" <<CONF
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:13300,v1:127.0.0.1:16789]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_class_dir = $lib/rados-classes
plugin_dir = $lib/ceph
erasure_code_dir = $lib/ceph/erasure-code
run_dir = $dir/run
admin_socket = $dir/run/\$name.asok
log_file = $dir/log/\$name.log
mon_cluster_log_file = $dir/log/cluster.log
pid_file = $dir/run/\$name.pid
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
[mon.a]
mon_data = $dir/mon
[osd.0]
osd_data = $dir/osd0
[client.rgw]
rgw_data = $dir/rgw
rgw_frontends = beast endpoint=127.0.0.1:$port
CONF
    {
        monmaptool --create --clobber --addv a '[v2:127.0.0.1:13300,v1:127.0.0.1:16789]' --fsid "$fsid" "$dir/mon.map"
        ceph-authtool --create-keyring "$dir/mon.keyring" --gen-key -n mon. --cap mon 'allow *'
        ceph-mon --mkfs -i a --monmap "$dir/mon.map" --keyring "$dir/mon.keyring" "${me[@]}"
        ceph-mon -i a "${me[@]}"
        ceph() { timeout 40 python3 "$root/usr/bin/ceph" "$@"; }
        ceph osd new "$osd"
        ceph-osd -i 0 --mkfs --osd-uuid "$osd" "${me[@]}"
        ceph-osd -i 0 "${me[@]}"
        ceph osd crush add 0 1.0 root=default host=h
    } > "$dir/log/start.out" 2>&1
    radosgw -n client.rgw --ms_mon_client_mode=crc "${me[@]}" -f > "$dir/log/rgw.out" 2>&1 &
    echo $! > "$dir/run/rgw.pid"
    for _ in $(seq 120); do
        curl -so /dev/null "http://127.0.0.1:$port/" && break
        sleep 0.5
    done
    radosgw-admin -n client.rgw --ms_mon_client_mode=crc user create --uid=u --display-name=u --access-key=ak \
        --secret=sk > "$dir/log/user.out" 2>&1
    make_bucket test
    echo "http://127.0.0.1:$port"
}

# A signed PUT of the bucket; curl signs so only from version 8.
make_bucket() {
    env -u LD_LIBRARY_PATH python3 - "http://127.0.0.1:$port" "$1" <<'PYTHON'
import base64, email.utils, hashlib, hmac, sys, urllib.request

endpoint, bucket = sys.argv[1:]
date = email.utils.formatdate(usegmt=True)
signed = hmac.new(b"sk", f"PUT\n\n\n{date}\n/{bucket}".encode(), hashlib.sha1).digest()
headers = {"Date": date, "Authorization": "AWS ak:" + base64.b64encode(signed).decode()}
urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{bucket}", method="PUT", headers=headers))
PYTHON
}

"$what"
