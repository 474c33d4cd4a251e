package robust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/testenv"
)

// roleEnv makes the test binary run as a server or a user of another kind.
const roleEnv = "WYTHE_ROBUST_ROLE"

var roles = map[string]func(args []string) error{"up": upMain, "rootless": rootlessMain}

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == "brick" {
		os.Exit(brick.Main(os.Args[1:]))
	}
	if role := roles[os.Getenv(roleEnv)]; role != nil {
		if err := role(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// upMain is a cluster until SIGTERM: DIR, address, port.
func upMain(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	port, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	bricks := 0
	if len(args) > 3 {
		if bricks, err = strconv.Atoi(args[3]); err != nil {
			return err
		}
	}
	volume := ""
	if len(args) > 4 {
		volume = args[4]
	}
	c, err := manage.Up(ctx, manage.UpOptions{Dir: args[0], Listen: args[1], Port: port, Shape: manage.Shape{Distribute: bricks}, Volume: volume})
	if err != nil {
		return err
	}
	fmt.Println("serving", c.Addr)
	select {
	case err = <-c.Failed():
	case <-ctx.Done():
	}
	return errors.Join(err, c.Close())
}

// again is a command that runs this binary in another role.
func again(ctx context.Context, role string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	return cmd
}

// noLeaks fails the test when it leaves goroutines behind that were not there
// when it was called. Call it first: cleanups run in reverse.
func noLeaks(t testing.TB) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(before); err != nil {
			t.Errorf("goroutines are left: %v", err)
		}
	})
}

// quiet drops what servers and clients of a hostile test log.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// up starts a cluster in this process on 127.0.0.1.
func up(t testing.TB, change ...func(*manage.UpOptions)) *manage.Cluster {
	t.Helper()
	testenv.NeedRoot(t)
	o := manage.UpOptions{Dir: t.TempDir(), Listen: "127.0.0.1", Port: -1, Log: quiet}
	for _, f := range change {
		f(&o)
	}
	c, err := manage.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("closing the cluster: %v", err)
		}
	})
	return c
}

func options(opts []gfapi.Option) []gfapi.Option {
	return append([]gfapi.Option{gfapi.WithLogger(quiet), gfapi.WithCredentials(gfapi.Cred{})}, opts...)
}

// mount mounts a cluster; it is unmounted at the end of the test.
func mount(t testing.TB, c *manage.Cluster, opts ...gfapi.Option) *gfapi.Volume {
	t.Helper()
	return mountURL(t, c.URL(), opts...)
}

func mountURL(t testing.TB, url string, opts ...gfapi.Option) *gfapi.Volume {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := gfapi.MountURL(ctx, url, options(opts)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Unmount(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Errorf("unmount: %v", err)
		}
	})
	return v
}

// refused mounts what cannot be mounted. The error must come within limit (and
// a second for the machine), wrap want and have all the words.
func refused(t testing.TB, limit time.Duration, server, volume string, want error, words []string, opts ...gfapi.Option) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	v, err := gfapi.Mount(ctx, server, volume, options(opts)...)
	if err == nil {
		v.Unmount()
		t.Fatal("the mount succeeds")
	}
	if d := time.Since(start); d > limit+time.Second {
		t.Errorf("the error takes %v, the limit is %v", d, limit)
	}
	t.Logf("error: %v", err)
	hasWords(t, err, words...)
	if want != nil && !errors.Is(err, want) {
		t.Errorf("error is not %v: %v", want, err)
	}
}

func hasWords(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %q: %v", w, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// peer is a server that does with each connection what f does, and then closes
// it. All is gone at the end of the test.
func peer(t testing.TB, f func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			work.Go(func() {
				f(c)
				mu.Lock()
				delete(open, c)
				mu.Unlock()
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		work.Wait()
	})
	return l.Addr().String()
}

// silent accepts and never answers.
func silent(c net.Conn) { io.Copy(io.Discard, c) }
