#!/bin/sh
# Makes an authority and a certificate of it for shop.internal, in folder $1.
set -eu
mkdir -p "$1"
cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
	-subj "/CN=example authority" -keyout ca-key.pem -out ca.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
	-subj "/CN=shop" -keyout shop-key.pem -out shop.csr
printf 'subjectAltName=DNS:shop.internal\n' >shop.ext
openssl x509 -req -days 30 -in shop.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -extfile shop.ext -out shop.pem
