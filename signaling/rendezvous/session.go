// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"crypto/rand"
	"crypto/subtle"
	"slices"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// A session is the registration of a peer. It outlives its connection by Config.ResumeWindow: a client that comes back
// with the token gets what was sent to it meanwhile, and what was under way when the connection broke.
type session struct {
	srv   *Server
	id    signaling.PeerID
	token [rvproto.ResumeSize]byte

	mu         sync.Mutex // guards the following; taken after the server's
	conn       *conn      // nil while detached
	epoch      uint64     // of the registration on conn
	gone       bool       // no longer in srv.sessions
	detachment int        // how often it was detached; tells an old expiry from the current one
	expiry     *time.Timer

	outbox  []delivery // not acknowledged by the client, in order of seq
	unsent  int        // index in outbox of the first that was not written on conn
	bytes   int        // of the payloads in outbox
	moved   time.Time  // when the client confirmed something last, or had nothing to confirm
	lastSeq uint64     // of outbox, ever
	target  bucket     // envelopes to this peer

	sending sync.Mutex                     // held while a send is carried out: two connections may have the same one
	results [2 * rvproto.Window]sendResult // of the client's sends, by seq modulo length
}

type delivery struct {
	seq     uint64
	from    signaling.PeerID
	payload []byte
}

type sendResult struct {
	seq    uint64
	result string
}

// resultGone is returned by push for a session that has just been dropped; it is not sent to anybody.
const resultGone = ""

// register makes c the connection of the peer and returns the session: the one that token names, or a new one. The
// newest registration wins. epochs grow, also over restarts, as long as the clock does.
func (s *Server) register(c *conn, id signaling.PeerID, token []byte, seen uint64) (sess *session, resumed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, false, errShutdown
	}
	s.epoch = max(s.epoch+1, uint64(time.Now().UnixMicro()))
	s.settledLocked(c)

	old := s.sessions[id]
	if old != nil && old.resume(c, token, seen, s.epoch) {
		s.counters.resumed.Add(1)
		return old, true, nil
	}
	sess = &session{srv: s, id: id, conn: c, epoch: s.epoch}
	rand.Read(sess.token[:])
	if old != nil {
		old.replaceLocked(sess)
	}
	s.sessions[id] = sess
	s.counters.registered.Add(1)
	return sess, false, nil
}

// resume makes c the connection of the session if the token is right. Server.mu is held.
func (ss *session) resume(c *conn, token []byte, seen, epoch uint64) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.gone || subtle.ConstantTimeCompare(ss.token[:], token) != 1 || seen > ss.lastSeq {
		return false
	}
	if ss.conn != nil { // the client noticed first that it broke
		ss.conn.shut(rvproto.CloseSuperseded, "resumed on another connection", nil)
	} else {
		ss.attachLocked()
	}
	ss.conn, ss.epoch = c, epoch
	ss.ackLocked(seen)
	ss.unsent = 0
	return true
}

func (ss *session) attachLocked() {
	ss.srv.detached--
	ss.expiry.Stop()
}

// replaceLocked ends the session in favour of next, of the same peer. What waits for a client that has vanished goes to
// the new one: it was sent to the peer, not to the process. Server.mu is held.
func (ss *session) replaceLocked(next *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.gone = true
	if ss.conn != nil {
		ss.srv.counters.replaced.Add(1)
		ss.conn.shut(rvproto.CloseReplaced, "replaced", &rvproto.Frame{
			Type:   rvproto.TypeReplaced,
			Reason: "another client registered with the same key",
		})
		ss.conn = nil
	} else {
		ss.attachLocked()
	}
	next.outbox, next.bytes, next.moved = ss.outbox, ss.bytes, time.Now()
	for i := range next.outbox {
		next.lastSeq++
		next.outbox[i].seq = next.lastSeq
	}
	ss.outbox, ss.bytes = nil, 0
}

// detach says that c has ended. Unless the client said goodbye, the session waits for it to come back.
func (ss *session) detach(c *conn, goodbye bool) {
	s := ss.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.gone || ss.conn != c {
		return
	}
	ss.conn = nil
	window := s.config.ResumeWindow
	if goodbye || window == 0 || s.draining || s.detached >= s.config.Limits.Connections {
		ss.dropLocked()
		return
	}
	s.detached++
	ss.detachment++
	this := ss.detachment
	ss.expiry = time.AfterFunc(window, func() { ss.expire(this) })
}

// expire drops the session, unless it was resumed since.
func (ss *session) expire(detachment int) {
	ss.srv.mu.Lock()
	defer ss.srv.mu.Unlock()
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.gone || ss.conn != nil || ss.detachment != detachment {
		return
	}
	ss.srv.detached--
	ss.srv.counters.expired.Add(1)
	ss.dropLocked()
}

// dropIfDetachedLocked drops a session that waits for its client. Server.mu is held.
func (ss *session) dropIfDetachedLocked() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.gone || ss.conn != nil {
		return
	}
	ss.attachLocked()
	ss.dropLocked()
}

// dropLocked takes the session out of the books. Server.mu is held too.
func (ss *session) dropLocked() {
	ss.gone = true
	delete(ss.srv.sessions, ss.id)
	ss.srv.counters.dropped.Add(uint64(len(ss.outbox)))
	ss.emptyLocked()
}

func (ss *session) emptyLocked() {
	ss.sizeLocked(-ss.bytes)
	ss.outbox, ss.unsent = nil, 0
}

// sizeLocked accounts for payloads that came or went.
func (ss *session) sizeLocked(n int) {
	ss.bytes += n
	ss.srv.buffered.Add(int64(n))
}

// push queues an envelope for the client and returns the result for its sender.
func (ss *session) push(now time.Time, from signaling.PeerID, payload []byte) string {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	l := &ss.srv.config.Limits
	switch {
	case ss.gone:
		return resultGone
	case !ss.target.take(now, l.TargetRate, float64(l.TargetBurst)):
		ss.srv.counters.limitedTarget.Add(1)
		return rvproto.ResultRateLimited
	case ss.srv.buffered.Load()+int64(len(payload)) > int64(l.BufferedBytes):
		ss.srv.counters.limitedBuffer.Add(1)
		return rvproto.ResultBusy
	case ss.conn == nil && len(ss.outbox) >= l.Mailbox:
		return rvproto.ResultBusy
	case len(ss.outbox) >= l.QueueMessages || ss.bytes+len(payload) > l.QueueBytes:
		// That alone may be a burst and a long way; a client that stands still is another matter.
		if ss.conn != nil && l.WriteTimeout > 0 && now.Sub(ss.moved) >= l.WriteTimeout {
			ss.conn.slow()
		}
		return rvproto.ResultBusy
	}
	if len(ss.outbox) == 0 {
		ss.moved = now
	}
	ss.lastSeq++
	ss.outbox = append(ss.outbox, delivery{ss.lastSeq, from, payload})
	ss.sizeLocked(len(payload))
	if ss.conn != nil {
		ss.conn.wakeWriter()
	}
	return rvproto.ResultOK
}

// stalled reports whether the client has left envelopes unconfirmed for too long: they take memory that all share.
func (ss *session) stalled(now time.Time) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	d := ss.srv.config.Limits.WriteTimeout
	return d > 0 && len(ss.outbox) > 0 && now.Sub(ss.moved) >= d
}

// next returns the next envelope to be written on c.
func (ss *session) next(c *conn) (delivery, bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.conn != c || ss.unsent >= len(ss.outbox) {
		return delivery{}, false
	}
	d := ss.outbox[ss.unsent]
	ss.unsent++
	return d, true
}

// ack forgets what the client has got. It reports whether that can be true.
func (ss *session) ack(c *conn, seen uint64) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.conn != c {
		return true // too late to matter
	}
	if seen > ss.lastSeq {
		return false
	}
	ss.ackLocked(seen)
	return true
}

func (ss *session) ackLocked(seen uint64) {
	n := 0
	for n < len(ss.outbox) && ss.outbox[n].seq <= seen {
		ss.sizeLocked(-len(ss.outbox[n].payload))
		n++
	}
	ss.outbox = slices.Delete(ss.outbox, 0, n)
	ss.moved = time.Now()
	ss.unsent = max(0, ss.unsent-n)
	ss.srv.counters.delivered.Add(uint64(n))
}

// epochOf returns the epoch of the registration if c is its connection, and zero if not.
func (ss *session) epochOf(c *conn) uint64 {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.gone || ss.conn != c {
		return 0
	}
	return ss.epoch
}

// resultOf returns the result of a send that the client repeats because it lost the ack with its connection.
func (ss *session) resultOf(seq uint64) (string, bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	r := ss.results[seq%uint64(len(ss.results))]
	return r.result, r.seq == seq
}

func (ss *session) remember(seq uint64, result string) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.results[seq%uint64(len(ss.results))] = sendResult{seq, result}
}
