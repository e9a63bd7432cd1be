// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// MapPorts runs miniupnpd on the site's router, which speaks UPnP, NAT-PMP and PCP unless the options say otherwise:
// lines of its configuration file that replace those with the same key. It skips the test when the program is missing.
func (s *Site) MapPorts(t *testing.T, options ...string) {
	t.Helper()
	path, err := exec.LookPath("miniupnpd")
	if err != nil {
		t.Skip("netns: the program miniupnpd is not installed (Debian: miniupnpd-nftables)")
	}
	dir := t.TempDir()
	set := make(map[string]string)
	for _, line := range append([]string{
		"ext_ifname=wan",
		"listening_ip=lan",
		"http_port=0",
		"enable_natpmp=yes",
		"enable_upnp=yes",
		"secure_mode=yes",
		"uuid=5e0f1a52-3a52-4c38-9a0d-6d1f7f1c7b11",
		"minissdpdsocket=" + filepath.Join(dir, "none"),
		"upnp_table_name=runnel",
		"upnp_nat_table_name=runnel",
		"upnp_forward_chain=mapped_forward",
		"upnp_nat_chain=mapped_nat",
		"upnp_nat_postrouting_chain=mapped_source",
	}, options...) {
		key, value, _ := strings.Cut(line, "=")
		set[key] = value
	}
	var b strings.Builder
	for key, value := range set {
		b.WriteString(key + "=" + value + "\n")
	}
	b.WriteString("allow 1024-65535 0.0.0.0/0 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n")
	file := filepath.Join(dir, "miniupnpd.conf")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := s.Router().Command(t.Context(), path, "-d", "-f", file, "-P", filepath.Join(dir, "pid"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = nil
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	var log []string
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		for waiting := true; lines.Scan(); {
			log = append(log, lines.Text())
			if waiting && strings.Contains(lines.Text(), "HTTP listening") {
				close(ready)
				waiting = false
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("output of miniupnpd of %s:\n%s", s.name, strings.Join(log, "\n"))
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("netns: miniupnpd has ended")
	case <-time.After(setupTime):
		t.Fatalf("netns: miniupnpd is not ready")
	}
}

// Mapped lists the rules that MapPorts has made at the wish of hosts, one per line.
func (s *Site) Mapped() string {
	s.net.tb.Helper()
	var b strings.Builder
	for _, chain := range []string{"mapped_forward", "mapped_nat", "mapped_source"} {
		out, err := execute("", "ip", "netns", "exec", s.router, "nft", "list", "chain", "inet", "runnel", chain)
		if err != nil {
			s.net.tb.Fatalf("netns: %v\n%s", err, out)
		}
		for line := range strings.Lines(out) {
			if line = strings.TrimSpace(line); line != "}" && !strings.HasSuffix(line, "{") {
				b.WriteString(line + "\n")
			}
		}
	}
	return b.String()
}
