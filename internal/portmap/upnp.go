// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/huin/goupnp"
	igd "github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"
)

// A wan is a connection of an internet gateway, of any of the three kinds there are (IGD:2 WANIPConnection:2, and
// WANIPConnection:1 and WANPPPConnection:1 as of IGD:1).
type wan interface {
	GetExternalIPAddressCtx(ctx context.Context) (string, error)
	AddPortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string, internalPort uint16,
		internalClient string, enabled bool, description string, lease uint32) error
	DeletePortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string) error
}

// anyPort is what version 2 adds: the router chooses another port when the one that was asked for is taken.
type anyPort interface {
	AddAnyPortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string, internalPort uint16,
		internalClient string, enabled bool, description string, lease uint32) (uint16, error)
}

// Error codes of WANIPConnection (UPnP IGD, WANIPConnection:2 §2.5.16 and UPnP Device Architecture §3.1.2).
const (
	upnpInvalidAction  = 401
	upnpNotImplemented = 602
	upnpConflict       = 718
	upnpOnlyPermanent  = 725
	upnpConflictOther  = 729
)

const (
	maxServices    = 4 // of a device that are tried
	maxPortTries   = 4
	upnpProtocol   = "UDP"
	upnpName       = "Runnel" // what the router shows its owner
	maxUPnPAttempt = 2 * httpTimeout
)

// describe fetches the description of a device and returns its connections, the newest kind first.
func describe(ctx context.Context, c *http.Client, location *url.URL) ([]wan, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("portmap: UPnP description: HTTP status %d", resp.StatusCode)
	}
	root, err := parseDescription(resp.Body, location)
	if err != nil {
		return nil, err
	}
	return connections(root, c), nil
}

// parseDescription reads a device description. What it names need not be ours to visit: the client sees to that.
func parseDescription(r io.Reader, location *url.URL) (*goupnp.RootDevice, error) {
	root := new(goupnp.RootDevice)
	d := xml.NewDecoder(r)
	d.DefaultSpace = goupnp.DeviceXMLNamespace
	// What matters here is ASCII in every charset that routers claim.
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	if err := d.Decode(root); err != nil {
		return nil, fmt.Errorf("portmap: UPnP description: %w", err)
	}
	base := location
	if u, err := url.Parse(strings.TrimSpace(root.URLBaseStr)); err == nil && u.IsAbs() {
		base = u // UPnP Device Architecture 1.0 §2.1
	}
	root.SetURLBase(base)
	return root, nil
}

func connections(root *goupnp.RootDevice, c *http.Client) (found []wan) {
	for _, kind := range []string{igd.URN_WANIPConnection_2, igd.URN_WANIPConnection_1, igd.URN_WANPPPConnection_1} {
		for _, s := range root.Device.FindService(kind) {
			if !s.ControlURL.Ok || len(found) == maxServices {
				continue
			}
			client := goupnp.ServiceClient{
				SOAPClient: &soap.SOAPClient{EndpointURL: s.ControlURL.URL, HTTPClient: *c},
				RootDevice: root,
				Service:    s,
			}
			switch kind {
			case igd.URN_WANIPConnection_2:
				found = append(found, &igd.WANIPConnection2{ServiceClient: client})
			case igd.URN_WANIPConnection_1:
				found = append(found, &igd.WANIPConnection1{ServiceClient: client})
			default:
				found = append(found, &igd.WANPPPConnection1{ServiceClient: client})
			}
		}
	}
	return found
}

// outsideOf asks a connection for its address. A connection that is down has none.
func outsideOf(ctx context.Context, w wan) (netip.Addr, error) {
	text, err := w.GetExternalIPAddressCtx(ctx)
	if err != nil {
		return netip.Addr{}, refused(err)
	}
	a, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil || !a.Is4() {
		return netip.Addr{}, &NotPublicError{}
	}
	if !public(a) {
		return netip.Addr{}, &NotPublicError{a}
	}
	return a, nil
}

// An order is what is asked of a connection: that packets to the port wished for go to our own socket.
type order struct {
	wish  uint16
	local netip.AddrPort
	lease uint32
}

// add makes a mapping, or makes the one at the same port last longer. With renew no other port will do.
func add(ctx context.Context, w wan, o order, renew bool) (port uint16, permanent bool, err error) {
	internal, client := o.local.Port(), o.local.Addr().String()
	if v2, ok := w.(anyPort); ok && !renew {
		port, err := v2.AddAnyPortMappingCtx(ctx, "", o.wish, upnpProtocol, internal, client, true, upnpName, o.lease)
		switch code(err) {
		case 0:
			if err == nil && port == 0 {
				err = errNotOurs
			}
			return port, false, err
		case upnpInvalidAction, upnpNotImplemented, upnpOnlyPermanent, upnpConflict: // it may still understand version 1
		default:
			return 0, false, refused(err)
		}
	}
	port = o.wish
	for range maxPortTries {
		err = w.AddPortMappingCtx(ctx, "", port, upnpProtocol, internal, client, true, upnpName, o.lease)
		if err == nil {
			return port, o.lease == 0, nil
		}
		switch c := code(err); {
		case c == upnpOnlyPermanent && o.lease > 0:
			o.lease = 0
		case (c == upnpConflict || c == upnpConflictOther) && !renew:
			port = uint16(1024 + rand.IntN(1<<16-1024))
		default:
			return 0, false, refused(err)
		}
	}
	return 0, false, refused(err)
}

// code is the error code that the router gave, or zero.
func code(err error) int {
	if f, ok := errors.AsType[*soap.SOAPFaultError](err); ok {
		return f.Detail.UPnPError.Errorcode
	}
	return 0
}

// refused says in our words what the router said.
func refused(err error) error {
	if c := code(err); c != 0 {
		return &RefusedError{UPnP, c}
	}
	return err
}
