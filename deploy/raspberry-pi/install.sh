#!/bin/sh
# On the Raspberry Pi: starts the demo page now and at every boot. `install.sh remove` undoes it.
set -eu

unit=edgegolf-demo.service
installed=/etc/systemd/system/$unit

fail() {
  echo "error: $1" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail "run it as: sudo $0 ${1-}"

if [ "${1-}" = remove ]; then
  systemctl disable --now "$unit"
  rm -f "$installed"
  systemctl daemon-reload
  exit
fi
[ $# = 0 ] || fail "there is only: $0 [remove]"

user=${SUDO_USER:-root}
data=$(getent passwd "$user" | cut -d: -f6)/.local/share
case $data in
*[!A-Za-z0-9/._-]*) fail "the folder $data has characters that units do not take" ;;
esac
[ -x "$data/edgegolf/current/environment/bin/python" ] ||
  fail "nothing is deployed for $user; first: edgegolf deploy $user@$(hostname) MODEL"

sed "s|@DATA@|$data|g" "$(dirname "$0")/$unit" >"$installed"
systemd-analyze verify "$installed"
systemctl daemon-reload
systemctl enable "$unit"
systemctl restart "$unit"
systemctl is-active "$unit"
echo "http://127.0.0.1:8028/ (journalctl -u $unit tells more)"
