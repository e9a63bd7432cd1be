// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

// Done returns a channel that is closed when nothing will follow what has arrived: the sender has closed the flow, and
// all of it is here, or has aborted it, it has been rejected, or the session is over. Err then says which. Messages may
// still be at hand, so that a program learns of an abort although it is busy with what came before.
func (r *Receiver) Done() <-chan struct{} {
	r.gate.Lock()
	defer func() { r.gate.Unlock(r.readable()) }()
	if r.done == nil {
		if r.complete || r.rejected {
			return closedChan
		}
		r.done = make(chan struct{})
	}
	return r.done
}

// Err returns nil while messages may still arrive, and the error with which Recv ends afterwards.
func (r *Receiver) Err() error {
	r.gate.Lock()
	defer func() { r.gate.Unlock(r.readable()) }()
	return r.endErr()
}

// endErr is Err with the gate locked.
func (r *Receiver) endErr() error {
	switch {
	case r.err != nil:
		return r.err
	case r.rejected:
		return ErrClosed
	}
	return nil
}

// announceEnd closes the channel that Done has returned. The gate is locked.
func (r *Receiver) announceEnd() {
	if r.done != nil && r.done != closedChan {
		close(r.done)
		r.done = closedChan
	}
}
