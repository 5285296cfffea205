package openapi

import (
	"context"
	"sync"

	"github.com/polarismesh/specification/source/go/api/v1/service_manage"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// atOnce bounds the items of one request that are written at the same time:
// they share commits.
const atOnce = 16

// each writes an array item by item, in its order. An item that fails does not
// stop the others.
func each[T any, P message[T]](write func(context.Context, *call, P) *service_manage.Response) func(context.Context, *call) reply {
	return func(ctx context.Context, c *call) reply {
		items, err := array[T, P](c.r)
		if err != nil {
			return c.failed(err)
		}
		out := make([]*service_manage.Response, len(items))
		for n, item := range items {
			out[n] = write(ctx, c, item)
		}
		return collected(out)
	}
}

// instancesAtOnce writes an array of instances, several at the same time. Two
// items for one instance would have no order: the later one is refused.
func instancesAtOnce(write func(context.Context, *call, *service_manage.Instance) *service_manage.Response) func(context.Context, *call) reply {
	return func(ctx context.Context, c *call) reply {
		items, err := array[service_manage.Instance](c.r)
		if err != nil {
			return c.failed(err)
		}
		out := make([]*service_manage.Response, len(items))
		seen, turn := map[string]bool{}, make(chan struct{}, atOnce)
		var all sync.WaitGroup
		for n, item := range items {
			if id := c.idOf(item); id != "" && seen[id] {
				out[n] = of(item, answer(errTwice))
				continue
			} else if id != "" {
				seen[id] = true
			}
			turn <- struct{}{}
			all.Go(func() {
				out[n] = write(ctx, c, item)
				<-turn
			})
		}
		all.Wait()
		return collected(out)
	}
}

// collected is the answer to a batch: its code is the largest of those that are
// no success.
func collected(all []*service_manage.Response) reply {
	sum := answer(nil)
	code, info := sum.GetCode(), sum.GetInfo()
	for _, one := range all {
		if c := one.GetCode().GetValue(); c/1000 != 200 && c > code.GetValue() {
			code, info = one.GetCode(), one.GetInfo()
		}
	}
	return &service_manage.BatchWriteResponse{Code: code, Info: info, Size: wrapperspb.UInt32(uint32(len(all))), Responses: all}
}
