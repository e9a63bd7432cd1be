// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

// A dependence says that a message dies with another. It exists only while both are pending, so that chains of any
// length leave nothing behind. The loop owns all of them.
type dependence struct {
	parent, child *Receipt
	prev, next    *dependence // among the parent's children
	nextParent    *dependence // among the child's parents
}

// maxSpareDependences is how many are kept for reuse.
const maxSpareDependences = 1024

// depend makes child, which is pending, die with parent. It reports whether parent has been abandoned already.
func (m *Mux) depend(child, parent *Receipt) (dead bool) {
	switch parent.Outcome() {
	case Delivered:
		return false
	case Abandoned:
		return true
	}
	d := m.spareDependences
	if d != nil {
		m.spareDependences, d.next = d.next, nil
		m.nSpareDependences--
	} else {
		d = new(dependence)
	}
	d.parent, d.child = parent, child
	if d.next = parent.children; d.next != nil {
		d.next.prev = d
	}
	parent.children = d
	d.nextParent, child.parents = child.parents, d
	return false
}

// untie ends all dependences of r, whose fate is known. If it was abandoned, those that die with it are noted.
func (m *Mux) untie(r *Receipt, abandoned bool) {
	for d := r.parents; d != nil; {
		next := d.nextParent
		if d.prev != nil {
			d.prev.next = d.next
		} else {
			d.parent.children = d.next
		}
		if d.next != nil {
			d.next.prev = d.prev
		}
		m.freeDependence(d)
		d = next
	}
	r.parents = nil
	for d := r.children; d != nil; {
		next := d.next
		for p := &d.child.parents; ; p = &(*p).nextParent {
			if *p == d {
				*p = d.nextParent
				break
			}
		}
		if abandoned {
			m.doomed = append(m.doomed, d.child)
		}
		m.freeDependence(d)
		d = next
	}
	r.children = nil
}

func (m *Mux) freeDependence(d *dependence) {
	*d = dependence{}
	if m.nSpareDependences < maxSpareDependences {
		d.next, m.spareDependences = m.spareDependences, d
		m.nSpareDependences++
	}
}

// bury abandons what depended on messages that have been abandoned, and in turn what depended on that.
func (m *Mux) bury() {
	for len(m.doomed) > 0 {
		n := len(m.doomed) - 1
		r := m.doomed[n]
		m.doomed[n] = nil
		m.doomed = m.doomed[:n]
		m.abandon(r.s, r.seq, ParentAbandoned)
	}
	if cap(m.doomed) > 1024 {
		m.doomed = nil
	}
}
