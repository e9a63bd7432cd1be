// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"bufio"
	"bytes"
	"net/http"
	"net/netip"
	"net/url"
)

// ssdpGroup is where UPnP devices listen (UPnP Device Architecture 2.0 §1.3.2).
var ssdpGroup = netip.MustParseAddrPort("239.255.255.250:1900")

const ssdpMaxLen = 2048

// appendSearch appends a search for internet gateways. Those of version 2 answer it too, for versions are downward
// compatible.
func appendSearch(b []byte) []byte {
	return append(b, "M-SEARCH * HTTP/1.1\r\n"+
		"HOST: 239.255.255.250:1900\r\n"+
		"MAN: \"ssdp:discover\"\r\n"+
		"MX: 1\r\n"+
		"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"...)
}

// parseSearch reads an answer and returns where the device describes itself: a URL on the device that answered, named by
// its address.
func parseSearch(b []byte, from netip.Addr) (*url.URL, error) {
	if len(b) > ssdpMaxLen || !bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return nil, errNotOurs
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil, errNotOurs
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errNotOurs
	}
	loc, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || !onDevice(loc, from) {
		return nil, errNotOurs
	}
	return loc, nil
}

// onDevice reports whether a URL leads to the device and nowhere else. Names could be resolved to anything, so there are
// none.
func onDevice(u *url.URL, device netip.Addr) bool {
	if u.Scheme != "http" || u.User != nil || u.Opaque != "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip == device
}
