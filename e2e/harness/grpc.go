package harness

import (
	"fmt"
	"path/filepath"
	"testing"
)

// StartGRPC starts a proxyless gRPC client of a language (go, java, python or
// node) that ends with the test. bootstrap is the path of its config.
func StartGRPC(t testing.TB, language, bootstrap, target string) *Child {
	t.Helper()
	name, args, err := grpcClient(language)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"GRPC_XDS_BOOTSTRAP=" + bootstrap, "NODE_PATH=" + filepath.Join(Cache(), "grpc-node", "node_modules")}
	return StartChild(t, env, name, append(args, target)...)
}

// grpcClient is the command of a client. But for Go they are the programs of
// the examples.
func grpcClient(language string) (name string, args []string, err error) {
	examples := filepath.Join(Root(), "..", "envoy-examples")
	switch language {
	case "go":
		name, err = Binary(".", "./drivers/grpcgo")
		return name, nil, err
	case "java":
		target := filepath.Join(Cache(), "grpc-java", "target")
		// A short life: little heap, one garbage collector, no costly compiler.
		return "java", []string{
			"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
			"-cp", filepath.Join(target, "classes") + ":" + filepath.Join(target, "dependency", "*"), "Client",
		}, nil
	case "python":
		return filepath.Join(Cache(), "venv", "bin", "python"), []string{filepath.Join(examples, "grpc-python", "client.py")}, nil
	case "node":
		return "node", []string{filepath.Join(examples, "grpc-node", "client.js")}, nil
	default:
		return "", nil, fmt.Errorf("no gRPC client in %q", language)
	}
}
