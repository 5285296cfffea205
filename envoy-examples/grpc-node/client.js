// A proxyless gRPC client in Node.
//
// Reads "calls N" from standard input and answers one JSON line: how many calls
// each backend answered, and how many failed. Usage: client.js TARGET, with
// GRPC_XDS_BOOTSTRAP set.

'use strict';

const readline = require('node:readline');
const grpc = require('@grpc/grpc-js');
require('@grpc/grpc-js-xds').register(); // xds:/// targets

const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
const bytes = (b) => b; // no generated code: messages are bytes

function who() {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest('/acc.Echo/Who', bytes, bytes, Buffer.alloc(0), { deadline: Date.now() + 5000 },
      (err, name) => (err ? reject(err) : resolve(name.toString())));
  });
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const out = { by: {}, errors: 0, last: '' };
    for (let n = Number(line.split(' ')[1]); n > 0; n--) {
      try {
        const name = await who();
        out.by[name] = (out.by[name] ?? 0) + 1;
      } catch (err) {
        out.errors++;
        out.last = err.details;
      }
    }
    console.log(JSON.stringify(out));
  }
  client.close();
}

main();
