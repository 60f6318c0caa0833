# Starts a monitor, an OSD and a gateway in an empty directory, the current one; runs until the
# gateway ends. The environment has the addresses, and options of all programs: see ceph.py.
set -eu
umask 077
mkdir mon osd

key=$(ceph-authtool --gen-print-key)
for name in mon. client.admin client.rgw osd.0; do
    printf '[%s]\nkey = %s\ncaps mon = "allow *"\ncaps osd = "allow *"\n' "$name" "$key"
done >keyring

monmaptool --create --fsid "$FSID" --addv a "$MONITOR" monmap
ceph-mon --mkfs -i a --monmap monmap
ceph-mon -f -i a &

ceph --connect-timeout 10 osd new "$OSD"
ceph-osd --mkfs -i 0 --osd-uuid "$OSD" --monmap monmap
ceph-osd -f -i 0 &

radosgw-admin user create --uid=owner --display-name=owner >user.partial
mv user.partial user.json
exec radosgw -f -n client.rgw --rgw-frontends="beast endpoint=$GATEWAY"
