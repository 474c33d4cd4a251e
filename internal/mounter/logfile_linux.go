package mounter

import (
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
)

// logFile is a file that can be opened anew under its name, after a rotation.
type logFile struct {
	path string
	mu   sync.Mutex
	f    *os.File
}

func openLog(path string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	l := &logFile{path: path}
	return l, l.reopen()
}

// reopen opens the file; what the Go runtime has to say when the process crashes
// goes there, too.
func (l *logFile) reopen() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	l.mu.Lock()
	old := l.f
	l.f = f
	l.mu.Unlock()
	if old != nil {
		old.Close()
	}
	return debug.SetCrashOutput(f, debug.CrashOptions{})
}

func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Write(b)
}

// defaultLog is the log of a mount point: slashes of its path become dashes.
func defaultLog(dir string) string {
	return filepath.Join(logDir, strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-")+".log")
}

// quiet is for what says all that there is to say by its error.
var quiet = slog.New(slog.DiscardHandler)

// openLogs opens the log that the arguments ask for.
func (p *process) openLogs() error {
	a := p.args
	p.level = new(slog.LevelVar)
	p.setLevel("")
	var out io.Writer = os.Stderr
	switch {
	case a.Debug || a.LogFile == "-":
	case a.Syslog:
		w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "glusterfs")
		if err != nil {
			return fmt.Errorf("syslog: %w; log to a file with log-file=FILE", err)
		}
		out = w
	default:
		path := a.LogFile
		if path == "" {
			path = defaultLog(p.dir)
		}
		var err error
		if p.file, err = openLog(path); err != nil {
			return fmt.Errorf("log file: %w; name another one with log-file=FILE", err)
		}
		out = p.file
	}
	p.log = slog.New(newLineHandler(out, p.level, a.LocalTime))
	slog.SetDefault(p.log)
	return nil
}

// setLevel sets the level of the log: the command line's, else the volume's.
func (p *process) setLevel(fromVolume string) {
	name := p.args.LogLevel
	if name == "" {
		name = strings.ToUpper(fromVolume)
	}
	level, ok := logLevels[name]
	if !ok {
		level = slog.LevelInfo
	}
	if p.args.Debug {
		level = slog.LevelDebug
	}
	p.level.Set(level)
}
