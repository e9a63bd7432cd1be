// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/transport/v2/vnet"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/logx"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

const oneWay = 20 * time.Millisecond

var (
	serverAddr = netip.MustParseAddrPort("1.0.0.1:3478")
	clientAddr = netip.MustParseAddrPort("1.0.0.2:5000")
	peerAddr   = netip.MustParseAddrPort("1.0.0.3:6000")
)

// lab is one virtual wire with a server, a client and a peer on it.
type lab struct {
	t                    *testing.T
	router               *vnet.Router
	server, client, peer *vnet.Net
	srv                  *Server
	ports                int // last relay port handed out
	deny                 atomic.Pointer[netip.Addr]
	cut                  atomic.Bool                              // lose everything
	filter               atomic.Pointer[func(b []byte) (ok bool)] // sees what the server sends to the client
	open                 atomic.Int32                             // relayed addresses in use
	mu                   sync.Mutex
	methods              map[stunx.Method]int // requests that reached the server
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, ports: 50000, methods: make(map[stunx.Method]int)}
	r, err := vnet.NewRouter(&vnet.RouterConfig{CIDR: "1.0.0.0/24", MinDelay: oneWay, LoggerFactory: logx.Factory{}})
	ok(t, err)
	l.router = r
	for i, n := range []**vnet.Net{&l.server, &l.client, &l.peer} {
		nw, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{[]string{"1.0.0.1", "1.0.0.2", "1.0.0.3"}[i]}})
		ok(t, err)
		ok(t, r.AddNet(nw))
		*n = nw
	}
	r.AddChunkFilter(func(vnet.Chunk) bool { return !l.cut.Load() })
	ok(t, r.Start())
	srv, err := NewServer(&ServerConfig{
		Conn: &countConn{l.listen(l.server, serverAddr), l}, Realm: "r",
		Key: func(user, realm string, _ netip.AddrPort) ([]byte, bool) {
			return stunx.LongTermKey(user, realm, "secret"), user == "alice"
		},
		Relay: func(int) (net.PacketConn, netip.AddrPort, error) {
			l.ports++
			ap := netip.AddrPortFrom(serverAddr.Addr(), uint16(l.ports))
			l.open.Add(1)
			return &onClose{PacketConn: l.listen(l.server, ap), f: func() { l.open.Add(-1) }}, ap, nil
		},
		Permit: func(_ netip.AddrPort, peer netip.Addr) bool { d := l.deny.Load(); return d == nil || *d != peer },
	})
	ok(t, err)
	l.srv = srv
	t.Cleanup(func() {
		ok(t, srv.Close())
		ok(t, r.Stop())
		time.Sleep(time.Second) // virtual: let the library's last timers fire
		synctest.Wait()
	})
	return l
}

// onClose runs f on the first Close.
type onClose struct {
	net.PacketConn
	once sync.Once
	f    func()
}

func (c *onClose) Close() error {
	c.once.Do(c.f)
	return c.PacketConn.Close()
}

// heldConn writes nothing while it is held.
type heldConn struct {
	net.PacketConn
	hold sync.Mutex
}

func (c *heldConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.hold.Lock()
	defer c.hold.Unlock()
	return c.PacketConn.WriteTo(b, to)
}

// countConn counts requests and lets a test tamper with answers.
type countConn struct {
	net.PacketConn
	l *lab
}

func (c *countConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if err == nil && stunx.Sane(b[:n]) {
		m, _ := stunx.Type(b[:n])
		c.l.mu.Lock()
		c.l.methods[m]++
		c.l.mu.Unlock()
	}
	return n, from, err
}

func (c *countConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if f := c.l.filter.Load(); f != nil && !(*f)(b) {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, to)
}

func (l *lab) count(m stunx.Method) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.methods[m]
}

func (l *lab) listen(n *vnet.Net, ap netip.AddrPort) net.PacketConn {
	pc, err := n.ListenPacket("udp4", ap.String())
	ok(l.t, err)
	return pc
}

func (l *lab) config() *ClientConfig {
	return &ClientConfig{Conn: l.listen(l.client, clientAddr), Server: serverAddr, Username: "alice", Password: "secret"}
}

func (l *lab) allocate(onPacket func([]byte, netip.AddrPort)) *Allocation {
	c := l.config()
	c.OnPacket = onPacket
	a, err := Allocate(l.t.Context(), c)
	ok(l.t, err)
	return a
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recvPeer reads one packet of the peer's socket, for at most two virtual seconds.
func recvPeer(t *testing.T, pc net.PacketConn) (string, netip.AddrPort) {
	t.Helper()
	ok(t, pc.SetReadDeadline(time.Now().Add(2*time.Second)))
	b := make([]byte, 2000)
	n, from, err := pc.ReadFrom(b)
	if err != nil {
		return "", netip.AddrPort{}
	}
	return string(b[:n]), addrPort(from)
}

func isCode(err error, op string, code int) bool {
	e, yes := errors.AsType[*CodeError](err)
	return yes && e.Op == op && e.Code == code
}
