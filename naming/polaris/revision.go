package polaris

import (
	"context"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"polestar/naming"
)

// RevisionHeader is the header of the answer to a registration or
// deregistration that carries its revision, in decimal: what can be waited for
// until every proxy has it. Polaris' messages have no field for it, and SDKs
// pass over headers that they do not know.
const RevisionHeader = "polestar-revision"

// reveal puts the revision of a write into the answer's headers.
func reveal(ctx context.Context, r naming.Revision) {
	if r > 0 {
		// It fails only outside of a call.
		_ = grpc.SetHeader(ctx, metadata.Pairs(RevisionHeader, strconv.FormatUint(uint64(r), 10)))
	}
}
