// Package lifecycle starts the parts of a server in order and stops them in
// reverse, each with a deadline.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Component is one part of a server. Each function may be nil.
type Component struct {
	Name string
	// Start returns when the part is ready; an error ends the whole start.
	Start func(ctx context.Context) error
	// Run works until its context ends. An error stops the whole server.
	Run func(ctx context.Context) error
	// Stop is called after Run has returned.
	Stop func(ctx context.Context) error
}

// running is a started component.
type running struct {
	Component
	cancel context.CancelFunc
	done   chan error // nil without Run
}

// Run starts the components in order and waits until ctx ends or one of them
// fails. It then stops all that were started, in reverse, giving each at most
// stopTimeout. The result names every part that failed or overran.
func Run(ctx context.Context, log *zap.Logger, stopTimeout time.Duration, parts []Component) error {
	var started []running
	failed := make(chan error, len(parts))
	var err error
	for _, c := range parts {
		if ctx.Err() != nil {
			break // asked to stop while starting is no failure
		}
		if c.Start != nil {
			if err = c.Start(ctx); err != nil {
				err = fmt.Errorf("%s: %w", c.Name, err)
				break
			}
		}
		started = append(started, launch(context.WithoutCancel(ctx), c, failed))
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
	}
	log.Info("stopping", zap.Error(err))
	errs := []error{err}
	for _, r := range slices.Backward(started) {
		errs = append(errs, r.stop(context.WithoutCancel(ctx), stopTimeout))
	}
	return errors.Join(errs...)
}

func launch(ctx context.Context, c Component, failed chan<- error) running {
	r := running{Component: c, cancel: func() {}}
	if c.Run == nil {
		return r
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.done = make(chan error, 1)
	go func() {
		err := c.Run(ctx)
		if ctx.Err() == nil { // it ended by itself
			if err == nil {
				err = errors.New("ended without being asked to")
			}
			failed <- fmt.Errorf("%s: %w", c.Name, err)
			err = nil // reported
		}
		r.done <- err
	}()
	return r
}

func (r running) stop(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r.cancel()
	var errs []error
	if r.done != nil {
		select {
		case err := <-r.done:
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", r.Name, err))
			}
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("%s did not stop within %s", r.Name, timeout))
		}
	}
	if r.Stop != nil {
		stopped := make(chan error, 1)
		go func() { stopped <- r.Stop(ctx) }() // left behind when it overruns: the process ends
		select {
		case err := <-stopped:
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", r.Name, err))
			}
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("the stop of %s did not end within %s", r.Name, timeout))
		}
	}
	return errors.Join(errs...)
}
