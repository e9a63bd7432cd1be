// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import "sync"

// quota counts allocations per user and in all. A user without any is forgotten.
type quota struct {
	perUser, total int

	mu    sync.Mutex
	users map[string]int
	sum   int
}

func newQuota(perUser, total int) *quota {
	return &quota{perUser: perUser, total: total, users: make(map[string]int)}
}

// full returns the STUN error code with which a further allocation of the user would be refused, or 0: 486 when the
// user has enough, 508 when the relay has (RFC 8656 §7.2).
func (q *quota) full(user string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.fullLocked(user)
}

func (q *quota) fullLocked(user string) int {
	switch {
	case q.sum >= q.total:
		return 508
	case q.users[user] >= q.perUser:
		return 486
	}
	return 0
}

// take counts one more, or returns the code as full does and counts nothing.
func (q *quota) take(user string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if code := q.fullLocked(user); code != 0 {
		return code
	}
	q.users[user]++
	q.sum++
	return 0
}

// give undoes one take.
func (q *quota) give(user string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sum--
	if q.users[user]--; q.users[user] == 0 {
		delete(q.users, user)
	}
}

func (q *quota) live() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sum
}
