// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testFlags are those of a program that says what it is told to say.
type testFlags struct {
	Say     string           `help:"What to say."`
	Fail    bool             `help:"Fail while running."`
	Level   string           `enum:",debug,info" default:""`
	Version kong.VersionFlag `help:"Print the version and exit."`
}

func (f *testFlags) Logging() Logging { return Logging{Level: f.Level, Format: "text"} }

func (f *testFlags) Service(*slog.Logger) (Service, error) {
	if f.Say == "" {
		return nil, errors.New("nothing to say")
	}
	return f, nil
}

func (f *testFlags) Serve(p *Process) error {
	p.Log.Debug("serving")
	p.Print(f.Say + "\n")
	if f.Fail {
		return errors.New("hoarse")
	}
	return nil
}

func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		args           string
		code           int
		stdout, stderr string
	}{
		"runs":         {"--say hello", ExitOK, "hello\n", ""},
		"fails":        {"--say hello --fail", ExitRuntime, "hello\n", "level=ERROR msg=ended error=hoarse"},
		"debug":        {"--say hello --level debug", ExitOK, "hello\n", "msg=serving"},
		"configured":   {"", ExitConfig, "", "parrot: nothing to say\n"},
		"unknown flag": {"--bogus", ExitUsage, "", "parrot: unknown flag --bogus\nRun parrot --help for the flags.\n"},
		"help":         {"--help", ExitOK, "$RUNNEL_PARROT_SAY", ""},
		"version":      {"--version", ExitOK, Version(), ""},
	} {
		var stdout, stderr bytes.Buffer
		p := &Program{Name: "parrot", Description: "Says it.", Stdout: &stdout, Stderr: &stderr}
		code := p.Run(strings.Fields(tt.args), new(testFlags))
		if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%s: exit code %d, %q and %q\nwant %d, %q and %q",
				name, code, &stdout, &stderr, tt.code, tt.stdout, tt.stderr)
		}
		if tt.stderr == "" && stderr.Len() > 0 {
			t.Errorf("%s: unexpected on standard error: %s", name, &stderr)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("RUNNEL_PARROT_SAY", "from there")
	var out bytes.Buffer
	p := &Program{Name: "parrot", Stdout: &out, Stderr: &out}
	if code := p.Run(nil, new(testFlags)); code != ExitOK || out.String() != "from there\n" {
		t.Errorf("exit code %d, %q; want what the environment says", code, &out)
	}
}

func TestLogging(t *testing.T) {
	for _, tt := range []struct {
		l           Logging
		json, debug bool
	}{
		{Logging{}, true, false},
		{Logging{Dev: true}, false, true},
		{Logging{Format: "json", Level: "info", Dev: true}, true, false},
		{Logging{Format: "text", Level: "debug"}, false, true},
	} {
		var out bytes.Buffer
		log := tt.l.logger(&out)
		log.Info("x")
		if json := strings.HasPrefix(out.String(), "{"); json != tt.json {
			t.Errorf("%+v: JSON is %v, want %v: %s", tt.l, json, tt.json, &out)
		}
		if debug := log.Enabled(t.Context(), slog.LevelDebug); debug != tt.debug {
			t.Errorf("%+v: logs at level debug: %v, want %v", tt.l, debug, tt.debug)
		}
	}
}

func TestReadSecrets(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secrets")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadSecrets(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	write("\n \r\n")
	if _, err := ReadSecrets(name); err == nil || err.Error() != name+" is empty" {
		t.Errorf("file of empty lines: %v, want that it is empty", err)
	}
	write("the first\r\n\n second ")
	if got, err := ReadSecrets(name); err != nil || !slices.Equal(got, []string{"the first", "second"}) {
		t.Errorf("got %q, %v; want both lines without what is around them", got, err)
	}
}
