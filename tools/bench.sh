#!/usr/bin/env bash
# Starts a server on a fresh directory and measures it. Usage: tools/bench.sh
# [server binary]. Quote medians, and compare only figures of one run.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:-bin/polestar}
dir=$(mktemp -d)
addrs=(--polaris-addr 127.0.0.1:28091 --xds-addr 127.0.0.1:25010)
"$bin" server --data-dir "$dir" "${addrs[@]}" --http-addr 127.0.0.1:28090 --log-level warn &
server=$!
trap 'kill $server; wait $server; rm -rf "$dir"' EXIT
for _ in $(seq 100); do
	curl -fs http://127.0.0.1:28090/readyz >/dev/null && break
	sleep 0.1
done
cpu() { awk '{print $14 + $15}' "/proc/$server/stat"; } # in ticks of 10 ms

echo "== registrations, each answered when it is durable"
bin/polestar bench register --polaris-addr 127.0.0.1:28091
echo "== from a registration to the endpoint that 100 delta clients hold"
bin/polestar bench push "${addrs[@]}" --protocol delta
echo "== the same, state of the world"
bin/polestar bench push "${addrs[@]}" --protocol sotw
echo "== idle"
before=$(cpu)
sleep 10
echo "CPU time in 10 idle seconds: $((($(cpu) - before) * 10)) ms"
