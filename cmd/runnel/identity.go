// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

type keygenCmd struct {
	File string `arg:"" help:"Where the key goes, readable by its owner only. It must not exist." type:"path"`
}

// Run makes a key.
func (c *keygenCmd) Run(out *console) error {
	if _, err := os.Lstat(c.File); err == nil {
		return fmt.Errorf("%s exists, and a key that is overwritten is gone for good", c.File)
	}
	key, err := signaling.GenerateKey()
	if err != nil {
		return err
	}
	if err := signaling.SaveKey(c.File, key); err != nil {
		return err
	}
	fmt.Fprintln(out.stdout, signaling.IDFromKey(key))
	return nil
}

type idCmd struct {
	File string `arg:"" help:"File with the key." type:"existingfile"`
}

// Run prints an ID.
func (c *idCmd) Run(out *console) error {
	key, err := signaling.LoadKey(c.File)
	if err != nil {
		return err
	}
	fmt.Fprintln(out.stdout, signaling.IDFromKey(key))
	return nil
}
