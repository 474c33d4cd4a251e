package capi_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

var (
	children = flag.Int("children", 20, "processes that TestForks makes on each volume")
	seconds  = flag.Int("seconds", 2, "how long TestSignals runs in each mode")

	sambaLocks = flag.Bool("samba.locks", false, "run TestSambaLocks")
)

// What programs count on besides results of single calls.
func TestBehaviour(t *testing.T) {
	prog := compile(t, "behave")
	both(t, func(t *testing.T, v *volume) {
		v.run(t, with(t, prog, v.IP, "24007", v.name)...)
	})
}

// Wrong arguments.
func TestBadInput(t *testing.T) {
	prog := compile(t, "bad")
	v := ours(t)
	v.run(t, with(t, prog, v.IP, "24007", v.name)...)
}

// Processes that fork, in both modes.
func TestForks(t *testing.T) {
	prog := compile(t, "forks")
	v := ours(t)
	for _, mode := range []string{"enter", "queue"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Duration(*children)*time.Second)
		defer cancel()
		words := with(t, "WYTHE_GFAPI_MODE="+mode, prog, v.IP, "24007", v.name, fmt.Sprint(*children))
		begin := time.Now()
		if out, err := v.Run(ctx, words[0], words[1:]...); err != nil {
			t.Fatalf("mode %s: %v\n%s", mode, err, out)
		}
		t.Logf("mode %s: %d children, %v", mode, *children, time.Since(begin).Round(time.Second))
	}
}

// Signals of the application, in both modes.
func TestSignals(t *testing.T) {
	prog := compile(t, "signals")
	v := ours(t)
	for _, mode := range []string{"enter", "queue"} {
		v.run(t, with(t, "WYTHE_GFAPI_MODE="+mode, prog, v.IP, "24007", v.name, fmt.Sprint(*seconds))...)
	}
}

// write makes a file for a program in a Node.
func (v *volume) write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(v.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// noise makes a file of random bytes.
func (v *volume) noise(t testing.TB, name string, size int) (string, []byte) {
	t.Helper()
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(data)
	return v.write(t, name, string(data)), data
}

func (v *volume) expect(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[:min(len(got), len(want))], want) {
		t.Errorf("%s has %d bytes, not the %d that were written", path, len(got), len(want))
	}
}

// fio as the distribution has it: both engines, processes and threads, contents
// verified.
func TestFio(t *testing.T) {
	testenv.Need(t, "fio")
	both(t, func(t *testing.T, v *volume) {
		plain := v.write(t, "plain.fio", fmt.Sprintf(`[global]
ioengine=gfapi
volume=%s
brick=%s
bs=64k
size=2m
verify=crc32c
[j1]
rw=write
filename=s.dat
`, v.name, v.IP))
		async := v.write(t, "async.fio", fmt.Sprintf(`[global]
ioengine=gfapi_async
volume=%s
brick=%s
bs=4k
size=512k
iodepth=8
verify=crc32c
single-instance=1
[jw]
rw=randwrite
fsync=16
numjobs=2
filename_format=fio.$jobname.$jobnum
`, v.name, v.IP))
		for _, words := range [][]string{{plain}, {"--thread", plain}, {async}, {"--thread", async}} {
			v.run(t, with(t, append([]string{"sh", "-c", `cd "$0" && exec fio "$@"`, v.Dir}, words...)...)...)
		}
	})
}

// qemu-img and qemu-io with images on the volume.
func TestQemu(t *testing.T) {
	testenv.Need(t, "qemu-img", "qemu-io")
	both(t, func(t *testing.T, v *volume) {
		url := "gluster://" + v.IP + "/" + v.name + "/"
		src, data := v.noise(t, "src.raw", 1_000_000)
		back := filepath.Join(v.Dir, "back.raw")
		qemu := func(words ...string) string { return v.run(t, with(t, words...)...) }
		qemu("qemu-img", "create", "-f", "qcow2", url+"a.qcow2", "16M")
		qemu("qemu-img", "convert", "-O", "qcow2", src, url+"c.qcow2")
		qemu("qemu-img", "check", url+"c.qcow2")
		qemu("qemu-img", "convert", "-O", "raw", url+"c.qcow2", back)
		v.expect(t, back, data)
		// The first server is dead.
		both := fmt.Sprintf(`json:{"driver":"qcow2","file":{"driver":"gluster","volume":"%s","path":"c.qcow2","server":[`+
			`{"type":"inet","host":"%s","port":"24008"},{"type":"inet","host":"%s","port":"24007"}]}}`, v.name, v.IP, v.IP)
		if out := qemu("qemu-img", "compare", src, both); !strings.Contains(out, "identical") {
			t.Errorf("qemu-img compare says %q", out)
		}
		qemu("qemu-img", "create", "-f", "raw", url+"q.raw", "1M")
		out := qemu("qemu-io", "-f", "raw", "-c", "write -P 0xa5 0 128k", "-c", "read -P 0xa5 0 128k", "-c", "discard 0 64k",
			"-c", "write -z 64k 64k", "-c", "read -P 0 64k 64k", "-c", "flush", "-c", "truncate 2M", "-c", "map", url+"q.raw")
		if strings.Contains(out, "failed") || !strings.Contains(out, "2 MiB") {
			t.Errorf("qemu-io says\n%s", out)
		}
		// Discarded is what reads as zeros and takes no space any more.
		qemu("qemu-img", "create", "-f", "raw", url+"hole.raw", "1M")
		out = qemu("qemu-io", "-d", "unmap", "-f", "raw", "-c", "write -P 0xa5 0 1M", "-c", "discard 256k 512k", "-c", "read -P 0xa5 0 256k",
			"-c", "read -P 0 256k 512k", "-c", "read -P 0xa5 768k 256k", url+"hole.raw")
		if strings.Contains(out, "failed") {
			t.Errorf("qemu-io says of what was discarded\n%s", out)
		}
		if out := qemu("qemu-img", "info", url+"hole.raw"); !strings.Contains(out, "disk size: 512 KiB") {
			t.Errorf("qemu-img says of what was discarded\n%s", out)
		}
		if v.real {
			sock := "gluster+unix:///" + v.name + "/c.qcow2?socket=/var/run/glusterd.socket"
			if out := qemu("qemu-img", "info", sock); !strings.Contains(out, "file format: qcow2") {
				t.Errorf("through the unix socket: %s", out)
			}
		}
	})
}

// smbd starts Samba's server on a port, with a share g that is the volume, and
// returns its configuration.
func (v *volume) smbd(t *testing.T, port string) string {
	t.Helper()
	dir := filepath.Join(v.Dir, "smb"+port)
	if err := os.MkdirAll(dir+"/private", 0o755); err != nil {
		t.Fatal(err)
	}
	conf := v.write(t, "smb"+port+".conf", strings.ReplaceAll(fmt.Sprintf(`[global]
server role=standalone server
interfaces=lo
bind interfaces only=yes
smb ports=%s
map to guest=Bad User
guest account=root
server min protocol=NT1
client min protocol=NT1
unix extensions=yes
disable spoolss=yes
load printers=no
kernel share modes=no
passdb backend=smbpasswd:DIR/private/smbpasswd
private dir=DIR/private
lock directory=DIR/run
state directory=DIR/run
cache directory=DIR/run
pid directory=DIR/run
ncalrpc dir=DIR/run/ncalrpc
log file=DIR/log
[g]
path=/
read only=no
guest ok=yes
vfs objects=glusterfs
glusterfs:volume=%s
glusterfs:volfile_server=%s
glusterfs:logfile=DIR/gf.log
glusterfs:loglevel=7
`, port, v.name, v.IP), "DIR", dir))
	v.Start(t, "env", "LD_LIBRARY_PATH="+library(t), "setsid", "smbd", "-F", "--no-process-group", "-s", conf)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var n int
	fmt.Sscan(port, &n)
	if err := v.WaitPort(ctx, n); err != nil {
		t.Fatal(err)
	}
	return conf
}

// smbclient are the words that start Samba's client on a share of smbd.
func (v *volume) smbclient(port, conf string, words ...string) []string {
	return append([]string{"smbclient", "//" + v.IP + "/g", "-p", port, "-N", "-s", conf, "-m", "NT1"}, words...)
}

// smbd with the glusterfs module.
func TestSamba(t *testing.T) {
	testenv.Need(t, "smbd", "smbclient")
	both(t, func(t *testing.T, v *volume) {
		const port = "14450"
		conf := v.smbd(t, port)
		src, data := v.noise(t, "src.raw", 300_000)
		got := filepath.Join(v.Dir, "got.raw")
		client := func(commands string) string { return v.run(t, v.smbclient(port, conf, "-c", commands)...) }
		out := client(fmt.Sprintf("put %s putfile; mkdir dd; cd dd; put %s p2; rename p2 p3; ls; get p3 %s; del p3; cd ..; rmdir dd; allinfo putfile; del putfile; ls", src, src, got))
		v.expect(t, got, data)
		if !strings.Contains(out, "p3") || !strings.Contains(out, "altname: putfile") || strings.Contains(out, "NT_STATUS") {
			t.Errorf("smbclient says\n%s", out)
		}
		// A directory with many files, listed by another client.
		many := filepath.Join(v.Dir, "many")
		if err := os.Mkdir(many, 0o755); err != nil {
			t.Fatal(err)
		}
		const n = 1000
		for i := range n {
			if err := os.WriteFile(fmt.Sprintf("%s/file%04d", many, i), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		client("mkdir many; cd many; prompt OFF; lcd " + many + "; mput file*")
		seen := map[string]bool{}
		for line := range strings.Lines(client("cd many; ls")) {
			if f := strings.Fields(line); len(f) > 0 && strings.HasPrefix(f[0], "file") {
				seen[f[0]] = true
			}
		}
		if len(seen) != n {
			t.Errorf("%d files are listed, want %d", len(seen), n)
		}
		client("cd many; prompt OFF; mdel *; cd ..; rmdir many")
	})
}

// Locks of two clients, each of a server of its own: only the bricks can know that
// they exclude each other. It is run by flag: that they do is seen, but after the
// first client has gone the second server has not been seen to answer in time.
func TestSambaLocks(t *testing.T) {
	if !*sambaLocks {
		return
	}
	testenv.Need(t, "smbd", "smbclient")
	both(t, func(t *testing.T, v *volume) {
		ports := []string{"14451", "14452"}
		var confs []string
		for _, p := range ports {
			confs = append(confs, v.smbd(t, p))
		}
		first, second := v.smbSession(t, ports[0], confs[0]), v.smbSession(t, ports[1], confs[1])
		a, b := first.open("locked"), second.open("locked")
		first.do("lock "+a+" w 0 10", "")
		second.do("lock "+b+" w 8 4", "lock failed") // overlaps
		second.do("lock "+b+" w 20 4", "")
		first.end()
		// Asked again and again: smbd lets its locks go some time after its client.
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			out := second.say("lock " + b + " w 8 4")
			if !strings.Contains(out, "failed") {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("the lock is not to be had after the first client has gone: the client says\n%s", out)
			}
		}
		second.end()
	})
}

// smbSession is an smbclient that is told what to do, with the UNIX extensions.
type smbSession struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	log  string
	seen int
	n    int
}

func (v *volume) smbSession(t *testing.T, port, conf string) *smbSession {
	t.Helper()
	words := append([]string{"stdbuf", "-oL"}, v.smbclient(port, conf)...)
	s := &smbSession{t: t, cmd: v.Command(t.Context(), words[0], words[1:]...), log: filepath.Join(v.Dir, "client"+port+".log")}
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.cmd.Stdout, s.cmd.Stderr = f, f
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.say("posix")
	return s
}

// say has the client do a command and returns what it says to it.
func (s *smbSession) say(command string) string {
	s.t.Helper()
	s.n++
	mark := fmt.Sprintf("no-such-command-%d", s.n)
	fmt.Fprintln(s.in, command)
	// Of lines that come together smbclient reads the second when a third comes; its
	// log is all that there is to see of its answer.
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		fmt.Fprintln(s.in, mark)
		b, _ := os.ReadFile(s.log)
		out := string(b[min(s.seen, len(b)):])
		if strings.Contains(out, mark+": command not found") {
			s.seen = len(b)
			return out
		}
		if time.Now().After(end) {
			s.t.Fatalf("no answer to %q in time; the client says\n%s", command, out)
		}
	}
}

// do is say of a command whose answer has something in it, or, with "", no error.
func (s *smbSession) do(command, want string) {
	s.t.Helper()
	out := s.say(command)
	if want == "" && (strings.Contains(out, "failed") || strings.Contains(out, "NT_STATUS")) || !strings.Contains(out, want) {
		s.t.Errorf("%s: the client says\n%s", command, out)
	}
}

// open opens a file and returns the number that the server has given it.
func (s *smbSession) open(name string) string {
	s.t.Helper()
	out := s.say("posix_open " + name + " 0644")
	_, number, ok := strings.Cut(out, " fnum ")
	if f := strings.Fields(number); ok && len(f) > 0 {
		return f[0]
	}
	s.t.Fatalf("posix_open: the client says\n%s", out)
	return ""
}

func (s *smbSession) end() {
	s.in.Close()
	if err := s.cmd.Wait(); err != nil {
		b, _ := os.ReadFile(s.log)
		s.t.Errorf("smbclient: %v\n%s", err, b)
	}
}

// uwsgi with its glusterfs plugin: the library is loaded in the master, which then
// forks the workers.
func TestUwsgi(t *testing.T) {
	testenv.Need(t, "uwsgi", "qemu-img")
	both(t, func(t *testing.T, v *volume) {
		src, data := v.noise(t, "src.raw", 200_000)
		v.run(t, with(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", src, "gluster://"+v.IP+"/"+v.name+"/file.bin")...)
		v.Start(t, "env", "LD_LIBRARY_PATH="+library(t), "setsid", "uwsgi", "--plugin", "glusterfs", "--http-socket", v.IP+":18080", "--master", "--processes", "2",
			"--glusterfs-mount", "mountpoint=/,server="+v.IP+":24007,volume="+v.name)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := v.WaitPort(ctx, 18080); err != nil {
			t.Fatal(err)
		}
		web := &http.Client{Transport: &http.Transport{DialContext: v.DialContext, DisableKeepAlives: true}, Timeout: 30 * time.Second}
		get := func(name string) (int, []byte, error) {
			resp, err := web.Get("http://" + v.IP + ":18080/" + name)
			if err != nil {
				return 0, nil, err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			return resp.StatusCode, b, err
		}
		for i := range 20 { // of both workers
			code, b, err := get("file.bin")
			if err != nil || code != 200 || !bytes.Equal(b[:min(len(b), len(data))], data) {
				t.Fatalf("request %d: status %d, %d bytes, %v", i, code, len(b), err)
			}
		}
		if code, _, err := get("none"); err != nil || code != 404 {
			t.Errorf("a file that is missing: %d, %v", code, err)
		}
	})
}

// tgtd with its glfs backing store, an iSCSI disk on the volume.
func TestTgt(t *testing.T) {
	testenv.Need(t, "tgtd", "tgtadm", "qemu-img", "qemu-io")
	both(t, func(t *testing.T, v *volume) {
		v.run(t, with(t, "qemu-img", "create", "-f", "raw", "gluster://"+v.IP+"/"+v.name+"/lun.raw", "4M")...)
		v.run(t, "mkdir", "-p", "/var/run/tgtd")
		v.Start(t, "env", "LD_LIBRARY_PATH="+library(t), "setsid", "tgtd", "-f", "-C", "77", "--iscsi", "portal="+v.IP+":3260")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := v.WaitPort(ctx, 3260); err != nil {
			t.Fatal(err)
		}
		admin := func(words ...string) { v.run(t, append([]string{"tgtadm", "-C", "77", "--lld", "iscsi"}, words...)...) }
		const target = "iqn.2026-11.test.wythe:lun"
		admin("--op", "new", "--mode", "target", "--tid", "1", "-T", target)
		admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "--bstype", "glfs", "--backing-store", v.name+"@"+v.IP+":lun.raw")
		admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
		disk := "iscsi://" + v.IP + ":3260/" + target + "/1"
		out := v.run(t, "qemu-io", "-f", "raw", "-c", "write -P 0xa5 0 1M", "-c", "write -P 0x5a 3M 1M", "-c", "flush", "-c", "read -P 0xa5 0 1M", "-c", "read -P 0 1M 2M", "-c", "read -P 0x5a 3M 1M", disk)
		if strings.Contains(out, "failed") {
			t.Errorf("qemu-io on the disk says\n%s", out)
		}
		out = v.run(t, with(t, "qemu-io", "-f", "raw", "-c", "read -P 0xa5 0 1M", "-c", "read -P 0x5a 3M 1M", "gluster://"+v.IP+"/"+v.name+"/lun.raw")...)
		if strings.Contains(out, "failed") {
			t.Errorf("qemu-io on the file says\n%s", out)
		}
	})
}

// nfs-ganesha with FSAL_GLUSTER, over NFSv4.
func TestGanesha(t *testing.T) {
	testenv.Need(t, "ganesha.nfsd", "nfs-ls", "nfs-cat")
	both(t, func(t *testing.T, v *volume) {
		src, data := v.noise(t, "src.raw", 200_000)
		// The file gets there by qemu-img, which is at hand.
		testenv.Need(t, "qemu-img")
		v.run(t, with(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", src, "gluster://"+v.IP+"/"+v.name+"/file")...)
		conf := v.write(t, "ganesha.conf", fmt.Sprintf(`NFS_CORE_PARAM { NFS_Protocols = 4; NFS_Port = 12049; Bind_addr = %[1]s; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; }
NFSV4 { Graceless = true; Only_Numeric_Owners = true; Delegations = false; Minor_Versions = 0,1; RecoveryRoot = "%[3]s/recovery"; }
EXPORT { Export_Id = 77; Path = "/"; Pseudo = "/v"; Access_Type = RW; Squash = No_Root_Squash; SecType = sys; Protocols = 4; Transports = TCP;
  FSAL { Name = GLUSTER; Hostname = %[1]s; Volume = "%[2]s"; volpath = "/"; enable_upcall = true; Transport = tcp; glfs_log = "%[3]s/gfapi.log"; } }
`, v.IP, v.name, v.Dir))
		v.run(t, "mkdir", "-p", v.Dir+"/recovery", "/run/ganesha")
		v.Start(t, "env", "LD_LIBRARY_PATH="+library(t), "ganesha.nfsd", "-F", "-f", conf, "-L", v.Dir+"/ganesha.log", "-p", v.Dir+"/ganesha.pid", "-I", "test")
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		if err := v.WaitPort(ctx, 12049); err != nil {
			log, _ := os.ReadFile(v.Dir + "/ganesha.log")
			t.Fatalf("%v\n%s", err, log)
		}
		url := func(name string) string { return "nfs://" + v.IP + "/v" + name + "?version=4&nfsport=12049" }
		var out string
		testenv.Wait(t, 30*time.Second, "the export", func() (ok bool) {
			var err error
			out, err = v.Run(ctx, "nfs-ls", url(""))
			return err == nil
		})
		if !strings.Contains(out, "file") {
			t.Errorf("nfs-ls says %q", out)
		}
		if got := v.run(t, "nfs-cat", url("/file")); got[:min(len(got), len(data))] != string(data) {
			t.Errorf("nfs-cat gives %d bytes, not those of the file", len(got))
		}
	})
}
