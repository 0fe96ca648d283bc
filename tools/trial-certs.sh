#!/bin/sh
# Makes certificates for a trial: an authority of its own, and a key pair that it has
# signed for each part, valid for 90 days. For production have your own authority
# sign them (cert-manager, Vault, your company's).
#
#   tools/trial-certs.sh FOLDER [NAME[=HOST,HOST...]]...
#
# Without names: services (their HTTPS), kafka, postgres, prometheus, alertmanager and
# client (what shows itself to them). Each is valid for its name, the hosts given,
# localhost and 127.0.0.1. What is there already is kept: remove a pair to renew it.
set -eu
umask 077

case ${1:-} in
'' | -h | --help)
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
	[ -n "${1:-}" ] && exit 0 || exit 2
	;;
esac
command -v openssl >/dev/null || {
	echo 'trial-certs: openssl is needed' >&2
	exit 1
}
folder=$1
shift
[ $# -gt 0 ] || set -- services kafka postgres prometheus alertmanager client
mkdir -p "$folder"
cd "$folder"

days=90
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }; }

# In PKCS#8, which Java, PostgreSQL and Go all read.
key() { quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

if [ ! -f ca.crt ]; then
	key ca.key
	quietly openssl req -x509 -new -key ca.key -out ca.crt -days "$days" -subj '/CN=Vigie trial authority' \
		-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
fi
for part; do
	name=${part%%=*}
	hosts=$name,localhost
	case $part in *=*) hosts=$hosts,${part#*=} ;; esac
	[ ! -f "$name.crt" ] || continue
	key "$name.key"
	quietly openssl req -new -key "$name.key" -out "$name.csr" -subj "/CN=$name"
	{
		echo 'basicConstraints=critical,CA:FALSE'
		echo 'keyUsage=critical,digitalSignature'
		echo 'extendedKeyUsage=serverAuth,clientAuth'
		echo "subjectAltName=IP:127.0.0.1,$(echo "$hosts" | sed 's/\([^,][^,]*\)/DNS:\1/g')"
	} >"$name.ext"
	quietly openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days "$days" -extfile "$name.ext" -out "$name.crt"
	rm "$name.csr" "$name.ext"
	echo "$folder/$name.crt and $name.key, for $hosts"
done
echo "$folder/ca.crt is the authority that clients trust; ca.key signs: keep it away from all others"
