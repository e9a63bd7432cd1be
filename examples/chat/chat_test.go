// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A transcript is what a chat has printed.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // closed, and replaced, when there is more
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

func (tr *transcript) Write(b []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	close(tr.more)
	tr.more = make(chan struct{})
	return tr.text.Write(b)
}

func (tr *transcript) all() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// wait returns the n-th line that matches pattern, with its groups, as soon as it is there.
func (tr *transcript) wait(t *testing.T, n int, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(`(?m)^` + pattern + `$`)
	deadline := time.After(2 * time.Minute) // if it is never there
	for {
		tr.mu.Lock()
		found, more := re.FindAllStringSubmatch(tr.text.String(), n), tr.more
		tr.mu.Unlock()
		if len(found) == n {
			return found[n-1]
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%d lines match %q, want %d; printed:\n%s", len(found), pattern, n, tr.all())
		}
	}
}

// A testChat is a chat and what it prints.
type testChat struct {
	*chat
	*transcript
	key   ed25519.PrivateKey
	close func()
}

// newTestChat starts a chat on the loopback interface. A nil key means a new one; tune may be nil.
func newTestChat(t *testing.T, hub *signaling.Hub, key ed25519.PrivateKey, nick string, tune func(*chat)) *testChat {
	t.Helper()
	if key == nil {
		var err error
		if key, err = signaling.GenerateKey(); err != nil {
			t.Fatal(err)
		}
	}
	tr := newTranscript()
	c := newChat(&screen{w: tr}, nick, t.TempDir(), 16<<20)
	if tune != nil {
		tune(c)
	}
	cfg := &peer.Config{
		Key:        key,
		ListenAddr: netip.MustParseAddrPort("127.0.0.1:0"),
		Loopback:   true,
	}
	if hub != nil {
		cfg.Signaler = c.watchSignaling(hub.Join(signaling.IDFromKey(key)), "hub")
	}
	if err := c.listen(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	c.start()
	tc := &testChat{chat: c, transcript: tr, key: key, close: sync.OnceFunc(c.close)}
	t.Cleanup(tc.close)
	return tc
}

func (tc *testChat) id() string { return tc.ep.ID().String() }

func (tc *testChat) do(t *testing.T, format string, args ...any) {
	t.Helper()
	if tc.handle(t.Context(), fmt.Sprintf(format, args...)) {
		t.Fatal("the command ended the program")
	}
}

func TestConversation(t *testing.T) {
	hub := signaling.NewHub(nil)
	alice := newTestChat(t, hub, nil, "alice", nil)
	bob := newTestChat(t, hub, nil, "bob", nil)

	alice.wait(t, 1, `\* online hub`)
	alice.do(t, "/add %s", bob.id())
	alice.do(t, "typed while we are dialling")
	alice.wait(t, 1, `\* ready `+bob.id()+` bob path=direct rtt=\S+ addr=127\.0\.0\.1:\d+`)
	bob.wait(t, 1, `\* ready `+alice.id()+` alice path=direct rtt=\S+ addr=127\.0\.0\.1:\d+`)
	bob.wait(t, 1, `< alice: typed while we are dialling`)
	alice.wait(t, 1, `\* delivered 1`)
	bob.do(t, "//slash \x1b[31mred")
	alice.wait(t, 1, `< bob: /slash \[31mred`)
	bob.wait(t, 1, `\* delivered 1`)

	alice.do(t, "/path bob")
	alice.wait(t, 1, `\* path-now bob direct addr=127\.0\.0\.1:\d+ rtt=.*`)
	alice.wait(t, 1, `\* path-timeline bob start=0s .*ready=.*`)
	alice.do(t, "/why bob")
	alice.wait(t, 1, `\* why bob`)
	alice.wait(t, 1, `  .*direct.*127\.0\.0\.1.*`)
	alice.do(t, "/peers")
	alice.wait(t, 1, `  `+bob.ep.ID().Short()+`  bob +connected +direct .*`)

	// Bob's program ends, and starts again with the same key.
	bob.close()
	alice.wait(t, 1, `\* ended `+bob.id()+` bob: .*`)
	bob = newTestChat(t, hub, bob.key, "bob", nil)
	bob.do(t, "/add %s", alice.id())
	alice.wait(t, 2, `\* ready `+bob.id()+` bob .*`)
	alice.do(t, "welcome back")
	bob.wait(t, 1, `< alice: welcome back`)
	alice.wait(t, 1, `\* delivered 2`)
}

func TestThreeWayConversation(t *testing.T) {
	hub := signaling.NewHub(nil)
	alice := newTestChat(t, hub, nil, "sam", nil)
	bob := newTestChat(t, hub, nil, "sam", nil)
	carol := newTestChat(t, hub, nil, "carol", nil)
	carol.do(t, "/add %s %s", alice.id(), bob.id())
	carol.wait(t, 2, `\* ready .*`)
	carol.do(t, "hello all")
	for _, other := range []*testChat{alice, bob} {
		other.wait(t, 1, `< carol: hello all`)
		other.do(t, "hi")
		carol.wait(t, 1, `< sam~`+other.ep.ID().Short()+`: hi`) // two who call themselves the same
	}
	carol.wait(t, 1, `\* delivered 1`)
}

func TestSendFile(t *testing.T) {
	hub := signaling.NewHub(nil)
	alice := newTestChat(t, hub, nil, "alice", nil)
	bob := newTestChat(t, hub, nil, "bob", nil)
	alice.do(t, "/add %s", bob.id())
	alice.wait(t, 1, `\* ready .*`)

	content := make([]byte, 3<<20+17)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	name := filepath.Join(t.TempDir(), "two words.bin")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	alice.do(t, `/send "%s"`, name)
	alice.do(t, "a line overtakes the file")
	bob.wait(t, 1, `< alice: a line overtakes the file`)
	got := bob.wait(t, 1, `\* file received (.*) 3145745 sha256=`+sum+` rate=\S+ from=alice`)
	alice.wait(t, 1, `\* file sent two words\.bin 3145745 sha256=`+sum+` rate=\S+ to=bob`)
	if b, err := os.ReadFile(got[1]); err != nil || !bytes.Equal(b, content) {
		t.Errorf("the file at %s differs from what was sent (%d bytes, %v)", got[1], len(b), err)
	}
	if filepath.Base(got[1]) != "two words.bin" || filepath.Dir(got[1]) != bob.dir {
		t.Errorf("it is at %s, want two words.bin in %s", got[1], bob.dir)
	}

	bob.do(t, "/send %q alice", got[1]) // and an answer in the other direction, picked by name
	alice.wait(t, 1, `\* file received .* sha256=`+sum+` .*`)
	bob.wait(t, 1, `\* file sent .*`)
}

func TestFileTooLarge(t *testing.T) {
	hub := signaling.NewHub(nil)
	alice := newTestChat(t, hub, nil, "alice", nil)
	bob := newTestChat(t, hub, nil, "bob", func(c *chat) { c.maxFile = 10 })
	alice.do(t, "/add %s", bob.id())
	alice.wait(t, 1, `\* ready .*`)
	name := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(name, make([]byte, 11), 0o600); err != nil {
		t.Fatal(err)
	}
	alice.do(t, "/send %s", name)
	alice.wait(t, 1, `\* file failed large: the receiver says: it is not wanted.*`)
	bob.wait(t, 1, `\* file failed large: it is not wanted.*: 11 bytes are too many from=alice`)
	if left, _ := os.ReadDir(bob.dir); len(left) > 0 {
		t.Errorf("bob has %v", left)
	}
}

func TestNotAdded(t *testing.T) {
	hub := signaling.NewHub(nil)
	alice := newTestChat(t, hub, nil, "alice", nil)
	bob := newTestChat(t, hub, nil, "bob", func(c *chat) { c.acceptAny = false })
	alice.do(t, "/add %s", bob.id())
	alice.wait(t, 1, `\* unreachable `+bob.id()+`: .*refused.*`)
	alice.do(t, "/peers")
	alice.wait(t, 1, `  `+bob.ep.ID().Short()+` .* refused .*`)
	alice.do(t, "anybody?")
	alice.wait(t, 1, `\* undelivered 1 .*: not connected`)

	bob.do(t, "/add %s", alice.id())
	alice.wait(t, 1, `\* ready .* bob .*`)
	alice.do(t, "thanks")
	bob.wait(t, 1, `< alice: thanks`)
}

func TestAddressWithoutRendezvous(t *testing.T) {
	alice := newTestChat(t, nil, nil, "alice", nil)
	bob := newTestChat(t, nil, nil, "bob", nil)
	addr := bob.wait(t, 1, `\* address (\S+)`)[1]
	alice.do(t, "/add %s", bob.id())
	alice.wait(t, 1, `\* error .*@host:port`)
	alice.do(t, "/add %s@%s", bob.id(), addr)
	alice.wait(t, 1, `\* ready .* bob path=direct .*`)
	bob.do(t, "hello")
	alice.wait(t, 1, `< bob: hello`)
}

// TestPipedInput runs the whole loop as with "printf ... | chat".
func TestPipedInput(t *testing.T) {
	hub := signaling.NewHub(nil)
	alice := newTestChat(t, hub, nil, "alice", nil)
	bob := newTestChat(t, hub, nil, "bob", nil)
	input := fmt.Sprintf("/add %s\nfirst\n\nsecond\n", bob.id())
	if err := alice.serve(t.Context(), newPipe(strings.NewReader(input)), false); err != nil {
		t.Fatal(err)
	}
	if got := alice.all(); !strings.Contains(got, "* delivered 2\n") {
		t.Errorf("ended before everything was delivered:\n%s", got)
	}
	bob.wait(t, 1, `< alice: second`)

	// A peer that is not there must not hold up the end.
	alice = newTestChat(t, hub, nil, "alice", nil)
	input = fmt.Sprintf("/add %s\nhello\n", newID(t))
	if err := alice.serve(t.Context(), newPipe(strings.NewReader(input)), false); err != nil {
		t.Fatal(err)
	}
	alice.wait(t, 1, `\* undelivered 1 .*: .*not found`)

	alice = newTestChat(t, hub, nil, "alice", nil)
	r, w := io.Pipe()
	defer w.Close()
	ended := make(chan error, 1)
	go func() { ended <- alice.serve(t.Context(), newPipe(r), true) }()
	fmt.Fprintln(w, "/quit")
	if err := <-ended; err != nil {
		t.Errorf("/quit: %v", err)
	}
}
