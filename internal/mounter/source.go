package mounter

import (
	"fmt"
	"strings"
	"syscall"
)

// source is the first operand of mount(8): SERVER[,SERVER…]:[/]VOLUME[/SUBDIR],
// or a volfile.
type source struct {
	servers  []string
	volume   string // as it goes into the volfile id, with the slash if there was one
	subdir   string // beginning with /, or ""
	volfile  string // the path of a volfile; nothing else is set then
	readOnly bool   // a snapshot
}

// maxHostName is the length of a host name on Linux; GlusterFS leaves out servers
// with longer ones.
const maxHostName = 64

func parseSource(s string, isFile func(path string) bool) (src source, warnings []string, err error) {
	if isFile(s) {
		return source{volfile: s}, nil, nil
	}
	hosts, volume, ok := cutHosts(s)
	if !ok {
		if strings.HasPrefix(s, "/") {
			return src, nil, usage("source %q: there is no such volfile; to mount a volume write SERVER:/VOLUME", s)
		}
		return src, nil, usage("source %q: write SERVER:/VOLUME or SERVER:/VOLUME/DIRECTORY", s)
	}
	for _, h := range strings.Split(hosts, ",") {
		h = strings.TrimSpace(h)
		switch {
		case h == "":
		case len(h) > maxHostName && !strings.HasPrefix(h, "/"):
			warnings = append(warnings, fmt.Sprintf("server %s is left out: a host name has at most %d characters", h, maxHostName))
		default:
			src.servers = append(src.servers, h)
		}
	}
	if len(src.servers) == 0 {
		return src, warnings, usage("source %q names no valid server: write SERVER:/VOLUME", s)
	}
	lead := ""
	name := strings.TrimLeft(volume, "/")
	if name != volume {
		lead = "/"
	}
	name, rest, _ := strings.Cut(name, "/")
	if name == "snaps" {
		// A snapshot is mounted by its whole name and can only be read.
		snap, rest, _ := strings.Cut(rest, "/")
		vol, rest, _ := strings.Cut(rest, "/")
		if snap == "" || vol == "" {
			return src, warnings, usage("source %q: a snapshot is SERVER:/snaps/SNAPSHOT/VOLUME", s)
		}
		src.volume, src.readOnly = "/snaps/"+snap+"/"+vol, true
		src.subdir, err = cleanSubdir(rest)
	} else {
		if name == "" {
			return src, warnings, usage("source %q names no volume: write SERVER:/VOLUME", s)
		}
		src.volume = lead + name
		src.subdir, err = cleanSubdir(rest)
	}
	if err != nil {
		return src, warnings, &UsageError{fmt.Errorf("source %q: %w: %w", s, err, syscall.EINVAL)}
	}
	return src, warnings, nil
}

// cutHosts separates servers and volume at the last colon before the first slash,
// so that an IPv6 address needs no brackets and a server can have a port.
func cutHosts(s string) (hosts, volume string, ok bool) {
	head := s
	if i := strings.IndexByte(s, '/'); i >= 0 {
		head = s[:i]
	}
	i := strings.LastIndexByte(head, ':')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// splitServers reads the servers of backup-volfile-servers: host:host:[IPv6].
func splitServers(s string) []string {
	var list []string
	for s != "" {
		var host string
		if strings.HasPrefix(s, "[") {
			if end := strings.IndexByte(s, ']'); end > 0 {
				host, s = s[:end+1], strings.TrimPrefix(s[end+1:], ":")
				list = append(list, host)
				continue
			}
		}
		host, s, _ = strings.Cut(s, ":")
		if host = strings.TrimSpace(host); host != "" {
			list = append(list, host)
		}
	}
	return list
}

// splitOptions separates what commas separate outside of double quotes.
func splitOptions(s string) []string {
	var list []string
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			list = append(list, s[from:i])
			from = i + 1
		}
	}
	return append(list, s[from:])
}
