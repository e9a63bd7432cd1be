// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import "strings"

// A pattern is a package path below the module, or, with a final "/...", that package and everything under it.
// Where several patterns fit a package the longest one counts.

// layer is one storey of the house; a package imports only from storeys below its own.
type layer struct {
	name     string
	packages []string
	why      string
}

// layers runs from the roof to the ground.
var layers = []layer{
	{
		"programs",
		[]string{"cmd/...", "examples/...", "internal/demo/...", "internal/next", "internal/e2e", "internal/mobilitylab"},
		"programs, and the tests of whole programs, are what everything else is for: nothing imports them",
	},
	{
		"services of examples",
		[]string{"examples/grpc/greeter"},
		"what is generated from a service's description is shared by the programs that serve and call it",
	},
	{
		"programs' frame",
		[]string{"internal/program/..."},
		"flags, logs, signals, certificates and metrics are the same for every server program, and nobody else's business",
	},
	{
		"test kit",
		[]string{"peer/peertest", "internal/traffic"},
		"the public test kit starts endpoints and servers in one process, so it stands above both; so does what sessions carry in tests",
	},
	{
		"groups",
		[]string{"group"},
		"a group is made of sessions",
	},
	{
		"peers",
		[]string{"peer"},
		"an endpoint drives the protocols below it and is the only place where they meet",
	},
	{
		"services",
		[]string{"signaling/rendezvous"},
		"the rendezvous server speaks the messages of package signaling and knows no sessions",
	},
	{
		"protocols",
		[]string{"flow", "mobility", "signaling", "media"},
		"protocols do not know each other: package peer joins them",
	},
	{
		"relay",
		[]string{"internal/relay"},
		"the relay server is policy around the TURN adapter and knows no protocol of ours",
	},
	{
		"virtual networks",
		[]string{"internal/netlab", "internal/netns"},
		"tests run adapters over virtual networks, which know none of them",
	},
	{
		"pion adapters",
		[]string{"internal/pionx/..."},
		"each adapter hides one library behind our own types and needs no other adapter",
	},
	{
		"adapters' ground",
		[]string{"internal/pionx/stunx", "internal/pionx/logx"},
		"the STUN sanity filter stands in front of every other adapter and the log bridge behind it, so all may use both",
	},
	{
		"server protocol",
		[]string{"signaling/internal/..."},
		"what the rendezvous server and its client say to each other is shared by both and belongs to neither",
	},
	{
		"operating system",
		[]string{"internal/udp", "internal/netwatch", "internal/portmap", "internal/mdns"},
		"sockets, interfaces, routers' mapping protocols and multicast DNS, without any protocol between sessions",
	},
	{
		"event log",
		[]string{"internal/eventlog"},
		"a file format, and a goroutine that writes it, know nothing of what is reported",
	},
	{
		"loss recovery",
		[]string{"internal/recovery"},
		"what was sent on a path, what became of it and when more may follow; a congestion controller is a part of it",
	},
	{
		"machines",
		[]string{"internal/seal", "internal/overlay", "internal/congestion"},
		"pure machines that read and write the wire format",
	},
	{
		"ground",
		[]string{"internal/wire", "internal/rangeset", "internal/gate", "internal/pace", "internal/condition", "internal/netlab/nat", "internal/tally"},
		"codecs and data structures that import the standard library only",
	},
	{
		"rules",
		[]string{"internal/archtest"},
		"the rules import nothing of what they judge",
	},
}

// closed lists packages that may import, of this module and of other modules, exactly what is named and nothing more.
var closed = []struct {
	pkg  string
	only []string
	why  string
}{
	{
		"flow",
		[]string{
			module + "/internal/wire", module + "/internal/rangeset", module + "/internal/gate",
			module + "/internal/congestion", module + "/internal/recovery",
		},
		"the flow protocol is bytes in, bytes out; packet protection and paths are not its business",
	},
	{
		"mobility",
		[]string{module + "/internal/wire", module + "/internal/pace"},
		"the path machine decides about addresses, it does not own sockets",
	},
	{
		"internal/recovery",
		[]string{module + "/internal/wire", module + "/internal/rangeset", module + "/internal/congestion"},
		"loss recovery knows packets, acknowledgements and a controller, not what the packets say",
	},
	{
		"internal/netwatch",
		[]string{"github.com/mdlayher/netlink", "golang.org/x/net/route", "golang.org/x/sys/..."},
		"it tells that the network has changed; what follows from that is not its business",
	},
	{"internal/congestion", nil, "a controller is told numbers and answers numbers"},
	{"internal/wire", nil, "the wire format depends on nothing"},
	{"internal/rangeset", nil, "a data structure depends on nothing"},
	{"internal/gate", nil, "a data structure depends on nothing"},
	{"internal/pace", nil, "a data structure depends on nothing"},
	{"internal/eventlog", nil, "whoever reports says it in names and numbers"},
	{"internal/condition", nil, "a bad network is bad to whatever packets there are"},
	{"internal/netlab/nat", nil, "a NAT sees endpoints and times, not packets"},
	{
		"internal/seal",
		[]string{module + "/internal/wire", "golang.org/x/crypto/...", "golang.org/x/sys/cpu"},
		"packet protection needs the packet header, ciphers, and to know which of them the processor is good at",
	},
	{
		"internal/program",
		[]string{"github.com/alecthomas/kong", "github.com/prometheus/client_golang/..."},
		"what is the same for every server program knows nothing of what any of them serves",
	},
	{
		"internal/archtest",
		nil,
		"rules that import what they judge could not be run while it does not compile",
	},
	{
		"internal/next",
		nil,
		"the trial of newer libraries must build whatever state the tree is in",
	},
}

// publicOnly packages import nothing internal: what they show, any user of the module can do.
var publicOnly = []string{"examples/..."}

// labs are packages made for tests. Only tests, other labs and labUsers import them, so that no shipped program
// carries a virtual network.
var (
	labs = []string{
		"internal/netlab", "internal/netlab/nat", "internal/netns", "internal/program/programtest", "peer/peertest",
		"internal/archtest", "internal/mobilitylab", "internal/traffic", "internal/tally",
	}
	labUsers = []string{"internal/demo/...", "examples/..."}
)

// machines are the packages without input or output: time is an argument, effects are values.
var machines = []string{
	"flow", "mobility", "internal/wire", "internal/seal", "internal/overlay", "internal/rangeset", "internal/gate",
	"internal/pace", "internal/congestion", "internal/recovery", "internal/condition", "internal/netlab/nat",
}

// machineImports are denied to machines, with everything under them unless excepted.
var machineImports = []struct {
	path   string
	except []string // import paths under path that are fine
	in     []string // machines that may import it all the same
	why    string
}{
	{"net", []string{"net/netip"}, nil, "addresses are net/netip values; sockets belong to an adapter"},
	{"os", nil, nil, "no files, signals or environment"},
	{"syscall", nil, nil, "no system calls"},
	{"golang.org/x/sys", []string{"golang.org/x/sys/cpu"}, nil, "no system calls"},
	{"golang.org/x/net", nil, nil, "sockets belong to an adapter"},
	{"math/rand", []string{"math/rand/v2"}, nil, "take a seeded *math/rand/v2.Rand as an argument"},
	{"crypto/rand", nil, []string{"internal/seal"}, "take random bytes as an argument; only packet protection may draw"},
	{"log", nil, nil, "a machine reports by values and counters; its driver logs"},
}

// machineCalls are functions that a machine may not name, by import path.
var machineCalls = map[string][]string{
	"time": {
		"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick",
	},
	"context":      {"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause"},
	"math/rand/v2": globalRand,
	"runtime":      {"GC", "Gosched", "SetFinalizer", "AddCleanup"},
}

// machineExceptions are files that may name a function of machineCalls all the same.
var machineExceptions = []struct {
	file string
	call string
	why  string
}{
	{
		"flow/stream.go", "context.WithDeadline",
		"net.Conn has deadlines of the wall clock: they bound how long a caller waits and decide nothing in the protocol",
	},
}

// globalRand are the functions of math/rand/v2 that draw from the process-wide source.
var globalRand = strings.Fields(`ExpFloat64 Float32 Float64 Int Int32 Int32N Int64 Int64N IntN N NormFloat64 Perm
	Shuffle Uint Uint32 Uint32N Uint64 Uint64N UintN`)

// confined import paths may be named by the packages given, tests included, and by nobody else.
var confined = []struct {
	path string
	to   []string
	why  string
}{
	{
		"github.com/pion",
		[]string{"internal/pionx/..."},
		"its types, defects and version changes stay behind our adapters",
	},
	{
		"github.com/huin/goupnp",
		[]string{"internal/portmap"},
		"it fetches whatever a device names, with a client that all share, except where it is kept from that",
	},
}

// nextTag marks files that replace others when the tree is built against the newest pion set; see internal/next. They are
// where pion is.
const (
	nextTag   = "pionnext"
	nextPlace = "internal/pionx/..."
)

// emptyNames say nothing about what a package does.
var emptyNames = []string{"base", "common", "helper", "helpers", "manager", "misc", "shared", "util", "utils"}

// File lengths in lines, tests and generated files not counted.
const (
	longFile    = 400 // logged
	tooLongFile = 600 // fails
)

// outside are paths and names that exist only around a checkout and mean nothing to a reader of the repository. They are
// put together here so that this file does not contain them.
var outside = []string{
	"../" + "shared",
	"shared/" + "reference",
	"shared/" + "sketch",
	"/wo" + "rk/",
	"/tmp/" + "brief",
	"." + "library",
	"DESIGN" + " §",
}

// matches reports whether pkg fits the pattern.
func matches(pattern, pkg string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
	}
	return pkg == pattern
}

// matchesAny reports whether pkg fits one of the patterns.
func matchesAny(patterns []string, pkg string) bool {
	for _, p := range patterns {
		if matches(p, pkg) {
			return true
		}
	}
	return false
}

// layerOf is the index into layers of the package's storey, or -1 when it has none.
func layerOf(pkg string) int {
	best, longest := -1, -1
	for i, l := range layers {
		for _, p := range l.packages {
			if n := len(strings.TrimSuffix(p, "...")); matches(p, pkg) && n > longest {
				best, longest = i, n
			}
		}
	}
	return best
}
