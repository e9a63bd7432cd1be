// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import "syscall"

// Winsock errors that package syscall has no names for.
const (
	errorNetworkUnreach = syscall.Errno(1231) // what WSA errors are called where a read ends later
	errorHostUnreach    = syscall.Errno(1232)
	errorProtocol       = syscall.Errno(1233)
	errorPortUnreach    = syscall.Errno(1234)

	wsaEINTR         = syscall.Errno(10004)
	wsaENOTSOCK      = syscall.Errno(10038)
	wsaEMSGSIZE      = syscall.Errno(10040)
	wsaEAFNOSUPPORT  = syscall.Errno(10047)
	wsaEADDRNOTAVAIL = syscall.Errno(10049)
	wsaENETDOWN      = syscall.Errno(10050)
	wsaENETUNREACH   = syscall.Errno(10051)
	wsaENETRESET     = syscall.Errno(10052)
	wsaECONNRESET    = syscall.Errno(10054)
	wsaENOTCONN      = syscall.Errno(10057)
	wsaESHUTDOWN     = syscall.Errno(10058)
	wsaETIMEDOUT     = syscall.Errno(10060)
	wsaENOBUFS       = syscall.Errno(10055)
	wsaECONNREFUSED  = syscall.Errno(10061)
	wsaEHOSTUNREACH  = syscall.Errno(10065)
)

// noFamily reports whether the host lacks an address family.
func noFamily(no syscall.Errno) bool { return no == wsaEAFNOSUPPORT || no == wsaEADDRNOTAVAIL }

func temporary(no syscall.Errno) bool {
	switch no {
	case wsaEMSGSIZE, wsaENETDOWN, wsaENETUNREACH, wsaENETRESET, wsaECONNRESET, wsaENOBUFS, wsaECONNREFUSED,
		wsaEHOSTUNREACH, wsaEINTR, wsaETIMEDOUT,
		errorNetworkUnreach, errorHostUnreach, errorProtocol, errorPortUnreach, syscall.ECONNREFUSED, syscall.ECONNRESET:
		return true
	}
	return false
}

func dead(no syscall.Errno) bool {
	return no == wsaENOTSOCK || no == wsaENOTCONN || no == wsaESHUTDOWN
}

func tooLong(no syscall.Errno) bool { return no == wsaEMSGSIZE || no == syscall.EMSGSIZE }

// unable reports whether the system refused what was asked of it besides sending, which here is nothing.
func unable(syscall.Errno) bool { return false }
