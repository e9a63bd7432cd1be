// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	ip1  = "urn:schemas-upnp-org:service:WANIPConnection:1"
	ip2  = "urn:schemas-upnp-org:service:WANIPConnection:2"
	ppp1 = "urn:schemas-upnp-org:service:WANPPPConnection:1"
)

func TestUPnP(t *testing.T) {
	for _, kind := range []string{ip1, ip2, ppp1} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLAN()
				d := newIGD(t, l, newRouter(l), kind)
				m := l.start(t, Config{})
				sleep(upnpGrace + 10*time.Millisecond)
				expect(t, m, mapped)
				s := m.Status()[0]
				if s.Protocol != UPnP || d.seen().ports[4000] != "1200" {
					t.Errorf("status %+v, the router has %v, want UPnP and 1200 s", s, d.seen().ports)
				}
				if got := slices.Contains(d.seen().actions, "AddAnyPortMapping"); got != (kind == ip2) {
					t.Errorf("actions %v of %s", d.seen().actions, kind)
				}
				before := len(d.seen().actions)
				sleep(10 * leaseTime)
				expect(t, m, mapped)
				if got := len(d.seen().actions) - before; got < 2*16 || got > 2*20 {
					t.Errorf("%d actions in ten lives, want two per renewal", got)
				}
				m.Close(t.Context())
				if len(d.seen().ports) > 0 {
					t.Errorf("the router has %v after Close, want nothing", d.seen().ports)
				}
			})
		})
	}
}

// With PCP and NAT-PMP refused for certain, UPnP is not waited for.
func TestUPnPAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		r := newRouter(l)
		r.pcp, r.pmp = 2, 2
		newIGD(t, l, r, ip1)
		m := l.start(t, Config{})
		sleep(10 * time.Millisecond)
		expect(t, m, mapped)
	})
}

// Routers have opinions about ports and leases.
func TestUPnPOpinions(t *testing.T) {
	tests := map[string]struct {
		kind  string
		set   func(d *igdDevice)
		check func(t *testing.T, d *igdDevice, s Status)
	}{
		"taken 1": {ip1, func(d *igdDevice) { d.taken[4000] = true }, func(t *testing.T, d *igdDevice, s Status) {
			if p := s.External.Port(); p == 4000 || d.seen().ports[p] == "" {
				t.Errorf("mapped to port %d, the router has %v, want another than 4000", p, d.seen().ports)
			}
		}},
		"taken 2": {ip2, func(d *igdDevice) { d.taken[4000] = true }, func(t *testing.T, d *igdDevice, s Status) {
			if p := s.External.Port(); p != 4001 {
				t.Errorf("mapped to port %d, the router has %v, want the one that it chose", p, d.seen().ports)
			}
		}},
		"permanent 1": {ip1, func(d *igdDevice) { d.codes["AddPortMapping"] = upnpOnlyPermanent }, permanent},
		"permanent 2": {ip2, func(d *igdDevice) {
			d.codes["AddAnyPortMapping"] = upnpOnlyPermanent
			d.codes["AddPortMapping"] = upnpOnlyPermanent
		}, permanent},
		"no any": {ip2, func(d *igdDevice) { d.codes["AddAnyPortMapping"] = upnpInvalidAction }, func(t *testing.T, _ *igdDevice, s Status) {
			if s.External != mapped {
				t.Errorf("status %+v, want a mapping by AddPortMapping", s)
			}
		}},
		"refused": {ip1, func(d *igdDevice) { d.codes["AddPortMapping"] = 606 }, func(t *testing.T, _ *igdDevice, s Status) {
			if e, ok := errors.AsType[*RefusedError](s.Err); !ok || e.Code != 606 || e.Protocol != UPnP {
				t.Errorf("the reason is %v, want UPnP's code 606", s.Err)
			}
		}},
		"double NAT": {ip1, func(d *igdDevice) { d.outside = "100.65.0.1" }, func(t *testing.T, d *igdDevice, s Status) {
			if _, ok := errors.AsType[*NotPublicError](s.Err); !ok || len(d.seen().ports) > 0 {
				t.Errorf("the reason is %v and the router has %v, want NotPublicError and nothing", s.Err, d.seen().ports)
			}
		}},
		"URLBase": {ip1, func(d *igdDevice) { d.base = "<URLBase>http://192.168.1.1:5001/</URLBase>" }, func(t *testing.T, d *igdDevice, s Status) {
			if want := netip.MustParseAddrPort("192.168.1.1:5001"); s.External != mapped || !slices.Contains(d.seen().dialled, want) {
				t.Errorf("status %+v after dialling %v, want %v to be used", s, d.seen().dialled, want)
			}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLAN()
				d := newIGD(t, l, newRouter(l), test.kind)
				test.set(d)
				m := l.start(t, Config{})
				sleep(10 * time.Second)
				test.check(t, d, m.Status()[0])
				m.Close(t.Context())
				if len(d.seen().ports) > 0 {
					t.Errorf("the router has %v after Close, want nothing", d.seen().ports)
				}
			})
		})
	}
}

func permanent(t *testing.T, d *igdDevice, s Status) {
	t.Helper()
	if s.External != mapped || !s.Expires.IsZero() || d.seen().ports[4000] != "0" {
		t.Errorf("status %+v, the router has %v, want one that lasts", s, d.seen().ports)
	}
}

// Whatever a device says, nobody but the router is visited, and nothing is read without bound.
func TestUPnPLeadsElsewhere(t *testing.T) {
	tests := map[string]func(r *router, d *igdDevice){
		"location":        func(r *router, _ *igdDevice) { r.location = "http://192.168.1.66:80/admin" },
		"public location": func(r *router, _ *igdDevice) { r.location = "http://5.5.5.5/desc.xml" },
		"metadata":        func(r *router, _ *igdDevice) { r.location = "http://169.254.169.254/latest" },
		"name":            func(r *router, _ *igdDevice) { r.location = "http://router.example/desc.xml" },
		"user":            func(r *router, _ *igdDevice) { r.location = "http://a@192.168.1.1:5000/desc.xml" },
		"https":           func(r *router, _ *igdDevice) { r.location = "https://192.168.1.1:5000/desc.xml" },
		"file":            func(r *router, _ *igdDevice) { r.location = "file:///etc/passwd" },
		"control":         func(_ *router, d *igdDevice) { d.control = "http://192.168.1.66/ctl" },
		"base":            func(_ *router, d *igdDevice) { d.base = "<URLBase>http://192.168.1.66/</URLBase>" },
		"other device": func(r *router, _ *igdDevice) {
			r.location = "http://192.168.1.66:5000/desc.xml"
			r.tamper = func(a *answer) { a.from = netip.MustParseAddrPort("192.168.1.66:1900") }
		},
		"redirect": func(_ *router, d *igdDevice) {
			d.extra = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, "http://192.168.1.1:5000/other", http.StatusTemporaryRedirect)
				return true
			}
		},
		"endless": func(_ *router, d *igdDevice) {
			d.extra = func(w http.ResponseWriter, _ *http.Request) bool {
				filler := strings.Repeat("<a>", 1000)
				for {
					if _, err := w.Write([]byte(filler)); err != nil {
						return true
					}
				}
			}
		},
		"silent": func(_ *router, d *igdDevice) {
			d.extra = func(_ http.ResponseWriter, r *http.Request) bool {
				<-r.Context().Done()
				return true
			}
		},
		"garbage": func(_ *router, d *igdDevice) {
			d.extra = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Write([]byte("<root><device>\x00</devi"))
				return true
			}
		},
	}
	for name, set := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLAN()
				r := newRouter(l)
				d := newIGD(t, l, r, ip1)
				set(r, d)
				m := l.start(t, Config{})
				sleep(20 * time.Second)
				expect(t, m)
				for _, a := range d.seen().dialled {
					if a.Addr() != routerAddr {
						t.Errorf("dialled %v, want nobody but the router", a)
					}
				}
				if m.Status()[0].Err == nil {
					t.Error("no reason is given")
				}
				if len(d.seen().actions) > 0 {
					t.Errorf("actions %v, want none", d.seen().actions)
				}
			})
		})
	}
}
