// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import "syscall"

// Winsock errors that package syscall has no names for.
const (
	wsaEMSGSIZE      = syscall.Errno(10040)
	wsaEAFNOSUPPORT  = syscall.Errno(10047)
	wsaEADDRNOTAVAIL = syscall.Errno(10049)
	wsaENETDOWN      = syscall.Errno(10050)
	wsaENETUNREACH   = syscall.Errno(10051)
	wsaENETRESET     = syscall.Errno(10052)
	wsaECONNRESET    = syscall.Errno(10054)
	wsaENOBUFS       = syscall.Errno(10055)
	wsaECONNREFUSED  = syscall.Errno(10061)
	wsaEHOSTUNREACH  = syscall.Errno(10065)
)

// noFamily reports whether the host lacks an address family.
func noFamily(no syscall.Errno) bool { return no == wsaEAFNOSUPPORT || no == wsaEADDRNOTAVAIL }

func temporary(no syscall.Errno) bool {
	switch no {
	case wsaEMSGSIZE, wsaENETDOWN, wsaENETUNREACH, wsaENETRESET, wsaECONNRESET, wsaENOBUFS, wsaECONNREFUSED,
		wsaEHOSTUNREACH, syscall.ECONNREFUSED, syscall.ECONNRESET:
		return true
	}
	return false
}

func tooLong(no syscall.Errno) bool { return no == wsaEMSGSIZE || no == syscall.EMSGSIZE }

// unable reports whether the system refused what was asked of it besides sending, which here is nothing.
func unable(syscall.Errno) bool { return false }
