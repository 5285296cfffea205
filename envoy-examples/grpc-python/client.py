"""A proxyless gRPC client in Python (grpcio, which is gRPC's C core).

Reads "calls N" from standard input and answers one JSON line: how many calls
each backend answered, and how many failed. Usage: client.py TARGET, with
GRPC_XDS_BOOTSTRAP set.
"""

import json
import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1])
who = channel.unary_unary("/acc.Echo/Who")
for line in sys.stdin:
    by, errors, last = {}, 0, ""
    for _ in range(int(line.split()[1])):
        try:
            name = who(b"", timeout=5).decode()
            by[name] = by.get(name, 0) + 1
        except grpc.RpcError as e:
            errors, last = errors + 1, str(e.details())
    print(json.dumps({"by": by, "errors": errors, "last": last}), flush=True)
