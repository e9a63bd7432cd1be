// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"fmt"
	"os"
	"strings"
)

// ReadSecrets returns the lines of a file that are not empty, without the blanks around them. Of secrets the first is the
// one to use, the others are for rotation. A file without any is an error.
func ReadSecrets(name string) ([]string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var secrets []string
	for line := range strings.Lines(string(b)) {
		if s := strings.TrimSpace(line); s != "" {
			secrets = append(secrets, s)
		}
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	return secrets, nil
}
