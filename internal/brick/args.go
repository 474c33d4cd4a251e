package brick

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/volfile"
)

// arguments are glusterfsd's, as far as a brick needs them.
type arguments struct {
	servers     []string // -s
	serverPort  int
	transport   string
	volfileID   string
	volfile     string // -f
	pidFile     string
	socketFile  string
	logFile     string
	logLevel    string
	brickName   string
	brickPort   int
	processName string
	overrides   []volfile.Override
	noDaemon    bool
	debug       bool
	check       bool // --volfile-check
	version     bool
	help        bool
	print       string   // of a --print-… argument: what it asks for
	secure      bool     // TLS to the management daemons
	ignored     []string // accepted, without effect
}

// kind of an argument's value.
type argKind int

const (
	argNone     argKind = iota
	argRequired         // --key=value or --key value
	argOptional         // --key or --key=value
)

type argument struct {
	short byte
	kind  argKind
	// set takes the value; nil: the argument is accepted and has no effect
	// on a brick of ours, which is logged.
	set func(a *arguments, v string) error
}

func text(p func(*arguments) *string) func(*arguments, string) error {
	return func(a *arguments, v string) error { *p(a) = v; return nil }
}

func number(p func(*arguments) *int) func(*arguments, string) error {
	return func(a *arguments, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > 65535 {
			return fmt.Errorf("%q is no port: %w", v, syscall.EINVAL)
		}
		*p(a) = n
		return nil
	}
}

func flag(p func(*arguments) *bool) func(*arguments, string) error {
	return func(a *arguments, _ string) error { *p(a) = true; return nil }
}

// show is the setter of an argument that only asks for a directory.
func show(dir string) func(*arguments, string) error {
	return func(a *arguments, _ string) error { a.print = dir; return nil }
}

// setSecure takes a boolean; without a value the argument means yes.
func setSecure(a *arguments, v string) error {
	switch strings.ToLower(v) {
	case "", "yes", "on", "true", "enable", "1":
		a.secure = true
	case "no", "off", "false", "disable", "0":
		a.secure = false
	default:
		return fmt.Errorf("%q is neither on nor off: %w", v, syscall.EINVAL)
	}
	return nil
}

var argumentTable = map[string]argument{
	"volfile-server": {short: 's', kind: argRequired, set: func(a *arguments, v string) error {
		a.servers = append(a.servers, v)
		return nil
	}},
	"volfile":      {short: 'f', kind: argRequired, set: text(func(a *arguments) *string { return &a.volfile })},
	"volfile-id":   {kind: argRequired, set: text(func(a *arguments) *string { return &a.volfileID })},
	"pid-file":     {short: 'p', kind: argRequired, set: text(func(a *arguments) *string { return &a.pidFile })},
	"socket-file":  {short: 'S', kind: argRequired, set: text(func(a *arguments) *string { return &a.socketFile })},
	"log-file":     {short: 'l', kind: argRequired, set: text(func(a *arguments) *string { return &a.logFile })},
	"log-level":    {short: 'L', kind: argRequired, set: setLogLevel},
	"brick-name":   {kind: argRequired, set: text(func(a *arguments) *string { return &a.brickName })},
	"brick-port":   {kind: argRequired, set: setBrickPort},
	"process-name": {kind: argRequired, set: text(func(a *arguments) *string { return &a.processName })},
	"xlator-option": {kind: argRequired, set: func(a *arguments, v string) error {
		o, err := volfile.ParseOverride(v)
		if err == nil {
			a.overrides = append(a.overrides, o)
		}
		return err
	}},
	"volfile-server-port":      {kind: argRequired, set: number(func(a *arguments) *int { return &a.serverPort })},
	"volfile-server-transport": {kind: argRequired, set: setTransport},
	"no-daemon":                {short: 'N', set: flag(func(a *arguments) *bool { return &a.noDaemon })},
	"debug":                    {set: flag(func(a *arguments) *bool { return &a.debug })},
	"volfile-check":            {set: flag(func(a *arguments) *bool { return &a.check })},
	"version":                  {short: 'V', set: flag(func(a *arguments) *bool { return &a.version })},
	"help":                     {short: '?', set: flag(func(a *arguments) *bool { return &a.help })},
	"usage":                    {set: flag(func(a *arguments) *bool { return &a.help })},
	"print-logdir":             {set: show("/var/log/glusterfs")},
	"print-statedumpdir":       {set: show("/var/run/gluster")},
	"secure-mgmt":              {kind: argOptional, set: setSecure},

	// Nothing of this means anything to a brick of ours.
	"logger":                     {kind: argRequired},
	"log-format":                 {kind: argRequired},
	"log-buf-size":               {kind: argRequired},
	"log-flush-timeout":          {kind: argRequired},
	"localtime-logging":          {},
	"brick-mux":                  {},
	"mem-accounting":             {},
	"no-mem-accounting":          {},
	"global-threading":           {kind: argOptional},
	"global-timer-wheel":         {kind: argOptional},
	"io-engine":                  {kind: argRequired},
	"volfile-max-fetch-attempts": {kind: argRequired},
	"volume-name":                {kind: argRequired},
	"oom-score-adj":              {kind: argRequired},
	"event-history":              {kind: argOptional},
	"user-map-root":              {kind: argRequired},
}

func setLogLevel(a *arguments, v string) error {
	if _, ok := logLevels[strings.ToUpper(v)]; !ok {
		return fmt.Errorf("%q is no log level: %w", v, syscall.EINVAL)
	}
	a.logLevel = strings.ToUpper(v)
	return nil
}

// setBrickPort takes PORT, or PORT,RDMA-PORT, of which we have no use for the
// second.
func setBrickPort(a *arguments, v string) error {
	v, rdma, both := strings.Cut(v, ",")
	if both {
		a.ignored = append(a.ignored, "--brick-port "+rdma+" (RDMA)")
	}
	return number(func(a *arguments) *int { return &a.brickPort })(a, v)
}

func setTransport(a *arguments, v string) error {
	for _, t := range strings.Split(v, ",") {
		switch t {
		case "socket", "tcp", "unix":
			a.transport = t
		case "rdma":
			a.ignored = append(a.ignored, "--volfile-server-transport rdma")
		default:
			return fmt.Errorf("%q is no transport: %w", t, syscall.EINVAL)
		}
	}
	return nil
}

// parseArguments reads the arguments in the forms of getopt_long: --key=value,
// --key value, -k value and -kvalue.
func parseArguments(args []string) (*arguments, error) {
	a := &arguments{serverPort: 24007, transport: "tcp"}
	for i := 0; i < len(args); i++ {
		name, value, hasValue, err := splitArgument(args[i])
		if err != nil {
			return nil, err
		}
		arg, ok := argumentTable[name]
		if !ok {
			return nil, fmt.Errorf("argument --%s is not known to a brick: %w", name, syscall.EINVAL)
		}
		switch {
		case arg.kind == argRequired && !hasValue:
			if i++; i == len(args) {
				return nil, fmt.Errorf("argument --%s needs a value: %w", name, syscall.EINVAL)
			}
			value = args[i]
		case arg.kind == argNone && hasValue:
			return nil, fmt.Errorf("argument --%s takes no value: %w", name, syscall.EINVAL)
		}
		if arg.set == nil {
			a.ignored = append(a.ignored, "--"+name)
			continue
		}
		if err := arg.set(a, value); err != nil {
			return nil, fmt.Errorf("argument --%s: %w", name, err)
		}
	}
	if a.version || a.help || a.print != "" {
		return a, nil
	}
	switch {
	case a.volfile == "" && len(a.servers) == 0:
		return nil, fmt.Errorf("where the volfile comes from is missing: give -s HOST and --volfile-id ID, or -f FILE: %w", syscall.EINVAL)
	case a.volfile == "" && a.volfileID == "":
		return nil, fmt.Errorf("argument --volfile-id is missing: %w", syscall.EINVAL)
	}
	return a, nil
}

func splitArgument(s string) (name, value string, hasValue bool, err error) {
	if long, ok := strings.CutPrefix(s, "--"); ok && long != "" {
		name, value, hasValue = strings.Cut(long, "=")
		return name, value, hasValue, nil
	}
	if len(s) < 2 || s[0] != '-' {
		return "", "", false, fmt.Errorf("argument %q is out of place: %w", s, syscall.EINVAL)
	}
	for long, arg := range argumentTable {
		if arg.short == s[1] {
			return long, s[2:], len(s) > 2, nil
		}
	}
	return "", "", false, fmt.Errorf("argument -%c is not known to a brick: %w", s[1], syscall.EINVAL)
}

// printHelp lists the arguments.
func printHelp(w io.Writer) {
	fmt.Fprintln(w, "Usage: wythe brick -s HOST --volfile-id ID --brick-name PATH [argument…]\n       wythe brick -f VOLFILE [argument…]\n\nArguments, those of glusterfsd:")
	for _, name := range slices.Sorted(maps.Keys(argumentTable)) {
		arg := argumentTable[name]
		form := "--" + name
		switch arg.kind {
		case argRequired:
			form += "=VALUE"
		case argOptional:
			form += "[=VALUE]"
		}
		if arg.short != 0 {
			form = "-" + string(arg.short) + ", " + form
		}
		if arg.set == nil {
			form += " (no effect)"
		}
		fmt.Fprintln(w, "  "+form)
	}
}
