package registry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"polestar/naming"
)

func TestAwaitReturnsWithTheRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair()
		if err := p.reg.Await(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		s := p.reg.Subscribe()
		defer s.Close()
		done := make(chan error, 2)
		for range 2 {
			go func() { done <- p.reg.Await(t.Context(), 2) }()
		}
		p.do(t, put(key("n", "a"), "1", 1))
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("returned before its revision: %v", err)
		default:
		}
		p.do(t, &naming.PutClient{Client: naming.Client{ID: "c"}}) // no service is in it, but it is a revision
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got := s.Take(); len(got) != 1 {
			t.Errorf("what is awaited is not marked: %v", got)
		}
		if err := p.reg.Await(t.Context(), 1); err != nil {
			t.Errorf("a revision of the past: %v", err)
		}
	})
}

func TestAwaitReturnsWithAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair()
		done := make(chan error, 1)
		go func() { done <- p.reg.Await(t.Context(), 7) }()
		synctest.Wait()
		if err := p.reg.Load().Publish(9); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.reg.Await(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the end of the context", err)
		}
	})
}
