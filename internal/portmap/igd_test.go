// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// An igdDevice is a UPnP internet gateway, at port 5000 of the router and wherever else it says.
type igdDevice struct {
	lan     *lan // whose lock guards what is below control
	t       *testing.T
	kind    string // of its service
	base    string // URLBase
	control string // controlURL
	outside string
	taken   map[uint16]bool
	ports   map[uint16]string // port outside → lease
	codes   map[string]int    // action → error code
	actions []string
	dialled []netip.AddrPort
	extra   func(w http.ResponseWriter, r *http.Request) bool
}

// newIGD puts a device on the lan. The router's SSDP names it.
func newIGD(t *testing.T, l *lan, r *router, kind string) *igdDevice {
	t.Helper()
	d := &igdDevice{
		lan: l, t: t, kind: kind, control: "/ctl", outside: outside.String(), taken: make(map[uint16]bool),
		ports: make(map[uint16]string), codes: make(map[string]int),
	}
	r.location = "http://192.168.1.1:5000/desc.xml"
	conns := make(pipes)
	server := &http.Server{Handler: d}
	go server.Serve(conns)
	t.Cleanup(func() { server.Close() })
	l.dial = func(addr netip.AddrPort) (net.Conn, error) {
		l.set(func() { d.dialled = append(d.dialled, addr) })
		a, b := net.Pipe()
		conns <- b
		return a, nil
	}
	return d
}

// seen is what the device has been asked and has done.
type seen struct {
	actions []string
	ports   map[uint16]string
	dialled []netip.AddrPort
}

func (d *igdDevice) seen() (s seen) {
	d.lan.set(func() { s = seen{slices.Clone(d.actions), maps.Clone(d.ports), slices.Clone(d.dialled)} })
	return s
}

var argument = regexp.MustCompile(`<(New\w+)>([^<]*)</`)

func (d *igdDevice) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.extra != nil && d.extra(w, r) {
		return
	}
	if r.Method == http.MethodGet {
		fmt.Fprintf(w, `<?xml version="1.0" encoding="iso-8859-1"?><root xmlns="urn:schemas-upnp-org:device-1-0">%s
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><serviceList><service><serviceType>%s</serviceType>
<controlURL>%s</controlURL></service></serviceList></device></deviceList></device></root>`, d.base, d.kind, d.control)
		return
	}
	body, _ := io.ReadAll(r.Body)
	d.lan.mu.Lock()
	defer d.lan.mu.Unlock()
	args := make(map[string]string)
	for _, m := range argument.FindAllStringSubmatch(string(body), -1) {
		args[m[1]] = m[2]
	}
	_, action, _ := strings.Cut(strings.Trim(r.Header.Get("Soapaction"), `"`), "#")
	d.actions = append(d.actions, action)
	port, _ := strconv.ParseUint(args["NewExternalPort"], 10, 16)
	out := ""
	code := d.codes[action]
	switch action {
	case "GetExternalIPAddress":
		out = "<NewExternalIPAddress>" + d.outside + "</NewExternalIPAddress>"
	case "AddAnyPortMapping":
		for code == 0 && d.taken[uint16(port)] {
			port++
		}
		out = fmt.Sprintf("<NewReservedPort>%d</NewReservedPort>", port)
		fallthrough
	case "AddPortMapping":
		if args["NewProtocol"] != "UDP" || args["NewInternalPort"] != "4000" || args["NewInternalClient"] != hostAddr.String() {
			d.t.Errorf("asked for %v, want UDP to port 4000 of our own host", args)
		}
		switch {
		case code == upnpOnlyPermanent && args["NewLeaseDuration"] == "0":
			code = 0
		case code == 0 && d.taken[uint16(port)]:
			code = upnpConflict
		}
		if code == 0 {
			d.ports[uint16(port)] = args["NewLeaseDuration"]
		}
	case "DeletePortMapping":
		delete(d.ports, uint16(port))
	}
	const envelope = `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ` +
		`s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>%s</s:Body></s:Envelope>`
	if code != 0 {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, envelope, fmt.Sprintf(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring>`+
			`<detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>%d</errorCode></UPnPError></detail></s:Fault>`, code))
		return
	}
	fmt.Fprintf(w, envelope, fmt.Sprintf(`<u:%sResponse xmlns:u="%s">%s</u:%sResponse>`, action, d.kind, out, action))
}

// pipes is a listener of in-memory connections.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }
