// Command grpcgo is a proxyless gRPC client. It reads "calls N" from standard
// input and answers one JSON line: how many calls each backend answered, and
// how many failed. Usage: grpcgo TARGET, with GRPC_XDS_BOOTSTRAP set. It takes
// TLS from xDS, and speaks plain text when that says nothing of it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	_ "google.golang.org/grpc/xds" // xds:/// targets

	"polestar/e2e/harness"
)

func main() {
	creds, err := xdscreds.NewClientCredentials(xdscreds.ClientOptions{FallbackCreds: insecure.NewCredentials()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cc, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(creds))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer func() { _ = cc.Close() }()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		n, _ := strconv.Atoi(strings.TrimPrefix(in.Text(), "calls "))
		out := harness.Counts{By: map[string]int{}}
		for range n {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			who, err := harness.CallWho(ctx, cc)
			cancel()
			if err != nil {
				out.Errors++
				out.Last = err.Error()
				continue
			}
			out.By[who]++
		}
		line, _ := json.Marshal(out)
		fmt.Println(string(line))
	}
}
